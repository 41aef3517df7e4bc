"""What clients may send: one model per body, which validates it and writes its JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from falcon_mnist.api.json_body import LARGEST, FaultAt, matrix, vector
from falcon_mnist.constants import MAX_LAYERS, MAX_ROWS, PIXELS, Array
from falcon_mnist.training.architecture import Activation, Architecture
from falcon_mnist.training.fields import Strict
from falcon_mnist.training.hyperparams import Hyperparams


def _checked(check: Any) -> BeforeValidator:
    """A pydantic validator of an array from one of `arrays`, with the place of its first fault."""

    def validate(value: Any) -> Any:
        try:
            return check(value)
        except FaultAt as fault:
            raise PydanticCustomError("array", "{detail}", {"detail": fault.detail, "at": list(fault.place)}) from None

    return BeforeValidator(validate)


_NUMBER = {"type": "number", "minimum": -LARGEST, "maximum": LARGEST}


def rows_of(inputs: Any) -> Array:
    """Decoded `inputs` as rows (n, 784); raises `FaultAt`."""
    return matrix(inputs, columns=PIXELS, rows=(1, MAX_ROWS))


Rows = Annotated[
    np.ndarray,
    _checked(rows_of),
    WithJsonSchema(
        {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_ROWS,
            "items": {"type": "array", "minItems": PIXELS, "maxItems": PIXELS, "items": _NUMBER},
        }
    ),
]
Matrix = Annotated[
    np.ndarray,
    _checked(matrix),
    WithJsonSchema({"type": "array", "minItems": 1, "items": {"type": "array", "minItems": 1, "items": _NUMBER}}),
]
Vector = Annotated[np.ndarray, _checked(vector), WithJsonSchema({"type": "array", "minItems": 1, "items": _NUMBER})]


class LinearParameters(Strict):
    """`W` has `in` rows by `out` columns, `b` has `out` entries."""

    type: Literal["linear"]
    W: Matrix
    b: Vector


class ActivationParameters(Activation):
    """A layer without parameters stands in the list all the same."""


class Parameters(Strict):
    """All parameters of a network, layer by layer as in its architecture."""

    layers: Annotated[
        list[Annotated[LinearParameters | ActivationParameters, Field(discriminator="type")]],
        Field(min_length=1, max_length=MAX_LAYERS),
    ]
    dtype: Literal["float32"]
    layout: Literal["row_major"]

    @property
    def pairs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """`(W, b)` of each linear layer."""
        return [(layer.W, layer.b) for layer in self.layers if isinstance(layer, LinearParameters)]


class Return(Strict):
    """Which outputs to answer; at least one must be true."""

    logits: bool = False
    probabilities: bool = True
    labels: bool = True


class CreateModel(Strict):
    """Body of `POST /models`."""

    architecture: Architecture
    hyperparams: Hyperparams = Hyperparams()


class StartTraining(Strict):
    """Body of `POST /models/{model_id}/train`."""

    hyperparams: Hyperparams = Hyperparams()
    start_from: Annotated[str, Field(max_length=100)] | None = None


class Nothing(Strict):
    """A body that has no members."""


class Infer(Strict):
    """Body of `POST /infer`."""

    param_id: Annotated[str, Field(max_length=100)]
    inputs: Rows
    returns: Return = Field(default=Return(), alias="return")


class InferAdhoc(Strict):
    """Body of `POST /infer_adhoc`."""

    architecture: Architecture
    parameters: Parameters
    inputs: Rows
    returns: Return = Field(default=Return(), alias="return")


class ImportParameters(Strict):
    """Body of `POST /params`."""

    architecture: Architecture
    parameters: Parameters


class JustArchitecture(Strict):
    """What a parameter file says of itself."""

    architecture: Architecture


class Lenient(Strict):
    """A part of another protocol, which leaves room for members of its own."""

    model_config = ConfigDict(extra="ignore")


class InputTensor(Lenient):
    """Rows of pixels, as `data` or as so many bytes (`binary_data_size`) behind the JSON."""

    name: Annotated[str, Field(max_length=100)]
    datatype: Annotated[str, Field(max_length=100)]
    shape: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(max_length=10)]
    parameters: dict[str, Any] | None = None
    data: Any = None


class WantedOutput(Lenient):
    """An output that is asked for, perhaps as `binary_data`."""

    name: Literal["probabilities", "logits", "labels"]
    parameters: dict[str, Any] | None = None


class OpenInference(Lenient):
    """Body of `POST /v2/models/{param_id}/infer`."""

    id: Annotated[str, Field(max_length=1000)] | None = None
    parameters: dict[str, Any] | None = None
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=1)]
    outputs: Annotated[list[WantedOutput], Field(max_length=3)] | None = None
