"""A training that is resumed from any state it could be saved in ends with the bits of an undisturbed one."""

import copy
import json

import numpy as np
import pytest

from falcon_mnist import kernels
from falcon_mnist.training import trainer
from falcon_mnist.training.hyperparams import Hyperparams
from falcon_mnist.training.state import State, initial_state
from falcon_mnist.training.threads import Threads

NET = kernels.Network([("linear", 30, 24), ("relu", 24, 24), ("linear", 24, 10)])
RANDOM = np.random.default_rng(5)
IMAGES = (RANDOM.integers(0, 256, (220, 30)) * (RANDOM.random((220, 30)) < 0.3)).astype(np.uint8)
LABELS = RANDOM.integers(0, 10, 220).astype(np.uint8)

WAYS = {
    "sgd": {},
    "momentum": {"optimizer": {"momentum": 0.9, "lr": 0.02}},
    "nesterov": {"optimizer": {"momentum": 0.9, "lr": 0.02, "nesterov": True, "weight_decay": 0.01}},
    "adam": {"optimizer": {"type": "adam"}, "label_smoothing": 0.1},
    "adamw": {"optimizer": {"type": "adamw"}, "schedule": {"type": "cosine", "warmup_epochs": 0.5}},
    "averaging": {"averaging": 0.9, "schedule": {"type": "step", "every": 1, "factor": 0.5}},
    "units": {"dropout": {"hidden": 0.5}, "optimizer": {"type": "adamw"}, "averaging": 0.9},
    "pixels": {"dropout": {"input": 0.2}, "optimizer": {"momentum": 0.9, "lr": 0.02}},
    "best": {"optimizer": {"type": "adamw", "lr": 0.1}, "averaging": 0.5, "keep": "best"},
    "early": {"optimizer": {"lr": 1.0}, "early_stopping": {"patience": 1}, "epochs": 30},
}


def saved(state: State) -> State:
    """The state, as it is after a round trip through a checkpoint."""
    return State.of(copy.deepcopy(state.arrays), json.loads(json.dumps(state.scalars())))


def finish(state: State, hyperparams: Hyperparams) -> tuple[list[State], list[trainer.Metrics], State]:
    """Every state that could be saved on the way, each epoch's metrics, and the last state."""
    states, metrics = [saved(state)], []
    for each in trainer.train(
        NET, state, IMAGES, LABELS, hyperparams, threads=lambda _: Threads(1), segment_rows=(64, 32)
    ):
        states.append(saved(state))
        if each is not None:
            metrics.append(each)
    return states, metrics, state


@pytest.mark.parametrize("way", WAYS)
def test_every_resumed_run_ends_with_the_same_bits(way):
    hyperparams = Hyperparams.model_validate({"epochs": 3, "batch_size": 32, **WAYS[way]})
    states, metrics, ended = finish(initial_state(NET, hyperparams), hyperparams)
    assert len(states) > 3 * 2
    for state in states:
        epoch = state.epoch
        _, later, resumed = finish(state, hyperparams)
        assert [each._replace(seconds=0) for each in later] == [each._replace(seconds=0) for each in metrics[epoch:]]
        assert resumed.scalars() == ended.scalars()
        assert resumed.arrays.keys() == ended.arrays.keys()
        assert all(resumed.arrays[name].tobytes() == ended.arrays[name].tobytes() for name in ended.arrays)


def test_the_best_epoch_is_kept_and_training_stops_when_it_is_long_past():
    hyperparams = Hyperparams.model_validate(
        {
            "epochs": 40,
            "batch_size": 8,
            "optimizer": {"type": "adamw", "lr": 0.05},
            "keep": "best",
            "early_stopping": {"patience": 3},
        }
    )
    validated: list[tuple[float, bytes]] = []
    state = initial_state(NET, hyperparams)
    for metrics in trainer.train(NET, state, IMAGES, LABELS, hyperparams):
        if metrics is not None:
            validated.append((metrics.val_loss, state.parameters.tobytes()))
    losses = [loss for loss, _ in validated]
    best = losses.index(min(losses))
    assert state.best_epoch == best + 1
    assert state.result.tobytes() == validated[best][1]
    assert state.epoch == len(validated) == best + 1 + 3 < 40


def test_what_is_validated_and_kept_is_the_average():
    hyperparams = Hyperparams.model_validate({"epochs": 1, "averaging": 0.5})
    state = initial_state(NET, hyperparams)
    (metrics,) = (each for each in trainer.train(NET, state, IMAGES, LABELS, hyperparams) if each)
    _, validation = trainer.split(len(LABELS), hyperparams)
    workspace = kernels.Workspace(NET, 64)
    rows, loss, _ = NET.evaluate(state.arrays["average"], IMAGES, LABELS, validation, workspace)
    assert metrics.val_loss == loss / rows
    assert state.result.tobytes() == state.arrays["average"].tobytes() != state.parameters.tobytes()
