"""What clients may send: one model per body, which validates it and writes its JSON Schema.

`parse` turns a decoded body into its model or raises a `Problem` that lists every fault. Faults under
`architecture` or `parameters` make it a 400, all others a 422 (contract, "400 or 422").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, cast

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError

from falcon_mnist.api.errors import MAX_ECHOED, Fault, invalid_fields, kind_of
from falcon_mnist.api.json_body import LARGEST, FaultAt, matrix, shape_of, vector
from falcon_mnist.api.suggestions import unknown_member
from falcon_mnist.constants import CLASSES, MAX_LAYERS, MAX_LINEAR_LAYERS, MAX_ROWS, PIXELS
from falcon_mnist.training.architecture import ACTIVATIONS, Activation, Architecture
from falcon_mnist.training.fields import Strict, integral
from falcon_mnist.training.hyperparams import Hyperparams, merge

_UNIONS = (["hyperparams", "optimizer"], ["hyperparams", "schedule"])
Body = TypeVar("Body", bound="Strict")
_Faults = Iterator[tuple[tuple[str | int, ...], str]]

# How many unknown members of a body are compared with all that are known, each for some milliseconds at most.
_MAX_GUESSES = 20


def _checked(check: Any) -> BeforeValidator:
    """A pydantic validator of an array from one of `arrays`, with the place of its first fault."""

    def validate(value: Any) -> Any:
        try:
            return check(value)
        except FaultAt as fault:
            raise PydanticCustomError("array", "{detail}", {"detail": fault.detail, "at": list(fault.place)}) from None

    return BeforeValidator(validate)


_NUMBER = {"type": "number", "minimum": -LARGEST, "maximum": LARGEST}

Rows = Annotated[
    np.ndarray,
    _checked(lambda value: matrix(value, columns=PIXELS, rows=(1, MAX_ROWS))),
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


def overriding(hyperparams: Mapping[str, Any], body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A body of `StartTraining` with its hyperparameters put over the model's."""
    overrides = body.get("hyperparams", {})
    return {**body, "hyperparams": merge(hyperparams, overrides)} if isinstance(overrides, Mapping) else body


def parse(
    schema: type[Body], body: Mapping[str, Any], *, max_parameters: int, sent: Mapping[str, Any] | None = None
) -> Body:
    """The model of a decoded `body`; raises a `Problem` (400 or 422) that lists every fault in it.

    Pointers lead into what the client `sent`, if `body` has more than that.
    """
    faults: list[tuple[tuple[str | int, ...], str]] = []
    parsed: Body | None = None
    try:
        parsed = schema.model_validate(body)
    except ValidationError as error:
        faults += _member_faults(schema, error)
    members = _members(schema)
    if "architecture" in members:
        faults += _architecture_faults(body.get("architecture"), max_parameters)
    if "parameters" in members:
        faults += _parameter_faults(body.get("architecture"), body.get("parameters"))
    if "returns" in members:
        faults += _return_faults(body.get("return"))
    if faults:
        faults.sort(key=lambda fault: not _structural(fault[0]))  # what makes the status stands first
        structural = _structural(faults[0][0])
        shown = [Fault(pointer(_within(body if sent is None else sent, place)), detail) for place, detail in faults]
        raise invalid_fields(shown, structural=structural)
    return cast(Body, parsed)


def _member_faults(schema: type[Strict], error: ValidationError) -> _Faults:
    guesses = 0
    for entry in error.errors(include_url=False):
        place, sentence = _place(entry), _sentence(entry)
        if entry["type"] == "extra_forbidden" and (guesses := guesses + 1) <= _MAX_GUESSES:
            sentence = unknown_member(schema, place)
        yield place, sentence


@cache
def _members(schema: type[Strict]) -> frozenset[str]:
    return frozenset(schema.model_fields)


def _structural(place: Sequence[str | int]) -> bool:
    return place[:1] in (("architecture",), ("parameters",))


def pointer(place: Sequence[str | int]) -> str:
    """A place in a document as a JSON Pointer (RFC 6901); a long name is cut, for it is the client's to choose."""
    return "".join("/" + str(step)[:MAX_ECHOED].replace("~", "~0").replace("/", "~1") for step in place)


def _architecture_faults(architecture: Any, max_parameters: int) -> _Faults:
    """What no single member shows: chaining, order and count of the layers. Skips what is mistyped."""
    if not isinstance(architecture, dict) or not isinstance(architecture.get("layers"), list):
        return
    layers = architecture["layers"][:MAX_LAYERS]
    here: tuple[str | int, ...] = ("architecture", "layers")
    width: int | None = PIXELS
    parameters = linear = values = 0
    for index, layer in enumerate(layers):
        kind = layer.get("type") if isinstance(layer, dict) else None
        if kind == "softmax" and index != len(architecture["layers"]) - 1:
            yield (*here, index), "softmax is allowed only as the last layer"
        if kind != "linear":
            width = width if kind in ACTIVATIONS else None  # nobody knows what comes out of another kind
            values += width or 0
            continue
        linear += 1
        if linear == MAX_LINEAR_LAYERS + 1:
            yield (*here, index), f"at most {MAX_LINEAR_LAYERS} linear layers are allowed"
        inputs, outputs = _size(layer.get("in")), _size(layer.get("out"))
        if inputs is not None and width is not None and inputs != width:
            yield (*here, index, "in"), f"must equal the previous layer's output size ({width}), got {inputs}"
        parameters += ((inputs or 0) + 1) * (outputs or 0)
        width = outputs
        values += width or 0
        last = index
    if not linear:
        yield here, "at least one linear layer is needed"
    elif width is not None and width != CLASSES:
        yield (*here, last, "out"), f"the last linear layer must have out = {CLASSES}, but has {width}"
    if parameters > max_parameters:
        yield here, f"{parameters} parameters are more than the limit of {max_parameters}"
    elif values > max_parameters:
        yield here, f"{values} values come out of the layers for one image, more than the limit of {max_parameters}"


