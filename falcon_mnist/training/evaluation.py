"""How a parameter set does on the test images: loss, accuracy, which digits are taken for which, and the mistakes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from falcon_mnist import kernels
from falcon_mnist.constants import CLASSES, Array

# A network that has learned nothing makes thousands; those that it was surest of tell most.
MOST_MISTAKES = 1000


def evaluate(
    net: kernels.Network, parameters: Array, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]
) -> dict[str, Any]:
    """Measure `parameters` on `images` (rows, 784) and `labels` (rows,); the answer is the same on any day.

    `loss` is the mean cross-entropy, None if it is not finite; `accuracy` a share; `confusion` (10, 10) counts images
    by true label and prediction; `mistakes` are `[index, label, predicted, confidence]`, surest first, MOST_MISTAKES of
    them at most.
    """
    logits = np.empty((len(labels), net.outputs), dtype=np.float32)
    net.forward(net.pack(parameters), images, logits, kernels.Workspace(net, net.micro_batch_rows))
    predicted = kernels.argmax(logits)
    loss, correct = kernels.softmax_cross_entropy(logits, labels)
    confusion = np.zeros((CLASSES, CLASSES), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    wrong = np.flatnonzero(predicted != labels)
    confidence = kernels.softmax(logits[wrong])[np.arange(len(wrong)), predicted[wrong]]
    surest = np.argsort(-confidence, kind="stable")[:MOST_MISTAKES]
    rows = wrong[surest]
    mistakes = zip(
        rows.tolist(), labels[rows].tolist(), predicted[rows].tolist(), confidence[surest].tolist(), strict=True
    )
    mean = loss / len(labels)
    return {
        "loss": mean if math.isfinite(mean) else None,
        "accuracy": correct / len(labels),
        "confusion": confusion.tolist(),
        "mistakes": [list(mistake) for mistake in mistakes],
    }
