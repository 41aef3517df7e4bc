"""A server of several processes, and clients that each talk to one of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import forking
from asking import until
from checking_client import Client
from server_process import Server, children, command_line

# The first executes the runs.
EXECUTES, OTHER = 0, 1


def spawned(pid: int) -> list[int]:
    """The processes that this one started to serve or to train, in the order of their starts."""
    return [child for child in children(pid) if b"spawn_main" in command_line(child)] + forking.forked_by(pid)


def both_started(server: Server) -> Server:
    """The server, of two processes, once it has started them."""
    server.url()
    until(lambda: len(spawned(server.process.pid)) == 2, "both are started")
    return server


@contextmanager
def only(server: Server, pid: int) -> Iterator[None]:
    """Whatever is new goes to this process of the server: the others are stopped meanwhile."""
    others = [other for other in spawned(server.process.pid) if other != pid]
    try:
        for other in others:
            server.pause(other)
        yield
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)


@contextmanager
def clients(server: Server) -> Iterator[list[Client]]:
    """A client of each process, in the order of their starts, whose connection stays with it."""
    made: list[Client] = []
    try:
        for pid in spawned(server.process.pid):
            with only(server, pid):
                made.append(Client(server.url()))
                made[-1].api.version()  # it has two connections
        yield made
    finally:
        for client in made:
            client.__exit__()
