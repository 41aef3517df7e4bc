"""A server of several processes, and clients that each talk to one of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def stopped(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(thread.read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)


def stopped_apart(server: Server, pid: int) -> bool:
    """Whether the process has been stopped where it keeps nobody from the database; it goes on if it has not."""
    with server.on_disk.locked():
        os.kill(pid, signal.SIGSTOP)
        until(lambda: stopped(pid), "it has stopped")
    if server.on_disk.opens():
        return True
    os.kill(pid, signal.SIGCONT)
    return False


@contextmanager
def only(server: Server, pid: int) -> Iterator[None]:
    """Whatever is new goes to this process of the server: the others are stopped meanwhile."""
    others = [other for other in spawned(server.process.pid) if other != pid]
    try:
        for other in others:
            until(lambda other=other: stopped_apart(server, other), "it is stopped and holds no lock")
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
        yield made
    finally:
        for client in made:
            client.__exit__()
