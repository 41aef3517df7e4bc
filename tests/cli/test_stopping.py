"""`falcon-mnist finish` and `cancel` against a running server."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from serving import COMMANDS, PATIENCE, WRITE, Client, environment


def stop(client: Client, folder: Path, how: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "token").write_text(f"{WRITE}\n")
    command = [str(COMMANDS / "falcon-mnist"), how, *arguments]
    command += ["--url", str(client.url), "--token-file", str(folder / "token")]
    variables = environment(folder, tokens=None)
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_a_run_is_stopped_and_what_it_has_learned_is_kept(client: Client, tmp_path: Path) -> None:
    with client.endless_run() as run:
        ended = stop(client, tmp_path, "finish", run["run_id"])
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.startswith(f"Run {run['run_id']} ends after epoch ")
        assert client.wait(run["run_id"], "succeeded")["param_id"]
    again = stop(client, tmp_path, "finish", run["run_id"])
    assert again.returncode == 1
    assert len(again.stderr.splitlines()) == 1
    assert "only a running one can finish early" in again.stderr


def test_a_run_is_cancelled_unless_it_has_finished(client: Client, tmp_path: Path) -> None:
    with client.endless_run() as run:
        ended = stop(client, tmp_path, "cancel", run["run_id"])
        assert ended.stdout == f"Run {run['run_id']} is cancelled.\n", ended.stderr
        assert client.run(run["run_id"])["state"] == "cancelled"
    late = stop(client, tmp_path, "cancel", client.trained(epochs=1)["run_id"])
    assert late.returncode == 1
    assert "has succeeded already and cannot be cancelled" in late.stderr


def test_scripts_get_the_run(client: Client, tmp_path: Path) -> None:
    with client.endless_run() as run:
        ended = stop(client, tmp_path, "finish", run["run_id"], "--json")
        assert json.loads(ended.stdout)["run_id"] == run["run_id"]


def test_the_token_is_that_of_the_settings(client: Client, tmp_path: Path) -> None:
    command = [str(COMMANDS / "falcon-mnist"), "finish", "r_none", "--url", str(client.url)]
    variables = environment(tmp_path, tokens=WRITE)
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert "There is no run with this run_id" in ended.stderr
