"""Runs that another process of the server executes: how it is told that one was queued, and what it tells."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import socket
import threading

from falcon_mnist.runs.executor import Executor

# How often the number of workers is told.
TELL_SECONDS = 0.5


class Notices:
    """A byte for each notice, in a socket that all processes of the server have, so it outlives each of them.

    The other way goes the number of living workers, in memory that they share.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._workers = multiprocessing.get_context("spawn").RawValue(ctypes.c_int, 0)

    @property
    def workers(self) -> int:
        """How many workers lived a moment ago."""
        return int(self._workers.value)

    def send(self) -> None:
        """Tell the process that executes runs; never waits for it."""
        with contextlib.suppress(BlockingIOError):  # full of notices that are not read yet: one is enough
            self._writer.send(b"\0", socket.MSG_DONTWAIT)

    def pass_on(self, executor: Executor) -> None:
        """From now on, notify `executor` of each, and tell how many workers it has."""
        threading.Thread(target=self._pass_on, args=[executor], name="notices", daemon=True).start()

    def _pass_on(self, executor: Executor) -> None:
        self._reader.settimeout(TELL_SECONDS)
        while True:
            self._workers.value = executor.workers_alive()
            with contextlib.suppress(TimeoutError):
                if not self._reader.recv(4096):
                    return
                executor.notify()


class ExecutorElsewhere:
    """Stands for the executor in a process that executes no runs."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices

    def start(self) -> None:
        """Nothing: the other process starts it."""

    def notify(self) -> None:
        """A run was queued."""
        self._notices.send()

    def workers_alive(self) -> int:
        """Those of the process that executes."""
        return self._notices.workers

    def problem(self) -> str | None:
        """None that this process knows of."""
        return None

    def stop(self) -> None:
        """Nothing: it ends with its process."""
