"""The faults that may strike, each at one process or all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from falcon_mnist.storage.store import Store

from .files import CHECKPOINTS, PARAMETERS
from .promises import Promises
from .servers import Server
from .shared import Shared
from .workers import Worker
from .world import Process

# Within a lease, and past it: a worker then wakes while another one has its run.
MOST_STOP_SECONDS = 60.0
STOP_SECONDS = (5.0, 20.0, 25.0, MOST_STOP_SECONDS, MOST_STOP_SECONDS)
PAUSE_SECONDS = (1.0, 5.0, 18.0, 20.0, 25.0)
STATEMENTS = 5  # as many as a poll has, or a step
OPERATIONS = 6  # as many as put a file and delete the one before
MOST_JUMP = 10_000.0  # seconds, of a wall clock

Struck = TypeVar("Struck", bound=Process)


class Faults:
    """What may happen to the processes of a scenario."""

    def __init__(
        self, shared: Shared, promises: Promises, servers: list[Server], ask_again: Callable[[str], None]
    ) -> None:
        self.allowed = {"worker_lost"}  # codes that a run may fail with after what has struck
        self._shared = shared
        self._world = shared.world
        self._promises = promises
        self._servers = servers
        self._ask_again = ask_again  # as a client does that repeats a request with its key

    def kinds(self) -> list[Callable[[], None]]:
        """Each strikes once when it is called."""
        return [
            self._crash_worker,
            self._crash_in_put,
            self._crash_in_commit,
            self._pause_before_statement,
            self._stop_worker,
            self._slow_worker,
            self._crash_server,
            self._stop_server,
            self._stop_machine,
            self._lose_power,
            self._lose_power_in_put,
            self._stop_in_put,
            self._fill_disk,
            self._lock_database,
            self._fill_database,
            self._jump,
            self._cancel,
            self._finish,
            self._repeat,
            self._drain,
        ]

    def _one(self, of: Sequence[Struck], fault: str, *, disturbs: bool = True) -> list[Struck]:
        """One of them, or none if there is none."""
        one = [self._world.random.choice(of)] if of else []
        for process in one:
            process.disturbed |= disturbs
            self._world.note(f"fault: {fault} {process.name}")
        return one

    def _crash_worker(self) -> None:
        for worker in self._one(self._shared.living(), "crash"):
            worker.crash()

    def _interrupt(self, worker: Worker, interrupt: Callable[[], None]) -> None:
        """Have it happen in one of the worker's next operations in one of the two folders."""
        random = self._world.random
        worker.files.disk.interrupt(interrupt, random.choice([PARAMETERS, CHECKPOINTS]), random.randrange(OPERATIONS))

    def _crash_in_put(self) -> None:
        for worker in self._one(self._shared.living(), "crash in put"):
            self._interrupt(worker, worker.crash)

    def _lose_power_in_put(self) -> None:
        for worker in self._one(self._shared.living(), "power fails in put"):
            self._interrupt(worker, self._lose_power)

    def _crash_in_commit(self) -> None:
        for process in self._one([*self._shared.living(), *self._servers], "crash in commit"):
            self._shared.database.crash_in_commit = process

    def _pause_before_statement(self) -> None:
        for process in self._one([*self._shared.living(), *self._servers], "pause before a statement of"):
            random = self._world.random
            self._shared.database.pause = process, random.choice(PAUSE_SECONDS), random.randrange(STATEMENTS)

    def _stop_worker(self) -> None:
        for worker in self._one(self._shared.living(), "stop"):
            worker.stop(self._world.random.choice(STOP_SECONDS))

    def _slow_worker(self) -> None:
        for worker in self._one(self._shared.living(), "slow step", disturbs=False):
            worker.slow_seconds = self._world.random.uniform(5, 60)

    def _crash_server(self) -> None:
        for server in self._one(self._servers, "crash"):
            server.crash()
            for worker in server.backend.workers.values():
                worker.disturbed = True
                if self._world.chance(0.8):  # the others are orphans
                    worker.after(self._world.random.choice([0.1, 0.5, 30.0]), worker.crash)

    def _stop_server(self) -> None:
        for server in self._one(self._servers, "stop"):
            server.stop(self._world.random.uniform(5, 60))

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

    def _lose_power(self) -> None:
        self._world.note("fault: power fails")
        for process in [*self._servers, *self._shared.living()]:
            process.crash()
        self._shared.disk.lose_unsynced(self._world)

    def _for_a_while(self, fault: str, begin: Callable[[], None], end: Callable[[], None]) -> None:
        seconds = self._world.random.uniform(1, 30)
        self._world.note(f"fault: {fault} for {seconds:.1f} s")
        begin()
        self._world.after(seconds, end)

    def _fill_disk(self) -> None:
        self.allowed.add("disk_full")
        disk = self._shared.disk
        self._for_a_while("disk full", lambda: setattr(disk, "full", True), lambda: setattr(disk, "full", False))

    def _lock_database(self) -> None:
        self._trouble_database("busy")

    def _fill_database(self) -> None:
        self.allowed.add("disk_full")
        self._trouble_database("full")

    def _trouble_database(self, trouble: str) -> None:
        for worker in self._shared.living():
            worker.disturbed = True
        share, database = self._world.random.choice([0.2, 0.5, 1.0]), self._shared.database
        self._for_a_while(
            f"database {trouble}", lambda: setattr(database, trouble, share), lambda: setattr(database, trouble, 0.0)
        )

    def _jump(self) -> None:
        for server in self._one(self._servers, "clock of", disturbs=False):
            server.machine.wall_offset += self._world.random.choice([-1, 1]) * self._world.random.uniform(60, MOST_JUMP)

    def _cancel(self) -> None:
        self._ask("cancel", Store.cancel)

    def _finish(self) -> None:
        self._ask("finish", Store.finish)

    def _ask(self, name: str, verb: Callable[[Store, str], bool]) -> None:
        """A client asks a server something about a run."""
        active, living = self._promises.active(), [server for server in self._servers if server.awake]
        if active and living:
            run_id, server = self._world.random.choice(active), self._world.random.choice(living)
            self._world.note(f"fault: {name} {run_id}")
            server.answer(lambda: verb(server.store, run_id))

    def _repeat(self) -> None:
        keys = sorted(key.removeprefix("run ") for key in self._promises.answered if key.startswith("run "))
        if keys:
            self._ask_again(self._world.random.choice(keys))

    def _drain(self) -> None:
        for server in self._one([each for each in self._servers if not each.draining], "drain"):
            server.after(0.0, server.drain)
