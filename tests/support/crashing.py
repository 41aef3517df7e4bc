"""A server's requests and a worker's run, again and again, each of which fails at another write.

`main` is called with HOME and DIGITS, and prints a JSON line for each place that one was made to fail at. What is
killed is a child of this process, in which all else happens. Nothing else uses HOME.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from falcon.testing import TestClient
from steps import StepDisk, Steps

from falcon_mnist.api.app import build_app
from falcon_mnist.app import open_service
from falcon_mnist.clock import Clock
from falcon_mnist.runs import worker
from falcon_mnist.runs.attempt import Parts
from falcon_mnist.runs.checkpoints import Checkpoints
from falcon_mnist.runs.executor import Executor
from falcon_mnist.settings import Settings
from falcon_mnist.storage.database import DatabaseFullError
from falcon_mnist.storage.files import ABANDONED_SECONDS, Sweeper
from falcon_mnist.storage.opening import WORKER_WAIT, checkpoint_storage, open_store, parameter_storage
from falcon_mnist.storage.parameter_files import ParameterFiles, file_name
from falcon_mnist.training import trainer
from falcon_mnist.training.hyperparams import Hyperparams

LAYERS = [{"type": "linear", "in": 784, "out": 4}, {"type": "relu"}, {"type": "linear", "in": 4, "out": 10}]
ARCHITECTURE = {"input_size": 784, "layers": LAYERS}
BATCH_SIZE = 600
HYPERPARAMS = {"epochs": 2, "batch_size": BATCH_SIZE, "optimizer": {"momentum": 0.9}}
OWNER = "the first"
STEPS = Steps()

# A wall clock so far ahead that every file is old enough to be swept.
LATER = Clock(wall=lambda: time.time() + 10 * ABANDONED_SECONDS)


class Step(NamedTuple):
    """A place to fail at, and a fingerprint of what is on disk there."""

    number: int  # from 1
    name: str
    left: str


class IdleExecutor(Executor):
    """Executes nothing."""

    def start(self) -> None:
        pass

    def notify(self) -> None:
        pass


def prepare(settings: Settings) -> None:
    """A home with a queued run."""
    with closing(open_store(settings, wait=WORKER_WAIT)) as store:
        hyperparams = Hyperparams.model_validate(HYPERPARAMS).model_dump()
        model = store.create_model(ARCHITECTURE, hyperparams)
        store.create_run(model, hyperparams, max_queued=1)


def execute(settings: Settings, owner: str) -> None:
    """Execute the queued run as `worker.execute` does, with a checkpoint after each batch."""
    disk = StepDisk(STEPS)
    checkpoints = checkpoint_storage(settings, disk=disk)
    with closing(open_store(settings, wait=WORKER_WAIT, dialect=STEPS.database)) as store:
        parts = Parts(
            store=store,
            checkpoints=Checkpoints(checkpoints, max_share=math.inf, min_interval_seconds=0.0),
            parameters=ParameterFiles(parameter_storage(settings, disk=disk)),
            open_data=partial(worker.open_data, settings),
            progress_write_seconds=0.0,
            train=partial(trainer.train, segment_rows=(BATCH_SIZE, BATCH_SIZE)),
        )
        for run_id in store.queued(limit=1):
            worker.execute_with(parts, run_id, owner)


def start_and_ask(settings: Settings, answered: Path) -> None:
    """Start a server, create a model and two runs, and cancel one; notes the id in each answer."""
    service = open_service(settings, dialect=STEPS.database, make_executor=IdleExecutor)
    client = TestClient(build_app(service), headers={"Authorization": f"Bearer {settings.made_token.read_text()}"})

    def post(path: str, body: Any, key: str) -> str:
        answer = client.simulate_post(path, json=body, headers={"Idempotency-Key": key})
        assert answer.status_code < 300, answer.text
        number = str(answer.json["run_id" if path.startswith("/api/models/") else "model_id"])
        with answered.open("a") as file:
            file.write(f"{number}\n")
        return number

    hyperparams = {**HYPERPARAMS, "epochs": 1}
    model_id = post("/api/models", {"architecture": ARCHITECTURE, "hyperparams": hyperparams}, "a-model")
    post(f"/api/models/{model_id}/train", {}, "a-run")
    run_id = post(f"/api/models/{model_id}/train", {}, "another")
    assert client.simulate_post(f"/api/runs/{run_id}/cancel").status_code == 200
    service.close()


def ask_again_and_execute(settings: Settings, answered: Path) -> dict[str, Any]:
    """Ask all again, with the same keys, and execute what is queued; gives what is stored then."""
    before = answered.read_text().split() if answered.exists() else []
    answered.unlink(missing_ok=True)
    start_and_ask(settings, answered)
    execute(settings, "a worker")
    runs = rows(settings, "SELECT state, epoch FROM runs ORDER BY number")
    ((models,),) = rows(settings, "SELECT count(*) FROM models")
    ids = answered.read_text().split()
    with closing(open_store(settings, wait=WORKER_WAIT)) as store:
        parameters = [row.sha256 for row in store.all_parameters()]
    files = sorted(path.name for path in settings.home.rglob("*") if path.name.endswith(".tmp"))
    mode = stat.S_IMODE(settings.home.stat().st_mode)
    return {"before": before, "ids": ids, "models": models, "runs": runs, "parameters": parameters,
            "temporary": files, "mode": mode}  # fmt: skip


def read_result(settings: Settings) -> dict[str, Any]:
    """What a run has left behind, after a sweep to which every file is old enough."""
    store = open_store(settings, wait=WORKER_WAIT)
    ((run_id, state, epoch, losses, error),) = rows(settings, "SELECT id, state, epoch, worker_losses, error FROM runs")
    run = store.run(run_id)
    assert run is not None
    history = [[entry.epoch, entry.train_loss, entry.val_loss] for entry in store.history(run_id)]
    names = [path.name for path in settings.storage.rglob("*") if path.is_file()]
    recorded = {row.id: row.sha256 for row in store.all_parameters()}
    parameters = Sweeper(parameter_storage(settings, clock=LATER))
    checkpoints = Sweeper(checkpoint_storage(settings, clock=LATER))
    for _ in range(2):  # one sweep suspects, the next deletes
        parameters.sweep({file_name(param_id) for param_id in recorded})
        checkpoints.sweep({checkpoint["file"] for checkpoint in store.recorded_checkpoints()})
    found = {
        "state": state,
        "epoch": epoch,
        "losses": losses,
        "error": error and json.loads(error),
        "history": history,
        "parameters": list(recorded.values()),
        "unswept": sorted(name.rsplit(".", 1)[-1] for name in names),
        "files": sorted("parameters" if path.stem in recorded else path.name
                        for path in settings.storage.rglob("*") if path.is_file()),
    }  # fmt: skip
    store.close()
    return found


def rows(settings: Settings, sql: str) -> list[Any]:
    """Read so that nothing stays open, which a fork must not inherit."""
    with closing(sqlite3.connect(settings.database)) as connection:
        return connection.execute(sql).fetchall()


def finish_by_another(settings: Settings) -> dict[str, Any]:
    """Let another worker execute the run undisturbed, once its lease has expired; gives what it leaves behind."""
    with closing(open_store(settings, wait=WORKER_WAIT)) as store:
        for lease in store.leases():
            store.requeue_expired(lease)
    execute(settings, "the second")
    return read_result(settings)


def find_steps(settings: Settings, act: Callable[[], None], *files: Path) -> list[Step]:
    """All steps of an `act` in which nothing fails, and what is in `files` and folders then."""
    steps: list[Step] = []
    with STEPS.failing(settings, lambda number, name: steps.append(Step(number, name, fingerprint(files)))):
        act()
    return steps


def fingerprint(places: Iterable[Path]) -> str:
    """Of the names, modes and contents of these files, and of all that is in these folders.

    Without SQLite's shared memory, which who opens the database after a crash makes anew.
    """
    paths = (path for place in places for path in (place, *sorted(place.rglob("*"))) if path.exists())
    digest = hashlib.sha256()
    for path in paths:
        if not path.name.endswith("-shm"):
            content = path.read_bytes() if path.is_file() else b""
            digest.update(f"{path.name} {path.stat().st_mode} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def kill_at(step: Step, settings: Settings, act: Callable[[], None]) -> None:
    """Do it in a child process that is killed at this step."""

    def kill(number: int, _: str) -> None:
        if number == step.number:
            os._exit(9)

    child = os.fork()
    if child == 0:
        try:
            with STEPS.failing(settings, kill):
                act()
        except BaseException as error:
            print(type(error).__name__, error, file=sys.stderr)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9, step


def fill_at(step: Step, settings: Settings, act: Callable[[], None]) -> None:
    """Do it where there is no room at this step."""

    def fail(number: int, name: str) -> None:
        if number == step.number:
            if name in ("mkdir", "open", "fsync", "rename"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise DatabaseFullError("database or disk is full")

    with STEPS.failing(settings, fail), suppress(OSError, DatabaseFullError):
        act()


def fail_worker(home: Path, digits: str) -> None:
    """Let a worker fail at each step of a run, and another worker resume it.

    It is killed where the step before has changed what is on disk, for a kill leaves nothing else.
    """
    settings, template = Settings(home=home / "worker", dataset=digits), home / "template"
    settings.home.mkdir()
    prepare(settings)
    settings.home.rename(template)

    def renew() -> None:
        shutil.rmtree(settings.home, ignore_errors=True)
        shutil.copytree(template, settings.home)

    def outcome(step: Step, fail_at: Callable[[Step, Settings, Callable[[], None]], None]) -> dict[str, Any]:
        renew()
        fail_at(step, settings, lambda: execute(settings, OWNER))
        ((before,),) = rows(settings, "SELECT epoch FROM runs")
        return {"before": before} | finish_by_another(settings)

    renew()
    steps = find_steps(settings, lambda: execute(settings, OWNER), settings.home)
    print(json.dumps({"kind": "none"} | finish_by_another(settings)))
    after_kill: dict[str, dict[str, Any]] = {}  # by what was left
    for step in steps:
        if step.left not in after_kill:
            after_kill[step.left] = outcome(step, kill_at)
        report("kill", step, after_kill[step.left])
        if step.name not in ("unlink", "chmod"):
            report("full", step, outcome(step, fill_at))


def fail_server(home: Path, digits: str) -> None:
    """Kill a server at each step of its first start and of what it is asked for, as a worker; and start another."""
    settings, answered = Settings(home=home / "served", dataset=digits), home / "answered"

    def outcome(step: Step) -> dict[str, Any]:
        answered.unlink(missing_ok=True)
        shutil.rmtree(settings.home)
        kill_at(step, settings, lambda: start_and_ask(settings, answered))
        return ask_again_and_execute(settings, answered)

    steps = find_steps(settings, lambda: start_and_ask(settings, answered), settings.home, answered)
    print(json.dumps({"kind": "none of server"} | ask_again_and_execute(settings, answered)))
    after_kill: dict[str, dict[str, Any]] = {}
    for step in steps:
        if step.left not in after_kill:
            after_kill[step.left] = outcome(step)
        report("kill server", step, after_kill[step.left])


def report(kind: str, step: Step, outcome: dict[str, Any]) -> None:
    print(json.dumps({"kind": kind, "number": step.number, "step": step.name} | outcome))


def main() -> None:
    fail_worker(Path(sys.argv[1]), sys.argv[2])
    fail_server(Path(sys.argv[1]), sys.argv[2])