def _parameter_faults(architecture: Any, parameters: Any) -> _Faults:
    """Where parameters do not fit their architecture. Skips what is mistyped."""
    ours = architecture.get("layers") if isinstance(architecture, dict) else None
    theirs = parameters.get("layers") if isinstance(parameters, dict) else None
    if not isinstance(ours, list) or not isinstance(theirs, list):
        return
    here: tuple[str | int, ...] = ("parameters", "layers")
    if len(ours) != len(theirs):
        yield here, f"must have {len(ours)} layers, as the architecture has, but has {len(theirs)}"
    for index, (layer, values) in enumerate(zip(ours[:MAX_LAYERS], theirs, strict=False)):
        if not isinstance(layer, dict) or not isinstance(values, dict):
            continue
        if layer.get("type") != values.get("type"):
            if isinstance(layer.get("type"), str) and isinstance(values.get("type"), str):
                yield (*here, index, "type"), f"must be {layer['type']!r}, as in the architecture"
            continue
        if layer.get("type") == "linear":
            yield from _shape_faults((*here, index), layer, values)


def _shape_faults(here: tuple[str | int, ...], layer: dict[str, Any], values: dict[str, Any]) -> _Faults:
    inputs, outputs = _size(layer.get("in")), _size(layer.get("out"))
    if inputs is None or outputs is None:
        return
    for name, shape in (("W", (inputs, outputs)), ("b", (outputs,))):
        found = shape_of(values.get(name))
        if found is not None and len(found) == len(shape) and found != shape:
            yield (*here, name), f"must have shape {_by(shape)}, but has {_by(found)}"


def _return_faults(returns: Any) -> _Faults:
    if isinstance(returns, dict):
        wanted = Return().model_dump() | returns
        if all(wanted[name] is False for name in Return.model_fields):
            yield ("return",), "at least one of logits, probabilities, labels must be true"


def _size(value: Any) -> int | None:
    value = integral(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31 else None


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _within(sent: Mapping[str, Any], place: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """`place`, or where a member of it lies over one that was not sent, what was sent of the way there.

    A member that is missing from an object that was sent keeps its place.
    """
    value: Any = sent
    for depth, step in enumerate(place[:-1]):
        if isinstance(value, Mapping) and step not in value:
            return place[:depth]
        value = value[step] if isinstance(value, Mapping) else None
    return place


def _place(entry: ErrorDetails) -> tuple[str | int, ...]:
    """Where the fault lies in the body: pydantic also names the chosen member of a union after its place."""
    place: list[str | int] = []
    in_union = False
    for step in entry["loc"]:
        if not in_union:
            place.append(step)
        layer = isinstance(step, int) and place[-2:-1] == ["layers"]
        in_union = not in_union and (layer or place in _UNIONS)
    if entry["type"].startswith("union_tag"):
        place.append("type")
    return (*place, *entry.get("ctx", {}).get("at", ()))


def _sentence(entry: ErrorDetails) -> str:
    """Pydantic's message in this service's words: the rule, and what kind of value was found."""
    kind, context, value = entry["type"], entry.get("ctx", {}), entry["input"]
    found = f", but is {value}" if isinstance(value, int | float) else ""
    sentences = {
        "missing": "is required",
        "extra_forbidden": "is not a known member",
        "union_tag_not_found": "is required and must name the kind of layer",
        "too_long": f"must have at most {context.get('max_length')} entries",
        "too_short": f"must have at least {context.get('min_length')} entries",
        "string_too_long": f"must have at most {context.get('max_length')} characters",
        "finite_number": "must be finite",
        "greater_than": f"must be greater than {context.get('gt')}{found}",
        "greater_than_equal": f"must be at least {context.get('ge')}{found}",
        "less_than": f"must be less than {context.get('lt')}{found}",
        "less_than_equal": f"must be at most {context.get('le')}{found}",
        "array": str(context.get("detail")),
        "rule": str(context.get("detail")),
    }
    if kind in sentences:
        return sentences[kind]
    if kind in ("literal_error", "union_tag_invalid"):
        allowed = str(context.get("expected") or context.get("expected_tags"))
        tag = value.get("type") if kind == "union_tag_invalid" and isinstance(value, dict) else value
        return f"must be {allowed.replace(', ', ' or ')}, but is {_shortly(tag)}"
    wanted = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "bool_type": "a boolean",
        "string_type": "a string",
        "list_type": "an array",
        "model_type": "an object",
        "model_attributes_type": "an object",
        "dict_type": "an object",
    }.get(kind)
    return f"must be {wanted}, but is {kind_of(value)}" if wanted else f"cannot be used ({entry['msg'][:MAX_ECHOED]})"


def _shortly(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.6g}"
    return repr(value) if isinstance(value, str) and len(value) <= 40 else kind_of(value)
