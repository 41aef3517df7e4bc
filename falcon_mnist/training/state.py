"""What training changes: enough to resume it from any interruption to the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypedDict

import numpy as np

from falcon_mnist import kernels
from falcon_mnist.constants import Array
from falcon_mnist.training import network
from falcon_mnist.training.hyperparams import Hyperparams


class Scalars(TypedDict):
    """All of a state that is no array, as JSON can hold it."""

    epoch: int
    done: int
    loss: float
    correct: int


@dataclass
class State:
    """Arrays by name, each a flat vector laid out as the parameters are, and where in the run they stand."""

    arrays: dict[str, Array]  # "parameters", and what the optimizer keeps between steps
    epoch: int = 0  # finished epochs
    done: int = 0  # rows of the current epoch that have been trained on
    loss: float = 0.0  # summed over them
    correct: int = 0

    @property
    def parameters(self) -> Array:
        """What the next step reads and changes."""
        return self.arrays["parameters"]

    def scalars(self) -> Scalars:
        """What is needed besides the arrays to make this state again."""
        return {"epoch": self.epoch, "done": self.done, "loss": self.loss, "correct": self.correct}

    @classmethod
    def of(cls, arrays: dict[str, Array], scalars: Mapping[str, Any]) -> Self:
        """The state with these arrays and what `scalars` gave; other members of `scalars` are ignored."""
        return cls(arrays, **{name: scalars[name] for name in Scalars.__annotations__})


def initial_state(net: kernels.Network, hyperparams: Hyperparams) -> State:
    """The state before the first epoch."""
    arrays = {"parameters": network.initial_parameters(net, hyperparams.seed)}
    if hyperparams.optimizer.momentum:
        arrays["velocity"] = np.zeros_like(arrays["parameters"])
    return State(arrays)
