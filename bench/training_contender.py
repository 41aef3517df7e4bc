"""One contender of bench/training.py, in a process of its own: trains when it is told to, and says how long it took.

Once it is ready it prints a line, and then for each line that it reads the seconds of an epoch.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import configurations
import numpy as np
from contenders import variants
from contenders.ours import initial
from oracle import check_training

from falcon_mnist.data import dataset
from falcon_mnist.training import trainer
from falcon_mnist.training.hyperparams import Hyperparams


def main(library: str, threads: str, configuration_name: str, folder: str) -> None:
    """Train on the training rows of a run with the default split, shuffled before each epoch."""
    (contender,) = (each for each in variants(library) if str(each.threads) == threads)
    configuration = configurations.configuration(configuration_name)
    contender.use()
    check_training(contender, configuration)
    data = dataset.load(folder, Path())
    rows, _ = trainer.split(len(data.train_labels), Hyperparams())
    training = contender.training(
        configuration, np.array(data.train_images), np.array(data.train_labels), initial(configuration)
    )
    random = np.random.default_rng(1)
    training.epoch(rows[: max(2 * configuration.batch_size, 1000)])
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        training.epoch(random.permutation(rows)[: round(configuration.part * len(rows))])
        print((time.perf_counter() - start) / configuration.part, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
