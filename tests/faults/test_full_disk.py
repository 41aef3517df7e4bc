"""A disk without room: what needs some is refused or fails cleanly, the rest goes on, and all does once there is some.

Twice: with writes that fail by themselves, everywhere, and on a small file system that is really full, where
the tests may mount one.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import forking
import pytest
from asking import PATIENCE, Document, until
from checking_client import Client, kind
from faulty_servers import HOLD, Faulty, check_whole, ended_after, expire
from needed import skip_if
from server_process import environment
from small_networks import SMALL, architecture, pixels

Start = Callable[..., Faulty]

ROWS = (pixels(2) / 255).tolist()


def refused(client: Client, path: str, body: Document) -> bool:
    """Whether there was no room for what a request asks for."""
    response = client.post(path, body)
    if response.status_code < 300:
        return False
    assert response.status_code == 503
    assert kind(response) == "storage-unavailable"
    return True


def test_a_run_whose_parameters_find_no_room_fails_and_the_next_succeeds(start: Start, undisturbed: str) -> None:
    server = start()
    server.switch(HOLD)
    with Client(server.url()) as client:
        saved = client.trained({"architecture": SMALL, "hyperparams": {"epochs": 1}})["param_id"]
        run_id = server.held(client)
        with server.switched("full"):
            server.switch(HOLD, on=False)
            run = client.wait(run_id)
            assert run["error"]["code"] == "disk_full"
            assert [entry["epoch"] for entry in run["history"]] == [1, 2, 3, 4]
            assert "/" not in run["error"]["message"]
            client.infer(saved, ROWS)
        assert {path.stem for path in (server.on_disk.storage / "parameters").iterdir()} == {saved}
        checkpoints = server.on_disk.storage / "checkpoints"
        until(lambda: not list(checkpoints.iterdir()), "the checkpoints are removed")
        run = client.wait(client.train(run["model_id"]))
        check_whole(run)
        assert client.digest_of_parameters(run) == undisturbed


def test_a_database_without_room_refuses_writes_and_reads_on(start: Start, undisturbed: str) -> None:
    server = start()
    server.switch(HOLD)
    with Client(server.url()) as client:
        saved = client.trained({"architecture": SMALL, "hyperparams": {"epochs": 1}})["param_id"]
        run_id = server.held(client)
        model_id = client.run(run_id)["model_id"]
        with server.switched("database-full"):
            server.switch(HOLD, on=False)
            assert refused(client, "/api/models", {"architecture": SMALL})
            assert refused(client, f"/api/models/{model_id}/train", {})
            assert refused(client, f"/api/runs/{run_id}/cancel", {})
            until(lambda: server.logged("run left", run_id), "the run has failed, which cannot be recorded either")
            client.infer(saved, ROWS)
            assert client.run(run_id)["state"] == "running"
            assert client.get("/readyz", token=None).status_code == 200
            until(lambda: "the queue could not be polled" in server.log(), "the log says so")
            assert server.log().count("the queue could not be polled") < 100
        run = released(server, client, run_id)
        check_whole(run)
        assert client.digest_of_parameters(run) == undisturbed


def released(server: Faulty, client: Client, run_id: str) -> Document:
    """The run at its end, whose lease has run out."""
    if client.run(run_id)["state"] == "running":
        expire(server.on_disk)
    return client.wait(run_id)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False).returncode:
        skip_if("mounting takes privileges that the tests do not have")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, timeout=PATIENCE)


def fill(file: BinaryIO) -> None:
    """Write until there is no room."""
    with contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


@pytest.mark.parametrize("what", ["rows", "files", "both"])
def test_a_disk_that_is_really_full(
    small_disk: Path, tmp_path: Path, digits: Path, undisturbed: str, what: str
) -> None:
    """The disk of the database and its log, that of parameter files and checkpoints, or both as one."""
    ballast = small_disk / "ballast"
    database, storage = small_disk / "rows.db", small_disk / "storage"
    places: dict[str, object] = {}
    if what != "files":
        places["database_url"] = f"sqlite:///{database}"
    if what != "rows":
        places["storage_url"] = storage
    with ended_after() as begin:
        server = begin(tmp_path / "home", digits, **places)
        server.on_disk.database = database if what != "files" else server.on_disk.database
        server.on_disk.storage = storage if what != "rows" else server.on_disk.storage
        server.switch(HOLD)
        with Client(server.url()) as client:
            saved = client.trained({"architecture": SMALL, "hyperparams": {"epochs": 1}})["param_id"]
            run_id = server.held(client)
            with ballast.open("wb", buffering=0) as file:
                fill(file)
            body = {"architecture": architecture(*[16] * 4), "hyperparams": {"epochs": 1}}
            if what != "files":
                until(lambda: refused(client, "/api/models", body), "there is no room for another model")
            client.infer(saved, ROWS)
            server.switch(HOLD, on=False)
            until(
                lambda: client.run(run_id)["state"] == "failed" or server.logged("run failed", run_id),
                "there is no room for the run",
            )
            assert client.infer(saved, ROWS)["outputs"]["labels"]
            assert client.get("/readyz", token=None).status_code == 200
            ballast.unlink()
            run = released(server, client, run_id)
            if run["state"] == "failed":
                assert run["error"]["code"] == "disk_full"
                run = client.wait(client.train(run["model_id"]))
            check_whole(run)
            assert client.digest_of_parameters(run) == undisturbed
        assert server.process.poll() is None
        assert server.stop() == 0


def test_on_a_full_disk_doctor_says_so_and_a_server_starts_or_says_why_not(small_disk: Path, digits: Path) -> None:
    """The digits are packed, and are unpacked into the home folder."""
    for file in digits.iterdir():
        (small_disk / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    home = small_disk / "home"
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        fill(file)
    doctor, serve = (
        forking.run(*arguments, env=environment(home, dataset=small_disk, tokens=None), timeout=PATIENCE)
        for arguments in (["doctor"], ["serve", "--port", "0"])
    )
    assert doctor.returncode == serve.returncode == 1
    assert "Traceback" not in doctor.stderr + serve.stderr
    assert "to do  free space: " in doctor.stdout
    assert serve.stderr.startswith("falcon-mnist: ")
    assert serve.stderr.count("\n") == 1
