"""The kernels once more, in NumPy and float64: what each of them should compute, in as few lines as say it.

Nothing here works in place: results are new arrays. A network is its layers `(kind, inputs, outputs)` and
the flat vector of its parameters, as `Network` takes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]
Layers = Sequence[tuple[str, int, int]]

SIDE = 28  # of an image that is distorted, in pixels


def gemm(a: Array, b: Array, out: Array | None = None, *, alpha: float = 1, beta: float = 0) -> Float64:
    """`alpha * a @ b + beta * out`, (m, k) by (k, n); with beta 0 `out` is not read, with alpha 0 `a` and `b`."""
    result = np.zeros((a.shape[0], b.shape[1]))
    if alpha != 0:
        result += alpha * (_float64(a) @ _float64(b))
    if beta != 0:
        result += beta * _float64(out)
    return result


def relu(x: Array) -> Float64:
    """max(x, 0) of any shape, a NaN staying one."""
    return np.maximum(_float64(x), 0)


def sigmoid(x: Array) -> Float64:
    """1 / (1 + exp(-x)) of any shape, from exp(-|x|), which cannot overflow."""
    x = _float64(x)
    e = np.exp(-np.abs(x))
    result: Float64 = np.where(x < 0, e, 1) / (1 + e)
    return result


def tanh(x: Array) -> Float64:
    """The hyperbolic tangent of any shape."""
    return np.tanh(_float64(x))


def relu_backward(y: Array, d_y: Array) -> Float64:
    """The gradient for x, given y = relu(x) and the gradient for y; 0 where x is 0."""
    return np.where(_float64(y) > 0, _float64(d_y), 0)


def sigmoid_backward(y: Array, d_y: Array) -> Float64:
    """The gradient for x, given y = sigmoid(x) and the gradient for y."""
    y = _float64(y)
    return _float64(d_y) * y * (1 - y)


def tanh_backward(y: Array, d_y: Array) -> Float64:
    """The gradient for x, given y = tanh(x) and the gradient for y."""
    return _float64(d_y) * (1 - _float64(y) ** 2)


def softmax(x: Array) -> Float64:
    """exp(x) / sum(exp(x)) over each row of `x` (rows, columns), the largest value taken off first."""
    if x.size == 0:
        return _float64(x)
    e = np.exp(_float64(x) - x.max(axis=1, keepdims=True))
    result: Float64 = e / e.sum(axis=1, keepdims=True)
    return result


def softmax_backward(y: Array, d_y: Array) -> Float64:
    """The gradient for x (rows, columns), given y = softmax(x) and the gradient for y."""
    y, d_y = _float64(y), _float64(d_y)
    result: Float64 = y * (d_y - (d_y * y).sum(axis=1, keepdims=True))
    return result


def softmax_cross_entropy(logits: Array, labels: Array, smoothing: float = 0) -> tuple[float, int, Float64]:
    """The loss of `logits` (rows, classes) given `labels` (rows,), the rows that are right, the gradient.

    Loss is summed over rows; a row is right if its largest logit, the first of several, is the label's. The target is
    (1 - smoothing) * onehot(label) + smoothing / classes.
    """
    if logits.size == 0:
        return 0.0, 0, _float64(logits)
    z = _float64(logits)
    shifted = z - z.max(axis=1, keepdims=True)
    target = (1 - smoothing) * np.eye(z.shape[1])[labels] + smoothing / z.shape[1]
    loss = np.log(np.exp(shifted).sum(axis=1)) - (target * shifted).sum(axis=1)
    d_logits = softmax(z) - target
    return float(loss.sum()), int((z.argmax(axis=1) == labels).sum()), d_logits


def add_bias(x: Array, bias: Array) -> Float64:
    """`bias` (columns,) added to each row of `x` (rows, columns)."""
    return _float64(x) + _float64(bias)


def bias_backward(d_y: Array) -> Float64:
    """The gradient for the bias (columns,): `d_y` (rows, columns) summed over its rows."""
    result: Float64 = _float64(d_y).sum(axis=0)
    return result


def sgd(
    parameters: Array, gradients: Array, velocity: Array | None, learning_rate: float, momentum: float = 0
) -> tuple[Float64, Float64 | None]:
    """Parameters and velocity after one step: v = momentum * v + g, w = w - learning_rate * v."""
    step = _float64(gradients)
    if velocity is not None:
        velocity = step = momentum * _float64(velocity) + step
    return _float64(parameters) - learning_rate * step, velocity


@dataclass(frozen=True)
class Optimizer:
    """The update rule `sgd`, `adam` or `adamw`, as `torch.optim` has them.

    `weight_decay` may be an array with a value for each parameter.
    """

    kind: str
    momentum: float = 0
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float | Array = 0
    averaging: float = 0

    def update(
        self, parameters: Array, gradients: Array, state: dict[str, Array], learning_rate: float, step: int
    ) -> tuple[Float64, dict[str, Float64]]:
        """Parameters and state after step number `step` (from 0)."""
        w, g = _float64(parameters), _float64(gradients)
        arrays = {name: _float64(array) for name, array in state.items()}
        if self.kind == "adamw":
            w = w - learning_rate * self.weight_decay * w
        else:
            g = g + self.weight_decay * w
        if self.kind == "sgd":
            w = w - learning_rate * self._with_momentum(g, arrays)
        else:
            w = w - learning_rate * self._scaled(g, arrays, step + 1)
        if "average" in arrays:
            decay = min(self.averaging, (1 + step) / (10 + step))
            arrays["average"] = decay * arrays["average"] + (1 - decay) * w
        return w, arrays

    def _with_momentum(self, g: Float64, arrays: dict[str, Float64]) -> Float64:
        if "velocity" not in arrays:
            return g
        velocity = arrays["velocity"] = self.momentum * arrays["velocity"] + g
        return g + self.momentum * velocity if self.nesterov else velocity

    def _scaled(self, g: Float64, arrays: dict[str, Float64], steps: int) -> Float64:
        """Adam's mean gradient over the root of the mean squared gradient, both corrected for their start at 0."""
        arrays["first_moment"] = self.beta1 * arrays["first_moment"] + (1 - self.beta1) * g
        arrays["second_moment"] = self.beta2 * arrays["second_moment"] + (1 - self.beta2) * g**2
        m = arrays["first_moment"] / (1 - self.beta1**steps)
        v = arrays["second_moment"] / (1 - self.beta2**steps)
        result: Float64 = m / (np.sqrt(v) + self.eps)
        return result


