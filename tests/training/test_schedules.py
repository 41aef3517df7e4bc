"""The learning rate of each step, by the formulas of the contract."""

import math

import numpy as np
import pytest

from falcon_mnist.training.hyperparams import Hyperparams
from falcon_mnist.training.schedules import learning_rates


def rates(schedule, epochs=4, per_epoch=5, lr=0.5):
    hyperparams = Hyperparams.model_validate({"epochs": epochs, "optimizer": {"lr": lr}, "schedule": schedule})
    whole = learning_rates(hyperparams, per_epoch, 0, epochs * per_epoch)
    assert whole.dtype == np.float32
    pieces = [learning_rates(hyperparams, per_epoch, first, 1) for first in range(epochs * per_epoch)]
    assert np.concatenate(pieces).tobytes() == whole.tobytes()
    return whole.tolist()


def as_float32(numbers):
    return np.array(numbers, np.float32).tolist()


def test_constant():
    assert rates({}) == [0.5] * 20


@pytest.mark.parametrize("kind", ["constant", "cosine", "step"])
def test_the_warm_up_rises_evenly_and_may_end_within_an_epoch(kind):
    assert rates({"type": kind, "warmup_epochs": 1.6})[:8] == as_float32([0.5 * (t + 1) / 8 for t in range(8)])


def test_cosine_falls_to_its_final_share():
    expected = [0.5 * (0.1 + 0.9 * (1 + math.cos(math.pi * (t - 5) / 15)) / 2) for t in range(5, 20)]
    found = rates({"type": "cosine", "final": 0.1, "warmup_epochs": 1})[5:]
    assert found[0] == 0.5
    assert found == pytest.approx(expected, rel=1e-7)


def test_steps_fall_after_every_so_many_epochs():
    assert rates({"type": "step", "every": 2, "factor": 0.25}) == [0.5] * 10 + [0.125] * 10


def test_a_warm_up_of_all_steps_needs_no_steps_after_it():
    assert rates({"type": "cosine", "warmup_epochs": 3.99}) == as_float32([0.5 * (t + 1) / 20 for t in range(20)])
