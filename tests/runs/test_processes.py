"""Servers and workers as processes: how they start, what they survive, and that they end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import forking
import pytest
from asking import PATIENCE, WRITE, until
from checking_client import Client
from interrupting import INTERRUPTED_EPOCHS, interrupted
from server_process import COMMANDS, Server, alive, environment
from small_networks import ENDLESS, architecture, pixels

Serve = Callable[..., Server]


# Too long to end in a test as well, and so small that it trains on one CPU: the others are left to other tests.
ON_ONE_CPU = ENDLESS | {"architecture": architecture(256, 256)}


def test_the_server_says_where_it_is_and_where_its_token_is(serve: Serve) -> None:
    server = serve(tokens=None)
    url = server.url()
    token_file = until(lambda: re.search(r"^Token: in (.+)$", server.output(), re.MULTILINE), "the token's place")[1]
    assert Path(token_file) == server.home / "token"
    assert stat.S_IMODE(Path(token_file).stat().st_mode) == 0o600
    token = Path(token_file).read_text().strip()
    with Client(url, token=token) as client:
        assert client.get("/api/openapi.json", token=WRITE).status_code == 401
        run = client.trained(epochs=1)
    assert server.stop() == 0
    assert token not in server.output() + server.log()
    for path, mode in (
        (server.on_disk.database, 0o600),
        (server.on_disk.storage / "parameters", 0o700),
        (server.on_disk.parameter_file(run["param_id"]), 0o600),
    ):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_run_fails_without_its_data_set_and_with_it_outlives_the_signals_that_end_servers(
    serve_each: Serve, tmp_path: Path, digits: Path
) -> None:
    """SIGTERM, and Ctrl-C, which goes to the whole process group: workers leave it to their server.

    That a run ends with the same bits is asked where a test decides at which batch it is interrupted. The second server
    is started as users start it, with all that it starts in turn.
    """
    data = tmp_path / "nowhere"
    data.mkdir()
    server = serve_each(dataset=data)
    with Client(server.url()) as client:
        failed = client.wait(client.train(client.model()), "failed")
        assert failed["error"]["code"] == "no_dataset"
        assert "nowhere" not in failed["error"]["message"]
        assert "/" not in failed["error"]["message"]
        assert failed["dataset"] is None
        shutil.copytree(digits, data, dirs_exist_ok=True)
        run_id = client.train(client.model(ON_ONE_CPU))
        until(lambda: client.run(run_id)["epoch"] >= 1, "an epoch has ended")
        workers = server.workers()
    assert workers
    assert server.stop() == 0
    until(lambda: not any(alive(worker) for worker in workers), "the workers have ended")  # those of Ray a little later
    ((state, owner, epoch),) = server.on_disk.query("SELECT state, owner, epoch FROM runs WHERE id = ?", run_id)
    assert (state, owner) == ("queued", None)
    server = serve_each(str(COMMANDS / "falcon-mnist"), "serve", "--port", "0", dataset=data)
    with Client(server.url()) as client:
        until(lambda: client.run(run_id)["epoch"] > epoch, "it has gone on")
        assert [entry["epoch"] for entry in client.run(run_id)["history"]][: epoch + 1] == list(range(1, epoch + 2))
        workers = server.workers()
    assert workers
    in_its_group = [worker for worker in workers if os.getpgid(worker) == server.process.pid]
    os.killpg(server.process.pid, signal.SIGINT)
    assert server.stop(None) == 0
    assert not any(alive(worker) for worker in in_its_group)
    until(lambda: not any(alive(worker) for worker in workers), "the workers have ended")
    assert re.search(f'"resuming run at epoch.*{run_id}', server.log())
    # A worker that Ctrl-C had ended would count as lost.
    assert server.on_disk.query("SELECT state, worker_losses FROM runs WHERE id = ?", run_id) == [("queued", 0)]


def test_a_run_whose_worker_is_killed_is_given_back_and_ends_the_same(served_by_each: Server, undisturbed: str) -> None:
    server = served_by_each
    with Client(server.url()) as client:
        run_id, worker = interrupted(client, server)
        os.kill(worker, signal.SIGKILL)
        assert client.digest_of_parameters(client.wait(run_id, "succeeded")) == undisturbed
        run = client.run(run_id)
        assert [entry["epoch"] for entry in run["history"]] == list(range(1, INTERRUPTED_EPOCHS + 1))
        assert run["started_at"] < run["finished_at"]
        assert server.workers() != [worker]


@contextmanager
def without_checkpoints(server: Server) -> Iterator[None]:
    """While there is no folder for them and none can be made: no attempt gets further than the one before."""
    folder, aside = server.on_disk.storage / "checkpoints", server.home / "aside"
    folder.mkdir(parents=True, exist_ok=True)
    folder.rename(aside)
    folder.touch()
    yield
    folder.unlink()
    aside.rename(folder)


def test_a_run_that_loses_its_worker_again_and_again_has_failed(served_by_each: Server) -> None:
    server = served_by_each
    with Client(server.url()) as client, without_checkpoints(server):
        run_id = client.train(client.model(ENDLESS))
        for loss in (1, 2, 3):
            client.wait(run_id, "running")
            (worker,) = until(lambda: len(found := server.workers()) == 1 and found, "there is one worker")
            os.kill(worker, signal.SIGKILL)
            noted = "SELECT worker_losses FROM runs WHERE id = ?"
            until(lambda loss=loss, noted=noted: server.on_disk.query(noted, run_id) == [(loss,)], "the loss is noted")
        run = client.wait(run_id)
        assert run["state"] == "failed"
        assert run["error"]["code"] == "worker_lost"
        assert client.trained(epochs=1)["state"] == "succeeded"


def test_a_cancelled_run_leaves_its_place_to_the_next(served_by_each: Server) -> None:
    with Client(served_by_each.url()) as client:
        for _ in range(3):
            with client.endless_run(ENDLESS):
                pass
        assert client.trained(epochs=1)["state"] == "succeeded"


def test_waitress_serve_serves_the_api_too(serve: Serve) -> None:
    command = ("--listen", "127.0.0.1:0", "--call", "falcon_mnist.app:create_app")
    server = serve(str(COMMANDS / "waitress-serve"), *command)
    found = until(lambda: re.search(r"Serving on (http://[\d.]+:\d+)", server.log()), "waitress says where it is")
    with Client(found[1]) as client:
        assert client.get("/readyz", token=None).status_code == 200
        run = client.trained(epochs=1)
        client.infer(run["param_id"], (pixels(1) / 255).tolist())
        client.wait(client.train(client.model(ENDLESS)), "running")
        (worker,) = server.workers()
    server.stop(signal.SIGKILL)
    until(lambda: not alive(worker), "the worker notices, though it is busy, that its server is gone")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WORKERS", "many"),
        ("DATABASE_URL", "postgresql://here/db"),
        ("EXECUTOR", "slurm"),
        ("TOKENS_FILE", "/nowhere"),
    ],
)
def test_a_setting_that_cannot_be_used_ends_the_command_with_one_sentence(
    tmp_path: Path, variable: str, value: str
) -> None:
    variables = environment(tmp_path / "home", tokens=None) | {f"FALCON_MNIST_{variable}": value}
    ran = forking.run("serve", "--port", "0", env=variables, timeout=PATIENCE)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.startswith("falcon-mnist: ")
    assert ran.stderr.count("\n") == 1
    assert value in ran.stderr or variable in ran.stderr
