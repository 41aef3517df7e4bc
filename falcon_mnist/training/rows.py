"""Which rows of the data set train and which validate, and in which order: functions of seed and epoch alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from falcon_mnist.training import network
from falcon_mnist.training.hyperparams import Hyperparams

Rows = npt.NDArray[np.int64]


def split(count: int, hyperparams: Hyperparams) -> tuple[Rows, Rows]:
    """Row numbers for training and for validation, drawn by the seed.

    At least one is for training; of several rows at least one for validation, unless all are to train on.
    """
    shuffled = network.generator(hyperparams.seed, network.SPLIT).permutation(count)
    most = count if hyperparams.train_split == 1 else count - 1
    training = max(1, min(most, round(count * hyperparams.train_split)))
    return np.sort(shuffled[:training]), np.sort(shuffled[training:])


def order_of(training: Rows, hyperparams: Hyperparams, epoch: int) -> Rows:
    """The training rows in the order of an epoch (from 0)."""
    if not hyperparams.shuffle:
        return training
    return network.generator(hyperparams.seed, network.SHUFFLE, epoch).permutation(training)
