"""Servers and their workers, as the executor and the worker process drive the real queue and attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from falcon_mnist.runs.attempt import Attempt, Parts
from falcon_mnist.runs.backend import Ended, Outcome
from falcon_mnist.runs.checkpoints import Checkpoints
from falcon_mnist.runs.executor import DRAIN_SECONDS
from falcon_mnist.runs.queue import Queue
from falcon_mnist.storage.database import DatabaseBusyError, DatabaseFullError
from falcon_mnist.storage.files import LocalFolder, Sweeper
from falcon_mnist.storage.parameter_files import ParameterFiles, file_name
from falcon_mnist.storage.store import Store

from . import training
from .database import SimulatedDatabase
from .disk import ProcessDisk, SharedDisk
from .world import Crashed, Machine, Process, World

# Coarser than the real ones (1, 0.5 and 300 s), for fewer events; an interrupted write is still swept after a slow one.
POLL_SECONDS = 2.5
WATCH_SECONDS = 2.0
SWEEP_SECONDS = 100.0

Result = TypeVar("Result")

TROUBLE = (DatabaseBusyError, DatabaseFullError)


@dataclass
class Shared:
    """What all processes of one simulation share."""

    world: World
    database: SimulatedDatabase
    disk: SharedDisk

    def __post_init__(self) -> None:
        self.workers: list[Worker] = []  # living or not
        self.quiet = False  # no faults any more
        # What servers may have: an attempt on another data set or instruction set than the one before starts anew.
        random = self.world.random
        self.datasets = training.DATASETS if random.random() < 0.3 else training.DATASETS[:1]
        self.isas = list(training.FACTORS) if random.random() < 0.3 else list(training.FACTORS)[:1]
        self.actor: Process | None = None  # who acts in this event; None for a client

    def act_as(self, process: Process) -> None:
        """What happens in this event is this process's doing."""
        self.actor = self.database.acting = process

    def store(self, machine: Machine) -> Store:
        """A process's store."""
        return Store(self.database, clock=machine.clock, new_id=self.world.new_id)


PARAMETERS, CHECKPOINTS = Path("/storage/parameters"), Path("/storage/checkpoints")


class Files:
    """The stored files, as one process sees them."""

    def __init__(self, shared: Shared, process: Process, machine: Machine) -> None:
        self.disk = ProcessDisk(shared.disk, process, machine.clock)
        self.parameters = LocalFolder(PARAMETERS, clock=machine.clock, disk=self.disk)
        self.checkpoints = LocalFolder(CHECKPOINTS, clock=machine.clock, disk=self.disk)
        self._sweepers = Sweeper(self.parameters), Sweeper(self.checkpoints)

    def sweep(self, store: Store) -> None:
        """As the executor does."""
        for sweeper, recorded in zip(self._sweepers, recorded_files(store), strict=True):
            sweeper.sweep(recorded)

    def names(self) -> tuple[set[str], set[str]]:
        """The names of all files of parameters, and of checkpoints."""
        return {entry.name for entry in self.parameters.list()}, {entry.name for entry in self.checkpoints.list()}


def recorded_files(store: Store) -> tuple[set[str], set[str]]:
    """The names of all files of parameters, and of checkpoints, that a row names."""
    parameters = {file_name(row.id) for row in store.all_parameters()}
    return parameters, {checkpoint["file"] for checkpoint in store.recorded_checkpoints()}


class Basis(NamedTuple):
    """What the workers of a server train on and with."""

    dataset: str
    isa: str


class Worker(Process):
    """A worker process: its main thread takes the steps of an attempt, another one keeps the lease."""

    def __init__(self, shared: Shared, machine: Machine, basis: Basis, run_id: str, owner: str) -> None:
        super().__init__(shared.world, owner)
        self.disturbed = shared.database.in_trouble
        self.run_id = run_id
        self.outcome: Outcome | None = None
        self._shared = shared
        self.files = Files(shared, self, machine)
        self._parts = Parts(
            store=shared.store(machine),
            checkpoints=Checkpoints(self.files.checkpoints, new_id=shared.world.new_id),
            parameters=ParameterFiles(self.files.parameters),
            open_data=lambda: training.dataset(basis.dataset),
            train=partial(training.train, basis.isa),
            evaluate=training.evaluate,
            isa=basis.isa,
            clock=machine.clock,
            new_id=shared.world.new_id,
        )
        self.slow_seconds = 0.0  # how long the next step takes besides

    def claim(self) -> None:
        """Claim the run, and start both threads."""
        with_run = self._do(lambda: self._parts.store.claim(self.run_id, self.name))
        if not self.alive:
            return
        if with_run is None:
            self.end(Outcome.FINISHED)
            return
        self._attempt = Attempt(self._parts, with_run, self.name)
        self._steps = self._attempt.run_to_completion()
        self.after(self.world.random.uniform(0.1, 1), self._step)
        self.after(WATCH_SECONDS, self._beat)

    def _step(self) -> None:
        if self._do(self._next) is self:
            self.end(Outcome.FINISHED)
        seconds, self.slow_seconds = self.slow_seconds, 0.0
        self.after(seconds + self.world.random.uniform(0.1, 1), self._step)

    def _next(self) -> Any:
        return next(self._steps, self)

    def _beat(self) -> None:
        if self._do(lambda: self._attempt.lease.beat(WATCH_SECONDS)):
            self.after(WATCH_SECONDS, self._beat)

    def _do(self, act: Callable[[], Result]) -> Result | None:
        self._shared.act_as(self)
        try:
            return act()
        except Crashed:
            self.end(Outcome.LOST)
        except TROUBLE:
            self.end(Outcome.FAILED)
        return None

    def crash(self) -> None:
        """Its backend finds it gone."""
        super().crash()
        self.end(Outcome.LOST)

    def end(self, outcome: Outcome) -> None:
        """It is over."""
        self.alive = False
        self.outcome = self.outcome or outcome
        self.world.note(f"{self.name} {self.outcome.name}")


