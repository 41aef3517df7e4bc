"""Servers whose files are in a bucket: two that share nothing but rows and files, and the bucket lost under one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import forking
import pytest
from asking import Document, until
from buckets import Bucket
from checking_client import Client, kind
from faulty_servers import HOLD, RUN, Faulty, check_whole, ended_after, kill
from postgres import Cluster
from server_process import Server, environment
from small_networks import SMALL, pixels
from unreliable import Proxy, proxy

BRIEF: Document = {"architecture": SMALL, "hyperparams": {"epochs": 2}}
ROWS = (pixels(3) / 255).tolist()


@pytest.fixture
def bucket(s3: Callable[[], Bucket]) -> Bucket:
    return s3()


@pytest.fixture
def between(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What stands before the bucket, and which all that this test starts are told of."""
    with proxy(bucket.port) as running:
        for name, value in bucket.environment(running.port).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def start(
    cluster: Cluster, bucket: Bucket, between: Proxy, digits: Path, tmp_path: Path
) -> Iterator[Callable[..., Faulty]]:
    """Starts servers with homes of their own that share rows and files."""
    shared = {"database_url": cluster.database(), "storage_url": bucket.url}
    with ended_after() as begin:
        yield lambda name, *faults: begin(tmp_path / name, digits, *faults, **shared)


def held(client: Client) -> str:
    """A run that is saved, and waits in its third epoch."""
    run_id = client.train(client.model(RUN))

    def saved() -> bool:
        answer = client.get(f"/api/runs/{run_id}/snapshot")
        return answer.status_code == 200 and answer.json()["epoch"] == 2

    until(saved, "the run is saved")
    return run_id


def check_undisturbed(client: Client, run: Document) -> None:
    """The run ended as one that nothing happens to."""
    check_whole(run)
    assert client.digest_of_parameters(run) == client.digest_of_parameters(client.trained(RUN))


def test_what_one_server_trains_another_serves_and_goes_on_with_when_the_first_is_killed(
    start: Callable[..., Faulty],
) -> None:
    """It serves it until one deletes it."""
    first = start("one", HOLD, "brief-leases")
    with Client(first.url()) as one:
        run = one.trained(BRIEF)
        run_id = held(one)
        second = start("two", "brief-leases")
        with Client(second.url()) as two:
            param_id = run["param_id"]
            outputs = [client.infer(param_id, ROWS)["outputs"] for client in (one, two)]
            assert outputs[0] == outputs[1]
            assert one.digest_of_parameters(run) == two.digest_of_parameters(run)
            assert one.request("DELETE", f"/api/params/{param_id}").status_code == 204
            body = {"param_id": param_id, "inputs": ROWS}
            until(lambda: two.post("/api/infer", body).status_code == 404, "the other server notices")
            assert two.get(f"/api/params/{param_id}").status_code == 404
            kill(first.process.pid, *first.workers())
            run = two.wait(run_id, "succeeded")
            assert second.logged("resuming run at epoch 3", run_id)
            check_undisturbed(two, run)


def test_while_the_bucket_is_away_nothing_is_lost(start: Callable[..., Faulty], between: Proxy) -> None:
    """Nor where the server ends meanwhile."""
    server = start("one", HOLD)
    with Client(server.url()) as client:
        known = client.trained(BRIEF)
        expected = client.infer(known["param_id"], ROWS)["outputs"]
        parameters = client.get(f"/api/params/{known['param_id']}").json()["parameters"]
        run_id = held(client)
        between.do(repeat("error"))
        server.switch(HOLD, on=False)
        until(lambda: server.logged("run waits for its storage", run_id), "the run has trained")
        body = {"architecture": SMALL, "parameters": parameters}
        refused = client.post("/api/params", body)
        assert (refused.status_code, kind(refused)) == (503, "storage-unavailable")
        assert client.infer(known["param_id"], ROWS)["outputs"] == expected  # from the copy
        assert client.run(run_id)["state"] == "running"
        between.do()
        run = client.wait(run_id, "succeeded")
        assert client.post("/api/params", body).status_code == 201
        check_undisturbed(client, run)
        server.switch(HOLD)
        run_id = held(client)
        between.do(repeat("refused"))
        server.switch(HOLD, on=False)
        until(lambda: server.logged("run waits for its storage", run_id), "the run has trained")
    assert server.stop() == 0
    between.do()
    with Client(start("one").url()) as client:
        check_undisturbed(client, client.wait(run_id, "succeeded"))


def command(home: Path, *arguments: object, **settings: object) -> subprocess.CompletedProcess[str]:
    return forking.run(*arguments, env=environment(home, **settings), timeout=120)


def test_doctor_and_backup_read_from_the_bucket(
    serve: Callable[..., Server], bucket: Bucket, between: Proxy, digits: Path, tmp_path: Path
) -> None:
    home, copy, settings = tmp_path / "home", tmp_path / "copy", {"storage_url": bucket.url, "dataset": digits}
    server = serve(home=home, **settings)
    with Client(server.url()) as client:
        run = client.trained(BRIEF)
        outputs = client.infer(run["param_id"], ROWS)["outputs"]
    server.stop()
    healthy = command(home, "doctor", **settings)
    assert f"1 parameter files and 0 checkpoints in {bucket.url}" in healthy.stdout
    assert "1 of 1 intact" in healthy.stdout
    assert command(home, "backup", copy, **settings).returncode == 0
    restored = serve(home=copy, dataset=digits)
    with Client(restored.url()) as client:
        assert client.infer(run["param_id"], ROWS)["outputs"] == outputs
    between.do(repeat("error"))
    away = command(home, "doctor", **settings)
    assert away.returncode == 1
    assert "storage: it cannot be listed" in away.stdout
    assert "parameter file: " not in away.stdout  # none is called damaged
    failed = command(home, "backup", tmp_path / "another", **settings)
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    assert "the backup is not whole" in failed.stderr
