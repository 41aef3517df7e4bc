"""When a process counts as silent."""

from __future__ import annotations

import multiprocessing

import pytest

from falcon_mnist.runs.pulse import LOOK_SECONDS, Listener, Pulse


class CountedByHand(Pulse):
    """A pulse whose process is the test."""

    def __init__(self) -> None:
        super().__init__(multiprocessing.get_context("spawn"))

    def beat(self) -> None:
        self._beats.value += 1


@pytest.fixture
def pulse() -> CountedByHand:
    return CountedByHand()


def test_silence_begins_after_a_beat_and_ends_with_the_next(pulse: CountedByHand) -> None:
    listener = Listener(pulse)
    assert [listener.silent_seconds(now) for now in (100, 101, 102)] == [0, 0, 0]  # it has not begun
    pulse.beat()
    assert [listener.silent_seconds(now) for now in (103, 104, 106)] == [0, 1, 3]
    pulse.beat()
    assert [listener.silent_seconds(now) for now in (107, 108)] == [0, 1]


def test_who_looks_seldom_hears_less_silence(pulse: CountedByHand) -> None:
    """As after Ctrl-Z, which stops who watches as well."""
    listener = Listener(pulse)
    pulse.beat()
    listener.silent_seconds(0)
    assert listener.silent_seconds(3600) == LOOK_SECONDS
