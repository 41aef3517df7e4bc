"""Hyperparameters as data: merged as JSON, then validated, with every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

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


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`overrides` put over `base`, member by member, also inside nested objects (as RFC 7396, but null is a value).

    Where an override changes an object's `type`, or lies over null, its other members have their defaults: those that
    `Hyperparams` fills in.
    """
    merged = dict(base)
    for name, value in overrides.items():
        below = merged.get(name)
        if isinstance(value, Mapping) and isinstance(below, Mapping) and _same_type(below, value):
            value = {**below, **value}
        merged[name] = value
    return merged


def _same_type(below: Mapping[str, Any], override: Mapping[str, Any]) -> bool:
    return "type" not in override or override["type"] == below.get("type")


def normalised(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters that an earlier version may have stored, with the defaults of members added since."""
    return Hyperparams.model_validate(stored).model_dump()
