"""Training, epoch by epoch. Knows neither HTTP nor the database.

Everything random is a function of the seed and the epoch (`network.generator`), so a training resumed from a saved
state ends with the same bits as one that was never interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from falcon_mnist import kernels
from falcon_mnist.settings import cpus
from falcon_mnist.training import noise, optimizers
from falcon_mnist.training.hyperparams import Hyperparams
from falcon_mnist.training.rows import Rows, order_of, split
from falcon_mnist.training.schedules import learning_rate, learning_rates
from falcon_mnist.training.state import State, initial_state
from falcon_mnist.training.threads import Threads

__all__ = ["DivergedError", "Metrics", "State", "StoppedError", "initial_state", "split", "train"]

# A segment is one call of the kernels; a run can be saved after each. It takes half a second at 120 GFLOP/s, and much
# less where zeros are skipped: packing the weights at its start costs little, and a run is saved soon.
SEGMENT_FLOP = 60_000_000_000
# A segment that tries out a number of threads has one in so many of its batches.
TRIAL_PARTS = 40
# A smaller step, some 20 us, runs on one thread: barriers would cost more than further threads save.
MULTITHREAD_MIN_FLOP = 4_000_000
# On a shared cluster, a run gets one CPU per 100 MFLOP of a step. More CPUs would end this run sooner, but fewer runs
# would fit side by side, and all of them together would end later.
FLOP_PER_CPU = 100_000_000

Images = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.uint8]


class DivergedError(Exception):
    """The loss or a parameter stopped being finite; the message says in which epoch."""


class StoppedError(Exception):
    """The stop flag was set; the current segment is lost."""


class Metrics(NamedTuple):
    """Means over an epoch's training rows, and over the validation rows after it (None without any); and its cost."""

    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    lr: float  # of the epoch's last step
    seconds: float  # of training and validation
    samples: int  # training rows


class _Job(NamedTuple):
    """What all segments of a training share."""

    net: kernels.Network
    state: State
    images: Images
    labels: npt.NDArray[np.uint8]
    hyperparams: Hyperparams
    steps_per_epoch: int
    stop: Flags | None


