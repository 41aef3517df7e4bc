"""Workers somewhere on a Ray cluster, each run a task with declared CPUs: placement and retries are Ray's.

A driver process (`ray_driver`) stands between. Whatever becomes of it and of the cluster, the rows tell the truth:
what this server had started is requeued, and resumes when a driver has found the cluster again.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from typing import Any

from falcon_mnist import logs
from falcon_mnist.runs import ray_task, worker
from falcon_mnist.runs.backend import Ended, Outcome
from falcon_mnist.runs.ray_messages import Cluster, Kill, Placed, Start, Unreachable
from falcon_mnist.settings import Settings

log = logging.getLogger(__name__)

# A driver speaks every second. After the first of these without a word its cluster counts as out of reach; after the
# second, longer than Ray itself waits for a head that restarts, it is replaced.
SILENT_SECONDS = (5.0, 90.0)
# Before another driver is started: doubled after each that found no cluster, up to the second number.
RETRY_SECONDS = (1.0, 15.0)
CLOSE_SECONDS = 4.0

SPAWN = multiprocessing.get_context("spawn")

STARTING = "Ray has not answered yet"


class RayBackend:
    """Starts workers on the cluster at `RAY_ADDRESS`, Ray's own variable; without it on that of this machine."""

    claim_seconds = (60.0, 480.0)  # Ray may have to start a process, or to wait for as many CPUs on one node

    def __init__(
        self,
        settings: Settings,
        notify: Callable[[], None],
        *,
        parts: ray_task.MakeParts = worker.parts,
        retry_seconds: tuple[float, float] = RETRY_SECONDS,
        context: SpawnContext = SPAWN,
    ) -> None:
        self._settings = settings
        self._parts = parts  # of a module that a worker can import
        self._notify = notify
        self._address = os.environ.get("RAY_ADDRESS", "").strip() or "auto"
        self._context = context
        self._attempts: dict[str, int] = {}  # owner to the CPUs of its worker
        self._over: list[Ended] = []
        self._messages: deque[tuple[Connection, Any]] = deque()
        self._cluster = Cluster(0, 0)
        self._problem: str | None = STARTING
        self._first_retry_seconds, self._most_retry_seconds = retry_seconds
        self._retry_seconds = self._first_retry_seconds
        self._next_start = float("-inf")
        self._driver: tuple[Any, Connection] | None = None
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the driver inherits it, as workers of a pool do
        self._start_driver()

    @property
    def capacity(self) -> int:
        """What runs already, and a worker for each CPU that nobody uses. Nothing more while there is no cluster."""
        if self._problem is not None:
            return len(self._attempts)
        free = self._cluster.cpus - self._cluster.used_by_others - sum(self._attempts.values())
        return len(self._attempts) + max(0, free)

    def start(self, run_id: str, owner: str) -> None:
        """Hand the run to Ray."""
        self._attempts[owner] = 1  # until the driver has looked at it
        self._tell(Start(run_id, owner))

    def ended(self) -> list[Ended]:
        """The attempts that are over. Looks after the driver as well."""
        while self._messages:
            connection, message = self._messages.popleft()
            if self._driver is not None and connection is self._driver[1]:
                self._hear(message)
        self._watch_driver()
        over, self._over = self._over, []
        return over

    def kill(self, owner: str) -> None:
        """Have Ray end the worker of an attempt."""
        if self._attempts.pop(owner, None) is not None:
            self._tell(Kill(owner))

    def kill_silent(self, seconds: float) -> list[str]:
        """None: nodes share no memory. PostgreSQL ends by itself the transaction of a process that is stopped."""
        return []

    def problem(self) -> str | None:
        """Why there is no cluster."""
        return self._problem

    def alive(self) -> int:
        """As many as the cluster has CPUs for."""
        return 0 if self._problem is not None else self._cluster.cpus

    def close(self) -> None:
        """End the driver, and with it Ray ends what it has started."""
        self._attempts.clear()
        if self._driver is not None:
            self._end_driver(CLOSE_SECONDS)

    def _tell(self, message: Any) -> None:
        if self._driver is not None:
            with contextlib.suppress(OSError):  # it is gone, which is seen to at the next look
                self._driver[1].send(message)

    # The driver

    def _start_driver(self) -> None:
        here, there = self._context.Pipe()
        arguments = (there, self._settings, self._address, logs.configured(), self._parts)
        process = self._context.Process(target=_drive, args=arguments, name="ray driver", daemon=True)
        process.start()
        there.close()
        self._driver = process, here
        self._heard = time.monotonic()
        threading.Thread(target=self._receive, args=[here], name="ray", daemon=True).start()

    def _receive(self, connection: Connection) -> None:
        """Have the queue's thread hear of all that the driver says."""
        try:
            while True:
                self._messages.append((connection, connection.recv()))
                self._notify()
        except (EOFError, OSError):
            connection.close()
            self._notify()

    def _hear(self, message: Any) -> None:
        self._heard = time.monotonic()
        match message:
            case Cluster(cpus):
                self._cluster = message
                if cpus and self._problem is not None:
                    log.info("Ray answers: %d CPUs", cpus)
                    self._problem = None
                    self._retry_seconds = self._first_retry_seconds
            case Placed(owner, cpus) if owner in self._attempts:
                self._attempts[owner] = cpus
            case Ended(owner) if self._attempts.pop(owner, None) is not None:
                self._over.append(message)
            case Unreachable(reason):
                self._note_problem(f"Ray cannot be used: {reason}")

    def _watch_driver(self) -> None:
        now = time.monotonic()
        if self._driver is None:
            if now >= self._next_start:
                self._start_driver()
            return
        process, _ = self._driver
        silent, dead = SILENT_SECONDS
        if not process.is_alive() or now - self._heard > dead:
            if self._problem in (None, STARTING):
                self._note_problem("the connection to Ray was lost")
            self._end_driver(0)
            self._over += [Ended(owner, Outcome.DISPLACED) for owner in self._attempts]
            self._attempts.clear()
            self._next_start = now + self._retry_seconds
            self._retry_seconds = min(2 * self._retry_seconds, self._most_retry_seconds)
        elif now - self._heard > silent:
            self._note_problem("Ray does not answer")

    def _note_problem(self, problem: str) -> None:
        if problem != self._problem:
            log.error("runs wait: %s", problem)
            self._problem = problem

    def _end_driver(self, seconds: float) -> None:
        assert self._driver is not None
        self._tell(None)
        (process, _), self._driver = self._driver, None
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join(1)


def _drive(
    connection: Connection, settings: Settings, address: str, logging_as: ray_task.Logging, parts: ray_task.MakeParts
) -> None:
    from falcon_mnist.runs import ray_driver  # what it imports is large, and this process alone needs it

    ray_driver.drive(connection, settings, address, logging_as, parts)
