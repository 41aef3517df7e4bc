"""Hyperparameters as data: merged as JSON, then validated, with every default filled in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from falcon_mnist.training.fields import INTEGRAL, REAL, Strict

LearningRate = Annotated[float, Field(gt=0, le=100), REAL]
WeightDecay = Annotated[float, Field(ge=0, le=1), REAL]
Decay = Annotated[float, Field(ge=0, lt=1), REAL]


class Sgd(Strict):
    """Stochastic gradient descent with classical (heavy-ball) or Nesterov momentum."""

    type: Literal["sgd"] = "sgd"
    lr: LearningRate = 0.1
    momentum: Decay = 0.0
    nesterov: bool = False
    weight_decay: WeightDecay = 0.0


class Adam(Strict):
    """Adam; weight decay is added to the gradient. Biases are not decayed."""

    type: Literal["adam"]
    lr: LearningRate = 0.001
    beta1: Decay = 0.9
    beta2: Decay = 0.999
    eps: Annotated[float, Field(gt=0, le=1), REAL] = 1e-8
    weight_decay: WeightDecay = 0.0


class AdamW(Adam):
    """Adam with decoupled weight decay. Biases are not decayed."""

    type: Literal["adamw"]  # type: ignore[assignment]
    weight_decay: WeightDecay = 0.01


class Constant(Strict):
    """The same learning rate in all steps after the warm-up, which may end within an epoch."""

    type: Literal["constant"] = "constant"
    warmup_epochs: Annotated[float, Field(ge=0), REAL] = 0.0


class Cosine(Constant):
    """After the warm-up, half a wave from the learning rate down to `final` times it."""

    type: Literal["cosine"]  # type: ignore[assignment]
    final: Annotated[float, Field(ge=0, le=1), REAL] = 0.0


class StepDecay(Constant):
    """The learning rate times `factor` after every so many epochs."""

    type: Literal["step"]  # type: ignore[assignment]
    every: Annotated[int, Field(ge=1, le=2**63 - 1), INTEGRAL] = 10
    factor: Annotated[float, Field(gt=0, le=1), REAL] = 0.1


class Dropout(Strict):
    """The shares of pixels, and of units behind each hidden layer's activation, that are 0 in a step of training."""

    input: Decay = 0.0
    hidden: Decay = 0.0


class Augmentation(Strict):
    """The largest distortions of a training image, drawn again in every epoch: affine, then elastic (Simard 2003)."""

    shift: Annotated[float, Field(ge=0, le=10), REAL] = 0.0
    rotation: Annotated[float, Field(ge=0, le=180), REAL] = 0.0
    scale: Annotated[float, Field(ge=0, le=0.9), REAL] = 0.0
    shear: Annotated[float, Field(ge=0, le=1), REAL] = 0.0
    elastic: Annotated[float, Field(ge=0, le=200), REAL] = 0.0
    smoothness: Annotated[float, Field(ge=0.5, le=20), REAL] = 5.0


class EarlyStopping(Strict):
    """The run succeeds early when `val_loss` has not improved for so many epochs."""

    patience: Annotated[int, Field(ge=1, le=1000), INTEGRAL] = 10


def _typed(default: str) -> BeforeValidator:
    """An object without a `type` has this one."""
    return BeforeValidator(lambda value: {"type": default, **value} if isinstance(value, dict) else value)


class Hyperparams(Strict):
    """How to train; every member is optional."""

    epochs: Annotated[int, Field(ge=1, le=1000), INTEGRAL] = 5
    batch_size: Annotated[int, Field(ge=1, le=4096), INTEGRAL] = 64
    optimizer: Annotated[Sgd | Adam | AdamW, Field(discriminator="type"), _typed("sgd")] = Sgd()
    schedule: Annotated[Constant | Cosine | StepDecay, Field(discriminator="type"), _typed("constant")] = Constant()
    dropout: Dropout = Dropout()
    label_smoothing: Decay = 0.0
    augmentation: Augmentation | None = None
    averaging: Decay = 0.0
    loss: Literal["cross_entropy"] = "cross_entropy"
    seed: Annotated[int, Field(ge=0, le=2**63 - 1), INTEGRAL] = 42
    train_split: Annotated[float, Field(gt=0, le=1), REAL] = 0.9
    shuffle: bool = True
    early_stopping: EarlyStopping | None = None
    keep: Literal["last", "best"] = "last"

    @field_validator("schedule")
    @classmethod
    def _warm_up_ends(cls, schedule: Constant, others: ValidationInfo) -> Constant:
        epochs = others.data.get("epochs")
        if epochs is not None and schedule.warmup_epochs >= epochs:
            raise _rule(
                f"warmup_epochs must be less than epochs ({epochs}), but is {schedule.warmup_epochs:g}", "warmup_epochs"
            )
        return schedule

    @field_validator("early_stopping", "keep")
    @classmethod
    def _has_validation_rows(cls, value: EarlyStopping | str | None, others: ValidationInfo) -> Any:
        if value not in (None, "last") and others.data.get("train_split") == 1:
            raise _rule("needs a validation set: train_split must be less than 1")
        return value


def _rule(detail: str, *at: str) -> PydanticCustomError:
    """A fault that no single member shows, at this place within the validated one."""
    return PydanticCustomError("rule", "{detail}", {"detail": detail, "at": list(at)})


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
    """Hyperparameters that an earlier version may have stored, with the defaults of members added since.

    What is returned is shared, and not to be changed: a list of runs shows the same hyperparameters again and again.
    """
    return _normalised(json.dumps(stored))


@lru_cache(1000)
def _normalised(stored: str) -> dict[str, Any]:
    return Hyperparams.model_validate(json.loads(stored)).model_dump()
