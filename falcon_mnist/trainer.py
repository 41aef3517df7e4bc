"""Stochastic gradient descent, epoch by epoch. Knows neither HTTP nor the database.

Everything random is a function of the seed and the epoch (`network.generator`), so a training that goes on
from saved parameters, velocity and epoch ends with the same bits as one that was never interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from falcon_mnist import kernels, network
from falcon_mnist.arrays import Array
from falcon_mnist.schemas import Hyperparams

Rows = npt.NDArray[np.int64]


class DivergedError(Exception):
    """The loss or a parameter stopped being finite; the message says in which epoch."""


class StoppedError(Exception):
    """The stop flag was set; the epoch that was under way is lost."""


class Metrics(NamedTuple):
    """Means over the epoch's training rows, and over the validation rows after it (None without any)."""

    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None


@dataclass
class State:
    """All that training changes: parameters, velocity (None without momentum), finished epochs."""

    parameters: Array
    velocity: Array | None
    epoch: int = 0


def initial_state(net: kernels.Network, hyperparams: Hyperparams) -> State:
    """The state before the first epoch."""
    parameters = network.initial_parameters(net, hyperparams.seed)
    velocity = np.zeros_like(parameters) if hyperparams.optimizer.momentum else None
    return State(parameters, velocity)


def split(count: int, hyperparams: Hyperparams) -> tuple[Rows, Rows]:
    """Row numbers for training and for validation, drawn by the seed; at least one is for training."""
    shuffled = network.generator(hyperparams.seed, network.SPLIT).permutation(count)
    training = max(1, round(count * hyperparams.train_split))
    return np.sort(shuffled[:training]), np.sort(shuffled[training:])


def epochs(
    net: kernels.Network,
    state: State,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    hyperparams: Hyperparams,
    *,
    stop: npt.NDArray[np.uint8] | None = None,
) -> Iterator[Metrics]:
    """Train on until `hyperparams.epochs` are finished, changing `state`; yields after each epoch.

    `images` (rows, 784) and `labels` (rows,) are split into training and validation rows here. Another
    thread may set `stop[0]`: training then ends within one slice of a batch. Raises `StoppedError` and
    `DivergedError`.
    """
    training, validation = split(len(labels), hyperparams)
    optimizer = hyperparams.optimizer
    workspace = kernels.Workspace(net, min(hyperparams.batch_size, kernels.SLICE_ROWS), training=True)
    while state.epoch < hyperparams.epochs:
        order = training
        if hyperparams.shuffle:
            order = network.generator(hyperparams.seed, network.SHUFFLE, state.epoch).permutation(training)
        _, loss, correct = net.train(
            state.parameters,
            state.velocity,
            images,
            labels,
            order,
            hyperparams.batch_size,
            optimizer.lr,
            optimizer.momentum,
            workspace,
            stop,
        )
        val_loss = val_accuracy = None
        if len(validation) and not _stopped(stop):
            rows, loss_sum, hits = net.evaluate(state.parameters, images, labels, validation, workspace, stop)
            val_loss, val_accuracy = loss_sum / max(rows, 1), hits / max(rows, 1)
        if _stopped(stop):
            raise StoppedError
        metrics = Metrics(loss / len(order), correct / len(order), val_loss, val_accuracy)
        state.epoch += 1
        _check_finite(metrics, state)
        yield metrics


def _stopped(stop: npt.NDArray[np.uint8] | None) -> bool:
    return stop is not None and bool(stop[0])


def _check_finite(metrics: Metrics, state: State) -> None:
    measured = [value for value in metrics if value is not None]
    if not np.isfinite(measured).all() or not np.isfinite(state.parameters).all():
        raise DivergedError(f"The loss stopped being finite in epoch {state.epoch}: try a smaller lr.")
