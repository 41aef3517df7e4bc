"""Workers as processes of this machine, each in a pool of its own: one that hangs is replaced, and it alone.

Pebble's pool of several processes hands out tasks through one pipe under one lock: a process that is stopped while it
holds the lock keeps the others from every task, so that the whole pool had to go.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.context import BaseContext

from pebble import ProcessExpired, ProcessPool

from falcon_mnist import logs
from falcon_mnist.runs import worker
from falcon_mnist.runs.backend import Ended, Outcome
from falcon_mnist.runs.pulse import Listener, Pulse
from falcon_mnist.runs.sharing import Sharing
from falcon_mnist.settings import Settings

log = logging.getLogger(__name__)

# A worker that has not claimed its run after the first of these is replaced: to start one takes a second or two. On a
# busy machine it takes longer, so the limit doubles with each that is replaced, up to the second, until one claims.
CLAIM_SECONDS = (15.0, 240.0)

# How processes are started: the server has threads, which a fork would break.
SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Worker:
    """A pool of one process, and what is heard of it."""

    pool: ProcessPool
    listener: Listener


def end_pool(pool: ProcessPool) -> None:
    """End its process, and wait for it."""
    pool.stop()
    pool.join()


class PoolBackend:
    """Processes that are started at once, so that the first runs need not wait for them, and kept from run to run.

    Made by the thread that calls it.
    """

    claim_seconds = CLAIM_SECONDS

    def __init__(
        self,
        settings: Settings,
        notify: Callable[[], None],
        *,
        execute: Callable[[Settings, str, str], None] = worker.execute,
        end_pool: Callable[[ProcessPool], None] = end_pool,
        context: BaseContext = SPAWN,
        all_cpus: int | None = None,
    ) -> None:
        self.capacity = settings.workers
        self._settings = settings
        self._execute = execute  # as `worker.execute`, and of a module that a new process can import
        self._end_pool = end_pool
        self._notify = notify
        self._context = context
        self._sharing = Sharing(context, all_cpus)
        self._idle: list[Worker] = []  # some of them are starting, and take a run as soon as they have
        self._busy: dict[str, tuple[Worker, Future[None]]] = {}  # by owner
        self._ending: list[threading.Thread] = []
        # Processes inherit the mask of the thread that starts them: Ctrl-C is their server's business, also while
        # they start. The tracker is started before, for that unblocks the signal again.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        for _ in range(self.capacity):
            new = self._new_worker()
            new.pool.schedule(worker.prepare, args=[settings])
            self._idle.append(new)

    def start(self, run_id: str, owner: str) -> None:
        """Have an idle process, or a new one, execute the run."""
        arguments = [self._settings, run_id, owner]
        while self._idle:
            chosen = self._idle.pop()
            try:
                future = chosen.pool.schedule(self._execute, args=arguments)
                break
            except RuntimeError:  # its process was killed while it was idle
                self._end(chosen)
        else:
            chosen = self._new_worker()
            future = chosen.pool.schedule(self._execute, args=arguments)
        self._busy[owner] = chosen, future
        self._sharing.note_busy(len(self._busy))
        future.add_done_callback(lambda _: self._notify())

    def ended(self) -> list[Ended]:
        """The attempts that are over."""
        self._sharing.note_busy(len(self._busy))  # still with those that are over: others most often follow
        over = [owner for owner, (_, future) in self._busy.items() if future.done()]
        return [Ended(owner, self._outcome(owner)) for owner in over]

    def _outcome(self, owner: str) -> Outcome:
        was_busy, future = self._busy.pop(owner)
        error = future.exception(timeout=0)
        lost = isinstance(error, ProcessExpired | BrokenProcessPool)  # with its run, or before it took that
        if was_busy.pool.active and not lost:
            self._idle.append(was_busy)
        else:
            self._end(was_busy)
        if error is None:
            return Outcome.FINISHED
        if lost:
            return Outcome.LOST
        log.error("a worker failed outside its run", exc_info=error)
        return Outcome.FAILED

    def kill(self, owner: str) -> None:
        """End the process of an attempt at once, so that it claims nothing any more, and wait for nothing."""
        if owner in self._busy:
            was_busy, _ = self._busy.pop(owner)
            was_busy.listener.kill()
            self._end(was_busy)

    def kill_silent(self, seconds: float) -> list[str]:
        """As the queue asks for it before each look at the database."""
        now = time.monotonic()
        heard = {owner: busy.listener.silent_seconds(now) for owner, (busy, _) in self._busy.items()}
        silent = [owner for owner, silence in heard.items() if silence > seconds]
        for owner in silent:
            self.kill(owner)
        return silent

    def problem(self) -> str | None:
        """None: processes can always be started."""
        return None

    def alive(self) -> int:
        """Processes that have been started and not ended."""
        return sum(each.pool.active for each in self._all())

    def close(self) -> None:
        """End all processes."""
        for each in self._all():
            self._end(each)
        self._idle.clear()
        self._busy.clear()
        for thread in self._ending:
            thread.join()

    def _all(self) -> list[Worker]:
        return [*self._idle, *(each for each, _ in list(self._busy.values()))]

    def _end(self, ending: Worker) -> None:
        thread = threading.Thread(target=self._end_pool, args=[ending.pool], name="worker-end", daemon=True)
        self._ending = [thread, *(each for each in self._ending if each.is_alive())]
        thread.start()

    def _new_worker(self) -> Worker:
        pulse = Pulse(self._context)
        pool = ProcessPool(
            max_workers=1,
            initializer=worker.start_process,
            initargs=[logs.configured(), pulse, self._sharing],
            context=self._context,
        )
        return Worker(pool, Listener(pulse))