def forward(layers: Layers, parameters: Array, inputs: Array) -> Float64:
    """The outputs (n, outputs) of a network for `inputs` (n, inputs), uint8 counting as byte / 255."""
    return _activations(layers, parameters, inputs)[-1]


def gradients(
    layers: Layers,
    parameters: Array,
    images: Array,
    labels: Array,
    order: Array | None = None,
    *,
    scales: Mapping[int, Array] | None = None,
) -> tuple[float, int, Float64]:
    """Loss summed over the picked rows, rows that are right, and the gradient of their mean loss.

    The gradient has the layout of `parameters`, (parameter_count,). With dropout, `scales` holds what multiplies the
    output of layers, (n, units) by layer index: 0 or 1 / (1 - rate).
    """
    picked: Any = slice(None) if order is None else order
    scales = scales or {}
    activations = _activations(layers, parameters, images[picked], scales)
    loss, correct, d = softmax_cross_entropy(activations[-1], labels[picked])
    d /= max(len(d), 1)
    gradient = np.zeros(parameters.shape)
    parts = list(zip(layers, _linear_parts(layers, gradient), _linear_parts(layers, parameters), strict=True))
    for index in reversed(range(len(layers))):
        (kind, _, _), parts_of_gradient, part = parts[index]
        x, y = activations[index], activations[index + 1]
        if index in scales:
            y = np.divide(y, scales[index], out=np.zeros_like(y), where=scales[index] != 0)
            d = d * scales[index]
        if part is not None and parts_of_gradient is not None:
            parts_of_gradient[0][:] = x.T @ d
            parts_of_gradient[1][:] = bias_backward(d)
            d = d @ _float64(part[0]).T
        else:
            d = BACKWARD[kind](y, d)
    return loss, correct, gradient


