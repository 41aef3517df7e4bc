"""A server's requests and a worker's run, in children of this process, each of which fails at another write.

    python crashing.py HOME DIGITS

Prints a JSON line for each place that a child was made to fail at. Nothing else uses HOME.
"""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import math
import mimetypes
import os
import shutil
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy.random  # noqa: F401 (which NumPy imports when it is first used: here, once for all children)
from falcon.testing import TestClient
from steps import Fault, StepDisk, Steps

from falcon_mnist.api.app import build_app
from falcon_mnist.app import open_service
from falcon_mnist.clock import Clock
from falcon_mnist.runs import worker
from falcon_mnist.runs.attempt import Parts
from falcon_mnist.runs.checkpoints import Checkpoints
from falcon_mnist.runs.executor import Executor
from falcon_mnist.settings import Settings
from falcon_mnist.storage.database import DatabaseFullError
from falcon_mnist.storage.disk import SYSTEM_DISK, Disk
from falcon_mnist.storage.files import ABANDONED_SECONDS, Sweeper
from falcon_mnist.storage.opening import WORKER_WAIT, Dialect, checkpoint_storage, open_store, parameter_storage
from falcon_mnist.storage.parameter_files import ParameterFiles, file_name
from falcon_mnist.storage.sqlite import SQLite
from falcon_mnist.training import trainer
from falcon_mnist.training.hyperparams import Hyperparams

LAYERS = [{"type": "linear", "in": 784, "out": 4}, {"type": "relu"}, {"type": "linear", "in": 4, "out": 10}]
ARCHITECTURE = {"input_size": 784, "layers": LAYERS}
BATCH_SIZE = 600
HYPERPARAMS = {"epochs": 2, "batch_size": BATCH_SIZE, "optimizer": {"momentum": 0.9}}
OWNER = "the first"

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


def in_child(act: Callable[[], object]) -> int:
    """Do it in a process of its own; gives its exit code."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException as error:
            print(type(error).__name__, error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def prepare(settings: Settings) -> None:
    """A home with a queued run."""
    store = open_store(settings, wait=WORKER_WAIT)
    hyperparams = Hyperparams.model_validate(HYPERPARAMS).model_dump()
    model = store.create_model(ARCHITECTURE, hyperparams)
    store.create_run(model, hyperparams, max_queued=1)
    store.close()


def execute(settings: Settings, owner: str, *, dialect: Dialect = SQLite, disk: Disk = SYSTEM_DISK) -> None:
    """Execute the queued run as `worker.execute` does, with a checkpoint after each batch."""
    store = open_store(settings, wait=WORKER_WAIT, dialect=dialect)
    checkpoints = checkpoint_storage(settings, disk=disk)
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


def execute_failing(settings: Settings, fault: Fault) -> None:
    """Execute the run, in which `fault` is called at each step; it is called once more, as `end`, if all has passed."""
    steps = Steps(settings, fault)
    execute(settings, OWNER, dialect=steps.database, disk=StepDisk(steps))
    fault(0, "end")


def start_and_ask(settings: Settings, answered: Path, *, dialect: Dialect = SQLite) -> None:
    """Start a server, create a model and two runs, and cancel one; notes the id in each answer."""
    service = open_service(settings, dialect=dialect, make_executor=IdleExecutor)
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


def ask_failing(settings: Settings, answered: Path, fault: Fault) -> None:
    """Start and ask a server, in which `fault` is called as in `execute_failing`."""
    start_and_ask(settings, answered, dialect=Steps(settings, fault).database)
    fault(0, "end")


def ask_again_and_execute(settings: Settings, answered: Path) -> dict[str, Any]:
    """Ask all again, with the same keys, and execute what is queued; gives what is stored then."""

    def act() -> dict[str, Any]:
        before = answered.read_text().split() if answered.exists() else []
        answered.unlink(missing_ok=True)
        start_and_ask(settings, answered)
        execute(settings, "a worker")
        store = open_store(settings, wait=WORKER_WAIT)
        runs = rows(settings, "SELECT state, epoch FROM runs ORDER BY number")
        ((models,),) = rows(settings, "SELECT count(*) FROM models")
        ids = answered.read_text().split()
        parameters = [row.sha256 for row in store.all_parameters()]
        files = sorted(path.name for path in settings.home.rglob("*") if path.name.endswith(".tmp"))
        mode = stat.S_IMODE(settings.home.stat().st_mode)
        return {"before": before, "ids": ids, "models": models, "runs": runs, "parameters": parameters,
                "temporary": files, "mode": mode}  # fmt: skip

    return call_in_child(act)


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


def epoch_of(settings: Settings) -> int:
    ((epoch,),) = rows(settings, "SELECT epoch FROM runs")
    return int(epoch)


def requeue_expired(settings: Settings) -> None:
    """Requeue the run, as the executor does once its lease has expired."""
    store = open_store(settings, wait=WORKER_WAIT)
    for lease in store.leases():
        store.requeue_expired(lease)
    store.close()


def finish_by_another(settings: Settings) -> dict[str, Any]:
    """Let another worker execute the run undisturbed; gives what it leaves behind."""

    def act() -> dict[str, Any]:
        requeue_expired(settings)
        execute(settings, "the second")
        return read_result(settings)

    return call_in_child(act)


def call_in_child(act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Call `act` in a child; gives what it returns."""
    reader, writer = os.pipe()
    assert in_child(lambda: os.write(writer, json.dumps(act()).encode())) == 0
    os.close(writer)
    with open(reader, "rb") as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def find_steps(home: Path, act: Callable[[Fault], None], *files: Path) -> list[Step]:
    """All steps of an `act` in which nothing fails, without its `end`, and what is in `files` and folders then."""
    found = home / "found"

    def note(number: int, name: str) -> None:
        step = {"number": number, "name": name, "left": fingerprint(files)}
        with found.open("a") as file:
            file.write(f"{json.dumps(step)}\n")

    assert in_child(lambda: act(note)) == 0
    steps = [Step(**json.loads(line)) for line in found.read_text().splitlines()]
    found.unlink()
    return steps[:-1]


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


