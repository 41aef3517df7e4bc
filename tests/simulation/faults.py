"""The faults that may strike, each at one process or all."""

from __future__ import annotations

from collections.abc import Callable

from .races import STOP_SECONDS
from .striking import Striking

MOST_JUMP = 10_000.0  # seconds, of a wall clock


class Faults(Striking):
    """What may happen at any moment."""

    def kinds(self) -> list[Callable[[], None]]:
        """Each strikes once when it is called."""
        return [
            self._crash_worker,
            self._crash_in_put,
            self._crash_in_commit,
            self._stop_worker,
            self._slow_worker,
            self._crash_server,
            self._stop_server,
            self._lose_power,
            self._lose_power_in_put,
            self._fill_disk,
            self._lose_bucket,
            self._slow_bucket,
            self._lock_database,
            self._fill_database,
            self._lose_database,
            self._lose_answers,
            self._lock_rows,
            self._jump,
            self._drain,
        ]

    def _crash_worker(self) -> None:
        for worker in self._one(self._shared.living(), "crash"):
            worker.crash()

    def _crash_in_put(self) -> None:
        for worker in self._one(self._shared.living(), "crash in put"):
            self._interrupt(worker, worker.crash)

    def _lose_power_in_put(self) -> None:
        for worker in self._one(self._shared.living(), "power fails in put"):
            self._interrupt(worker, self._lose_power)

    def _crash_in_commit(self) -> None:
        for process in self._one([*self._shared.living(), *self._servers], "crash in commit"):
            self._shared.database.crash_in_commit = process

    def _stop_worker(self) -> None:
        for worker in self._one(self._shared.living(), "stop"):
            worker.stop(self._world.random.choice(STOP_SECONDS))

    def _slow_worker(self) -> None:
        for worker in self._one(self._shared.living(), "slow step", hits=False):
            worker.slow_seconds = self._world.random.uniform(5, 60)

    def _crash_server(self) -> None:
        for server in self._one(self._servers, "crash"):
            server.crash()
            for worker in server.backend.workers.values():
                worker.hit = True
                if self._world.chance(0.8):  # the others are orphans
                    worker.after(self._world.random.choice([0.1, 0.5, 30.0]), worker.crash)

    def _stop_server(self) -> None:
        for server in self._one(self._servers, "stop"):
            server.stop(self._world.random.uniform(5, 60))

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
        self._promises.allowed.add("disk_full")
        disk = self._shared.disk
        self._for_a_while("disk full", lambda: setattr(disk, "full", True), lambda: setattr(disk, "full", False))

    def _lose_bucket(self) -> None:
        self._trouble_bucket("away")

    def _slow_bucket(self) -> None:
        self._trouble_bucket("slow")

    def _trouble_bucket(self, trouble: str) -> None:
        share, bucket = self._world.random.choice([0.2, 0.5, 1.0]), self._shared.bucket
        self._for_a_while(
            f"bucket {trouble}", lambda: setattr(bucket, trouble, share), lambda: setattr(bucket, trouble, 0.0)
        )

    def _lock_database(self) -> None:
        self._trouble_database("busy")

    def _fill_database(self) -> None:
        self._promises.allowed.add("disk_full")
        self._trouble_database("full")

    def _lose_database(self) -> None:
        self._trouble_database("lost")

    def _lose_answers(self) -> None:
        self._trouble_database("unanswered")

    def _lock_rows(self) -> None:
        self._trouble_database("locked")

    def _trouble_database(self, trouble: str) -> None:
        for worker in self._shared.living():
            worker.hit = True
        share, database = self._world.random.choice([0.2, 0.5, 1.0]), self._shared.database
        self._for_a_while(
            f"database {trouble}", lambda: setattr(database, trouble, share), lambda: setattr(database, trouble, 0.0)
        )

    def _jump(self) -> None:
        for server in self._one(self._servers, "clock of", hits=False):
            server.machine.wall_offset += self._world.random.choice([-1, 1]) * self._world.random.uniform(60, MOST_JUMP)

    def _drain(self) -> None:
        for server in self._one([each for each in self._servers if not each.draining], "drain"):
            server.after(0.0, server.drain)