class Batches(NamedTuple):
    """Batches of the rows that `order` picks, the last taking what is left."""

    images: Array
    labels: Array
    order: Array
    batch_size: int


def train(
    layers: Layers,
    parameters: Array,
    velocity: Array | None,
    batches: Batches,
    learning_rate: float,
    momentum: float,
) -> tuple[int, float, int, Float64, Array | None]:
    """One pass of SGD over the batches.

    Returns (batches, loss summed over rows before each step, rows that were right, parameters, velocity).
    """
    images, labels, order, batch_size = batches
    total, right, count = 0.0, 0, 0
    weights = _float64(parameters)
    for first in range(0, len(order), batch_size):
        loss, correct, gradient = gradients(layers, weights, images, labels, order[first : first + batch_size])
        weights, velocity = sgd(weights, gradient, velocity, learning_rate, momentum)
        total, right, count = total + loss, right + correct, count + 1
    return count, total, right, weights, velocity


def random_words(key: Sequence[int], counters: Array) -> npt.NDArray[np.uint32]:
    """Philox4x32-10 of counters (..., 4), each with 4 words."""
    mask = np.uint64(0xFFFFFFFF)
    k0, k1 = key
    c0, c1, c2, c3 = np.moveaxis(counters.astype(np.uint64), -1, 0)
    for _ in range(10):
        p, q = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (q >> 32) ^ c1 ^ np.uint64(k0), q & mask, (p >> 32) ^ c3 ^ np.uint64(k1), p & mask
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def dropout_scales(numbers: Array, width: int, rate: float, *, seed: int, epoch: int, stream: int) -> Float64:
    """What dropout multiplies `width` numbers of images of these numbers with, (n, width): 0 or 1 / (1 - rate).

    `stream` is 2 for pixels, and 16 + i for units behind linear layer i.
    """
    groups = -(-width // 64)
    counters = np.empty((len(numbers), 16 * groups, 4), dtype=np.uint64)
    counters[..., 0], counters[..., 1] = np.arange(16 * groups), numbers[:, None]
    counters[..., 2], counters[..., 3] = epoch, stream
    words = random_words((seed & 0xFFFFFFFF, seed >> 32), counters)
    words = words.reshape(len(numbers), groups, 16, 4).swapaxes(2, 3).reshape(len(numbers), 64 * groups)
    return np.where(words[:, :width] < round(rate * 2**32), 0, 1 / (1 - rate))


def augmentation_draws(numbers: Array, seed: int, epoch: int) -> tuple[Float64, Float64]:
    """What is drawn for images of these numbers, uniform in ±1: six numbers (n, 6) and noise (n, 2, 28, 28)."""
    blocks = np.arange(114)
    counters = np.empty((len(numbers), len(blocks), 4), dtype=np.uint64)
    counters[..., 0], counters[..., 1], counters[..., 2], counters[..., 3] = blocks, numbers[:, None], epoch, 1
    words = random_words((seed & 0xFFFFFFFF, seed >> 32), counters)
    six = words[:, 112:].reshape(-1, 8)[:, :6].astype(np.int32)
    octets = words[:, :112].astype("<u4").view(np.int8).reshape(-1, 7, 16, 2, 2, 4)[..., [1, 3, 0, 2]]
    noise = octets.transpose(0, 3, 1, 5, 4, 2).reshape(-1, 2, SIDE, 32)[..., :SIDE]  # 4 rows and 16 columns in a block
    return (six + 0.5) / 2**31, (noise + 0.5) / 128


def gaussian_matrix(sigma: float) -> Float64:
    """A matrix (28, 28): a product with it smooths by a Gaussian; noise beyond the edges counts as 0."""
    weights = np.exp(-0.5 * (np.arange(12 * sigma + SIDE) / sigma) ** 2)
    weights /= 2 * weights.sum() - 1
    matrix: Float64 = weights[abs(np.arange(SIDE)[:, None] - np.arange(SIDE))]
    return matrix


@dataclass(frozen=True)
class Distortion:
    """The largest distortions: pixels, degrees, shares, and the factor and sigma of elastic displacements in pixels."""

    shift: float = 0
    rotation: float = 0
    scale: float = 0
    shear: float = 0
    elastic: float = 0
    smoothness: float = 5

    @property
    def largest(self) -> list[float]:
        """Bounds of the six numbers that are drawn: shift right and down, angle, scale of width and height, shear."""
        return [self.shift, self.shift, math.radians(self.rotation), self.scale, self.scale, self.shear]


def augment(images: Array, order: Array | None, by: Distortion, *, seed: int, epoch: int) -> Float64:
    """Images (n, 784) that `order` picks: scaled, sheared, turned and shifted, with elastic displacements; 0 to 255."""
    numbers = np.arange(len(images)) if order is None else order
    six, noise = augmentation_draws(numbers, seed, epoch)
    right, down, angle, wide, high, slant = (six * by.largest).T
    sheared = np.zeros((len(numbers), 2, 2))
    sheared[:, 0, 0], sheared[:, 0, 1], sheared[:, 1, 1] = 1, slant, 1
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    inverse = np.linalg.inv(turned @ sheared * np.stack([1 + wide, 1 + high], axis=-1)[:, None, :])
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    moved = np.stack([x - right[:, None, None], y - down[:, None, None]], axis=1)
    g = gaussian_matrix(by.smoothness)
    source = np.einsum("nij,njyx->niyx", inverse, moved) + (SIDE - 1) / 2 + by.elastic * (g @ noise @ g.T)
    return _bilinear(_float64(images[numbers]).reshape(-1, SIDE, SIDE), source[:, 0], source[:, 1]).reshape(
        -1, SIDE * SIDE
    )


def _bilinear(images: Float64, x: Float64, y: Float64) -> Float64:
    """Images (n, 28, 28) at places (n, 28, 28), 0 outside."""
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    x, y = np.clip(x + 2, 0, SIDE + 2), np.clip(y + 2, 0, SIDE + 2)
    left, top, image = x.astype(int), y.astype(int), np.arange(len(images))[:, None, None]
    u, v = x - left, y - top
    above = padded[image, top, left] * (1 - u) + padded[image, top, left + 1] * u
    below = padded[image, top + 1, left] * (1 - u) + padded[image, top + 1, left + 1] * u
    result: Float64 = above * (1 - v) + below * v
    return result


FORWARD = {"relu": relu, "sigmoid": sigmoid, "tanh": tanh}
BACKWARD = {"relu": relu_backward, "sigmoid": sigmoid_backward, "tanh": tanh_backward}


def _float64(x: Any) -> Float64:
    return np.asarray(x, dtype=np.float64)


def _activations(
    layers: Layers, parameters: Array, inputs: Array, scales: Mapping[int, Array] | None = None
) -> list[Float64]:
    """The input of each layer, (n, its inputs), then the network's output; `scales` multiplies outputs of layers."""
    activations = [_float64(inputs) / 255 if inputs.dtype == np.uint8 else _float64(inputs)]
    for index, ((kind, _, _), part) in enumerate(zip(layers, _linear_parts(layers, parameters), strict=True)):
        x = activations[-1]
        y = FORWARD[kind](x) if part is None else add_bias(gemm(x, part[0]), part[1])
        activations.append(y if scales is None or index not in scales else y * scales[index])
    return activations


def _linear_parts(layers: Layers, flat: Array) -> Iterator[tuple[Array, Array] | None]:
    """For each layer W (inputs, outputs) and b (outputs,) as views into `flat`; None for an activation."""
    at = 0
    for kind, inputs, outputs in layers:
        if kind == "linear":
            bias_at = at + inputs * outputs
            yield flat[at:bias_at].reshape(inputs, outputs), flat[bias_at : bias_at + outputs]
            at = bias_at + outputs
        else:
            yield None
