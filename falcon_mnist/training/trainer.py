"""Stochastic gradient descent, epoch by epoch. Knows neither HTTP nor the database.

Everything random is a function of the seed and the epoch (`network.generator`), so a training that goes on
from saved parameters, velocity and epoch ends with the same bits as one that was never interrupted.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from falcon_mnist import kernels
from falcon_mnist.constants import Array
from falcon_mnist.settings import cpus
from falcon_mnist.training import network
from falcon_mnist.training.hyperparams import Hyperparams

Rows = npt.NDArray[np.int64]

# A segment is long beside what it takes to begin one, which for a large network is to pack its weights, but no longer
# than a run may take to notice that it is to be saved: half a second on a machine of 120 GFLOP/s. A trial, which finds
# out how many threads are fastest, takes a part of one.
SEGMENT_ROWS = 4096
SEGMENT_FLOP = (24_000_000_000, 60_000_000_000)
TRIAL_PARTS = 8
# A step of less than this, some 20 us, is not shared: the threads would meet for longer than they save.
SHARED_FLOP = 4_000_000

# The largest float32 below 1, which a momentum even nearer to 1 would be rounded to.
BELOW_ONE = 1 - 2**-24


class DivergedError(Exception):
    """The loss or a parameter stopped being finite; the message says in which epoch."""


class StoppedError(Exception):
    """The stop flag was set; the segment that was under way is lost."""


class Metrics(NamedTuple):
    """Means over the epoch's training rows, and over the validation rows after it (None without any)."""

    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None


@dataclass
class State:
    """All that training changes: what it goes on from, to the same bits, wherever it was interrupted."""

    parameters: Array
    velocity: Array | None  # None without momentum
    epoch: int = 0  # finished epochs
    done: int = 0  # rows of the epoch under way that have been trained on
    loss: float = 0.0  # summed over them
    correct: int = 0


def initial_state(net: kernels.Network, hyperparams: Hyperparams) -> State:
    """The state before the first epoch."""
    parameters = network.initial_parameters(net, hyperparams.seed)
    velocity = np.zeros_like(parameters) if hyperparams.optimizer.momentum else None
    return State(parameters, velocity)


class Threads:
    """How many threads the next segment gets: as many as are fastest at present. It changes no bit.

    More than one pay where they have CPUs of their own and a step is long; beside other work they may cost many times
    what they save. So all numbers are tried in turn, each on a short segment: some rounds of that at first, and one
    now and then, so rarely that what it loses is little beside the time until the next; but soon at first, as what a
    run begins beside may soon be over. Only trials are compared, as each carries what it takes to begin a segment; and
    of the last ones the best, as one that something else disturbed is to change no mind.
    """

    LOSS = 0.01  # of the time, for the trials
    LAST = 3

    def __init__(self, most: int) -> None:
        """`most` is the number of CPUs."""
        most = min(most, kernels.MAX_THREADS)
        self.choices = sorted({most} | {2**i for i in range(most.bit_length())})
        self._rates = {choice: deque([0.0], maxlen=self.LAST) for choice in self.choices}
        self._trials = deque(self.choices * self.LAST if len(self.choices) > 1 else [])
        self._spent = 0.0  # seconds so far
        self._lost = 0.0  # of these by this round of trials
        self._until_round = 0.0  # seconds

    @property
    def best(self) -> int:
        """The fastest number by the last trials."""
        return max(self.choices, key=lambda choice: max(self._rates[choice]))

    def next(self) -> tuple[int, bool]:
        """What to use for the next segment, and whether that is a trial."""
        if not self._trials and len(self.choices) > 1 and self._until_round <= 0:
            self._trials.extend(self.choices)
        return (self._trials[0], True) if self._trials else (self.best, False)

    def took(self, rows: int, seconds: float) -> None:
        """Note how long the segment took that `next` was about."""
        seconds = max(seconds, 1e-9)
        self._spent += seconds
        if not self._trials:
            self._until_round -= seconds
            return
        self._rates[self._trials.popleft()].append(rows / seconds)
        self._lost += max(seconds - rows / max(self._rates[self.best]), seconds / 20)
        if not self._trials:  # and where the fastest of this round is another one, the next round follows at once
            agreed = max(self.choices, key=lambda choice: self._rates[choice][-1]) == self.best
            self._until_round = min(self._lost / self.LOSS, self._spent) if agreed else 0.0
            self._lost = 0.0


