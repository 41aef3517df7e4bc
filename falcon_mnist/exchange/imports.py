"""Reads safetensors files, our own and PyTorch's, into an architecture and its arrays.

PyTorch's `state_dict` of `Linear` layers holds `*.weight` (out, in) and `*.bias` (out) for each, and nothing about the
activations between them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import orjson
import safetensors.numpy

from falcon_mnist.constants import CLASSES, MAX_LINEAR_LAYERS, PIXELS, Array
from falcon_mnist.exchange import safetensors_header
from falcon_mnist.exchange.safetensors_header import ExchangeError, Header

# The activations that a client may name for a file that does not hold its architecture.
ACTIVATIONS = ("relu", "sigmoid", "tanh")

_OURS = re.compile(r"linear\.\d+\.[Wb]")


class ActivationError(Exception):
    """The activation is missing, or given for a file that holds its own; the message is one clause about it."""


class Imported(NamedTuple):
    """An architecture, not validated yet, and `(W, b)` of each linear layer."""

    architecture: Any
    pairs: list[tuple[Array, Array]]


def parse(data: bytes, activation: str | None) -> Imported:
    """What a safetensors file holds; `activation` stands between the layers of one that does not say.

    Raises `ExchangeError`, `ActivationError`.
    """
    header = safetensors_header.read(data)
    if not header.shapes:
        raise ExchangeError("", "holds no tensors")
    ours = all(_OURS.fullmatch(name) for name in header.shapes)
    layers = _our_layers(header) if ours else _pytorch_layers(header)
    if ours and "architecture" in header.metadata:
        if activation is not None:
            raise ActivationError("is not for files of falcon-mnist, which say it themselves")
        architecture = _architecture(header)
    elif activation is None:
        raise ActivationError("is required: the file does not say what stands between its layers")
    else:
        architecture = _chain(layers, activation)
    tensors = _load(data)
    return Imported(architecture, [_pair(tensors, layer) for layer in layers])


class _Layer(NamedTuple):
    """A linear layer as it stands in a file: the names of its tensors, and the shape of `W` as we have it."""

    weight: str
    bias: str
    inputs: int
    outputs: int
    transposed: bool


def _our_layers(header: Header) -> list[_Layer]:
    names = sorted({name[:-1] for name in header.shapes}, key=_natural)
    return [_layer(header, f"{name}W", f"{name}b", transposed=False) for name in names]


def _pytorch_layers(header: Header) -> list[_Layer]:
    for name in header.shapes:
        if not name.endswith((".weight", ".bias")):
            raise ExchangeError(name, "is not the weight or bias of a Linear layer")
    names = sorted({name.rpartition(".")[0] for name in header.shapes}, key=_natural)
    if len(names) > MAX_LINEAR_LAYERS:
        raise ExchangeError("", f"holds {len(names)} layers, and at most {MAX_LINEAR_LAYERS} are allowed")
    layers = [_layer(header, f"{name}.weight", f"{name}.bias", transposed=True) for name in names]
    # Numbered names, as Sequential's, give the order, unless the shapes fit in exactly one other order.
    fitting = [order for order in permutations(layers) if _fault(order) is None]
    return layers if tuple(layers) in fitting or len(fitting) != 1 else list(fitting[0])


def _layer(header: Header, weight: str, bias: str, *, transposed: bool) -> _Layer:
    for name, dimensions in ((weight, 2), (bias, 1)):
        if name not in header.shapes:
            raise ExchangeError(name, "is not there, and each layer has a weight and a bias")
        if len(header.shapes[name]) != dimensions:
            raise ExchangeError(name, f"must have {dimensions} dimensions, but has {_by(header.shapes[name])}")
    shape = header.shapes[weight]
    inputs, outputs = reversed(shape) if transposed else shape
    if header.shapes[bias] != (outputs,):
        raise ExchangeError(bias, f"must have shape {outputs}, as {weight} says, but has {_by(header.shapes[bias])}")
    return _Layer(weight, bias, inputs, outputs, transposed)


def _chain(layers: Sequence[_Layer], activation: str) -> dict[str, Any]:
    """The architecture of layers with an activation between each two. Raises `ExchangeError`."""
    if (fault := _fault(layers)) is not None:
        raise fault
    made: list[dict[str, Any]] = []
    for layer in layers:
        made += [{"type": "linear", "in": layer.inputs, "out": layer.outputs}, {"type": activation}]
    return {"input_size": PIXELS, "layers": made[:-1]}


def _fault(layers: Sequence[_Layer]) -> ExchangeError | None:
    """The first shape that does not fit a network from 784 pixels to 10 classes; None if all fit."""
    expected, whose = PIXELS, "the pixels"
    for layer in layers:
        if layer.inputs != expected:
            found, wanted = (layer.outputs, layer.inputs), (layer.outputs, expected)
            if not layer.transposed:
                found, wanted = found[::-1], wanted[::-1]
            return ExchangeError(layer.weight, f"has shape {_by(found)}, but behind {whose} it must have {_by(wanted)}")
        expected, whose = layer.outputs, layer.weight
    if expected != CLASSES:
        last = layers[-1]
        return ExchangeError(last.weight, f"is the last layer and gives {expected} values, but must give {CLASSES}")
    return None


def _architecture(header: Header) -> Any:
    try:
        return orjson.loads(header.metadata["architecture"])
    except orjson.JSONDecodeError:
        raise ExchangeError("", "has an architecture in its metadata that is not JSON") from None


def _load(data: bytes) -> dict[str, Array]:
    try:
        return dict(safetensors.numpy.load(data))
    except Exception:  # of many kinds, for offsets that overlap and the like
        raise ExchangeError("", "is not a safetensors file: its header does not fit its bytes") from None


def _pair(tensors: dict[str, Array], layer: _Layer) -> tuple[Array, Array]:
    for name in (layer.weight, layer.bias):
        if not np.isfinite(tensors[name]).all():
            raise ExchangeError(name, "holds values that are not finite")
    weight = tensors[layer.weight]
    return weight.T if layer.transposed else weight, tensors[layer.bias]


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key: numbers by value, so `layer.10` comes after `layer.9`; `layer.01` and `layer.1` have a fixed order."""
    parts = re.split(r"(\d+)", name[:1000])  # numbers stand at the odd places
    return [(0, int(part), part) if index % 2 else (1, 0, part) for index, part in enumerate(parts) if part]


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "none"
