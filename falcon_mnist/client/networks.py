"""Architectures by their widths."""

from __future__ import annotations

from typing import Any

from falcon_mnist.client.answers import Architecture
from falcon_mnist.constants import CLASSES, PIXELS


def network(*hidden: int, activation: str = "relu", softmax: bool = False) -> Architecture:
    """784 pixels, hidden layers of these widths with an activation behind each, and 10 classes."""
    layers: list[dict[str, Any]] = []
    before = PIXELS
    for width in hidden:
        layers += [{"type": "linear", "in": before, "out": width}, {"type": activation}]
        before = width
    layers.append({"type": "linear", "in": before, "out": CLASSES})
    if softmax:
        layers.append({"type": "softmax"})
    return {"input_size": PIXELS, "layers": layers}