def split(count: int, hyperparams: Hyperparams) -> tuple[Rows, Rows]:
    """Row numbers for training and for validation, drawn by the seed; at least one is for training."""
    shuffled = network.generator(hyperparams.seed, network.SPLIT).permutation(count)
    training = max(1, round(count * hyperparams.train_split))
    return np.sort(shuffled[:training]), np.sort(shuffled[training:])


def train(
    net: kernels.Network,
    state: State,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    hyperparams: Hyperparams,
    *,
    stop: npt.NDArray[np.uint8] | None = None,
) -> Iterator[Metrics | None]:
    """Train on until `hyperparams.epochs` are finished, changing `state`.

    Yields the metrics of each epoch as it ends, and None in between, wherever `state` may be saved: an epoch
    is cut into segments of whole batches. `images` (rows, 784) and `labels` (rows,) are split into training
    and validation rows here. Another thread may set `stop[0]`: training then ends within one slice of a
    batch. Raises `StoppedError` and `DivergedError`.
    """
    training, validation = split(len(labels), hyperparams)
    workspace = kernels.Workspace(net, min(hyperparams.batch_size, net.micro_batch_rows), training=True)
    evaluation = kernels.Workspace(net, net.micro_batch_rows)  # large micro-batches: few barriers
    rows, trial_rows = segment_rows(net, hyperparams)
    threads = Threads(cpus() if row_flop(net) * hyperparams.batch_size >= SHARED_FLOP else 1)
    while state.epoch < hyperparams.epochs:
        order = training
        if hyperparams.shuffle:
            order = network.generator(hyperparams.seed, network.SHUFFLE, state.epoch).permutation(training)
        while state.done < len(order):
            count, trial = threads.next()
            segment = order[state.done : state.done + (trial_rows if trial else rows)]
            started = time.perf_counter()
            _train_segment(net, state, images, labels, segment, hyperparams, workspace, stop, count)
            threads.took(len(segment), time.perf_counter() - started)
            if state.done < len(order):
                yield None
        val_loss = val_accuracy = None
        if len(validation):
            count, loss, correct = net.evaluate(
                state.parameters, images, labels, validation, evaluation, stop, threads=threads.best
            )
            _check_stop(stop)
            val_loss, val_accuracy = loss / count, correct / count
        metrics = Metrics(state.loss / len(order), state.correct / len(order), val_loss, val_accuracy)
        state.epoch, state.done, state.loss, state.correct = state.epoch + 1, 0, 0.0, 0
        if val_loss is not None and not math.isfinite(val_loss):
            raise _diverged(state.epoch)
        yield metrics


def row_flop(net: kernels.Network) -> int:
    """A row's arithmetic without skipping anything: forward, backward twice as much, and activations."""
    return 6 * net.parameter_count + 50 * sum(outputs for _, _, outputs in net.layers)


def segment_rows(net: kernels.Network, hyperparams: Hyperparams) -> tuple[int, int]:
    """Rows in a segment, and in one that is a trial: whole batches. Where segments end changes no bit."""
    flop = row_flop(net)
    least, most = SEGMENT_FLOP
    wanted = min(max(SEGMENT_ROWS * flop, least), most)
    batches = max(1, wanted // (flop * hyperparams.batch_size))
    return batches * hyperparams.batch_size, max(1, batches // TRIAL_PARTS) * hyperparams.batch_size


def _train_segment(
    net: kernels.Network,
    state: State,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    segment: Rows,
    hyperparams: Hyperparams,
    workspace: kernels.Workspace,
    stop: npt.NDArray[np.uint8] | None,
    threads: int,
) -> None:
    optimizer = hyperparams.optimizer
    _, loss, correct = net.train(
        state.parameters,
        {} if state.velocity is None else {"velocity": state.velocity},
        images,
        labels,
        segment,
        hyperparams.batch_size,
        kernels.Optimizer("sgd", momentum=min(optimizer.momentum, BELOW_ONE)),
        np.full(-(-len(segment) // hyperparams.batch_size), optimizer.lr, np.float32),
        workspace,
        stop,
        threads=threads,
        loss=state.loss,
    )
    _check_stop(stop)
    state.done += len(segment)
    state.loss = loss
    state.correct += correct
    if not math.isfinite(state.loss) or not np.isfinite(state.parameters).all():
        raise _diverged(state.epoch + 1)


def _check_stop(stop: npt.NDArray[np.uint8] | None) -> None:
    if stop is not None and stop[0]:
        raise StoppedError


def _diverged(epoch: int) -> DivergedError:
    return DivergedError(f"The loss stopped being finite in epoch {epoch}: try a smaller lr.")
