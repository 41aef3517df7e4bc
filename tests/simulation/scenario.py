"""One seed: what clients ask for, which faults come when, and the end."""

from __future__ import annotations

from falcon_mnist.runs.ray_backend import RayBackend
from falcon_mnist.storage.files import ABANDONED_SECONDS

from .bucket import SharedBucket
from .clients import Clients
from .database import TROUBLES, SimulatedDatabase
from .disk import SharedDisk
from .faults import MOST_JUMP, Faults
from .files import Files, recorded_files
from .promises import Promises
from .races import Races
from .ray_cluster import RayCluster
from .ray_faults import RayFaults
from .servers import Server
from .shared import Shared
from .stored import check
from .world import Machine, Process, World

FAULTY_SECONDS = (10.0, 40.0)
# After the last fault: each run may first lose its lease, wait for a worker that hangs, and be trained behind others.
QUIET_SECONDS = 300.0 + RayBackend.claim_seconds[1]


class Scenario:
    """The world of one seed, with all that is in it."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.shared = Shared(self.world, SimulatedDatabase(self.world), SharedDisk(), SharedBucket())
        if self.world.chance(0.4):
            self.shared.ray = RayCluster(self.shared)
        self.promises = Promises(self.shared)
        self.servers: list[Server] = []
        parts = (self.shared, self.promises, self.servers)
        self.fault_kinds = [*Faults(*parts).kinds(), *Races(*parts).kinds(), *RayFaults(*parts).kinds()]
        self.clients = Clients(*parts)
        self._names = 0
        self._faulty_seconds = self.world.random.uniform(*FAULTY_SECONDS)
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
        for _ in range(random.randint(1, 4)):
            self.world.after(random.uniform(0, self._faulty_seconds / 2), self.clients.create_and_train)
        for act in self.clients.kinds():
            for _ in range(random.choice([0, 0, 0, 1, 3])):
                self.world.after(random.uniform(1, 2 * self._faulty_seconds), act)
        kinds = random.sample(self.fault_kinds, random.randint(1, 4))  # few kinds at once reach further than all
        for _ in range(random.randint(1, 8)):
            self.world.after(random.uniform(1, self._faulty_seconds), random.choice(kinds))
        self._supervise()

    # Servers

    def _start_server(self) -> None:
        self._names += 1
        self.servers.append(Server(self.shared, f"server {self._names}"))

    def _supervise(self) -> None:
        """Replace servers that have ended."""
        for server in [each for each in self.servers if not each.alive]:
            self.servers.remove(server)
            self.world.after(self.world.random.choice([0.1, 3.0, 20.0]), self._start_server)
        self.world.after(1.0, self._supervise)

    # The end

    def _calm(self) -> None:
        """No faults from now on; what they have left stays."""
        self.world.note("calm")
        self.shared.quiet = True
        self.shared.disk.full = False
        self.shared.bucket.away = self.shared.bucket.slow = 0.0
        for trouble in TROUBLES:
            setattr(self.shared.database, trouble, 0.0)
        self.shared.database.crash_in_commit = self.shared.database.hold = None

    def _over(self) -> bool:
        return not (self.clients.waiting or self.promises.active() or self.shared.living())

    def _look_at_end(self) -> None:
        self.shared.database.pause = None  # one that never came
        check(not self.clients.waiting, f"never answered: {self.clients.waiting}")
        machine = Machine(self.world)
        store = self.shared.store(machine)
        self.promises.look_at_end()
        files = Files(self.shared, Process(self.world, "sweeper"), machine)
        machine.wall_offset += 2 * ABANDONED_SECONDS + 2 * MOST_JUMP * 8
        for _ in range(2):
            files.sweep(store)
        self.promises.look(None)
        check(files.names() == recorded_files(store), "files are left that no row names")
