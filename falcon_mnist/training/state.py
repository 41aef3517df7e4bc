"""What training changes: enough to resume it from any interruption to the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypedDict

import numpy as np

from falcon_mnist import kernels
from falcon_mnist.constants import Array
from falcon_mnist.training import network, optimizers
from falcon_mnist.training.hyperparams import Hyperparams


class Scalars(TypedDict):
    """All of a state that is no array, as JSON can hold it."""

    epoch: int
    done: int
    loss: float
    correct: int
    seconds: float
    best_epoch: int
    best_loss: float | None


@dataclass
class State:
    """Arrays by name, each a flat vector laid out as the parameters are, and where in the run they stand."""

    arrays: dict[str, Array]  # "parameters", what the optimizer keeps between steps, and "best", if that is to be kept
    epoch: int = 0  # finished epochs
    done: int = 0  # rows of the current epoch that have been trained on
    loss: float = 0.0  # summed over them
    correct: int = 0
    seconds: float = 0.0  # spent on them
    best_epoch: int = 0  # the earliest of lowest validation loss so far; 0 before there is one
    best_loss: float | None = None

    @property
    def parameters(self) -> Array:
        """What the next step reads and changes."""
        return self.arrays["parameters"]

    @property
    def evaluated(self) -> Array:
        """What is validated after an epoch: the average of the parameters, if there is one."""
        return self.arrays.get("average", self.parameters)

    @property
    def result(self) -> Array:
        """The parameters that a run ends with."""
        return self.arrays.get("best", self.evaluated)

    def begin_epoch(self) -> None:
        """Begin the next epoch."""
        self.epoch += 1
        self.done, self.loss, self.correct, self.seconds = 0, 0.0, 0, 0.0

    def scalars(self) -> Scalars:
        """What is needed besides the arrays to make this state again."""
        return {
            "epoch": self.epoch,
            "done": self.done,
            "loss": self.loss,
            "correct": self.correct,
            "seconds": self.seconds,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
        }

    @classmethod
    def of(cls, arrays: dict[str, Array], scalars: Mapping[str, Any]) -> Self:
        """The state with these arrays and what `scalars` gave; other members of `scalars` are ignored."""
        return cls(arrays, **{name: scalars[name] for name in Scalars.__annotations__ if name in scalars})


def initial_state(net: kernels.Network, hyperparams: Hyperparams, start: Array | None = None) -> State:
    """The state before the first epoch, with the parameters `start` or random ones."""
    arrays = {"parameters": network.initial_parameters(net, hyperparams.seed) if start is None else start.copy()}
    for name in optimizers.build(hyperparams).state:
        arrays[name] = arrays["parameters"].copy() if name == "average" else np.zeros_like(arrays["parameters"])
    return State(arrays)
