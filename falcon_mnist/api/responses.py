"""What the service answers, for its description; tests hold the live answers against these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from falcon_mnist.constants import CLASSES, MAX_ROWS
from falcon_mnist.inference.likeness import MOST_WARNED
from falcon_mnist.training.architecture import Architecture
from falcon_mnist.training.evaluation import MOST_MISTAKES
from falcon_mnist.training.hyperparams import Hyperparams

Numbers = list[float]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Checksum = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]


ModelId = Annotated[str, Field(pattern="^m_[0-9a-f]{32}$")]
RunId = Annotated[str, Field(pattern="^r_[0-9a-f]{32}$")]
ParamId = Annotated[str, Field(pattern="^p_[0-9a-f]{32}$")]


def _sometimes() -> Any:
    """A member that not every answer has: not required in the schema, and without a default there."""
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

    code: Literal[
        "diverged", "no_dataset", "start_unavailable", "out_of_memory", "disk_full", "worker_lost", "internal_error"
    ]
    message: str


class RunSummary(Answer):
    """A run as lists show it: `param_id` is there exactly when it succeeded, `error` exactly when it failed."""

    run_id: RunId
    model_id: ModelId
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
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
    param_id: ParamId = _sometimes()
    error: RunError = _sometimes()


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
    W: list[Numbers] = _sometimes()
    b: Numbers = _sometimes()


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


class Digits(Answer):
    """Digits of a data set of `count`: each image 784 bytes row by row, 0 (background) to 255 (ink)."""

    dataset: Dataset
    count: Annotated[int, Field(ge=1)]
    images: list[list[Annotated[int, Field(ge=0, le=255)]]]
    labels: list[Annotated[int, Field(ge=0, lt=CLASSES)]]


class OpenInferenceError(Answer):
    """An error of the Open Inference Protocol."""

    error: str


class OpenInferenceServer(Answer):
    """What answers under `/v2`."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(Answer):
    """A tensor of a model; -1 stands for any size."""

    name: str
    datatype: Literal["FP32", "INT64"]
    shape: list[int]


class OpenInferenceModel(Answer):
    """A parameter set as a model of that protocol. `pixels` may also be UINT8."""

    name: ParamId
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class OpenInferenceReady(Answer):
    """A parameter set that infers."""

    name: ParamId
    ready: Literal[True]


class OutputTensor(Answer):
    """An output: its numbers in one list, or how many bytes of them follow the JSON."""

    name: str
    datatype: Literal["FP32", "INT64"]
    shape: list[int]
    data: list[float] | None = None
    parameters: dict[str, int] | None = None


class OpenInferenceAnswer(Answer):
    """Outputs in the order in which they were asked for; `id` is that of the request."""

    id: str | None = None
    model_name: ParamId
    outputs: list[OutputTensor]


_Row = Annotated[Numbers, Field(min_length=CLASSES, max_length=CLASSES)]


class Outputs(Answer):
    """Exactly what was asked for, one entry for each input row."""

    labels: Annotated[list[Annotated[int, Field(ge=0, lt=CLASSES)]], Field(max_length=MAX_ROWS)] = _sometimes()
    probabilities: Annotated[list[_Row], Field(max_length=MAX_ROWS)] = _sometimes()
    logits: Annotated[list[_Row], Field(max_length=MAX_ROWS)] = _sometimes()


class RowWarning(Answer):
    """Rows that do not look like MNIST's digits, so that what is answered for them means little."""

    code: Annotated[
        Literal["range", "polarity", "centre"],
        Field(
            description="range: pixels are not 0 to 1, or hardly any is ink; polarity: the background is bright; "
            "centre: the centre of mass is not in the middle."
        ),
    ]
    rows: Annotated[list[Annotated[int, Field(ge=0, lt=MAX_ROWS)]], Field(min_length=1, max_length=MOST_WARNED)]
    detail: Annotated[str, Field(description="What the first of these rows has, and what a digit has.")]


class AdhocPrediction(Answer):
    """Outputs, the time of the forward pass alone, and `warnings` where rows do not look like digits."""

    outputs: Outputs
    latency_ms: Annotated[float, Field(ge=0)]
    warnings: Annotated[list[RowWarning], Field(min_length=1, max_length=3)] = _sometimes()


class Prediction(AdhocPrediction):
    """Outputs of a stored parameter set."""

    model_id: ModelId
    param_id: ParamId


class Mistake(Answer):
    """A test image that the network takes for another digit."""

    index: Annotated[int, Field(ge=0)]
    label: Annotated[int, Field(ge=0, lt=CLASSES)]
    predicted: Annotated[int, Field(ge=0, lt=CLASSES)]
    confidence: float | None


_Counts = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=CLASSES, max_length=CLASSES)]


class Evaluation(Answer):
    """What a parameter set reaches on all test images."""

    param_id: ParamId
    dataset: Dataset
    loss: Annotated[float | None, Field(description="Mean cross-entropy; null if it is not finite.")]
    accuracy: Annotated[float, Field(ge=0, le=1)]
    confusion: Annotated[
        list[_Counts], Field(min_length=CLASSES, max_length=CLASSES, description="Rows are the true labels.")
    ]
    mistakes: Annotated[
        list[Mistake], Field(max_length=MOST_MISTAKES, description="The surest first, 1,000 of them at most.")
    ]


class NamedRecipe(Answer):
    """A network and hyperparameters that are known to do well: a body for `POST /models`, and what they reached."""

    name: str
    purpose: str
    source: str
    architecture: Architecture
    hyperparams: Hyperparams
    errors: Annotated[list[float], Field(description="Percent of the test images, one for each seed measured.")]
    seconds: Annotated[list[float], Field(description="Of training, on all cores of `machine`.")]
    machine: str | None


class Recipes(Answer):
    """All of them."""

    items: list[NamedRecipe]


class Version(Answer):
    """The versions of the package and of the database's schema; `isa` is the instruction set of the kernels."""

    version: str
    schema_version: Annotated[int, Field(ge=1)]
    isa: str


class RunCounts(Answer):
    """How many runs are in each state."""

    queued: Annotated[int, Field(ge=0)]
    running: Annotated[int, Field(ge=0)]
    succeeded: Annotated[int, Field(ge=0)]
    failed: Annotated[int, Field(ge=0)]
    cancelled: Annotated[int, Field(ge=0)]


class ServiceStatus(Answer):
    """How the service is doing; requests are those of the last minute that the answering process has answered."""

    token: Annotated[Literal["read", "write"], Field(description="What the token that asked may do.")]
    workers: Annotated[
        int,
        Field(
            ge=0, description="Runs that train at the same time; on Ray the CPUs of its cluster, 0 while it is away."
        ),
    ]
    runs: RunCounts
    dataset: Annotated[Dataset | None, Field(description="Null before a worker or a command has made it.")]
    isa: str
    requests_per_second: Annotated[float, Field(ge=0)]
    p50_ms: float | None
    p95_ms: float | None


class Status(Answer):
    """Whether the service lives or is ready."""

    status: Literal["live", "ready"]
    runs: Annotated[
        Literal["waiting"], Field(description="There while no run can be started: the executor is out of reach.")
    ] = _sometimes()


class FieldFault(Answer):
    """One fault in what was sent, and where: a JSON Pointer (RFC 6901)."""

    pointer: str
    detail: str


class ProblemDocument(Answer):
    """RFC 9457. `errors` is there for faults in fields, `limit_bytes` for a body that is too large."""

    type: str
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    instance: str
    errors: Annotated[list[FieldFault], Field(min_length=1)] = _sometimes()
    limit_bytes: int = _sometimes()
