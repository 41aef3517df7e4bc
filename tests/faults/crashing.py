"""One run, executed in this process's children, each of which fails at another of its writes.

    python crashing.py HOME DIGITS

Prints a JSON line for each place that a child was made to fail at. Nothing else uses HOME.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import peewee

from falcon_mnist import checkpoints, parameter_files, schemas, trainer, worker
from falcon_mnist.checkpoints import Checkpoints
from falcon_mnist.parameter_files import ParameterFiles
from falcon_mnist.settings import Settings
from falcon_mnist.store import Store

LAYERS = [{"type": "linear", "in": 784, "out": 4}, {"type": "relu"}, {"type": "linear", "in": 4, "out": 10}]
HYPERPARAMS = {"epochs": 2, "batch_size": 600, "optimizer": {"momentum": 0.9}}
OWNER = "the first"

# What a worker writes with: each call of these is a place to fail at, before it happens.
STEPS: tuple[tuple[Any, str], ...] = (
    (Store, "claim"),
    (Store, "record_dataset"),
    (Store, "record_epoch"),
    (Store, "record_checkpoint"),
    (Store, "succeed"),
    (Store, "run"),  # what a worker does next after it has ended the run
    (os, "open"),
    (os, "fsync"),
    (os, "replace"),
    (os, "unlink"),
)

Fault = Callable[[int, str], None]


def in_child(act: Callable[[], None]) -> int:
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
    store = Store(settings.database)
    hyperparams = schemas.Hyperparams.model_validate(HYPERPARAMS).model_dump()
    model = store.create_model({"input_size": 784, "layers": LAYERS}, hyperparams)
    store.create_run(model, hyperparams, max_queued=1)
    store.close()


def execute(settings: Settings, owner: str) -> None:
    store = Store(settings.database)
    for run_id in store.queued(limit=1):
        worker.execute(settings, run_id, owner)


def failing(settings: Settings, fault: Fault) -> None:
    """Execute the run; `fault` is asked before each step, with its number from 1 and its name."""
    count = 0

    def watch(owner: Any, name: str) -> None:
        inner = getattr(owner, name)

        def step(*args: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            fault(count, name)
            return inner(*args, **named)

        setattr(owner, name, step)

    worker._dataset(settings)  # reads its files, once
    for owner, name in STEPS:
        watch(owner, name)
    execute(settings, OWNER)
    fault(0, "end")


def result(settings: Settings) -> dict[str, Any]:
    """What a run has left behind, after a sweep for which no file is too young."""
    store = Store(settings.database)
    store._database.close()
    row = store._database.execute_sql("SELECT id, state, epoch, losses, error FROM runs").fetchone()
    run_id, state, epoch, losses, error = row
    run = store.run(run_id)
    assert run is not None
    history = [[entry.epoch, entry.train_loss, entry.val_loss] for entry in store.histories([run])[run_id]]
    names = [path.name for path in settings.storage.rglob("*") if path.is_file()]
    parameter_files.ABANDONED_SECONDS = -1
    recorded = {row.id: row.sha256 for row in store.all_parameters()}
    ParameterFiles(settings.storage).sweep(set(recorded))
    Checkpoints(settings.storage).sweep({checkpoint["file"] for checkpoint in store.recorded_checkpoints()})
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


def epoch_of(settings: Settings) -> int:
    """Read so that nothing stays open, which a fork must not inherit."""
    with closing(sqlite3.connect(settings.database)) as connection:
        (epoch,) = connection.execute("SELECT epoch FROM runs").fetchone()
    return int(epoch)


def give_back(settings: Settings) -> None:
    """As the executor does once the lease has run out."""
    store = Store(settings.database)
    store._database.execute_sql("UPDATE runs SET lease_until = 0 WHERE state = 'running'")
    store.give_back_expired()
    store.close()


def finished(settings: Settings) -> dict[str, Any]:
    """What the run leaves behind once another worker has executed it undisturbed; done in a child."""
    reader, writer = os.pipe()

    def act() -> None:
        give_back(settings)
        execute(settings, "the second")
        os.write(writer, json.dumps(result(settings)).encode())

    assert in_child(act) == 0
    os.close(writer)
    with open(reader, "rb") as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def main(home: Path, digits: str) -> None:
    template = Settings(home=home / "template", dataset=digits)
    template.home.mkdir(parents=True)
    assert in_child(lambda: prepare(template)) == 0

    def attempt(kind: str, number: int) -> None:
        """Fail at step `number`, and then do not."""
        settings = Settings(home=home / f"{kind}-{number}", dataset=digits)
        shutil.copytree(template.home, settings.home)
        place = home / "place"

        def fault(count: int, name: str) -> None:
            if count == number:
                place.write_text(name)
                if kind == "kill":
                    os._exit(9)
                if kind == "full":
                    if name in ("open", "fsync", "replace"):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    raise peewee.OperationalError("database or disk is full")

        code = in_child(lambda: failing(settings, fault))
        name = place.read_text()
        place.unlink()
        facts = {"kind": kind, "number": number, "step": name, "code": code, "before": epoch_of(settings)}
        print(json.dumps(facts | finished(settings)), flush=True)
        shutil.rmtree(settings.home)

    # A number that no run reaches shows how many there are.
    counted = home / "counted"

    def count(number: int, name: str) -> None:
        with counted.open("a") as file:
            file.write(f"{name}\n")

    settings = Settings(home=home / "count", dataset=digits)
    shutil.copytree(template.home, settings.home)
    assert in_child(lambda: failing(settings, count)) == 0
    print(json.dumps({"kind": "none"} | finished(settings)), flush=True)
    names = counted.read_text().split()[:-1]
    for number, name in enumerate(names, 1):
        attempt("kill", number)
        if name not in ("unlink", "run"):
            attempt("full", number)


checkpoints.SECONDS = 0.0
checkpoints.SHARE = math.inf
trainer.SEGMENT_FLOP = 1

if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
