"""One seed: what clients ask for, which faults come when, and the end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from falcon_mnist.runs.queue import CLAIM_SECONDS
from falcon_mnist.storage.files import ABANDONED_SECONDS
from falcon_mnist.training.hyperparams import Hyperparams

from .database import SimulatedDatabase
from .disk import SharedDisk
from .processes import CHECKPOINTS, PARAMETERS, Files, Server, Shared, Worker, recorded_files
from .promises import Promises, check
from .training import ARCHITECTURE
from .world import Machine, Process, World

FAULTY_SECONDS = (10.0, 40.0)
# After the last fault: each run may first lose its lease, wait for a worker that hangs, and be trained behind others.
QUIET_SECONDS = 300.0 + CLAIM_SECONDS[1]
MAX_QUEUED = 100
# Within a lease, and past it: a worker then wakes while another one has its run.
MOST_STOP_SECONDS = 60.0
STOP_SECONDS = (5.0, 20.0, 25.0, MOST_STOP_SECONDS, MOST_STOP_SECONDS)
OPERATIONS = 6  # as many as put a file and delete the one before
MOST_JUMP = 10_000.0  # seconds, of a wall clock


class Scenario:
    """The world of one seed, with all that is in it."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.shared = Shared(self.world, SimulatedDatabase(self.world), SharedDisk())
        self.promises = Promises(self.shared)
        self.servers: list[Server] = []
        self._names = 0
        self._faulty_seconds = self.world.random.uniform(*FAULTY_SECONDS)
        self._allowed = {"worker_lost"}
        self._wanted: list[str] = []  # keys of requests that have not been answered yet
        self.world.after_each = lambda: self.promises.look(self.shared.actor)

    def play(self) -> None:
        """Raises `BrokenPromiseError`, or whatever an error in the code raises."""
        try:
            self._prepare()
            self.world.run(lambda: False, until=self._faulty_seconds)
            self._calm()
            end = self.world.now + QUIET_SECONDS
            self.world.run(lambda: not self._wanted and not self.promises.active() and self._idle(), until=end)
            self._look_at_end()
        finally:
            self.shared.database.close()

    def _prepare(self) -> None:
        random = self.world.random
        for _ in range(random.choice([1, 2, 2, 3])):
            self._start_server()
        for number in range(random.randint(1, 4)):
            self.world.after(random.uniform(0, self._faulty_seconds / 2), partial(self._want, f"key {number}"))
        kinds = random.sample(self._faults(), random.randint(1, 4))  # few kinds at once reach further than all
        for _ in range(random.randint(1, 8)):
            self.world.after(random.uniform(1, self._faulty_seconds), random.choice(kinds))
        self._supervise()

    def _faults(self) -> list[Callable[[], None]]:
        return [
            self._crash_worker,
            self._crash_in_put,
            self._crash_in_commit,
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
        if key not in self._wanted:
            self._wanted.append(key)
        living = [server for server in self.servers if server.alive]
        if living and self._ask(key, self.world.random.choice(living)):
            self._wanted.remove(key)
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

    # Faults

    def _living(self) -> list[Worker]:
        return [worker for worker in self.shared.workers if worker.alive]

    def _one(
        self, of: list[Process] | list[Worker] | list[Server], fault: str, *, disturbs: bool = True
    ) -> list[Process]:
        """One of them, or none if there is none."""
        one = [self.world.random.choice(of)] if of else []
        for process in one:
            process.disturbed |= disturbs
            self.world.note(f"fault: {fault} {process.name}")
        return one

    def _crash_worker(self) -> None:
        for worker in self._one(self._living(), "crash"):
            worker.crash()

    def _interrupt(self, worker: Process, interrupt: Callable[[], None]) -> None:
        """Have it happen in one of the worker's next operations in one of the two folders."""
        assert isinstance(worker, Worker)
        random = self.world.random
        worker.files.disk.interrupt(interrupt, random.choice([PARAMETERS, CHECKPOINTS]), random.randrange(OPERATIONS))

    def _crash_in_put(self) -> None:
        for worker in self._one(self._living(), "crash in put"):
            self._interrupt(worker, worker.crash)

    def _lose_power_in_put(self) -> None:
        for worker in self._one(self._living(), "power fails in put"):
            self._interrupt(worker, self._lose_power)

    def _crash_in_commit(self) -> None:
        for process in self._one([*self._living(), *self.servers], "crash in commit"):
            self.shared.database.crash_in_commit = process

    def _stop_worker(self) -> None:
        for worker in self._one(self._living(), "stop"):
            worker.stop(self.world.random.choice(STOP_SECONDS))

    def _slow_worker(self) -> None:
        for worker in self._one(self._living(), "slow step", disturbs=False):
            assert isinstance(worker, Worker)
            worker.slow_seconds = self.world.random.uniform(5, 60)

    def _crash_server(self) -> None:
        for server in self._one(self.servers, "crash"):
            server.crash()
            assert isinstance(server, Server)
            for worker in server.backend.workers.values():
                worker.disturbed = True
                if self.world.chance(0.8):  # the others are orphans
                    worker.after(self.world.random.choice([0.1, 0.5, 30.0]), worker.crash)

    def _stop_server(self) -> None:
        for server in self._one(self.servers, "stop"):
            server.stop(self.world.random.uniform(5, 60))

    def _stop_machine(self) -> None:
        """A machine sleeps: nothing on it ends a worker whose lease another server takes away."""
        for server in self._one(self.servers, "stop all of"):
            self._stop_all(server)

    def _stop_all(self, server: Process) -> None:
        assert isinstance(server, Server)
        workers = list(server.backend.workers.values())
        seconds = self.world.random.choice(STOP_SECONDS)
        for process in [server, *workers]:
            process.stop(seconds)
        if seconds == MOST_STOP_SECONDS:
            self._wake_when_replaced(workers, self.world.now + seconds)

    def _wake_when_replaced(self, workers: list[Worker], until: float) -> None:
        """A worker that wakes is the most dangerous while another one executes its run, or soon after."""
        replaced = [worker for worker in workers if self.promises.holder(worker.run_id) not in (None, worker.name)]
        for worker in replaced:
            self.world.after(self.world.random.uniform(0, 5), worker.wake)
        if not replaced and self.world.now < until:
            self.world.after(0.5, partial(self._wake_when_replaced, workers, until))

    def _stop_in_put(self) -> None:
        """A machine sleeps between a file and the row that is to record it, while another one may train the run."""
        for server in self._one([each for each in self.servers if each.backend.workers], "stop in put all of"):
            assert isinstance(server, Server)
            for worker in server.backend.workers.values():
                self._interrupt(worker, partial(self._stop_all, server))

    def _lose_power(self) -> None:
        self.world.note("fault: power fails")
        for process in [*self.servers, *self._living()]:
            process.crash()
        self.shared.disk.lose_unsynced(self.world)

    def _for_a_while(self, fault: str, begin: Callable[[], None], end: Callable[[], None]) -> None:
        seconds = self.world.random.uniform(1, 30)
        self.world.note(f"fault: {fault} for {seconds:.1f} s")
        begin()
        self.world.after(seconds, end)

    def _fill_disk(self) -> None:
        self._allowed.add("disk_full")
        disk = self.shared.disk
        self._for_a_while("disk full", lambda: setattr(disk, "full", True), lambda: setattr(disk, "full", False))

    def _lock_database(self) -> None:
        self._trouble_database("busy")

    def _fill_database(self) -> None:
        self._allowed.add("disk_full")
        self._trouble_database("full")

    def _trouble_database(self, trouble: str) -> None:
        for worker in self._living():
            worker.disturbed = True
        share, database = self.world.random.choice([0.2, 0.5, 1.0]), self.shared.database
        self._for_a_while(
            f"database {trouble}", lambda: setattr(database, trouble, share), lambda: setattr(database, trouble, 0.0)
        )

    def _jump(self) -> None:
        for server in self._one(self.servers, "clock of", disturbs=False):
            assert isinstance(server, Server)
            server.machine.wall_offset += self.world.random.choice([-1, 1]) * self.world.random.uniform(60, MOST_JUMP)

    def _cancel(self) -> None:
        active, living = self.promises.active(), [server for server in self.servers if server.alive]
        if active and living:
            run_id, server = self.world.random.choice(active), self.world.random.choice(living)
            self.world.note(f"fault: cancel {run_id}")
            server.answer(lambda: server.store.cancel(run_id))

    def _finish(self) -> None:
        active, living = self.promises.active(), [server for server in self.servers if server.alive]
        if active and living:
            run_id, server = self.world.random.choice(active), self.world.random.choice(living)
            self.world.note(f"fault: finish {run_id}")
            server.answer(lambda: server.store.finish(run_id))

    def _repeat(self) -> None:
        keys = sorted(key.removeprefix("run ") for key in self.promises.answered if key.startswith("run "))
        if keys:
            self._want(self.world.random.choice(keys))

    def _drain(self) -> None:
        for server in self._one([each for each in self.servers if not each.draining], "drain"):
            assert isinstance(server, Server)
            server.drain()

    # The end

    def _calm(self) -> None:
        """No faults from now on; what they have left stays."""
        self.world.note("calm")
        self.shared.quiet = True
        self.shared.disk.full = False
        self.shared.database.busy = self.shared.database.full = 0.0
        self.shared.database.crash_in_commit = None

    def _idle(self) -> bool:
        return not self._living()

    def _look_at_end(self) -> None:
        check(not self._wanted, f"never answered: {self._wanted}")
        machine = Machine(self.world)
        store = self.shared.store(machine)
        self.promises.look_at_end(store, self._allowed)
        files = Files(self.shared, Process(self.world, "sweeper"), machine)
        machine.wall_offset += 2 * ABANDONED_SECONDS + 2 * MOST_JUMP * 8
        for _ in range(2):
            files.sweep(store)
        self.promises.look(None)
        check(files.names() == recorded_files(store), "files are left that no row names")
