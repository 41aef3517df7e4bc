"""scikit-learn's MLPClassifier, an epoch being one call of partial_fit."""

from __future__ import annotations

import numpy as np
import sklearn
from configurations import CLASSES, Configuration
from sklearn.neural_network import MLPClassifier

from contenders import with_numpy
from contenders.ours import Array, pairs

ACTIVATIONS = {"relu": "relu", "sigmoid": "logistic", "tanh": "tanh"}


class Contender:
    """scikit-learn, which multiplies with NumPy's BLAS; it trains, and offers nothing else to compare."""

    isa = ""
    version = sklearn.__version__

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.name = f"scikit-learn, {threads} thread{'s' * (threads > 1)}"

    def use(self) -> None:
        with_numpy.Contender(self.threads).use()

    def as_numpy(self, result: float) -> float:
        """A loss."""
        return result

    def training(self, configuration: Configuration, images: Array, labels: Array, parameters: Array) -> Training:
        return Training(configuration, images, labels, parameters)


class Training:
    """Batches in the given order: shuffling is left to the caller, as for the others."""

    def __init__(self, configuration: Configuration, images: Array, labels: Array, start: Array) -> None:
        self._images, self._labels = images.astype(np.float32) / np.float32(255), labels
        self._classifier = MLPClassifier(
            configuration.hidden, activation=ACTIVATIONS[configuration.activation], solver="sgd", alpha=0,
            batch_size=configuration.batch_size, learning_rate_init=configuration.lr, shuffle=False,
            momentum=configuration.momentum, nesterovs_momentum=False,
        )  # fmt: skip
        self._classes = np.arange(CLASSES)
        rows = np.arange(configuration.batch_size)
        self.epoch(rows)  # it makes its parameters at the first call; the optimizer keeps references to them
        for (weight, bias), coefs, intercepts in zip(
            pairs(configuration, start), self._classifier.coefs_, self._classifier.intercepts_, strict=True
        ):
            coefs[:], intercepts[:] = weight, bias
        for velocity in self._classifier._optimizer.velocities:
            velocity[:] = 0

    def epoch(self, order: Array) -> float:
        self._classifier.partial_fit(self._images[order], self._labels[order], classes=self._classes)
        return float(self._classifier.loss_curve_[-1])

    def parameters(self) -> Array:
        parts = zip(self._classifier.coefs_, self._classifier.intercepts_, strict=True)
        return np.concatenate([part.ravel() for pair in parts for part in pair])
