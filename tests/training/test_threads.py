"""How many threads a segment gets: whatever is fastest, found out again and again, and of no matter to the result."""

import itertools
from functools import partial

import numpy as np
import pytest

from falcon_mnist import kernels
from falcon_mnist.training import network, trainer
from falcon_mnist.training.hyperparams import Hyperparams
from falcon_mnist.training.threads import Threads, Trials

LAYERS = [("linear", 30, 40), ("relu", 40, 40), ("linear", 40, 10)]


def chosen(
    threads: Threads | Trials, seconds: dict[int, float], until: float, *, begin: float = 0.0
) -> list[tuple[int, bool, float]]:
    """What it chooses within so many seconds, and how long each took.

    A segment takes as long as is given for each number, a trial a tenth of that, both `begin` longer.
    """
    segments, clock = [], 0.0
    while clock < until:
        choice, trial = threads.next()
        took = begin + seconds[choice] / (10 if trial else 1)
        threads.took(100 if trial else 1000, took)
        segments.append((choice, trial, took))
        clock += took
    return segments


@pytest.mark.parametrize(("most", "choices"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (1000, [1, 2, 4, 8, 16])])
def test_every_power_of_two_up_to_the_number_of_cpus_is_tried(most, choices):
    threads = Trials(most)
    assert threads.choices == choices
    segments = chosen(threads, dict.fromkeys(choices, 1.0), 1.0)
    assert [choice for choice, _, _ in segments][: 2 * len(choices)] == (choices * 2)[: len(segments)]


def test_one_cpu_needs_no_trials():
    assert {segment[:2] for segment in chosen(Trials(1), {1: 1.0}, 100)} == {(1, False)}


@pytest.mark.parametrize("slower", [1.1, 2.0, 50.0])
def test_the_fastest_is_used_and_what_trials_lose_is_little(slower):
    segments = chosen(Trials(2), {1: slower, 2: 1.0}, 10_000)
    trials = [choice for choice, trial, _ in segments if trial]
    assert {choice for choice, trial, _ in segments if not trial} == {2}
    assert trials.count(1) > 10
    assert trials.count(1) * (slower - 1) / 10 < 0.015 * 10_000


@pytest.mark.parametrize("slow", [1.5, 9.0])
def test_one_slow_trial_changes_no_mind_for_long(slow):
    threads = Trials(2)
    threads.took(100, 0.2)
    threads.took(100, slow * 0.2)
    later = chosen(threads, {1: 2.0, 2: 1.0}, 20)
    assert sum(seconds for choice, _, seconds in later if choice == 1) < 8
    assert later[-1][0] == 2


def test_a_number_that_is_hopeless_is_tried_once_in_a_round():
    trials = [choice for choice, trial, _ in chosen(Trials(2), {1: 1.0, 2: 50.0}, 6) if trial]
    assert trials.count(2) == 1


def test_what_it_begins_beside_is_soon_forgotten():
    threads = Trials(2)
    chosen(threads, {1: 2.0, 2: 50.0}, 20)
    assert threads.best == 1
    chosen(threads, {1: 2.0, 2: 1.0}, 30)
    assert threads.best == 2


def test_it_changes_its_mind_when_the_machine_becomes_busy_and_again_when_it_is_idle():
    threads = Trials(2)
    chosen(threads, {1: 2.0, 2: 1.0}, 100)
    assert threads.best == 2
    chosen(threads, {1: 2.0, 2: 50.0}, 1000)
    assert threads.best == 1
    chosen(threads, {1: 2.0, 2: 1.0}, 5000)
    assert threads.best == 2


def test_where_only_trials_of_two_threads_are_fast_one_is_used():
    threads = Trials(2)
    used = {1: 0.0, 2: 0.0}
    while sum(used.values()) < 1000:
        choice, trial = threads.next()
        seconds = {1: 2.0, 2: 1.0 if trial else 40.0}[choice] / (10 if trial else 1)
        threads.took(100 if trial else 1000, seconds)
        used[choice] += seconds
    assert used[2] < 200


