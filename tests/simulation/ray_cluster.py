"""A Ray cluster that all servers share, by Ray's rules: it places tasks, and tries those again whose worker is lost.

A server's driver hands them over and hears of their ends. All of it may be lost: a worker, a node, a driver, the head;
or a node is cut off from the others, which take it for dead while its workers go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from falcon_mnist.runs import ray_task
from falcon_mnist.runs.backend import Outcome
from falcon_mnist.runs.ray_driver import RETRIES

from .workers import Basis, Worker
from .world import Machine, World

if TYPE_CHECKING:
    from .ray_driver import Driver
    from .shared import Shared

LOOK_SECONDS = 1.5  # until Ray has noticed what happened to a worker
# Until the workers of a driver that is gone, or of a node that was taken for dead, end.
END_SECONDS = (0.1, 5.0, 30.0)


class RayWorker(Worker):
    """As `ray_task.execute` is one."""

    def __init__(self, shared: Shared, node: Node, task: Task) -> None:
        super().__init__(shared, node.machine, Basis(task.dataset, node.isa), task.run_id, task.owner)
        self.renewals = task.renewals
        self.node = node
        self.crashed = False  # rather than that it returned

    def crash(self) -> None:
        """Ray notices."""
        self.crashed = True
        super().crash()

    def _claimed_by_another(self) -> None:
        self.requeues = True
        if self._do(lambda: ray_task.requeue_earlier_try(self._parts.store, self.run_id, self.name)):
            self.end(Outcome.LOST)
        else:
            self.end(Outcome.FINISHED)


class Node:
    """A machine whose workers are Ray's. One that is `cut` counts as dead, whatever they do."""

    def __init__(self, shared: Shared, name: str) -> None:
        random = shared.world.random
        self.name = name
        self.machine = Machine(shared.world)
        self.cpus = random.choice([1, 1, 2])
        self.isa = random.choice(shared.isas)
        self.cut = False
        self.workers: list[RayWorker] = []

    @property
    def free(self) -> int:
        """CPUs that nobody uses."""
        return 0 if self.cut else self.cpus - sum(worker.alive for worker in self.workers)


@dataclass
class Task:
    """What a driver has handed to Ray."""

    run_id: str
    owner: str
    renewals: int
    dataset: str
    worker: RayWorker | None = None  # of the last try
    tries: int = 1 + RETRIES  # that are left
    outcome: Outcome | None = None


class RayCluster:
    """Its nodes, which others use as well."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.nodes = [Node(shared, f"node {number}") for number in range(1, shared.world.random.choice([2, 3, 3]))]
        self.away = False  # its head is lost
        self.drivers: list[Driver] = []

    @property
    def world(self) -> World:
        """Of all."""
        return self.shared.world

    @property
    def free(self) -> int:
        """CPUs that nobody uses."""
        return sum(max(0, node.free) for node in self.nodes)

    def place(self, task: Task) -> None:
        """Start a worker for it, if there is a CPU that nobody uses."""
        nodes = [node for node in self.nodes if node.free > 0]
        if not nodes or self.away:
            return
        node = self.world.random.choice(nodes)
        worker = RayWorker(self.shared, node, task)
        if task.worker is not None:
            worker.hit = worker.hit or task.worker.hit
        task.worker, task.tries = worker, task.tries - 1
        node.workers.append(worker)
        self.shared.workers.append(worker)
        hangs = not self.shared.quiet and self.world.chance(0.05)
        worker.after(self.world.random.uniform(10, 100) if hangs else self.world.random.uniform(0.1, 2), worker.claim)
        self.world.note(f"{task.owner} started for {task.run_id} on {node.name}")

    def lose_node(self, node: Node) -> None:
        """It loses its power, and comes back with nothing."""
        for worker in node.workers:
            worker.crash()
        node.workers.clear()

    def cut_off(self, node: Node, seconds: float) -> None:
        """For a while no word of it reaches the others. What it does then it does for nothing."""
        node.cut = True
        for worker in node.workers:
            worker.hit = True
        self.world.after(seconds, lambda: self._come_back(node))

    def _come_back(self, node: Node) -> None:
        node.cut = False
        self.end_soon(node.workers)

    def lose_head(self, seconds: float) -> None:
        """All that it knew is lost: each driver ends, and the nodes start again."""
        self.away = True
        for driver in self.drivers:
            driver.lose()
        for node in self.nodes:
            self.end_soon(node.workers)
        self.world.after(seconds, lambda: setattr(self, "away", False))

    def end_soon(self, workers: list[RayWorker]) -> None:
        """Each is ended at a moment of its own, until then it goes on."""
        for worker in workers:
            worker.hit = True
            self.world.after(self.world.random.choice(END_SECONDS), worker.crash)
