"""PyTorch on the CPU, as one writes it: a Sequential, SGD, tensors that are in memory once and picked by rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from configurations import Configuration

from contenders.ours import Array, pairs

BLOCK = 4096
ACTIVATIONS = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh}
BACKWARD = {
    "relu": lambda y, d_y: torch.ops.aten.threshold_backward(d_y, y, 0),
    "sigmoid": lambda y, d_y: torch.ops.aten.sigmoid_backward(d_y, y),
    "tanh": lambda y, d_y: torch.ops.aten.tanh_backward(d_y, y),
}


def sequential(configuration: Configuration, parameters: Array) -> torch.nn.Sequential:
    """The network with these parameters; PyTorch's weights are (out, in)."""
    layers: list[torch.nn.Module] = []
    for weight, bias in pairs(configuration, parameters):
        linear = torch.nn.Linear(*weight.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T.copy()))
            linear.bias.copy_(torch.from_numpy(bias.copy()))
        layers += [linear, ACTIVATIONS[configuration.activation]()]
    return torch.nn.Sequential(*layers[:-1])


def distorted(
    images: torch.Tensor, *, shift: float = 0, rotation: float = 0, scale: float = 0, shear: float = 0,
    elastic: float = 0, smoothness: float = 5,
) -> torch.Tensor:  # fmt: skip
    """Images (n, 1, 28, 28), uint8, distorted: (n, 784), uint8. grid_sample counts in half widths from the centre."""
    n, half = len(images), 13.5
    ranges = torch.tensor([shift / half, shift / half, math.radians(rotation), scale, scale, shear])
    right, down, angle, wide, high, slant = ((2 * torch.rand(n, 6) - 1) * ranges).T
    s, c = angle.sin(), angle.cos()
    inverse = torch.stack([(c + slant * s) / (1 + wide), (s - slant * c) / (1 + wide), -s / (1 + high), c / (1 + high)])
    inverse = inverse.T.reshape(n, 2, 2)
    moved = -inverse @ torch.stack([right, down], dim=1)[:, :, None]
    grid = torch.nn.functional.affine_grid(torch.cat([inverse, moved], dim=2), images.shape, align_corners=True)
    if elastic:
        distance = torch.arange(200.0)
        weights = torch.exp(-0.5 * (distance / smoothness) ** 2)
        weights /= 2 * weights.sum() - 1
        gaussian = weights[(distance[:28, None] - distance[:28]).abs().long()]  # faster than convolutions
        smooth = gaussian @ (2 * torch.rand(n, 2, 28, 28) - 1) @ gaussian
        grid += elastic / half * smooth.permute(0, 2, 3, 1)
    found = torch.nn.functional.grid_sample(images.float(), grid, align_corners=True)
    return (found + 0.5).to(torch.uint8).reshape(n, 784)


def optimizer_of(configuration: Configuration, model: torch.nn.Module) -> torch.optim.Optimizer:
    """As one writes it, so that biases decay too; without weight decay, it is ours."""
    lr, decay = configuration.lr, configuration.weight_decay
    if configuration.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay, fused=True)
    if configuration.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=lr, weight_decay=decay, fused=True)
    momentum, nesterov = configuration.momentum, configuration.nesterov
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=decay)


class Contender:
    """PyTorch limited to a number of threads."""

    isa = ""
    version = torch.__version__

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.name = f"PyTorch, {threads} thread{'s' * (threads > 1)}"

    def use(self) -> None:
        torch.set_num_threads(self.threads)

    def as_numpy(self, result: Any) -> Any:
        return result.detach().numpy() if isinstance(result, torch.Tensor) else result

    def gemm(self, a: Array, b: Array) -> Callable[[], torch.Tensor]:
        left, right, out = torch.from_numpy(a), torch.from_numpy(b), torch.empty(a.shape[0], b.shape[1])
        return lambda: torch.mm(left, right, out=out)

    def activation(self, kind: str, x: Array) -> Callable[[], torch.Tensor]:
        forward, tensor = getattr(torch, kind), torch.from_numpy(x)
        return lambda: forward(tensor)

    def activation_backward(self, kind: str, y: Array, d_y: Array) -> Callable[[], torch.Tensor]:
        backward, outputs, gradients = BACKWARD[kind], torch.from_numpy(y), torch.from_numpy(d_y)
        return lambda: backward(outputs, gradients)

    def loss(self, logits: Array, labels: Array) -> Callable[[], tuple[float, Array]]:
        z, classes = torch.from_numpy(logits).requires_grad_(), torch.from_numpy(labels.astype(np.int64))

        def call() -> tuple[float, Array]:
            loss = torch.nn.functional.cross_entropy(z, classes, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, z)
            return loss.item(), gradient.numpy()

        return call

    def forward(self, configuration: Configuration, parameters: Array, rows: Array) -> Callable[[], torch.Tensor]:
        model, x = sequential(configuration, parameters).eval(), torch.from_numpy(rows)

        def call() -> torch.Tensor:
            with torch.inference_mode():
                return model(x)

        return call

    def augmentation(self, images: Array, settings: dict[str, float]) -> Callable[[], torch.Tensor]:
        pixels = torch.from_numpy(images).reshape(-1, 1, 28, 28)
        return lambda: distorted(pixels, **settings)

    def training(self, configuration: Configuration, images: Array, labels: Array, parameters: Array) -> Training:
        return Training(configuration, images, labels, parameters)


class Training:
    """The usual loop; the loss is looked at once an epoch. BLOCK images are distorted at once."""

    def __init__(self, configuration: Configuration, images: Array, labels: Array, start: Array) -> None:
        self._augmentation = configuration.augmentation
        self._images = torch.from_numpy(images)
        if not self._augmentation and images.dtype == np.uint8:
            self._images = self._images / 255
        self._labels = torch.from_numpy(labels.astype(np.int64))
        self._model = sequential(configuration, start)
        self._optimizer = optimizer_of(configuration, self._model)
        self._loss = torch.nn.CrossEntropyLoss()
        self._batch_size = configuration.batch_size

    def epoch(self, order: Array) -> float:
        total = torch.zeros(())
        for images, labels in self._batches(torch.from_numpy(order)):
            self._optimizer.zero_grad()
            loss = self._loss(self._model(images), labels)
            loss.backward()
            self._optimizer.step()
            total += loss.detach() * len(labels)
        return total.item() / len(order)

    def accuracy(self, rows: Array) -> float:
        with torch.inference_mode():
            predicted = self._model(self._images[rows]).argmax(1)
            return (predicted == self._labels[rows]).float().mean().item()

    def _batches(self, order: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        if not self._augmentation:
            for rows in order.split(self._batch_size):
                yield self._images[rows], self._labels[rows]
            return
        for block in order.split(max(1, BLOCK // self._batch_size) * self._batch_size):
            images = distorted(self._images[block].reshape(-1, 1, 28, 28), **self._augmentation) / 255
            yield from zip(images.split(self._batch_size), self._labels[block].split(self._batch_size), strict=True)

    def parameters(self) -> Array:
        linear = [layer for layer in self._model if isinstance(layer, torch.nn.Linear)]
        parts = [part for layer in linear for part in (layer.weight.T, layer.bias)]
        return np.concatenate([part.detach().numpy().ravel() for part in parts])
