"""The learning rate of each step: a function of its number alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from falcon_mnist.constants import Array
from falcon_mnist.training.hyperparams import Cosine, Hyperparams, StepDecay


def learning_rate(hyperparams: Hyperparams, steps_per_epoch: int, step: int) -> float:
    """Of one step, not rounded."""
    return float(_rates(hyperparams, steps_per_epoch, step, 1)[0])


def learning_rates(hyperparams: Hyperparams, steps_per_epoch: int, first: int, count: int) -> Array:
    """Of `count` steps from step `first` of the run on, counted from 0; computed in float64, rounded to float32."""
    return _rates(hyperparams, steps_per_epoch, first, count).astype(np.float32)


def _rates(hyperparams: Hyperparams, steps_per_epoch: int, first: int, count: int) -> npt.NDArray[np.float64]:
    schedule, lr = hyperparams.schedule, hyperparams.optimizer.lr
    total = hyperparams.epochs * steps_per_epoch
    warm_up = round(schedule.warmup_epochs * steps_per_epoch)
    step = np.arange(first, first + count, dtype=np.float64)
    rates: npt.NDArray[np.float64] = np.full(count, lr)
    if isinstance(schedule, Cosine):
        part = (step - warm_up) / max(1, total - warm_up)
        rates = lr * (schedule.final + (1 - schedule.final) * (1 + np.cos(np.pi * part)) / 2)
    elif isinstance(schedule, StepDecay):
        rates = lr * schedule.factor ** (step // (schedule.every * steps_per_epoch))
    if warm_up:
        rates = np.where(step < warm_up, lr * (step + 1) / warm_up, rates)
    return rates
