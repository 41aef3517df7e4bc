"""What stands between one server and the Ray cluster."""

from __future__ import annotations

from typing import NamedTuple

from falcon_mnist.runs.backend import Ended, Outcome
from falcon_mnist.runs.ray_backend import RayBackend

from .database import raw
from .ray_cluster import LOOK_SECONDS, RayCluster, Task
from .workers import Worker
from .world import Process

DRIVER_SECONDS = (1.0, 15.0)  # until another driver is there


class Told(NamedTuple):
    """How a server was told that an attempt ended, and when."""

    outcome: Outcome
    at: float


class Driver:
    """The backend of one server, and the driver process that stands between it and the cluster."""

    claim_seconds = RayBackend.claim_seconds

    def __init__(self, cluster: RayCluster, server: Process, dataset: str) -> None:
        self.told: dict[str, Told] = {}
        self._cluster = cluster
        self._world = cluster.world
        self._server = server
        self._dataset = dataset
        self._tasks: dict[str, Task] = {}
        self._over: list[Ended] = []
        self._connected = True
        cluster.drivers.append(self)
        self._world.after(LOOK_SECONDS, self._look)

    @property
    def workers(self) -> dict[str, Worker]:
        """Those that were started last, by owner."""
        return {owner: task.worker for owner, task in self._tasks.items() if task.worker is not None}

    @property
    def capacity(self) -> int:
        """As `RayBackend.capacity`."""
        waiting = sum(task.worker is None for task in self._tasks.values())
        free = self._cluster.free - waiting if self._connected and not self._cluster.away else 0
        return len(self._tasks) + max(0, free)

    def start(self, run_id: str, owner: str) -> None:
        """Hand it to Ray."""
        database = raw(self._cluster.shared.database)
        (renewals,) = database.execute("SELECT renewals FROM runs WHERE id = ?", (run_id,)).fetchone() or (0,)
        task = self._tasks[owner] = Task(run_id, owner, renewals, self._dataset)
        self._cluster.place(task)

    def ended(self) -> list[Ended]:
        """As `RayBackend.ended`."""
        over, self._over = self._over, []
        self.told |= {owner: Told(outcome, self._world.now) for owner, outcome in over}
        return over

    def kill(self, owner: str) -> None:
        """Ray ends it where it reaches it, and tries no more."""
        if task := self._tasks.pop(owner, None):
            self._end_all([task])

    def kill_silent(self, seconds: float) -> list[str]:
        """As `RayBackend.kill_silent`."""
        return []

    def alive(self) -> int:
        """As `RayBackend.alive`."""
        return sum(node.cpus for node in self._cluster.nodes)

    def problem(self) -> str | None:
        """As `RayBackend.problem`."""
        return None if self._connected else "simulated"

    def close(self) -> None:
        """With a driver Ray ends what it has started."""
        tasks, self._tasks = self._tasks, {}
        self._end_all(list(tasks.values()))

    def lose(self) -> None:
        """The driver ends. What it has started goes on for a while, and the server learns nothing of it."""
        self._connected = False
        self._cluster.end_soon([task.worker for task in self._tasks.values() if task.worker is not None])
        self._over += [Ended(owner, Outcome.DISPLACED) for owner in self._tasks]
        self._tasks.clear()
        self._world.after(self._world.random.uniform(*DRIVER_SECONDS), self._connect)

    def _connect(self) -> None:
        self._connected = True

    def _end_all(self, tasks: list[Task]) -> None:
        for task in tasks:
            if task.worker is not None and not task.worker.node.cut:
                task.worker.crash()

    def _look(self) -> None:
        """What Ray does about what it has noticed, and tells."""
        if not self._server.alive:
            self._cluster.drivers.remove(self)
            return
        for task in list(self._tasks.values()):
            self._look_at(task)
        self._world.after(LOOK_SECONDS, self._look)

    def _look_at(self, task: Task) -> None:
        worker = task.worker
        if worker is not None and not worker.node.cut and worker.alive:
            return
        if worker is not None and not worker.node.cut and not worker.crashed and worker.outcome is not None:
            self._end(task, worker.outcome)
        elif task.tries:
            self._cluster.place(task)
        else:
            self._end(task, Outcome.LOST)

    def _end(self, task: Task, outcome: Outcome) -> None:
        del self._tasks[task.owner]
        self._over.append(Ended(task.owner, outcome))
