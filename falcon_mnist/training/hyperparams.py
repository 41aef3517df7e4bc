"""Hyperparameters as data: merged as JSON, then validated, with every default filled in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from falcon_mnist.training.fields import INTEGRAL, REAL, Strict


class Sgd(Strict):
    """Stochastic gradient descent with classical (heavy-ball) momentum."""

    type: Literal["sgd"] = "sgd"
    lr: Annotated[float, Field(gt=0, le=100), REAL] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1), REAL] = 0.0


class Hyperparams(Strict):
    """How to train; every member is optional."""

    epochs: Annotated[int, Field(ge=1, le=1000), INTEGRAL] = 5
    batch_size: Annotated[int, Field(ge=1, le=4096), INTEGRAL] = 64
    optimizer: Sgd = Sgd()
    loss: Literal["cross_entropy"] = "cross_entropy"
    seed: Annotated[int, Field(ge=0, le=2**63 - 1), INTEGRAL] = 42
    train_split: Annotated[float, Field(gt=0, le=1), REAL] = 0.9
    shuffle: bool = True

    def merged(self, changes: Hyperparams) -> Hyperparams:
        """These, with the members that `changes` names (also inside `optimizer`) put over them."""
        ours = self.model_dump()
        theirs = changes.model_dump(exclude_unset=True)
        optimizer = ours["optimizer"] | theirs.pop("optimizer", {})
        return Hyperparams.model_validate(ours | theirs | {"optimizer": optimizer})