def test_a_segment_that_is_disturbed_once_costs_little_more_than_itself():
    threads = Trials(2)
    chosen(threads, {1: 2.0, 2: 1.0}, 100)
    assert threads.next() == (2, False)
    threads.took(1000, 6.0)
    later = chosen(threads, {1: 2.0, 2: 1.0}, 100)
    assert sum(seconds for choice, _, seconds in later if choice == 1) < 10
    assert later[-1][0] == 2


def test_where_every_other_segment_is_disturbed_one_thread_is_used_most_of_the_time():
    threads = Trials(2)
    disturbed = itertools.cycle([8.0, 1.0])
    used = {1: 0.0, 2: 0.0}
    while sum(used.values()) < 1000:
        choice, trial = threads.next()
        seconds = {1: 2.0, 2: 1.0}[choice] / 10 if trial else next(disturbed) if choice == 2 else 2.0
        threads.took(100 if trial else 1000, seconds)
        used[choice] += seconds
    assert used[1] > 500


def test_what_it_takes_to_begin_a_segment_counts_for_all_numbers_alike():
    """A trial takes several times as long for its rows as a segment does."""
    threads = Trials(2)
    chosen(threads, {1: 2.0, 2: 50.0}, 100, begin=0.5)
    assert threads.best == 1
    chosen(threads, {1: 2.0, 2: 1.0}, 5000, begin=0.5)
    assert threads.best == 2


def test_only_as_many_are_used_and_tried_as_the_free_cpus_allow():
    free = 1
    threads = Threads(4, lambda: free)
    seconds = {1: 4.0, 2: 3.0, 3: 2.0, 4: 1.0}
    assert {segment[:2] for segment in chosen(threads, seconds, 20)} == {(1, False)}
    free = 3
    assert {choice for choice, _, _ in chosen(threads, seconds, 20)} == {1, 2, 3}
    free = 100
    chosen(threads, seconds, 20)
    assert threads.next() == (4, False)
    free = 0
    assert threads.next() == (1, False)


def test_what_it_knows_of_a_number_of_free_cpus_is_not_tried_again():
    free = 2
    threads = Threads(2, lambda: free)
    chosen(threads, {1: 2.0, 2: 1.0}, 20)
    free = 1
    chosen(threads, {1: 2.0}, 20)
    free = 2
    assert threads.next() == (2, False)


class Given(Threads):
    """Chooses what it is told to, again and again."""

    def __init__(self, turns: list[tuple[int, bool]], most: int) -> None:
        super().__init__(most)
        self._turns = itertools.cycle(turns)

    def next(self) -> tuple[int, bool]:
        return next(self._turns)


def test_whatever_is_chosen_the_run_ends_with_the_same_bits():
    random = np.random.default_rng(1)
    images = (random.integers(0, 256, (600, 30)) * (random.random((600, 30)) < 0.3)).astype(np.uint8)
    labels = random.integers(0, 10, 600).astype(np.uint8)
    hyperparams = Hyperparams(epochs=3, batch_size=50)
    net = kernels.Network(LAYERS)
    ended = []
    for turns in ([(1, False)], [(2, True)], [(1, False), (3, True), (2, False)]):
        state = trainer.initial_state(net, hyperparams)
        epochs = trainer.train(
            net, state, images, labels, hyperparams, threads=partial(Given, turns), segment_rows=(150, 50)
        )
        ended.append(([each._replace(seconds=0) for each in epochs if each], state.parameters.tobytes()))
    assert ended[0] == ended[1] == ended[2]
    assert ended[0][1] != network.initial_parameters(net, hyperparams.seed).tobytes()


@pytest.mark.parametrize(("batch_size", "most"), [(1, 1), (64, 7)])
def test_a_step_that_is_soon_done_is_not_shared(batch_size, most):
    net = kernels.Network([("linear", 784, 128), ("relu", 128, 128), ("linear", 128, 10)])
    assert trainer.useful_threads(net, Hyperparams(epochs=1, batch_size=batch_size), cpus=7) == most
