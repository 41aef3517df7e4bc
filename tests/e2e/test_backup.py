"""A backup is made while the server trains, and a server elsewhere gives the same answers from it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forking
import numpy as np
import pytest
from asking import Document
from checking_client import Client
from server_process import Server, environment
from small_networks import SMALL, pixels

ROWS = (pixels(5) / 255).tolist()


def backup(home: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return forking.run("backup", folder, env=environment(home), timeout=60)


def answers(client: Client, run: Document) -> list[Any]:
    """All that a server says of a finished run, its model and its parameters."""
    model, params = f"/api/models/{run['model_id']}", f"/api/params/{run['param_id']}"
    told = [client.get(path).json() for path in (f"/api/runs/{run['run_id']}", f"{model}/runs", f"{params}/evaluation")]
    inferred = client.infer(run["param_id"], ROWS, logits=True, labels=True)["outputs"]
    return [*told, client.get(params).content, inferred]


@pytest.fixture
def trained_server(serve: Callable[..., Server], tmp_path: Path) -> tuple[Server, Document]:
    """A server at `tmp_path / "here"`, and a run that has succeeded there."""
    server = serve(home=tmp_path / "here")
    with Client(server.url()) as client:
        return server, client.trained({"architecture": SMALL, "hyperparams": {"epochs": 2}})


def test_a_restored_backup_gives_the_same_answers(
    trained_server: tuple[Server, Document], serve: Callable[..., Server], tmp_path: Path
) -> None:
    server, run = trained_server
    with Client(server.url()) as client:
        before = answers(client, run)
        with client.endless_run() as busy:
            made = backup(tmp_path / "here", tmp_path / "backup")
            assert made.returncode == 0, made.stderr
            assert client.run(busy["run_id"])["state"] == "running"
    server.stop()
    shutil.rmtree(tmp_path / "here" / "storage")  # nothing may come from there any more
    shutil.move(tmp_path / "backup", tmp_path / "elsewhere")
    with Client(serve(home=tmp_path / "elsewhere").url()) as client:
        assert answers(client, run) == before
        assert client.post(f"/api/runs/{busy['run_id']}/cancel").status_code == 200


def test_a_backup_is_for_its_owner_alone_and_is_whole(trained_server: tuple[Server, Document], tmp_path: Path) -> None:
    server, run = trained_server
    folder = tmp_path / "backup"
    (server.home / "token").write_text("a token that the first start made\n")
    backup(server.home, folder)
    files = {str(file.relative_to(folder)): file.stat().st_mode & 0o777 for file in folder.rglob("*") if file.is_file()}
    parameters = f"storage/parameters/{run['param_id']}.safetensors"
    assert files == dict.fromkeys(("falcon-mnist.db", "token", parameters), 0o600)
    again = backup(server.home, folder)
    assert again.returncode == 1
    assert "must be a new or an empty folder" in again.stderr


def test_what_is_damaged_is_named_and_the_rest_is_copied(
    trained_server: tuple[Server, Document], tmp_path: Path
) -> None:
    server, run = trained_server
    with Client(server.url()) as client:
        other = client.trained({"architecture": SMALL, "hyperparams": {"epochs": 1}})
    stored = server.home / "storage" / "parameters"
    (stored / f"{run['param_id']}.safetensors").write_bytes(np.arange(10).tobytes())
    made = backup(server.home, tmp_path / "backup")
    assert made.returncode == 1
    assert f"damaged, and not copied: {run['param_id']}" in made.stdout
    assert (tmp_path / "backup/storage/parameters" / f"{other['param_id']}.safetensors").exists()


def test_there_is_nothing_to_back_up_before_the_first_start(tmp_path: Path) -> None:
    made = backup(tmp_path / "home", tmp_path / "backup")
    assert made.returncode == 1
    assert "there is nothing to copy yet" in made.stderr
    assert not (tmp_path / "backup").exists()
