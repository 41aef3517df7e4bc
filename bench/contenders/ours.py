"""These kernels, one instruction set."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from configurations import Configuration

from falcon_mnist import kernels
from falcon_mnist.training import network

Array = np.ndarray[Any, Any]


class Ours:
    """One variant of the kernels. Training and augmentation can be shared among threads."""

    def __init__(self, isa: str, threads: int = 1) -> None:
        self.isa = isa
        self.threads = threads
        self.name = f"falcon-mnist, {isa}" + (f", {threads} threads" if threads > 1 else "")
        self.version = ""
        self.kernels = kernels.variant(isa)

    def use(self) -> None:
        """Nothing has to be set."""

    def as_numpy(self, result: Any) -> Any:
        """Results are arrays already."""
        return result

    def gemm(self, a: Array, b: Array) -> Callable[[], Array]:
        out = np.empty((a.shape[0], b.shape[1]), np.float32)
        gemm = self.kernels.gemm
        return lambda: gemm(a, b, out)

    def activation(self, kind: str, x: Array) -> Callable[[], Array]:
        forward, out = getattr(self.kernels, kind), np.empty_like(x)
        return lambda: forward(x, out)

    def activation_backward(self, kind: str, y: Array, d_y: Array) -> Callable[[], Array]:
        backward, out = getattr(self.kernels, f"{kind}_backward"), np.empty_like(y)
        return lambda: backward(y, d_y, out)

    def loss(self, logits: Array, labels: Array) -> Callable[[], tuple[float, Array]]:
        """Summed over rows, and its gradient."""
        d_logits = np.empty_like(logits)
        loss = self.kernels.softmax_cross_entropy
        return lambda: (loss(logits, labels, d_logits)[0], d_logits)

    def forward(self, configuration: Configuration, parameters: Array, rows: Array) -> Callable[[], Array]:
        net = self.kernels.Network(configuration.layers)
        workspace = self.kernels.Workspace(net, net.micro_batch_rows)
        packed, out = net.pack(parameters), np.empty((len(rows), net.outputs), np.float32)
        return lambda: net.forward(packed, rows, out, workspace)

    def augmentation(self, images: Array, settings: dict[str, float]) -> Callable[[], Array]:
        out, epochs = np.empty_like(images), itertools.count()
        augment, threads = self.kernels.augment, self.threads
        return lambda: augment(images, None, out, seed=1, epoch=next(epochs), threads=threads, **settings)

    def training(self, configuration: Configuration, images: Array, labels: Array, parameters: Array) -> Training:
        return Training(self, configuration, images, labels, parameters)


class Training:
    """`Network.train`, as the trainer calls it: on bytes."""

    def __init__(self, ours: Ours, configuration: Configuration, images: Array, labels: Array, start: Array) -> None:
        variant, self._threads = ours.kernels, ours.threads
        self._configuration = configuration
        self._images, self._labels = images, labels
        self._network = variant.Network(configuration.layers)
        rows = self._network.training_rows(configuration.batch_size)
        self._workspace = variant.Workspace(self._network, rows, training=True)
        self._parameters = start.copy()
        self._optimizer = variant.Optimizer("sgd", momentum=configuration.momentum)
        self._state = {name: np.zeros_like(start) for name in self._optimizer.state}

    def epoch(self, order: Array) -> float:
        """One pass over the rows in that order; returns the mean loss."""
        rates = np.full(-(-len(order) // self._configuration.batch_size), self._configuration.lr, np.float32)
        batches = kernels.Batches(self._images, self._labels, order, self._configuration.batch_size)
        steps = kernels.Steps(self._optimizer, rates)
        _, loss, _ = self._network.train(
            self._parameters, self._state, batches, steps, self._workspace, threads=self._threads
        )
        return float(loss / len(order))

    def parameters(self) -> Array:
        """The flat vector."""
        return self._parameters


def initial(configuration: Configuration) -> Array:
    """The parameters that every contender begins with."""
    return network.initial_parameters(kernels.Network(configuration.layers), seed=1)


def pairs(configuration: Configuration, parameters: Array) -> list[tuple[Array, Array]]:
    """`(W, b)` of each linear layer, as views."""
    return list(network.views(kernels.Network(configuration.layers), parameters))
