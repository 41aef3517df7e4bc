"""JSON answers about what is stored: models, runs and parameter sets. `Answer` is the base of all answers.

Pydantic models, for the OpenAPI document alone: resources build their answers as dictionaries, and tests check those
against these models.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from falcon_mnist.constants import FailureCode, State
from falcon_mnist.training.architecture import Architecture
from falcon_mnist.training.hyperparams import Hyperparams

Numbers = list[float]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Checksum = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]
ModelId = Annotated[str, Field(pattern="^m_[0-9a-f]{32}$")]
RunId = Annotated[str, Field(pattern="^r_[0-9a-f]{32}$")]
ParamId = Annotated[str, Field(pattern="^p_[0-9a-f]{32}$")]


def sometimes() -> Any:
    """The default of a member that only some answers have: never null, and not required in the schema.

    A plain default of None would stand in the schema; one from a factory does not.
    """
    return Field(default_factory=lambda: None)


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(extra="forbid", serialize_by_alias=True)


class Model(Answer):
    """A model definition, every default filled in."""

    model_id: ModelId
    architecture: Architecture
    hyperparams: Hyperparams
    created_at: Timestamp


class ModelPage(Answer):
    """Models, newest first; `next_cursor` is null on the last page."""

    items: list[Model]
    next_cursor: str | None


class RunQueued(Answer):
    """A run that was just queued."""

    run_id: RunId
    model_id: ModelId
    status: Literal["queued"]


class Metrics(Answer):
    """Measures of the last finished epoch; null before the first, and `val_*` also without validation rows."""

    train_loss: float | None
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None


class Epoch(Answer):
    """Measures of one finished epoch."""

    epoch: Annotated[int, Field(ge=1)]
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    lr: Annotated[float | None, Field(description="Learning rate of the epoch's last step.")]
    seconds: Annotated[float | None, Field(description="Spent on training and validation.")]


class BestAccuracy(Answer):
    """The earliest epoch of highest validation accuracy."""

    epoch: Annotated[int, Field(ge=1)]
    val_accuracy: Annotated[float, Field(ge=0, le=1)]


class Dataset(Answer):
    """What a run trains on, and a checksum of its contents."""

    name: str
    checksum: Checksum


class RunError(Answer):
    """Why a run failed."""

    code: FailureCode
    message: str


class RunSummary(Answer):
    """A run as lists show it: `param_id` is there exactly when it succeeded, `error` exactly when it failed."""

    run_id: RunId
    model_id: ModelId
    state: State
    epoch: Annotated[int, Field(ge=0)]
    epochs_total: Annotated[int, Field(ge=1)]
    metrics: Metrics
    start_from: Annotated[ParamId | None, Field(description="The parameter set that the run began with.")]
    best_epoch: Annotated[int | None, Field(ge=1, description="The earliest epoch of lowest val_loss.")]
    best_accuracy: Annotated[BestAccuracy | None, Field(description="Null before there is a validated epoch.")]
    samples_per_second: Annotated[float | None, Field(description="In the latest finished epoch.")]
    eta_seconds: Annotated[float | None, Field(description="Until the end at that pace; null unless running.")]
    hyperparams: Hyperparams
    dataset: Dataset | None
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    param_id: ParamId = sometimes()
    error: RunError = sometimes()


class RunState(RunSummary):
    """A run with one entry for each finished epoch."""

    history: list[Epoch]


class RunPage(Answer):
    """Runs, newest first; `next_cursor` is null on the last page."""

    items: list[RunSummary]
    next_cursor: str | None


class LayerParameters(Answer):
    """`W` (rows: in, columns: out) and `b` of a linear layer; a layer of another type has neither."""

    type: Literal["linear", "relu", "sigmoid", "tanh", "softmax"]
    W: list[Numbers] = sometimes()
    b: Numbers = sometimes()


class NetworkParameters(Answer):
    """Parameters as `/infer_adhoc` takes them."""

    layers: list[LayerParameters]
    dtype: Literal["float32"]
    layout: Literal["row_major"]


class ParameterSet(Answer):
    """A trained parameter set; it never changes."""

    param_id: ParamId
    model_id: ModelId
    parameters: NetworkParameters
    size_bytes: Annotated[int, Field(ge=1)]


class Imported(Answer):
    """A parameter set that was brought from elsewhere, and the model that was made for it."""

    param_id: ParamId
    model_id: ModelId
    size_bytes: Annotated[int, Field(ge=1)]


class ListedParameters(Answer):
    """A parameter set as lists show it."""

    param_id: ParamId
    model_id: ModelId
    run_id: Annotated[RunId | None, Field(description="Null where it was imported.")]
    size_bytes: Annotated[int, Field(ge=1)]
    created_at: Timestamp


class ParameterPage(Answer):
    """Parameter sets, newest first; `next_cursor` is null on the last page."""

    items: list[ListedParameters]
    next_cursor: str | None


class Snapshot(Answer):
    """The parameters of a run's newest checkpoint, after so many finished epochs."""

    run_id: RunId
    model_id: ModelId
    epoch: Annotated[int, Field(ge=0)]
    parameters: NetworkParameters
