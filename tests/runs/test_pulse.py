"""When a process counts as silent, and how such a process is ended."""

from __future__ import annotations

import os
import signal
import time

import pytest
from asking import PATIENCE, until
from forked_workers import CONTEXT

from falcon_mnist.runs.pulse import LOOK_SECONDS, Listener, Pulse


class CountedByHand(Pulse):
    """A pulse whose process is the test."""

    def __init__(self) -> None:
        super().__init__(CONTEXT)

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


def test_a_process_that_is_stopped_is_ended_at_once() -> None:
    pulse = Pulse(CONTEXT)
    process = CONTEXT.Process(target=_beat, args=[pulse])
    process.start()
    until(lambda: pulse.beats, "it has begun")
    assert pulse.process == process.pid
    os.kill(pulse.process, signal.SIGSTOP)
    Listener(pulse).kill()
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL


def _beat(pulse: Pulse) -> None:
    pulse.keep_beating()
    time.sleep(3600)