def train(
    net: kernels.Network,
    state: State,
    images: Images,
    labels: npt.NDArray[np.uint8],
    hyperparams: Hyperparams,
    *,
    stop: Flags | None = None,
    threads: Callable[[int], Threads] = Threads,
    segment_rows: tuple[int, int] | None = None,
) -> Iterator[Metrics | None]:
    """Train `state` in place until `hyperparams.epochs` are finished, or `early_stopping` ends it before.

    `images` (rows, 784) and `labels` (rows,) are split into training and validation rows here. Each epoch is cut into
    segments of whole batches. Yields None after each segment but an epoch's last, where `state` may be saved, and the
    epoch's metrics after its last. At the end, `state.result` is what was learned.

    `threads(most)` makes what chooses the number of threads for each segment, by default the fastest of those up to
    `most`, as many as are worth trying on this machine. `segment_rows` is the size of a segment, and of one that tries
    out a number of threads. Neither changes a bit of the result.

    Another thread may set `stop[0]`: `StoppedError` follows within one micro-batch. Also raises `DivergedError`.
    """
    training, validation = split(len(labels), hyperparams)
    workspace = kernels.Workspace(net, net.training_rows(hyperparams.batch_size), training=True)
    evaluation = kernels.Workspace(net, net.micro_batch_rows)  # larger micro-batches: fewer barriers
    job = _Job(net, state, images, labels, hyperparams, -(-len(training) // hyperparams.batch_size), stop)
    rows, trial_rows = segment_rows or default_segment_rows(net, hyperparams)
    chosen = threads(useful_threads(net, hyperparams, cpus()))
    while not finished(state, hyperparams):
        order = order_of(training, hyperparams, state.epoch)
        while state.done < len(order):
            count, trial = chosen.next()
            segment = order[state.done : state.done + (trial_rows if trial else rows)]
            started = time.perf_counter()
            _train_segment(job, segment, workspace, count)
            seconds = time.perf_counter() - started
            chosen.took(len(segment), seconds)
            state.seconds += seconds
            if state.done < len(order):
                yield None
        yield _end_epoch(job, len(order), validation, evaluation, chosen.best)


def _end_epoch(job: _Job, samples: int, validation: Rows, workspace: kernels.Workspace, threads: int) -> Metrics:
    """Validate after an epoch of `samples` rows, and set `state` to the next epoch. Raises as `_validate`."""
    state, hyperparams = job.state, job.hyperparams
    started = time.perf_counter()
    val_loss, val_accuracy = _validate(job, validation, workspace, threads)
    metrics = Metrics(
        train_loss=state.loss / samples,
        train_accuracy=state.correct / samples,
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        lr=learning_rate(hyperparams, job.steps_per_epoch, (state.epoch + 1) * job.steps_per_epoch - 1),
        seconds=state.seconds + time.perf_counter() - started,
        samples=samples,
    )
    state.begin_epoch()
    if val_loss is not None:
        _keep_if_best(state, val_loss, hyperparams)
    return metrics


def finished(state: State, hyperparams: Hyperparams) -> bool:
    """Whether all epochs are done, or the validation loss has not improved for `early_stopping.patience` epochs."""
    stopping = hyperparams.early_stopping
    stale = stopping is not None and state.best_loss is not None and state.epoch - state.best_epoch >= stopping.patience
    return stale or state.epoch >= hyperparams.epochs


def _keep_if_best(state: State, val_loss: float, hyperparams: Hyperparams) -> None:
    if state.best_loss is None or val_loss < state.best_loss:
        state.best_epoch, state.best_loss = state.epoch, val_loss
        if hyperparams.keep == "best":
            state.arrays["best"] = state.evaluated.copy()


def useful_threads(net: kernels.Network, hyperparams: Hyperparams, cpus: int) -> int:
    """The most threads worth trying."""
    return cpus if row_flop(net) * hyperparams.batch_size >= MULTITHREAD_MIN_FLOP else 1


def fair_threads(net: kernels.Network, hyperparams: Hyperparams, cpus: int) -> int:
    """How many CPUs a run gets on a shared cluster whose machines have `cpus` each."""
    return max(1, min(row_flop(net) * hyperparams.batch_size // FLOP_PER_CPU, cpus, kernels.MAX_THREADS))


def row_flop(net: kernels.Network) -> int:
    """FLOP to train on one row, zeros not skipped: 2 a parameter forward, 4 backward, some 50 an activation."""
    return 6 * net.parameter_count + 50 * sum(outputs for _, _, outputs in net.layers)


def default_segment_rows(net: kernels.Network, hyperparams: Hyperparams) -> tuple[int, int]:
    """Rows in a segment, and in one that tries out a number of threads: whole batches."""
    batches = max(1, SEGMENT_FLOP // (row_flop(net) * hyperparams.batch_size))
    return batches * hyperparams.batch_size, max(1, batches // TRIAL_PARTS) * hyperparams.batch_size


def _train_segment(job: _Job, segment: Rows, workspace: kernels.Workspace, threads: int) -> None:
    """Train on `segment`, the epoch's next rows. Raises `StoppedError` and `DivergedError`."""
    state, hyperparams = job.state, job.hyperparams
    optimizer = optimizers.build(hyperparams)
    first_step = state.epoch * job.steps_per_epoch + state.done // hyperparams.batch_size
    steps = -(-len(segment) // hyperparams.batch_size)
    _, loss, correct = job.net.train(
        state.parameters,
        {name: state.arrays[name] for name in optimizer.state},
        kernels.Batches(job.images, job.labels, segment, hyperparams.batch_size),
        kernels.Steps(
            optimizer,
            learning_rates(hyperparams, job.steps_per_epoch, first_step, steps),
            first_step,
            hyperparams.label_smoothing,
            noise.build(hyperparams),
            state.epoch,
        ),
        workspace,
        job.stop,
        threads=threads,
        loss=state.loss,
    )
    _check_stop(job.stop)
    state.done += len(segment)
    state.loss = loss
    state.correct += correct
    if not math.isfinite(state.loss) or not np.isfinite(state.parameters).all():
        raise _diverged(state.epoch + 1)


def _validate(
    job: _Job, rows: Rows, workspace: kernels.Workspace, threads: int
) -> tuple[float, float] | tuple[None, None]:
    """Mean loss and accuracy on the validation rows; None without any. Raises `StoppedError`, `DivergedError`."""
    if not len(rows):
        return None, None
    count, loss, correct = job.net.evaluate(
        job.state.evaluated, job.images, job.labels, rows, workspace, job.stop, threads=threads
    )
    _check_stop(job.stop)
    if not math.isfinite(loss / count):
        raise _diverged(job.state.epoch + 1)
    return loss / count, correct / count


def _check_stop(stop: Flags | None) -> None:
    if stop is not None and stop[0]:
        raise StoppedError


def _diverged(epoch: int) -> DivergedError:
    return DivergedError(f"The loss stopped being finite in epoch {epoch}: try a smaller lr.")