class SimulatedBackend:
    """The workers of one server."""

    def __init__(self, shared: Shared, machine: Machine, basis: Basis, capacity: int) -> None:
        self.capacity = capacity
        self.told: dict[str, Outcome] = {}  # all that `ended` has returned
        self.workers: dict[str, Worker] = {}
        self._shared, self._machine, self._basis = shared, machine, basis

    def start(self, run_id: str, owner: str) -> None:
        """A process takes a while to start, and sometimes a long while."""
        worker = Worker(self._shared, self._machine, self._basis, run_id, owner)
        self.workers[owner] = worker
        self._shared.workers.append(worker)
        random = self._shared.world.random
        hangs = not self._shared.quiet and random.random() < 0.05
        worker.after(random.uniform(10, 60) if hangs else random.uniform(0.3, 3), worker.claim)
        worker.world.note(f"{owner} started for {run_id}")

    def ended(self) -> list[Ended]:
        """In the order of their start."""
        over = [Ended(owner, worker.outcome) for owner, worker in self.workers.items() if worker.outcome]
        for owner, outcome in over:
            del self.workers[owner]
            self.told[owner] = outcome
        return over

    def kill(self, owner: str) -> None:
        """It is not told of."""
        if worker := self.workers.pop(owner, None):
            worker.crash()

    def close(self) -> None:
        """End all."""
        for owner in list(self.workers):
            self.kill(owner)


class Server(Process):
    """A server process: the loop of its executor, and a store that answers its clients."""

    def __init__(self, shared: Shared, name: str) -> None:
        super().__init__(shared.world, name)
        random = shared.world.random
        self.machine = Machine(shared.world)
        self.store = shared.store(self.machine)
        self.doing = ""  # what the queue was last asked for
        self.draining = False
        basis = Basis(random.choice(shared.datasets), random.choice(shared.isas))
        self.backend = SimulatedBackend(shared, self.machine, basis, random.choice([1, 1, 2]))
        self._shared = shared
        self._owners = 0
        self._queue = Queue(self.store, self.backend, clock=self.machine.clock, new_owner=self._new_owner)
        self._files = Files(shared, self, self.machine)
        shared.world.note(f"{name} starts, with {self.backend.capacity} workers, on {basis}")
        self.after(0.0, self._poll)
        self.after(0.0, self._sweep)

    def answer(self, act: Callable[[], object]) -> object:
        """Do what a client asks for; None if it gets no answer."""
        return self._do("answer", act)

    def drain(self) -> None:
        """End as the executor does."""
        self.draining = True
        self._do("drain", self._queue.drain)
        self._drained_until = self.world.now + DRAIN_SECONDS
        self.after(0.5, self._poll_draining)

    def _poll(self) -> None:
        if not self.draining:
            self._do("poll", self._queue.poll)
            self.after(POLL_SECONDS * self.world.random.uniform(0.8, 1.2), self._poll)

    def _poll_draining(self) -> None:
        over = self._do("poll_draining", self._queue.poll_draining)
        if not over and self.world.now < self._drained_until:
            self.after(1.0, self._poll_draining)
        else:
            self.after(0.0, self._abandon)

    def _abandon(self) -> None:
        self.backend.close()
        self._do("abandon", self._queue.abandon)
        self.alive = False

    def _sweep(self) -> None:
        self._do("sweep", self._sweep_files)
        self.after(SWEEP_SECONDS, self._sweep)

    def _sweep_files(self) -> None:
        self._files.sweep(self.store)

    def _do(self, doing: str, act: Callable[[], object]) -> object:
        self.doing = doing
        self._shared.act_as(self)
        try:
            return act()
        except (*TROUBLE, Crashed):
            return None

    def _new_owner(self) -> str:
        self._owners += 1
        return f"{self.name}.{self._owners}"
