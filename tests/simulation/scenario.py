"""One seed: what clients ask for, which faults come when, and the end."""

from __future__ import annotations

from functools import partial

from falcon_mnist.runs.queue import CLAIM_SECONDS
from falcon_mnist.storage.files import ABANDONED_SECONDS
from falcon_mnist.training.hyperparams import Hyperparams

from .database import SimulatedDatabase
from .disk import SharedDisk
from .faults import MOST_JUMP, Faults
from .files import Files, recorded_files
from .promises import Promises, check
from .servers import Server
from .shared import Shared
from .training import ARCHITECTURE
from .world import Machine, Process, World

FAULTY_SECONDS = (10.0, 40.0)
# After the last fault: each run may first lose its lease, wait for a worker that hangs, and be trained behind others.
QUIET_SECONDS = 300.0 + CLAIM_SECONDS[1]
MAX_QUEUED = 100


class Scenario:
    """The world of one seed, with all that is in it."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.shared = Shared(self.world, SimulatedDatabase(self.world), SharedDisk())
        self.promises = Promises(self.shared)
        self.servers: list[Server] = []
        self.faults = Faults(self.shared, self.promises, self.servers, self._want)
        self._names = 0
        self._faulty_seconds = self.world.random.uniform(*FAULTY_SECONDS)
        self._wanted: set[str] = set()  # keys of requests that have not been answered yet
        self.world.after_each = lambda: self.promises.look(self.shared.actor)

    def play(self) -> None:
        """Raises `BrokenPromiseError`, or whatever an error in the code raises."""
        try:
            self._prepare()
            self.world.run(lambda: False, until=self._faulty_seconds)
            self._calm()
            end = self.world.now + QUIET_SECONDS
            self.world.run(self._over, until=end)
            self._look_at_end()
        finally:
            self.shared.database.close()

    def _prepare(self) -> None:
        random = self.world.random
        for _ in range(random.choice([1, 2, 2, 3])):
            self._start_server()
        for number in range(random.randint(1, 4)):
            self.world.after(random.uniform(0, self._faulty_seconds / 2), partial(self._want, f"key {number}"))
        kinds = random.sample(self.faults.kinds(), random.randint(1, 4))  # few kinds at once reach further than all
        for _ in range(random.randint(1, 8)):
            self.world.after(random.uniform(1, self._faulty_seconds), random.choice(kinds))
        self._supervise()

    # Servers and clients

    def _start_server(self) -> None:
        self._names += 1
        self.servers.append(Server(self.shared, f"server {self._names}"))

    def _supervise(self) -> None:
        """Replace servers that have ended."""
        for server in [each for each in self.servers if not each.alive]:
            self.servers.remove(server)
            self.world.after(self.world.random.choice([0.1, 3.0, 20.0]), self._start_server)
        self.world.after(1.0, self._supervise)

    def _want(self, key: str) -> None:
        """A client asks until it is answered: for a model, then for a run of it."""
        self._wanted.add(key)
        living = [server for server in self.servers if server.awake]
        if living and self._ask(key, self.world.random.choice(living)):
            self._wanted.discard(key)
        else:
            self.world.after(self.world.random.uniform(0.5, 3), lambda: self._want(key))

    def _ask(self, key: str, server: Server) -> bool:
        number = int(key.split()[1])
        hyperparams = Hyperparams(epochs=1 + number % 4, seed=number).model_dump()

        def create() -> tuple[str, str]:
            model = server.store.create_model(ARCHITECTURE, hyperparams, key=f"model {key}", fingerprint=key)
            run = server.store.create_run(model, hyperparams, max_queued=MAX_QUEUED, key=f"run {key}", fingerprint=key)
            return model.id, run.id

        made = server.answer(create)
        if not isinstance(made, tuple) or not server.alive:
            return False
        self.promises.answer(f"model {key}", made[0])
        self.promises.answer(f"run {key}", made[1])
        return True

    # The end

    def _calm(self) -> None:
        """No faults from now on; what they have left stays."""
        self.world.note("calm")
        self.shared.quiet = True
        self.shared.disk.full = False
        self.shared.database.busy = self.shared.database.full = 0.0
        self.shared.database.crash_in_commit = self.shared.database.pause = None

    def _over(self) -> bool:
        return not (self._wanted or self.promises.active() or self.shared.living())

    def _look_at_end(self) -> None:
        check(not self._wanted, f"never answered: {self._wanted}")
        machine = Machine(self.world)
        store = self.shared.store(machine)
        self.promises.look_at_end(store, self.faults.allowed)
        files = Files(self.shared, Process(self.world, "sweeper"), machine)
        machine.wall_offset += 2 * ABANDONED_SECONDS + 2 * MOST_JUMP * 8
        for _ in range(2):
            files.sweep(store)
        self.promises.look(None)
        check(files.names() == recorded_files(store), "files are left that no row names")
