"""Servers with faults in them, and the run that they are to bring to the same end whatever happens."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from asking import Document, until
from checking_client import Client
from on_disk import OnDisk
from server_process import Server, environment
from small_networks import SMALL

from falcon_mnist.storage.opening import open_database
from falcon_mnist.storage.store import Store

# Three batches an epoch.
RUN = {
    "architecture": SMALL,
    "hyperparams": {
        "epochs": 4,
        "batch_size": 200,
        "optimizer": {"type": "adamw", "lr": 0.003},
        "schedule": {"type": "cosine", "warmup_epochs": 0.5},
        "dropout": {"input": 0.1, "hidden": 0.2},
        "augmentation": {"shift": 1.0, "rotation": 10.0, "elastic": 20.0},
        "averaging": 0.99,
    },
}


class Faulty(Server):
    """A server that `faulty` changes; `faults` are on before it starts."""

    def __init__(self, home: Path, digits: Path, *faults: str, **settings: object) -> None:
        variables = environment(home, **({"dataset": digits, "workers": 1} | settings))
        self._switches = home / "faults"
        self._switches.mkdir(parents=True, exist_ok=True)
        for name in faults:
            self.switch(name)
        super().__init__(variables, main="faulty:main")

    def switch(self, name: str, on: bool = True) -> None:
        if on:
            (self._switches / name).touch()
        else:
            (self._switches / name).unlink()

    @contextmanager
    def switched(self, name: str) -> Iterator[None]:
        self.switch(name)
        try:
            yield
        finally:
            self.switch(name, on=False)

    def events(self) -> list[Document]:
        """The lines of its log, and of those before it on the same home."""
        # The last line may be half written, and Python itself says a word where a server is killed.
        lines = self.log().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def logged(self, event: str, run_id: str) -> int:
        """How often an event of a run is in the log."""
        return sum(line["event"].startswith(event) and line.get("run_id") == run_id for line in self.events())

    def held(self, client: Client, body: Document = RUN, *, at: tuple[int, int] = (2, 200)) -> str:
        """A new run that waits `at` so many epochs and rows: its switch must be on."""
        run_id = client.train(client.model(body))
        self.wait_held(run_id, at=at)
        return run_id

    def wait_held(self, run_id: str, *, at: tuple[int, int] = (2, 200), tidy: bool = True) -> None:
        """Wait until a run waits there, and (if `tidy`) has removed the checkpoint before."""

        def arrived() -> bool:
            rows = self.on_disk.query("SELECT id, checkpoint FROM runs WHERE state IN ('queued', 'running')")
            recorded = {row[0]: json.loads(row[1]) for row in rows if row[1]}
            found = recorded.get(run_id, {})
            files = {path.name for path in (self.on_disk.storage / "checkpoints").glob("*.safetensors*")}
            known = files <= {checkpoint["file"] for checkpoint in recorded.values()}
            return (found.get("epoch"), found.get("done")) == at and (known or not tidy)

        until(arrived, f"the run is held at {at}")


HOLD = "hold-2-200"


def expire(on_disk: OnDisk) -> None:
    """As if every lease had run out."""
    expire_in(on_disk.database)


def expire_in(database: Path | str) -> None:
    """The same in the database at a place."""
    store = Store(open_database(database, wait=20))
    for lease in store.leases():
        store.requeue_expired(lease)
    store.close()


def kill(*pids: int) -> None:
    """A server, and then its workers, which end by themselves once they notice."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def check_whole(run: Document, epochs: int = 4) -> None:
    """A succeeded run has one entry for each of its epochs, in their order."""
    assert run["state"] == "succeeded"
    assert run["epoch"] == epochs
    assert [entry["epoch"] for entry in run["history"]] == list(range(1, epochs + 1))


def followed(client: Client, run_id: str, least: int = 0) -> Document:
    """The run at its end; its epoch never went back on the way."""
    seen = least

    def ended() -> Document | None:
        nonlocal seen
        run = client.run(run_id)
        assert run["epoch"] >= seen
        seen = run["epoch"]
        assert len(run["history"]) == seen
        time.sleep(0.1)
        return run if run["state"] in ("succeeded", "failed", "cancelled") else None

    run: Document = until(ended, "the run ends")
    return run


@contextmanager
def ended_after() -> Iterator[Callable[..., Any]]:
    """Starts servers; whatever happens, they and their workers are gone afterwards."""
    servers: list[Faulty] = []

    def start(home: Path, digits: Path, *faults: str, **settings: object) -> Faulty:
        servers.append(Faulty(home, digits, *faults, **settings))
        return servers[-1]

    try:
        yield start
    finally:
        for server in servers:
            if server.process.poll() is None:
                server.process.kill()
            server.stop(None)
