"""An architecture as data, as clients send it and the database keeps it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from falcon_mnist.constants import MAX_LAYERS
from falcon_mnist.training.fields import INTEGRAL, Size, Strict


class Linear(Strict):
    """A layer that computes `y = x·W + b`."""

    type: Literal["linear"]
    inputs: Size = Field(alias="in")
    outputs: Size = Field(alias="out")


class Activation(Strict):
    """A layer that works on each entry alone, or (softmax, only as the last layer) on each row."""

    type: Literal["relu", "sigmoid", "tanh", "softmax"]


ACTIVATIONS = ("relu", "sigmoid", "tanh", "softmax")
Layer = Annotated[Linear | Activation, Field(discriminator="type")]


class Architecture(Strict):
    """A chain of layers from 784 pixels to 10 classes."""

    input_size: Annotated[Literal[784], INTEGRAL]
    layers: Annotated[list[Layer], Field(min_length=1, max_length=MAX_LAYERS)]

    @property
    def linear(self) -> list[Linear]:
        """Its linear layers, in order."""
        return [layer for layer in self.layers if isinstance(layer, Linear)]
