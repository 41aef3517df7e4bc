"""How many threads a segment gets: whatever is fastest, found out again and again, and of no matter to the result."""

import numpy as np
import pytest

from falcon_mnist import kernels, network, trainer
from falcon_mnist.schemas import Hyperparams
from falcon_mnist.trainer import Threads

LAYERS = [("linear", 30, 40), ("relu", 40, 40), ("linear", 40, 10)]


def chosen(threads: Threads, seconds: dict[int, float], segments: int) -> list[int]:
    """What it chooses while a segment takes so long with each number."""
    choices = []
    for _ in range(segments):
        choice = threads.next()
        threads.took(choice, 1000, seconds[choice])
        choices.append(choice)
    return choices


@pytest.mark.parametrize(("most", "choices"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (1000, [1, 2, 4, 8, 16])])
def test_every_power_of_two_up_to_the_number_of_cpus_is_tried(most, choices):
    threads = Threads(most)
    assert threads.choices == choices
    assert chosen(threads, dict.fromkeys(choices, 1.0), len(choices)) == choices


def test_the_fastest_is_used_and_the_others_are_tried_less_and_less_often():
    choices = chosen(Threads(2), {1: 2.0, 2: 1.0}, 1000)
    trials = [at for at, choice in enumerate(choices) if choice == 1]
    apart = np.diff(trials)
    assert choices[:3] == [1, 2, 2]
    assert len(trials) < 12
    assert (np.diff(apart) >= 0).all()


def test_it_changes_its_mind_when_the_machine_becomes_busy_and_again_when_it_is_idle():
    threads = Threads(2)
    chosen(threads, {1: 2.0, 2: 1.0}, 10)
    assert threads.best == 2
    chosen(threads, {1: 2.0, 2: 50.0}, 2)
    assert threads.best == 2  # it may have been a moment's
    chosen(threads, {1: 2.0, 2: 50.0}, 3)
    assert threads.best == 1
    chosen(threads, {1: 2.0, 2: 1.0}, 600)
    assert threads.best == 2


def test_whatever_is_chosen_the_run_ends_with_the_same_bits(monkeypatch):
    random = np.random.default_rng(1)
    images = (random.integers(0, 256, (600, 30)) * (random.random((600, 30)) < 0.3)).astype(np.uint8)
    labels = random.integers(0, 10, 600).astype(np.uint8)
    hyperparams = Hyperparams(epochs=3, batch_size=50)
    net = kernels.Network(LAYERS)
    monkeypatch.setattr(trainer, "SEGMENT_FLOP", (1, 1))  # a batch to a segment
    ended = []
    for turns in ([1], [2], [1, 3, 2]):
        turn = iter(turns * 1000)
        monkeypatch.setattr(Threads, "next", lambda self, turn=turn: next(turn))
        state = trainer.initial_state(net, hyperparams)
        metrics = list(trainer.train(net, state, images, labels, hyperparams))
        ended.append((metrics, state.parameters.tobytes()))
    assert ended[0] == ended[1] == ended[2]
    assert ended[0][1] != network.initial_parameters(net, hyperparams.seed).tobytes()


@pytest.mark.parametrize(("batch_size", "most"), [(1, 1), (64, 7)])
def test_a_step_that_is_soon_done_is_not_shared(monkeypatch, batch_size, most):
    asked = []
    monkeypatch.setattr(trainer, "cpus", lambda: 7)
    monkeypatch.setattr(trainer, "Threads", lambda count: asked.append(count) or Threads(1))
    images, labels = np.zeros((70, 784), dtype=np.uint8), np.zeros(70, dtype=np.uint8)
    net = kernels.Network([("linear", 784, 128), ("relu", 128, 128), ("linear", 128, 10)])
    hyperparams = Hyperparams(epochs=1, batch_size=batch_size)
    list(trainer.train(net, trainer.initial_state(net, hyperparams), images, labels, hyperparams))
    assert asked == [most]
