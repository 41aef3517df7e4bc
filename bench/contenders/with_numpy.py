"""NumPy, written as one writes it by hand for speed: float32 throughout, in place where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from configurations import Configuration
from threadpoolctl import ThreadpoolController

from contenders.ours import Array, pairs

_POOLS = ThreadpoolController().select(user_api="blas")


def blas() -> str:
    """The kernels that NumPy's BLAS has chosen for this machine."""
    found = [each for each in _POOLS.info() if "numpy" in each["filepath"]]
    return ", ".join(f"{each['internal_api']} {each['version']} {each.get('architecture', '')}" for each in found)


def relu(x: Array, out: Array) -> None:
    np.maximum(x, np.float32(0), out=out)


def sigmoid(x: Array, out: Array) -> None:
    np.negative(x, out=out)
    np.exp(out, out=out)
    out += np.float32(1)
    np.reciprocal(out, out=out)


def tanh(x: Array, out: Array) -> None:
    np.tanh(x, out=out)


def relu_backward(y: Array, d: Array) -> None:
    d *= y > 0


def sigmoid_backward(y: Array, d: Array) -> None:
    d *= y
    d *= 1 - y


def tanh_backward(y: Array, d: Array) -> None:
    d *= 1 - y * y


FORWARD = {"relu": relu, "sigmoid": sigmoid, "tanh": tanh}
BACKWARD = {"relu": relu_backward, "sigmoid": sigmoid_backward, "tanh": tanh_backward}


def loss_and_gradient(z: Array, labels: Array) -> float:
    """Turn the logits into softmax(z) - onehot(labels); returns the loss summed over rows."""
    rows = np.arange(len(z))
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    loss = -np.log(z[rows, labels]).sum()
    z[rows, labels] -= 1
    return float(loss)


def sources(
    random: np.random.Generator, n: int, *, shift: float = 0, rotation: float = 0, scale: float = 0, shear: float = 0,
    elastic: float = 0, smoothness: float = 5,
) -> Array:  # fmt: skip
    """Where each pixel comes from: x and y, (n, 2, 784)."""
    ranges = np.array([shift, shift, np.radians(rotation), scale, scale, shear], np.float32)
    right, down, angle, wide, high, slant = (random.uniform(-1, 1, (n, 6)).astype(np.float32) * ranges).T
    s, c = np.sin(angle), np.cos(angle)
    inverse = np.empty((n, 2, 3), np.float32)  # of scale, shear, rotation, and shift
    inverse[:, 0, 0], inverse[:, 0, 1] = (c + slant * s) / (1 + wide), (s - slant * c) / (1 + wide)
    inverse[:, 1, 0], inverse[:, 1, 1] = -s / (1 + high), c / (1 + high)
    inverse[:, :, 2] = 13.5 - inverse[:, :, 0] * (13.5 + right[:, None]) - inverse[:, :, 1] * (13.5 + down[:, None])
    y, x = np.mgrid[:28, :28].astype(np.float32).reshape(2, 784)
    found = inverse @ np.stack([x, y, np.ones_like(x)])
    if elastic:
        noise = 2 * random.random((n, 2, 28, 28), dtype=np.float32) - 1
        weights = np.exp(-0.5 * (np.arange(200) / smoothness) ** 2)
        weights /= 2 * weights.sum() - 1
        g = weights[abs(np.arange(28)[:, None] - np.arange(28))].astype(np.float32)
        found += np.float32(elastic) * (g @ noise @ g).reshape(n, 2, 784)
    return found


def bilinear(padded: Array, x: Array, y: Array) -> Array:
    """Pixels at x and y (n, 784) of images (n, 32, 32) as one row of bytes, with a margin of two zeros: uint8."""
    x, y = np.clip(x + 2, 0, 30), np.clip(y + 2, 0, 30)
    left, top = x.astype(np.int32), y.astype(np.int32)
    x -= left
    y -= top
    at = top * 32 + left + 1024 * np.arange(len(x), dtype=np.int32)[:, None]
    above, below = (
        (1 - x) * padded[first] + x * padded[first + 1] for first in (at, at + 32)
    )  # fmt: skip
    return (above + y * (below - above) + np.float32(0.5)).astype(np.uint8)


