"""JAX on the CPU: each operation compiled once; an epoch is one compiled scan over its batches."""

from __future__ import annotations

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from configurations import Configuration

from contenders.ours import Array, pairs

ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}
BACKWARD = {
    "relu": lambda y, d_y: jnp.where(y > 0, d_y, 0),
    "sigmoid": lambda y, d_y: d_y * y * (1 - y),
    "tanh": lambda y, d_y: d_y * (1 - y * y),
}
Layers = list[tuple[Any, Any]]


def _logits(layers: Layers, x: Any, activation: str) -> Any:
    for index, (weight, bias) in enumerate(layers):
        x = x @ weight + bias
        if index < len(layers) - 1:
            x = ACTIVATIONS[activation](x)
    return x


def _summed_loss(z: Any, labels: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(z), labels[:, None], axis=1).sum()


def _call(function: Callable[..., Any], *arrays: Array) -> Callable[[], Any]:
    compiled, given = jax.jit(function), [jnp.asarray(array) for array in arrays]
    return lambda: jax.block_until_ready(compiled(*given))


class Contender:
    """JAX with the threads that XLA takes."""

    isa = ""
    version = jax.__version__
    name = "JAX"

    def __init__(self, threads: int | None) -> None:
        self.threads = threads

    def use(self) -> None:
        """XLA has no number of threads that could be changed while it runs."""

    def as_numpy(self, result: Any) -> Any:
        return np.asarray(result) if isinstance(result, jax.Array) else result

    def gemm(self, a: Array, b: Array) -> Callable[[], Any]:
        return _call(jnp.matmul, a, b)

    def activation(self, kind: str, x: Array) -> Callable[[], Any]:
        return _call(ACTIVATIONS[kind], x)

    def activation_backward(self, kind: str, y: Array, d_y: Array) -> Callable[[], Any]:
        return _call(BACKWARD[kind], y, d_y)

    def loss(self, logits: Array, labels: Array) -> Callable[[], Any]:
        return _call(jax.value_and_grad(_summed_loss), logits, labels.astype(np.int32))

    def forward(self, configuration: Configuration, parameters: Array, rows: Array) -> Callable[[], Any]:
        layers = [(jnp.asarray(weight), jnp.asarray(bias)) for weight, bias in pairs(configuration, parameters)]
        compiled, x = jax.jit(partial(_logits, activation=configuration.activation)), jnp.asarray(rows)
        return lambda: jax.block_until_ready(compiled(layers, x))

    def training(self, configuration: Configuration, images: Array, labels: Array, parameters: Array) -> Training:
        return Training(configuration, images, labels, parameters)


class Training:
    """Whole batches in one scan, the rest of an epoch in a step of its own."""

    def __init__(self, configuration: Configuration, images: Array, labels: Array, start: Array) -> None:
        self._images = jnp.asarray(images.astype(np.float32) / np.float32(255))
        self._labels = jnp.asarray(labels.astype(np.int32))
        layers = [(jnp.asarray(weight), jnp.asarray(bias)) for weight, bias in pairs(configuration, start)]
        self._state = (layers, jax.tree.map(jnp.zeros_like, layers))
        self._batch_size = configuration.batch_size
        lr, momentum, activation = configuration.lr, configuration.momentum, configuration.activation

        def mean_loss(layers: Layers, x: Any, y: Any) -> Any:
            return _summed_loss(_logits(layers, x, activation), y) / len(y)

        def scan(state: Any, images: Any, labels: Any, batches: Any) -> Any:
            def step(state: Any, rows: Any) -> Any:
                layers, velocity = state
                loss, gradient = jax.value_and_grad(mean_loss)(layers, images[rows], labels[rows])
                if momentum:
                    gradient = velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradient)
                return (jax.tree.map(lambda w, g: w - lr * g, layers, gradient), velocity), loss * len(rows)

            state, losses = jax.lax.scan(step, state, batches)
            return state, losses.sum()

        self._scan = jax.jit(scan, donate_argnums=0)

    def epoch(self, order: Array) -> float:
        whole = len(order) - len(order) % self._batch_size
        total = 0.0
        for rows in (order[:whole].reshape(-1, self._batch_size), order[whole:].reshape(1, -1)):
            if rows.size:
                self._state, loss = self._scan(self._state, self._images, self._labels, rows.astype(np.int32))
                total += float(loss)
        return total / len(order)

    def parameters(self) -> Array:
        return np.concatenate([np.asarray(part).ravel() for pair in self._state[0] for part in pair])
