"""Files that are damaged, missing, or left behind by a crash; a database of a newer version."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import forking
import pytest
from asking import PATIENCE, until
from checking_client import Client, kind
from commands import Command
from faulty_servers import HOLD, RUN, Faulty, check_whole, expire, followed, kill
from server_process import alive, environment
from small_networks import architecture, pixels
from writers import stop, writer

from falcon_mnist.storage.files import ABANDONED_SECONDS
from falcon_mnist.storage.opening import open_database

Start = Callable[..., Faulty]

ROWS = (pixels(2) / 255).tolist()


def damage(path: Path, at: int = -1) -> None:
    """Change one bit."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_unreadable(path: Path) -> None:
    """For everybody: a link to itself, since nothing is unreadable for root."""
    path.unlink()
    path.symlink_to(path)


# Each way in which a file can be other than it was written.
DAMAGES = (damage, cut, lambda path: path.write_bytes(b""), Path.unlink, make_folder, make_unreadable)


def command(home: Path, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """`falcon-mnist` with these arguments."""
    return forking.run(*arguments, env=environment(home, **settings), timeout=PATIENCE)


def test_a_damaged_parameter_file_is_a_500_and_the_others_serve_on(client: Client, shared: Faulty) -> None:
    good, *others = (client.trained(RUN)["param_id"] for _ in range(1 + len(DAMAGES)))
    wider = client.trained({"architecture": architecture(32), "hyperparams": {"epochs": 1}})["param_id"]
    # None of them has been read so far, which would have kept it in memory.
    for param_id, act in zip(others, DAMAGES, strict=True):
        act(shared.on_disk.parameter_file(param_id))
    replaced = client.trained(RUN)["param_id"]
    shutil.copy(shared.on_disk.parameter_file(wider), shared.on_disk.parameter_file(replaced))
    for param_id in (*others, replaced):
        asked = (
            client.post("/api/infer", {"param_id": param_id, "inputs": ROWS}),
            client.get(f"/api/params/{param_id}"),
            client.get(f"/api/params/{param_id}?format=safetensors"),
        )
        for response in asked:
            assert response.status_code == 500
            assert kind(response) == "damaged-parameters"
            ids = [
                line["request_id"]
                for line in shared.events()
                if param_id in line["event"] and "damaged parameter file" in line["event"]
            ]
            assert response.json()["instance"] in ids
        assert len(client.infer(good, ROWS)["outputs"]["labels"]) == 2
        path = shared.on_disk.parameter_file(param_id)
        path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)


def test_a_run_whose_checkpoint_is_damaged_begins_anew(start: Start, undisturbed: str) -> None:
    server = start()
    checkpoints = server.on_disk.storage / "checkpoints"
    with Client(server.url()) as client:
        for break_it in (damage, make_folder):
            server.switch(HOLD)
            run_id = server.held(client)
            (file,) = checkpoints.iterdir()
            break_it(file)
            with server.switched("hold-1-0"):
                kill(*server.workers())  # while it waits: one that writes would leave half a file
                server.switch(HOLD, on=False)
                server.wait_held(run_id, at=(1, 0), tidy=False)
                assert client.run(run_id)["epoch"] == 2
            run = followed(client, run_id, least=2)
            check_whole(run)
            assert client.digest_of_parameters(run) == undisturbed
            assert server.logged("checkpoint corrupt, restarting from epoch 1", run_id) == 1
            assert server.logged("resuming run", run_id) == 0
        until(lambda: not list(filter(Path.is_file, checkpoints.iterdir())), "the last checkpoint is removed")


def test_what_crashes_have_left_is_swept_by_the_next_server(start: Start) -> None:
    """When it is old: something younger may still be written, or about to be recorded."""
    server = start()
    server.switch(HOLD)
    with Client(server.url()) as client:
        done = client.trained({"architecture": RUN["architecture"], "hyperparams": {"epochs": 1}})["param_id"]
        run_id = server.held(client)
    workers = server.workers()
    kill(server.process.pid, *workers)
    server.stop(None)
    until(lambda: not any(map(alive, workers)), "the workers are gone")
    folder, checkpoints = server.on_disk.storage / "parameters", server.on_disk.storage / "checkpoints"
    (checkpoint,) = checkpoints.iterdir()
    recorded = {checkpoint, server.on_disk.parameter_file(done)}
    old, young = set(), set()
    for place, stem in ((folder, "p_"), (checkpoints, "c_")):
        old |= {place / f"{stem}0.safetensors", place / f".{stem}0.safetensors.tmp"}
        young |= {place / f"{stem}1.safetensors", place / f".{stem}1.safetensors.tmp"}
    for path in old | young:
        path.write_bytes(b"half")
    for path in old | recorded:
        os.utime(path, (time.time() - ABANDONED_SECONDS - 60,) * 2)
    server.switch(HOLD, on=False)
    server.switch("hold-3-0")
    expire(server.on_disk)
    server = start()
    server.wait_held(run_id, at=(3, 0), tidy=False)
    with Client(server.url()) as client:
        until(lambda: not any(path.exists() for path in old), "the old ones are gone")
        assert all(path.exists() for path in young | recorded - {checkpoint})
        assert server.logged("resuming run at epoch 3", run_id) == 1
        server.switch("hold-3-0", on=False)
        check_whole(client.wait(run_id))
        client.infer(done, ROWS)


