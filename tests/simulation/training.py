"""A stand-in for training. Its result tells whether each segment was trained once, in order, on one basis.

The basis is a data set and an instruction set.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from falcon_mnist import kernels
from falcon_mnist.constants import Array
from falcon_mnist.data.dataset import Dataset
from falcon_mnist.storage.parameter_files import decode, encode
from falcon_mnist.storage.store import Epoch
from falcon_mnist.training import network, state
from falcon_mnist.training.hyperparams import Hyperparams
from falcon_mnist.training.trainer import Metrics, State, StoppedError

ARCHITECTURE = {"input_size": 4, "layers": [{"type": "linear", "in": 4, "out": 2}]}
SEGMENTS = 2
DATASETS = ("A", "B")
FACTORS = {"avx2": np.float32(0.75), "avx512": np.float32(0.750001)}  # other kernels, other bits


@cache
def dataset(name: str) -> Dataset:
    """Data sets of different names have different pixels."""
    pixels, label = np.full((1, 4), ord(name), np.uint8), np.zeros(1, np.uint8)
    return Dataset(name, f"sum of {name}", pixels, label, pixels, label, "simulated")


def evaluate(net: Any, parameters: Any, images: Any, labels: Any) -> dict[str, Any]:
    """As `evaluation.evaluate`."""
    return {"sum": float(parameters.sum())}


def train(
    isa: str, net: Any, current: State, images: Any, labels: Any, hyperparams: Hyperparams, *, stop: Any = None
) -> Iterator[Metrics | None]:
    """As `trainer.train` with the kernels of an instruction set."""
    while current.epoch < hyperparams.epochs:
        while current.done < SEGMENTS:
            if stop is not None and stop[0]:
                raise StoppedError
            current.parameters[:] = current.parameters * FACTORS[isa] + np.float32(images[0, 0] + current.done)
            current.done += 1
            current.loss += float(current.parameters.sum())
            current.correct += 1
            if current.done < SEGMENTS:
                yield None
        metrics = Metrics(current.loss, current.correct / SEGMENTS, None, None, lr=0.1, seconds=1.0, samples=SEGMENTS)
        current.epoch, current.done, current.loss, current.correct = current.epoch + 1, 0, 0.0, 0
        yield metrics


@cache
def uninterrupted(
    epochs: int, seed: int, data: str, isa: str, start: bytes | None = None
) -> tuple[bytes, tuple[Epoch, ...]]:
    """The parameter file and the history of a run without faults, which begins with the parameters in a file."""
    hyperparams = Hyperparams(epochs=epochs, seed=seed)
    net = network.build(ARCHITECTURE)
    current = state.initial_state(net, hyperparams, None if start is None else _flat(net, decode(start, "start")))
    trained = dataset(data)
    epochs_of = train(isa, net, current, trained.train_images, trained.train_labels, hyperparams)
    metrics = [each for each in epochs_of if each is not None]
    [(weight, bias)] = network.views(net, current.parameters)
    history = tuple(Epoch(number, *each) for number, each in enumerate(metrics, 1))
    file = encode(
        {"linear.0.W": weight, "linear.0.b": bias}, {"architecture": json.dumps(ARCHITECTURE, separators=(",", ":"))}
    )
    return file, history


def _flat(net: kernels.Network, arrays: dict[str, Array]) -> Array:
    return network.flatten(net, [(arrays["linear.0.W"], arrays["linear.0.b"])])
