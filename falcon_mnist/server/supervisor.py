"""The parent of several server processes: starts them, replaces those that die, ends them. It serves nothing itself."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from falcon_mnist.server.signals import END

log = logging.getLogger(__name__)

WATCH_SECONDS = 0.1
# A process that dies sooner than this after its start is replaced only then: it may never get further.
LEAST_SECONDS = 1.0


class Supervisor:
    """Processes that run `serve(number, *arguments)`, from the first signal on for `exit_seconds` more.

    `serve` stands in a module that a new process can import, calls `note_signals`, and returns after SIGTERM.
    """

    def __init__(
        self,
        count: int,
        serve: Callable[..., None],
        *arguments: Any,
        exit_seconds: float,
        context: BaseContext,
    ) -> None:
        self._serve = serve
        self._arguments = arguments
        self._exit_seconds = exit_seconds
        self._context = context
        resource_tracker.ensure_running()  # before signals are blocked: to start it unblocks them again
        self._started: list[float] = [0.0] * count
        self._processes = [self._start(number) for number in range(count)]

    def run(self, signals: list[int]) -> bool:
        """Keep them until one of the `signals` is noted; then end them, and say whether all have ended well."""
        try:
            while not signals:
                time.sleep(WATCH_SECONDS)
                self._replace_dead()
            return self._end()
        finally:
            for process in self._processes:
                process.kill()

    def _start(self, number: int) -> BaseProcess:
        self._started[number] = time.monotonic()
        process: BaseProcess = self._context.Process(  # type: ignore[attr-defined]
            target=self._serve, args=(number, *self._arguments), name=f"server process {number}"
        )
        # It inherits the mask: neither signal ends it before it can end well.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, END)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return process

    def _replace_dead(self) -> None:
        for number, process in enumerate(self._processes):
            if process.is_alive() or time.monotonic() < self._started[number] + LEAST_SECONDS:
                continue
            log.error("server process %d is replaced: it ended with status %s", number, process.exitcode)
            process.close()
            self._processes[number] = self._start(number)

    def _end(self) -> bool:
        for process in self._processes:
            process.terminate()
        end = time.monotonic() + self._exit_seconds
        for process in self._processes:
            process.join(max(0.0, end - time.monotonic()))
        return all(process.exitcode == 0 for process in self._processes)
