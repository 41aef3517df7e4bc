"""The main job from its command: real processes, a real socket, real digits where they are there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn import write_drawn_digits

from falcon_mnist import kernels
from falcon_mnist.data import dataset, digits
from falcon_mnist.training import network, trainer
from falcon_mnist.training.hyperparams import Hyperparams

MNIST = Path(__file__).parents[2].parent / "shared" / "data" / "mnist"
needs_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason="MNIST is not beside the repository")


def falcon_mnist(*arguments: str, home: Path, data: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FALCON_MNIST_")}
    environment |= {"FALCON_MNIST_HOME": str(home), "FALCON_MNIST_DATASET": data}
    command = [str(Path(sys.executable).parent / "falcon-mnist"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def error_on(data: dataset.Dataset, net: kernels.Network, parameters: np.ndarray) -> float:
    logits = np.empty((len(data.test_labels), 10), dtype=np.float32)
    net.forward(parameters, data.test_images, logits, kernels.Workspace(net, net.micro_batch_rows))
    return float((logits.argmax(axis=1) != data.test_labels).mean())


def test_the_demo_reaches_its_accuracy_on_digits_that_it_has_not_seen(
    tmp_path: Path, drawn_digits: tuple[np.ndarray, np.ndarray], last_drawn_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    data, least = MNIST, 96.0
    if not MNIST.is_dir():  # 14,000 to train on, a fifth of what the command itself would draw
        data, least = write_drawn_digits(tmp_path / "drawn", drawn_digits, digits.draw(1), last_drawn_digits), 82.0
    finished = falcon_mnist("demo", home=tmp_path / "home", data=str(data))
    assert finished.returncode == 0, finished.stderr
    accuracy = re.search(r"Test accuracy: (\d+\.\d+)%", finished.stdout)
    assert accuracy, finished.stdout
    assert float(accuracy[1]) >= least


@needs_mnist
def test_a_network_trained_on_synthetic_digits_alone_reads_real_ones(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    synthetic = dataset.load("synthetic", tmp_path_factory.mktemp("synthetic"))
    real = dataset.load(str(MNIST), tmp_path_factory.mktemp("real"))
    layers = [{"type": "linear", "in": 784, "out": 128}, {"type": "relu"}, {"type": "linear", "in": 128, "out": 10}]
    net = network.build({"input_size": 784, "layers": layers})
    hyperparams = Hyperparams()
    state = trainer.initial_state(net, hyperparams)
    for _ in trainer.train(net, state, synthetic.train_images, synthetic.train_labels, hyperparams):
        pass
    assert error_on(real, net, state.parameters) <= 0.15
