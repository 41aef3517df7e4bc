"""JSON answers of inference: predictions, evaluations, and the Open Inference Protocol (`/v2`).

Pydantic models, for the OpenAPI document alone: resources build their answers as dictionaries, and tests check those
against these models.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from falcon_mnist.api.responses import Answer, Dataset, ModelId, Numbers, ParamId, sometimes
from falcon_mnist.constants import CLASSES, MAX_ROWS
from falcon_mnist.inference.likeness import MOST_WARNED
from falcon_mnist.training.evaluation import MOST_MISTAKES

_Row = Annotated[Numbers, Field(min_length=CLASSES, max_length=CLASSES)]


class Outputs(Answer):
    """Exactly what was asked for, one entry for each input row."""

    labels: Annotated[list[Annotated[int, Field(ge=0, lt=CLASSES)]], Field(max_length=MAX_ROWS)] = sometimes()
    probabilities: Annotated[list[_Row], Field(max_length=MAX_ROWS)] = sometimes()
    logits: Annotated[list[_Row], Field(max_length=MAX_ROWS)] = sometimes()


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
    warnings: Annotated[list[RowWarning], Field(min_length=1, max_length=3)] = sometimes()


class Prediction(AdhocPrediction):
    """Outputs of a stored parameter set."""

    model_id: ModelId
    param_id: ParamId


_Counts = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=CLASSES, max_length=CLASSES)]


class Mistake(Answer):
    """A test image that the network takes for another digit."""

    index: Annotated[int, Field(ge=0)]
    label: Annotated[int, Field(ge=0, lt=CLASSES)]
    predicted: Annotated[int, Field(ge=0, lt=CLASSES)]
    confidence: float | None


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


class OpenInferenceError(Answer):
    """An error of the Open Inference Protocol."""

    error: str
