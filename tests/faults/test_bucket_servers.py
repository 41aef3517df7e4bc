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


def held(server: Faulty, client: Client) -> str:
    """A run that is saved, and waits in its third epoch."""
    server.switch(HOLD)
    run_id = client.train(client.model(RUN))
    until(lambda: client.run(run_id)["epoch"] == 2, "two epochs are finished")

    def saved() -> bool:
        answer = client.get(f"/api/runs/{run_id}/snapshot")
        return answer.status_code == 200 and answer.json()["epoch"] == 2

    until(saved, "the run is saved")
    return run_id


def trained_while_away(server: Faulty, client: Client, between: Proxy, fault: str) -> str:
    """A run that has trained, and waits for the bucket, to which this happens."""
    run_id = held(server, client)
    between.do(repeat(fault))
    server.switch(HOLD, on=False)
    until(lambda: server.logged("run waits for its storage", run_id), "the run has trained")
    return run_id


def test_nothing_is_lost_while_the_bucket_is_away_nor_when_a_server_is_killed_of_which_another_goes_on_with_all(
    start: Callable[..., Faulty], between: Proxy, undisturbed: str
) -> None:
    """The other serves what the first has trained, until one deletes it."""

    def check_undisturbed(client: Client, run_id: str) -> None:
        run = client.wait(run_id, "succeeded")
        check_whole(run)
        assert client.digest_of_parameters(run) == undisturbed

    first = start("one")
    with Client(first.url()) as one:
        known = one.trained(BRIEF)
        param_id = known["param_id"]
        expected = one.infer(param_id, ROWS)["outputs"]
        parameters = one.get(f"/api/params/{param_id}").json()["parameters"]

        run_id = trained_while_away(first, one, between, "error")
        body = {"architecture": SMALL, "parameters": parameters}
        refused = one.post("/api/params", body)
        assert (refused.status_code, kind(refused)) == (503, "storage-unavailable")
        assert one.infer(param_id, ROWS)["outputs"] == expected  # from the copy
        assert one.run(run_id)["state"] == "running"
        between.do()
        check_undisturbed(one, run_id)
        assert one.post("/api/params", body).status_code == 201

        first.switch("brief-leases")
        run_id = held(first, one)
        second = start("two", "brief-leases")
        with Client(second.url()) as two:
            assert two.infer(param_id, ROWS)["outputs"] == expected
            assert one.digest_of_parameters(known) == two.digest_of_parameters(known)
            assert one.request("DELETE", f"/api/params/{param_id}").status_code == 204
            rows = {"param_id": param_id, "inputs": ROWS}
            until(lambda: two.post("/api/infer", rows).status_code == 404, "the other server notices")
            assert two.get(f"/api/params/{param_id}").status_code == 404
            kill(first.process.pid, *first.workers())
            check_undisturbed(two, run_id)
            assert second.logged("resuming run at epoch 3", run_id)

            run_id = trained_while_away(second, two, between, "refused")
    assert second.stop() == 0
    between.do()
    with Client(start("two").url()) as client:
        check_undisturbed(client, run_id)


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