def test_nothing_in_a_home_is_for_others_to_read(shared: Faulty, client: Client) -> None:
    shared.switch(HOLD)
    try:
        run_id = shared.held(client)
        ours = [shared.on_disk.database, *shared.on_disk.storage.rglob("*")]
        assert {path.parent.name for path in ours} >= {"parameters", "checkpoints"}
        for path in ours:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    finally:
        shared.switch(HOLD, on=False)
    client.wait(run_id)


# A database of a newer version


def test_a_database_of_a_newer_version_is_refused_in_one_sentence(tmp_path: Path, digits: Path) -> None:
    path = tmp_path / "falcon-mnist.db"
    open_database(path, wait=1.0).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE meta SET value = '1000' WHERE key = 'schema_version'")
    before = path.read_bytes()
    ran = command(tmp_path, "serve", "--port", "0")
    assert ran.returncode == 1
    assert "schema version 1000" in ran.stderr
    assert ran.stderr.strip().count("\n") == 0
    assert ran.stderr.strip().startswith("falcon-mnist: ")
    ran = command(tmp_path, "doctor", dataset=digits)
    assert ran.returncode == 1
    assert re.search(r"to do  database: .*schema version 1000.*\n +start the version that wrote it", ran.stdout)
    assert path.read_bytes() == before


# What doctor says


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    """A home with 300 models, a run and its parameters."""
    home = tmp_path_factory.mktemp("healthy") / "home"
    made = Command(env=environment(home, tokens=None, dataset=digits), main="healthy_home:main").end()
    assert made.returncode == 0, made.stderr
    return home


@pytest.fixture
def home(healthy: Path, tmp_path: Path) -> Path:
    subprocess.run(["cp", "-a", healthy, tmp_path / "home"], check=True, timeout=PATIENCE)
    return tmp_path / "home"


def test_doctor_finds_a_healthy_home_healthy(home: Path, digits: Path) -> None:
    ran = command(home, "doctor", tokens=None, dataset=digits)
    assert "to do" not in ran.stdout.replace("to do  free space", "")  # that is for the machine to see to
    assert ran.returncode == (1 if "to do" in ran.stdout else 0)
    assert "1 of 1 intact" in ran.stdout


def test_doctor_says_what_to_do_about_each_damage(home: Path, digits: Path) -> None:
    (file,) = (home / "storage" / "parameters").iterdir()
    damage(file)
    (home / "token").chmod(0o644)
    with closing(sqlite3.connect(home / "falcon-mnist.db")) as connection, connection:
        connection.execute("UPDATE runs SET state = 'running', owner = 'x'")
        connection.execute(
            "UPDATE runs SET checkpoint = ?", (json.dumps({"file": "c_0.safetensors", "size_bytes": 1, "sha256": ""}),)
        )
    ran = command(home, "doctor", tokens=None, dataset=digits.parent)
    assert ran.returncode == 1
    advised = [line.partition(":")[0] for line in ran.stdout.splitlines() if line.startswith("to do")]
    assert [line.removeprefix("to do  ") for line in advised if "free space" not in line] == [
        "tokens", "parameter file", "runs", "data set"
    ]  # fmt: skip
    assert "1 are damaged, and their runs restart from epoch 1" in ran.stdout  # without anybody's help
    for advice in ("chmod 600", file.stem, "train its run again", "start a server", "FALCON_MNIST_DATASET"):
        assert advice in ran.stdout
    assert "Traceback" not in ran.stderr


def test_doctor_names_the_process_that_was_stopped_while_it_wrote(home: Path, digits: Path) -> None:
    with writer(home / "falcon-mnist.db") as process:
        stop(process)
        ran = command(home, "doctor", tokens=None, dataset=digits)
    assert ran.returncode == 1
    assert f"process {process} was stopped in the middle of a write" in ran.stdout
    assert f"kill -CONT {process}" in ran.stdout


def test_doctor_says_that_a_home_is_no_folder(tmp_path: Path, digits: Path) -> None:
    (tmp_path / "file").touch()
    ran = command(tmp_path / "file", "doctor", dataset=digits)
    assert ran.returncode == 1
    assert "file is not a folder" in ran.stdout


@pytest.mark.parametrize("page", ["one", "all", "first"])
def test_a_damaged_database_is_said_and_not_thrown(home: Path, digits: Path, page: str) -> None:
    path = home / "falcon-mnist.db"
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[16:18], "big")
    pages = range(size, len(data), size)
    for begin in {"one": pages[len(pages) // 2 : len(pages) // 2 + 1], "all": pages, "first": range(1)}[page]:
        data[begin : begin + size] = b"\xa5" * size
    path.write_bytes(data)
    ran = command(home, "doctor", tokens=None, dataset=digits)
    assert ran.returncode == 1
    assert "restore a backup" in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    if page == "first":
        ran = command(home, "serve", "--port", "0", tokens=None, dataset=digits)
        assert ran.returncode == 1
        assert ran.stderr.count("\n") == 1
        assert "restore a backup" in ran.stderr
