"""Sockets are asked what they wait for when something has happened to them, not before each wait."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from waitress.channel import HTTPChannel
from waitress.wasyncore import dispatcher

from falcon_mnist.server.watch import Watch

LONG = 3600.0  # seconds; no test waits so long


class Counted:
    """One end of a pair of sockets, that counts how often it is asked, and reads all that comes."""

    accepting = False

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.asked = 0
        self.waits_for_room = False
        self.written = False

    def readable(self) -> bool:
        self.asked += 1
        return True

    def writable(self) -> bool:
        return self.waits_for_room

    def handle_read_event(self) -> None:
        self.near.recv(100)

    def handle_write_event(self) -> None:
        self.written = True
        self.waits_for_room = False

    def close(self) -> None:
        self.near.close()
        self.far.close()


class Connection(Counted, HTTPChannel):  # type: ignore[misc]
    """A connection."""


class Trigger(Counted, dispatcher):  # type: ignore[misc]
    """No connection: what happens to it may have changed all."""


class Watched:
    """Two connections, a trigger, and what watches them."""

    def __init__(self, wait_seconds: float) -> None:
        self.one, self.other, self.trigger = self.all = Connection(), Connection(), Trigger()
        self.map: dict[int, Any] = {each.near.fileno(): each for each in self.all}
        self.watch = Watch(self.map, lambda: wait_seconds)

    def happens_to(self, *some: Counted) -> None:
        """Wake it, and let it turn."""
        for each in some:
            each.far.send(b"x")
        self.watch.turn()

    def asked(self) -> list[int]:
        return [each.asked for each in self.all]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _watched(stack: ExitStack, wait_seconds: float = LONG) -> Watched:
    watched = Watched(wait_seconds)
    for each in watched.all:
        stack.callback(each.close)
    return watched


def test_only_the_connection_that_something_has_happened_to_is_asked_again(stack: ExitStack) -> None:
    watched = _watched(stack)
    for _ in range(3):
        watched.happens_to(watched.one)
    assert watched.asked() == [4, 1, 1]


def test_all_are_asked_when_another_thread_may_have_changed_them(stack: ExitStack) -> None:
    watched = _watched(stack)
    watched.happens_to(watched.trigger)
    watched.other.waits_for_room = True  # as of another thread, which then pulls the trigger
    watched.happens_to(watched.one)
    assert watched.asked() == [3, 3, 3]
    assert watched.other.written


def test_all_are_asked_again_after_a_while(stack: ExitStack) -> None:
    watched = _watched(stack, wait_seconds=0.0)
    for _ in range(3):
        watched.happens_to(watched.one)
    assert watched.asked() == [6, 3, 3]


def test_when_a_connection_closes_all_are_asked_for_its_place_may_be_taken(stack: ExitStack) -> None:
    watched = _watched(stack)
    watched.happens_to(watched.one)
    watched.map.pop(watched.other.near.fileno())  # as a connection does that closes
    watched.happens_to(watched.other)
    watched.happens_to(watched.one)
    assert watched.asked() == [4, 1, 2]


def test_a_descriptor_that_another_thread_has_closed_is_forgotten(stack: ExitStack) -> None:
    watched = _watched(stack)
    watched.happens_to(watched.one)
    watched.map.pop(watched.other.near.fileno())
    watched.other.close()
    watched.watch.turn()
    watched.happens_to(watched.one)
    again = Connection()
    stack.callback(again.close)
    watched.map[again.near.fileno()] = again
    watched.happens_to(watched.trigger)
    watched.happens_to(again)
    assert again.asked == 2
