"""Faults that let others act between what a process reads and what it then writes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from falcon_mnist.runs.leases import LEASE_SECONDS, RENEW_SECONDS

from .database import Hold, Pause
from .servers import Server
from .striking import Striking
from .workers import Worker

# Within a lease, and past it: a worker then wakes while another one has its run.
MOST_STOP_SECONDS = 60.0
STOP_SECONDS = (5.0, 20.0, 25.0, MOST_STOP_SECONDS, MOST_STOP_SECONDS)
HOLD_SECONDS = (*STOP_SECONDS, 10_000.0)  # the last: until somebody ends it
PAUSE_SECONDS = (1.0, 5.0, 18.0, 20.0, 25.0)
STATEMENTS = 5  # as many as a poll has, or a step
WRITES = 3  # as many as a step has, and a beat meanwhile


class Races(Striking):
    """Each needs a process that stops at the wrong moment."""

    def kinds(self) -> list[Callable[[], None]]:
        """Each strikes once when it is called."""
        return [
            self._pause_before_statement,
            self._replace_before_write,
            self._renew_before_requeue,
            self._run_out_of_memory,
            self._stop_machine,
            self._stop_in_put,
            self._stop_in_transaction,
        ]

    def _pause_before_statement(self) -> None:
        for process in self._one([*self._shared.living(), *self._servers], "pause before a statement of"):
            random = self._world.random
            seconds, after = random.choice(PAUSE_SECONDS), random.randrange(STATEMENTS)
            self._shared.database.pause = Pause(process, seconds, after)

    def _replace_before_write(self) -> None:
        """Another worker gets the run between a worker's check that it is its own and what it then writes."""
        for worker in self._one(self._shared.living(), "replace before a write of"):
            self._pause_until_replaced(worker, after=self._world.random.randrange(WRITES))

    def _pause_until_replaced(self, worker: Worker, *, after: int) -> None:
        """Its server stops as well: it would end a worker that no longer holds its run."""
        self._shared.database.pause = Pause(
            worker,
            MOST_STOP_SECONDS,
            after,
            only_writes=True,
            at_start=lambda: [server.stop(MOST_STOP_SECONDS) for server in self._servers if server.started(worker)],
            over=lambda: self._promises.holder(worker.run_id) not in (None, worker.name),
        )

    def _renew_before_requeue(self) -> None:
        """A worker that slept for too long renews its lease between a server's check of it and the requeue."""
        pause = self._shared.database.pause
        if pause is not None and pause.process is None:
            return  # such a pause is due already
        for worker in self._one(self._shared.living(), "stop"):
            worker.stop(MOST_STOP_SECONDS)
            self._shared.database.pause = Pause(
                None,
                10.0,
                only_writes=True,
                only_while=partial(self._is_requeuing, worker, self._world.now + LEASE_SECONDS - RENEW_SECONDS),
                at_start=worker.wake,
                over=partial(self._has_renewed, worker, self._promises.renewals(worker.run_id)),
            )

    def _has_renewed(self, worker: Worker, before: int) -> bool:
        return self._promises.renewals(worker.run_id) > before

    def _is_requeuing(self, worker: Worker, since: float) -> bool:
        """What a server's poll writes so late, while the worker still has its run, is most likely the requeue."""
        actor, now = self._shared.actor, self._world.now
        polls = isinstance(actor, Server) and actor.doing == "poll"
        return polls and now > since and not worker.awake and self._promises.holder(worker.run_id) == worker.name

    def _run_out_of_memory(self) -> None:
        """A run fails, and its worker may have lost it before that is written."""
        for worker in self._one(self._shared.living(), "no memory for"):
            self._promises.allowed.add("out_of_memory")
            worker.fails_with = MemoryError()
            if self._world.chance(0.5):
                self._pause_until_replaced(worker, after=0)

    def _stop_machine(self) -> None:
        """A machine sleeps: nothing on it ends a worker whose lease another server takes away."""
        for server in self._one(self._servers, "stop all of"):
            self._stop_all(server)

    def _stop_all(self, server: Server) -> None:
        workers = list(server.backend.workers.values())
        seconds = self._world.random.choice(STOP_SECONDS)
        for process in [server, *workers]:
            process.stop(seconds)
        if seconds == MOST_STOP_SECONDS:
            self._wake_when_replaced(workers, self._world.now + seconds)

    def _wake_when_replaced(self, workers: list[Worker], until: float) -> None:
        """A worker that wakes is the most dangerous while another one executes its run, or soon after."""
        replaced = [worker for worker in workers if self._promises.holder(worker.run_id) not in (None, worker.name)]
        for worker in replaced:
            self._world.after(self._world.random.uniform(0, 5), worker.wake)
        if not replaced and self._world.now < until:
            self._world.after(0.5, partial(self._wake_when_replaced, workers, until))

    def _stop_in_put(self) -> None:
        """A machine sleeps between a file and the row that is to record it, while another one may train the run."""
        for server in self._one([each for each in self._servers if each.backend.workers], "stop in put all of"):
            for worker in server.backend.workers.values():
                self._interrupt(worker, partial(self._stop_all, server))

    def _stop_in_transaction(self) -> None:
        """A worker is stopped while it keeps all others from writing; the server that started it is there to end it."""
        if self._shared.ray is not None:
            return  # runs with PostgreSQL, which ends such a transaction
        for worker in self._one(self._shared.living(), "stop in a transaction"):
            seconds = self._world.random.choice(HOLD_SECONDS)
            self._shared.database.hold = Hold(worker, seconds, self._hit_all, over=partial(self._is_alone, worker))

    def _hit_all(self) -> None:
        for process in [*self._shared.living(), *self._servers]:
            process.hit = True  # as nobody can renew a lease

    def _is_alone(self, worker: Worker) -> bool:
        return not worker.alive or not any(server.started(worker) for server in self._servers if server.alive)
