"""Faults between the members of a body: an architecture's layers, the parameters beside it, the outputs asked for.

What has a wrong type is skipped: its schema says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from falcon_mnist.api.json_body import shape_of
from falcon_mnist.api.schemas import Return
from falcon_mnist.api.sentences import Faults, Place
from falcon_mnist.constants import CLASSES, MAX_LAYERS, MAX_LINEAR_LAYERS, PIXELS
from falcon_mnist.training.architecture import ACTIVATIONS
from falcon_mnist.training.fields import integral


def architecture_faults(architecture: Any, max_parameters: int) -> Faults:
    """Faults between members: sizes, order and count of the layers. Skips what has a wrong type."""
    if not isinstance(architecture, dict) or not isinstance(architecture.get("layers"), list):
        return
    layers = architecture["layers"][:MAX_LAYERS]
    here: Place = ("architecture", "layers")
    width: int | None = PIXELS
    parameters = linear = values = 0
    for index, layer in enumerate(layers):
        kind = layer.get("type") if isinstance(layer, dict) else None
        if kind == "softmax" and index != len(architecture["layers"]) - 1:
            yield (*here, index), "softmax is allowed only as the last layer"
        if kind != "linear":
            width = width if kind in ACTIVATIONS else None  # unknown behind a layer of an unknown kind
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


def parameter_faults(architecture: Any, parameters: Any) -> Faults:
    """Where parameters do not fit their architecture. Skips what has a wrong type."""
    ours = architecture.get("layers") if isinstance(architecture, dict) else None
    theirs = parameters.get("layers") if isinstance(parameters, dict) else None
    if not isinstance(ours, list) or not isinstance(theirs, list):
        return
    here: Place = ("parameters", "layers")
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


def _shape_faults(here: Place, layer: dict[str, Any], values: dict[str, Any]) -> Faults:
    inputs, outputs = _size(layer.get("in")), _size(layer.get("out"))
    if inputs is None or outputs is None:
        return
    for name, shape in (("W", (inputs, outputs)), ("b", (outputs,))):
        found = shape_of(values.get(name))
        if found is not None and len(found) == len(shape) and found != shape:
            yield (*here, name), f"must have shape {_by(shape)}, but has {_by(found)}"


def return_faults(returns: Any) -> Faults:
    """Where no output at all is asked for."""
    if isinstance(returns, dict):
        wanted = Return().model_dump() | returns
        if all(wanted[name] is False for name in Return.model_fields):
            yield ("return",), "at least one of logits, probabilities, labels must be true"


def _size(value: Any) -> int | None:
    value = integral(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31 else None


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
