"""One epoch of training in this process, without validation and metrics; bench/training.py has the whole of a run.

    pytest bench/bench_epoch.py -k 784-128-10
    FALCON_MNIST_DATASET=folder pytest bench/bench_epoch.py -k "batch and 4096"

All contenders take the same rows in the same order, from the same parameters; where an epoch takes some of them
many seconds, all take a part of it.
"""

from collections.abc import Callable
from typing import Any

import configurations
import numpy as np
import pytest
from configurations import CONFIGURATIONS, Configuration
from contenders import offering
from contenders.ours import initial
from oracle import check_training

from falcon_mnist.data.dataset import Dataset
from falcon_mnist.training import trainer
from falcon_mnist.training.hyperparams import Hyperparams

pytestmark = pytest.mark.benchmark(disable_gc=True)


@pytest.mark.parametrize("contender", offering("training"), ids=lambda each: each.name)
@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=lambda each: each.name)
def bench_epoch(compare: Callable[..., None], configuration: Configuration, data: Dataset, contender: Any) -> None:
    images = configurations.training_images(data, zeros=configuration.zeros)
    labels = np.asarray(data.train_labels)
    training_rows, _ = trainer.split(len(labels), Hyperparams())
    order = np.random.default_rng(1).permutation(training_rows)[: round(configuration.part * len(training_rows))]
    start = initial(configuration)
    contender.use()
    check_training(contender, configuration)

    def make(each: Any) -> Callable[[], float]:
        training = each.training(configuration, images, labels, start)
        return lambda: training.epoch(order)

    def check(loss: float) -> None:
        assert loss < 2.4  # of chance: it has learned, on the real data as well

    facts = {"rows": len(order), "of": len(training_rows), "dataset": data.name}
    flop = len(order) * configuration.training_flop
    compare(contender, make, check, group=f"epoch {configuration.name}", flop=flop, once=True, **facts)
