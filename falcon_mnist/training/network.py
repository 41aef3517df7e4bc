"""From an architecture, as clients write it, to a network of the kernels and its parameters.

A network's parameters are one flat float32 vector, `W0 b0 W1 b1 …`, each `W` row-major (in, out): what an
optimizer updates in one pass, and what a file or an answer cuts into named arrays again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from falcon_mnist import kernels
from falcon_mnist.constants import Array

# One stream of random numbers for each purpose, so that none depends on how many another has drawn.
_INITIAL, SPLIT, SHUFFLE = range(3)


def build(architecture: Mapping[str, Any]) -> kernels.Network:
    """The network of a valid architecture. A final softmax is left out: it belongs to the loss."""
    width = int(architecture["input_size"])
    layers: list[tuple[str, int, int]] = []
    for layer in architecture["layers"]:
        if layer["type"] == "linear":
            layers.append(("linear", width, int(layer["out"])))
            width = int(layer["out"])
        elif layer["type"] != "softmax":
            layers.append((layer["type"], width, width))
    return kernels.Network(layers)


def generator(seed: int, purpose: int, index: int = 0) -> np.random.Generator:
    """The random numbers of a run for one purpose (and epoch `index`): a function of its arguments alone."""
    return np.random.default_rng([purpose, index, seed])


def initial_parameters(network: kernels.Network, seed: int) -> Array:
    """Uniform weights within a bound that keeps the variance from layer to layer, and zero biases.

    Before a relu the bound is sqrt(6 / in) (He et al. 2015, section 2.2), else sqrt(6 / (in + out))
    (Glorot and Bengio 2010, equation 16).
    """
    random = generator(seed, _INITIAL)
    parameters = np.zeros(network.parameter_count, dtype=np.float32)
    kinds = [kind for kind, _, _ in network.layers]
    linear = [index for index, kind in enumerate(kinds) if kind == "linear"]
    for index, (weight, _) in zip(linear, views(network, parameters), strict=True):
        inputs, outputs = weight.shape
        before_relu = kinds[index + 1 : index + 2] == ["relu"]
        bound = math.sqrt(6 / inputs if before_relu else 6 / (inputs + outputs))
        weight[:] = (2 * random.random(weight.shape, dtype=np.float32) - 1) * np.float32(bound)
    return parameters


def views(network: kernels.Network, parameters: Array) -> Iterator[tuple[Array, Array]]:
    """`(W, b)` of each linear layer, as views into the flat vector."""
    for weight_at, (inputs, outputs), bias_at in network.slices:
        weight = parameters[weight_at : weight_at + inputs * outputs].reshape(inputs, outputs)
        yield weight, parameters[bias_at : bias_at + outputs]


def tensors(network: kernels.Network, parameters: Array) -> dict[str, Array]:
    """The arrays under the names that files give them: `linear.0.W`, `linear.0.b`, `linear.1.W`, …"""
    named: dict[str, Array] = {}
    for index, (weight, bias) in enumerate(views(network, parameters)):
        named |= {f"linear.{index}.W": weight, f"linear.{index}.b": bias}
    return named


def flatten(network: kernels.Network, pairs: Sequence[tuple[Array, Array]]) -> Array:
    """The flat vector of `(W, b)` pairs, one for each linear layer, whose shapes are right."""
    parameters = np.empty(network.parameter_count, dtype=np.float32)
    for (weight, bias), (W, b) in zip(views(network, parameters), pairs, strict=True):  # noqa: N806
        weight[:] = W
        bias[:] = b
    return parameters


def named(architecture: Mapping[str, Any], network: kernels.Network, parameters: Array) -> list[dict[str, Any]]:
    """The `layers` of the API's parameters: every layer of the architecture, linear ones with `W` and `b`."""
    pairs = views(network, parameters)
    layers: list[dict[str, Any]] = []
    for layer in architecture["layers"]:
        if layer["type"] == "linear":
            weight, bias = next(pairs)
            layers.append({"type": "linear", "W": weight, "b": bias})
        else:
            layers.append({"type": layer["type"]})
    return layers
