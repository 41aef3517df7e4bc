"""Servers, as the executor drives the real queue."""

from __future__ import annotations

from collections.abc import Callable

from falcon_mnist.runs.backend import Ended
from falcon_mnist.runs.executor import DRAIN_SECONDS
from falcon_mnist.runs.pool import CLAIM_SECONDS
from falcon_mnist.runs.pulse import Listener
from falcon_mnist.runs.queue import Queue
from falcon_mnist.storage.files import StorageUnavailableError
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.removal import Remover

from .files import Files
from .ray_driver import Driver, Told
from .shared import Shared
from .workers import TROUBLE, Basis, Worker
from .world import Crashed, Machine, Process

# Coarser than the real ones (1 and 300 s), for fewer events; an interrupted write is still swept after a slow one.
POLL_SECONDS = 2.5
SWEEP_SECONDS = 100.0


class SimulatedBackend:
    """The workers of one server."""

    claim_seconds = CLAIM_SECONDS

    def __init__(self, shared: Shared, machine: Machine, basis: Basis, capacity: int) -> None:
        self.capacity = capacity
        self.told: dict[str, Told] = {}  # all that `ended` has returned
        self.workers: dict[str, Worker] = {}
        self._listeners: dict[str, Listener] = {}
        self._shared, self._machine, self._basis = shared, machine, basis

    def start(self, run_id: str, owner: str) -> None:
        """A process takes a while to start, and sometimes a long while."""
        worker = Worker(self._shared, self._machine, self._basis, run_id, owner)
        self.workers[owner] = worker
        self._listeners[owner] = Listener(worker)
        self._shared.workers.append(worker)
        random = self._shared.world.random
        hangs = not self._shared.quiet and random.random() < 0.05
        worker.after(random.uniform(10, 60) if hangs else random.uniform(0.3, 3), worker.claim)
        worker.world.note(f"{owner} started for {run_id}")

    def ended(self) -> list[Ended]:
        """In the order of their start."""
        over = [Ended(owner, worker.outcome) for owner, worker in self.workers.items() if worker.outcome]
        for owner, outcome in over:
            del self.workers[owner], self._listeners[owner]
            self.told[owner] = Told(outcome, self._shared.world.now)
        return over

    def kill(self, owner: str) -> None:
        """It is not told of."""
        if worker := self.workers.pop(owner, None):
            del self._listeners[owner]
            worker.crash()

    def kill_silent(self, seconds: float) -> list[str]:
        """As the pool does."""
        now = self._machine.clock.monotonic()
        heard = {owner: listener.silent_seconds(now) for owner, listener in self._listeners.items()}
        silent = [owner for owner, silence in heard.items() if silence > seconds]
        for owner in silent:
            self.kill(owner)
        return silent

    def alive(self) -> int:
        """All that were started and have not ended."""
        return len(self.workers)

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
        if shared.ray is not None:
            self.backend: SimulatedBackend | Driver = Driver(shared.ray, self, basis.dataset)
        else:
            self.backend = SimulatedBackend(shared, self.machine, basis, random.choice([1, 1, 2]))
        self._shared = shared
        self._owners = 0
        self._queue = Queue(self.store, self.backend, clock=self.machine.clock, new_owner=self._new_owner)
        self._files = Files(shared, self, self.machine)
        self.remover = Remover(
            shared.database,
            ParameterFiles(self._files.parameters),
            self._files.checkpoints,
            wait=self._let_others_write,
        )
        shared.world.note(f"{name} starts, with {self.backend.capacity} workers, on {basis}")
        self.after(0.0, self._poll)
        self.after(0.0, self._sweep)

    def answer(self, name: str, act: Callable[[], object]) -> object:
        """Do what a client asks for; None if it gets no answer."""
        return self._do(name, act)

    def _let_others_write(self, seconds: float) -> None:
        """In a thread that answers a client; the queue's goes on."""
        doing = self.doing
        self.world.run_within(seconds)
        self.doing = doing
        self._shared.act_as(self)
        if not self.alive:
            raise Crashed

    def started(self, worker: Worker) -> bool:
        """Whether it would notice this worker's end, and may end it."""
        return worker.name in self.backend.workers

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
        except (*TROUBLE, StorageUnavailableError, Crashed):
            return None

    def _new_owner(self) -> str:
        self._owners += 1
        return f"{self.name}.{self._owners}"
