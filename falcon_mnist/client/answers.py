"""Types of the server's answers: dictionaries with the members that docs/api.md lists; pixels and logits as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

from falcon_mnist.constants import Array, State

Bytes = npt.NDArray[np.uint8]
Hyperparams = dict[str, Any]


class Architecture(TypedDict):
    """A chain of layers."""

    input_size: int
    layers: list[dict[str, Any]]


class Model(TypedDict):
    """A model, every default filled in."""

    model_id: str
    architecture: Architecture
    hyperparams: Hyperparams
    created_at: str


class ModelPage(TypedDict):
    """Models, newest first."""

    items: list[Model]
    next_cursor: str | None


class QueuedRun(TypedDict):
    """A run that was just queued."""

    run_id: str
    model_id: str
    status: Literal["queued"]


class Metrics(TypedDict):
    """Metrics of the latest finished epoch; None before the first, and `val_*` also without validation digits."""

    train_loss: float | None
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None


class Epoch(TypedDict):
    """A finished epoch."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    lr: float | None
    seconds: float | None


class Dataset(TypedDict):
    """A data set's name and the checksum of its contents."""

    name: str
    checksum: str


class RunError(TypedDict):
    """Why a run failed."""

    code: str
    message: str


class BestAccuracy(TypedDict):
    """The earliest epoch of highest validation accuracy."""

    epoch: int
    val_accuracy: float


class RunSummary(TypedDict):
    """A run as lists show it."""

    run_id: str
    model_id: str
    state: State
    epoch: int
    epochs_total: int
    metrics: Metrics
    start_from: str | None
    best_epoch: int | None
    best_accuracy: BestAccuracy | None
    samples_per_second: float | None
    eta_seconds: float | None
    hyperparams: Hyperparams
    dataset: Dataset | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    param_id: NotRequired[str]
    error: NotRequired[RunError]


class Run(RunSummary):
    """A run with its finished epochs."""

    history: list[Epoch]


class RunPage(TypedDict):
    """Runs, newest first."""

    items: list[RunSummary]
    next_cursor: str | None


class ParameterSet(TypedDict):
    """Trained parameters; `W` of a linear layer has a row for each input."""

    param_id: str
    model_id: str
    parameters: dict[str, Any]
    size_bytes: int


class ListedParameters(TypedDict):
    """A parameter set as lists show it; one that was imported has no run."""

    param_id: str
    model_id: str
    run_id: str | None
    size_bytes: int
    created_at: str


class ParameterPage(TypedDict):
    """Parameter sets, newest first."""

    items: list[ListedParameters]
    next_cursor: str | None


class Imported(TypedDict):
    """A parameter set that was brought from elsewhere."""

    param_id: str
    model_id: str
    size_bytes: int


class Snapshot(TypedDict):
    """What a run has learned so far."""

    run_id: str
    model_id: str
    epoch: int
    parameters: dict[str, Any]


class Mistake(TypedDict):
    """A test digit that is taken for another."""

    index: int
    label: int
    predicted: int
    confidence: float | None


class Evaluation(TypedDict):
    """What a parameter set reaches on all test digits; rows of `confusion` are the true labels."""

    param_id: str
    dataset: Dataset
    loss: float | None
    accuracy: float
    confusion: list[list[int]]
    mistakes: list[Mistake]


class Recipe(TypedDict):
    """A network and hyperparameters that do well, and what they reached."""

    name: str
    purpose: str
    source: str
    architecture: Architecture
    hyperparams: Hyperparams
    errors: list[float]
    seconds: list[float]
    machine: str | None


class Version(TypedDict):
    """Versions of the server, and the instruction set of its kernels."""

    version: str
    schema_version: int
    isa: str


class Status(TypedDict):
    """How the service is doing."""

    token: Literal["read", "write"]
    workers: int
    runs: dict[State, int]
    dataset: Dataset | None
    isa: str
    requests_per_second: float
    p50_ms: float | None
    p95_ms: float | None


class Warned(TypedDict):
    """Rows that do not look like digits of MNIST: the first ten of them, and what is odd."""

    code: str
    rows: list[int]
    detail: str


class Fault(TypedDict):
    """What is wrong in a request, and where: a JSON Pointer (RFC 6901)."""

    pointer: str
    detail: str


@dataclass(frozen=True)
class Digits:
    """Digits of a data set that has `count`: images (n, 784), 0 for background to 255 for ink, and labels (n,)."""

    images: Bytes
    labels: npt.NDArray[np.int64]
    count: int
    dataset: Dataset


@dataclass(frozen=True)
class Prediction:
    """What a network says about n images.

    `labels` are (n,), `probabilities` and `logits` (n, 10), the latter only where they were asked for; `latency_ms` is
    that of the forward passes alone.
    """

    labels: npt.NDArray[np.int64]
    probabilities: Array
    logits: Array | None
    latency_ms: float
    warnings: Sequence[Warned] = ()
