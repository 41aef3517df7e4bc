"""What a contender must compute before it is timed."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from configurations import Configuration
from contenders.ours import initial

from falcon_mnist.constants import CLASSES, PIXELS
from falcon_mnist.kernels import reference


def check_training(contender: Any, configuration: Configuration) -> None:
    """A few steps, the last of them smaller, give the parameters and the loss that float64 gives.

    They are taken on few rows, and on no more than 64 at once.
    """
    configuration = dataclasses.replace(configuration, batch_size=min(configuration.batch_size, 64))
    count = 2 * configuration.batch_size + configuration.batch_size // 3
    images, labels = some_digits(count)
    order = np.random.default_rng(2).permutation(count)
    start = initial(configuration)
    velocity = np.zeros_like(start) if configuration.momentum else None
    batches = reference.Batches(images, labels, order, configuration.batch_size)
    _, loss, _, expected, _ = reference.train(
        configuration.layers, start, velocity, batches, configuration.lr, configuration.momentum
    )
    training = contender.training(configuration, images, labels, start)
    mean_loss = training.epoch(order)
    np.testing.assert_allclose(mean_loss, loss / count, rtol=1e-4, err_msg=contender.name)
    np.testing.assert_allclose(training.parameters(), expected, rtol=1e-3, atol=2e-5, err_msg=contender.name)


def some_digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of bytes, four in five of them 0, as in MNIST, and labels."""
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (count, PIXELS)) * (random.random((count, PIXELS)) < 0.2)
    return images.astype(np.uint8), random.integers(0, CLASSES, count).astype(np.uint8)