def fault_at(number: int, kind: str) -> Fault:
    """Fails at step `number` by being killed, or for want of room."""

    def fault(count: int, name: str) -> None:
        if count == number:
            if kind == "kill":
                os._exit(9)
            if name in ("mkdir", "open", "fsync", "rename"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise DatabaseFullError("database or disk is full")

    return fault


def fail_worker(home: Path, digits: str) -> None:
    """Let a worker fail at each step of a run, and another worker resume it.

    It is killed where the step before has changed what is on disk, for a kill leaves nothing else.
    """
    template = Settings(home=home / "template", dataset=digits)
    template.home.mkdir(parents=True)
    assert in_child(lambda: prepare(template)) == 0

    def fresh() -> Settings:
        settings = Settings(home=home / "worker", dataset=digits)
        shutil.rmtree(settings.home, ignore_errors=True)
        shutil.copytree(template.home, settings.home)
        return settings

    def outcome(step: Step, kind: str) -> dict[str, Any]:
        settings, fault = fresh(), fault_at(step.number, kind)
        code = in_child(lambda: execute_failing(settings, fault))
        facts = {"code": code, "before": rows(settings, "SELECT epoch FROM runs")[0][0]}
        return facts | finish_by_another(settings)

    settings = fresh()
    steps = find_steps(home, lambda fault: execute_failing(settings, fault), settings.home)
    print(json.dumps({"kind": "none"} | finish_by_another(settings)), flush=True)
    after_kill: dict[str, dict[str, Any]] = {}  # by what was left
    for step in steps:
        if step.left not in after_kill:
            after_kill[step.left] = outcome(step, "kill")
        report("kill", step, after_kill[step.left])
        if step.name not in ("unlink", "chmod"):
            report("full", step, outcome(step, "full"))


def fail_server(home: Path, digits: str) -> None:
    """Kill a server at each step of its first start and of what it is asked for, as a worker; and start another."""
    settings, answered = Settings(home=home / "served", dataset=digits), home / "answered"

    def outcome(step: Step) -> dict[str, Any]:
        answered.unlink(missing_ok=True)
        shutil.rmtree(settings.home)
        fault = fault_at(step.number, "kill")
        code = in_child(lambda: ask_failing(settings, answered, fault))
        return {"code": code} | ask_again_and_execute(settings, answered)

    steps = find_steps(home, lambda fault: ask_failing(settings, answered, fault), settings.home, answered)
    print(json.dumps({"kind": "none of server"} | ask_again_and_execute(settings, answered)), flush=True)
    after_kill: dict[str, dict[str, Any]] = {}
    for step in steps:
        if step.left not in after_kill:
            after_kill[step.left] = outcome(step)
        report("kill server", step, after_kill[step.left])


def report(kind: str, step: Step, outcome: dict[str, Any]) -> None:
    print(json.dumps({"kind": kind, "number": step.number, "step": step.name} | outcome), flush=True)


def warm_up(home: Path, digits: str) -> None:
    """Do all once, so that no child makes again what is made when it is first used."""
    worker_settings, server_settings = (Settings(home=home / name, dataset=digits) for name in ("warm", "warm-server"))
    worker_settings.home.mkdir(parents=True)
    prepare(worker_settings)
    execute(worker_settings, OWNER)
    read_result(worker_settings)
    start_and_ask(server_settings, home / "warm-answered")
    for name in ("worker", "served"):
        worker.open_data(Settings(home=home / name, dataset=digits))
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    mimetypes.init()  # reads files, which every server would
    warm_up(Path(sys.argv[1]), sys.argv[2])
    fail_worker(Path(sys.argv[1]), sys.argv[2])
    fail_server(Path(sys.argv[1]), sys.argv[2])
