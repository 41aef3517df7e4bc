"""What clients ask the servers for, each until it is answered."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from falcon_mnist.storage.removal import InUseError, remove_model, remove_parameters, remove_run
from falcon_mnist.storage.store import Conflict, Refused, Store
from falcon_mnist.training.hyperparams import Hyperparams

from .promises import Promises
from .servers import Server
from .shared import Shared
from .training import ARCHITECTURE

MAX_QUEUED = 100
EPOCHS_AT_ONCE = 120  # of a removal: two runs, so that three of a model go in two parts
REMOVALS = {"m": partial(remove_model, epochs_at_once=EPOCHS_AT_ONCE), "r": remove_run, "p": remove_parameters}


class Clients:
    """All clients: they create models, train them, cancel, finish and remove."""

    def __init__(self, shared: Shared, promises: Promises, servers: list[Server]) -> None:
        self.waiting: set[str] = set()  # keys of requests that have not been answered yet
        self._shared = shared
        self._world = shared.world
        self._promises = promises
        self._servers = servers
        self._starts: dict[str, str | None] = {}  # key to the parameter set that its run is to begin with
        self._models = 0

    def kinds(self) -> list[Callable[[], None]]:
        """What they may ask for besides new models and runs, each once when it is called."""
        return [self._repeat, self._train_from_stored, self._cancel, self._finish, self._evaluate, self._remove]

    def create_and_train(self) -> None:
        """Ask for a model, and for a run of it or several."""
        self._models += 1
        for run in range(self._world.random.choice([1, 1, 1, 1, 1, 3])):
            self._want(f"{self._models} {run}")

    def _train_from_stored(self) -> None:
        """Ask for a model, and for a run of it that begins with the parameters of another."""
        if stored := self._promises.stored_sets():
            self._models += 1
            self._starts[key := f"{self._models} 0"] = self._world.random.choice(stored)
            self._want(key)

    def _repeat(self) -> None:
        """Ask again for what was answered, with the same key."""
        keys = sorted(key.removeprefix("run ") for key in self._promises.answered if key.startswith("run "))
        if keys:
            self._want(self._world.random.choice(keys))

    def _want(self, key: str) -> None:
        self.waiting.add(key)
        server = self._any_server()
        if server is not None and self._is_answered(key, server):
            self.waiting.discard(key)
        else:
            self._world.after(self._world.random.uniform(0.5, 3), lambda: self._want(key))

    def _any_server(self) -> Server | None:
        awake = [server for server in self._servers if server.awake]
        return self._world.random.choice(awake) if awake else None

    def _is_answered(self, key: str, server: Server) -> bool:
        number = int(key.split()[0])
        hyperparams = Hyperparams(epochs=1 + number % 4, seed=number).model_dump()
        start_from = self._starts.get(key)

        def create() -> tuple[str, str] | Refused:
            store = server.store
            try:
                model = store.create_model(ARCHITECTURE, hyperparams, key=f"model {number}", fingerprint="")
                run = store.create_run(
                    model,
                    hyperparams,
                    max_queued=MAX_QUEUED,
                    start_from=start_from,
                    key=f"run {key}",
                    fingerprint=f"{start_from}",
                )
            except Conflict as conflict:
                return conflict.reason
            return model.id, run.id

        made = server.answer("create", create)
        if made is Refused.START_REMOVED:
            return True
        if not isinstance(made, tuple) or not server.alive:
            return False
        self._promises.answer(f"model {number}", made[0])
        self._promises.answer(f"run {key}", made[1])
        return True

    def _cancel(self) -> None:
        """Ask to cancel a run."""
        self._ask_about_a_run("cancel", Store.cancel)

    def _finish(self) -> None:
        """Ask for a run to end with its epoch."""
        self._ask_about_a_run("finish", Store.finish)

    def _ask_about_a_run(self, name: str, verb: Callable[[Store, str], bool]) -> None:
        active, server = self._promises.active(), self._any_server()
        if active and server is not None:
            run_id = self._world.random.choice(active)
            self._world.note(f"client: {name} {run_id}")
            server.answer(name, lambda: verb(server.store, run_id))

    def _remove(self) -> None:
        """Ask, once, to remove a model, a run or a parameter set, which may be in use."""
        rows, server = self._promises.rows(), self._any_server()
        if rows and server is not None:
            row_id = self._world.random.choice(rows)
            self._world.note(f"client: remove {row_id}")
            self._promises.removal_begins(row_id)
            removed = server.answer("remove", partial(_remove, server, row_id))
            self._promises.removal_ends(server, row_id, removed)

    def _evaluate(self) -> None:
        """Ask to keep an evaluation of a parameter set, which may be removed meanwhile."""
        stored, server = self._promises.stored_sets(), self._any_server()
        if stored and server is not None:
            param_id = self._world.random.choice(stored)
            server.answer("evaluate", lambda: server.store.record_evaluation(param_id, {}))


def _remove(server: Server, row_id: str) -> object:
    try:
        return server.remover.remove(REMOVALS[row_id[0]], row_id) or "there is none"
    except InUseError as error:
        return error