class Contender:
    """NumPy with its BLAS limited to a number of threads."""

    isa = ""
    version = np.__version__

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.name = f"NumPy, {threads} thread{'s' * (threads > 1)}"

    def use(self) -> None:
        """Set the number of threads."""
        _POOLS.limit(limits=self.threads)

    def as_numpy(self, result: Any) -> Any:
        """Results are arrays already."""
        return result

    def gemm(self, a: Array, b: Array) -> Callable[[], Array]:
        out = np.empty((a.shape[0], b.shape[1]), np.float32)
        return lambda: np.matmul(a, b, out=out)

    def activation(self, kind: str, x: Array) -> Callable[[], Array]:
        forward, out = FORWARD[kind], np.empty_like(x)

        def call() -> Array:
            forward(x, out)
            return out

        return call

    def activation_backward(self, kind: str, y: Array, d_y: Array) -> Callable[[], Array]:
        backward, out = BACKWARD[kind], np.empty_like(y)

        def call() -> Array:
            np.copyto(out, d_y)
            backward(y, out)
            return out

        return call

    def loss(self, logits: Array, labels: Array) -> Callable[[], tuple[float, Array]]:
        out = np.empty_like(logits)

        def call() -> tuple[float, Array]:
            np.copyto(out, logits)
            return loss_and_gradient(out, labels), out

        return call

    def forward(self, configuration: Configuration, parameters: Array, rows: Array) -> Callable[[], Array]:
        layers = pairs(configuration, parameters)
        activate = FORWARD[configuration.activation]
        return lambda: _activations(layers, activate, rows)[-1]

    def augmentation(self, images: Array, settings: dict[str, float]) -> Callable[[], Array]:
        random = np.random.default_rng(1)
        padded = np.pad(images.reshape(-1, 28, 28), ((0, 0), (2, 2), (2, 2))).ravel()
        return lambda: bilinear(padded, *np.rollaxis(sources(random, len(images), **settings), 1))

    def training(self, configuration: Configuration, images: Array, labels: Array, parameters: Array) -> Training:
        return Training(configuration, images, labels, parameters)


def _activations(layers: list[tuple[Array, Array]], activate: Callable[[Array, Array], None], x: Array) -> list[Array]:
    """The input of each layer, and the logits."""
    found = [x]
    for index, (weight, bias) in enumerate(layers):
        x = x @ weight
        x += bias
        if index < len(layers) - 1:
            activate(x, x)
        found.append(x)
    return found


class Training:
    """Minibatch gradient descent on images that are float32 already."""

    def __init__(self, configuration: Configuration, images: Array, labels: Array, start: Array) -> None:
        self._images, self._labels = images.astype(np.float32) / np.float32(255), labels.astype(np.int64)
        self._flat, self._velocity = start.copy(), np.zeros_like(start)
        self._layers = pairs(configuration, self._flat)
        self._velocities = pairs(configuration, self._velocity)
        self._configuration = configuration

    def epoch(self, order: Array) -> float:
        loss, size = 0.0, self._configuration.batch_size
        for first in range(0, len(order), size):
            loss += self._step(order[first : first + size])
        return loss / len(order)

    def _step(self, rows: Array) -> float:
        lr, momentum = np.float32(self._configuration.lr), np.float32(self._configuration.momentum)
        activate, backward = (table[self._configuration.activation] for table in (FORWARD, BACKWARD))
        activations = _activations(self._layers, activate, self._images[rows])
        d = activations.pop()
        loss = loss_and_gradient(d, self._labels[rows])
        d /= len(rows)
        for index in range(len(self._layers) - 1, -1, -1):
            x = activations[index]
            step = (x.T @ d, d.sum(axis=0))
            if index > 0:
                d = d @ self._layers[index][0].T
                backward(x, d)
            for part, gradient, velocity in zip(self._layers[index], step, self._velocities[index], strict=True):
                if momentum:
                    velocity *= momentum
                    velocity += gradient
                    part -= lr * velocity
                else:
                    gradient *= lr
                    part -= gradient
        return loss

    def parameters(self) -> Array:
        return self._flat
