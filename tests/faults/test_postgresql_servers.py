"""Servers whose rows are in PostgreSQL: the main job through two of them, and the database lost under them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import forking
import pytest
from asking import until
from checking_client import Client, kind
from faulty_servers import HOLD, RUN, Faulty, check_whole, ended_after, expire_in
from postgres import Cluster
from server_process import Server, environment
from small_networks import SMALL, pixels

from falcon_mnist.storage.opening import open_database
from falcon_mnist.storage.store import Store

ROWS = (pixels(3) / 255).tolist()


@pytest.fixture
def database(cluster: Cluster) -> str:
    """The URL of what a test's servers share."""
    return cluster.database()


@pytest.fixture
def start(serve: Callable[..., Server], database: str, tmp_path: Path) -> Callable[[str], Server]:
    """Starts servers with homes of their own that share rows and files."""
    shared = {"database_url": database, "storage_url": tmp_path / "storage"}
    return lambda name: serve(home=tmp_path / name, **shared)


@pytest.fixture
def begin() -> Iterator[Callable[..., Faulty]]:
    """Starts servers with faults in them, each on its home."""
    with ended_after() as begin:
        yield begin


@pytest.fixture
def server(begin: Callable[..., Faulty], tmp_path: Path, digits: Path, database: str) -> Faulty:
    """Runs of four epochs wait in the third."""
    return begin(tmp_path / "home", digits, HOLD, database_url=database)


@pytest.fixture
def asker(server: Faulty) -> Iterator[Client]:
    """`client` is that of the server which `undisturbed` comes from."""
    with Client(server.url()) as client:
        yield client


def in_the_middle(client: Client) -> str:
    """A run that has finished two epochs, and waits in the third, or is about to."""
    run_id = client.train(client.model(RUN))
    until(lambda: client.run(run_id)["epoch"] == 2, "the run has finished two epochs")
    return run_id


def test_what_one_server_trains_another_serves(start: Callable[[str], Server]) -> None:
    with Client(start("one").url()) as one, Client(start("two").url()) as two:
        run = one.trained(epochs=2)
        assert two.run(run["run_id"]) == run
        outputs = [client.infer(run["param_id"], ROWS)["outputs"] for client in (one, two)]
        assert outputs[0] == outputs[1]
        listed = two.get(f"/api/models/{run['model_id']}/runs").json()["items"]
        assert [each["run_id"] for each in listed] == [run["run_id"]]


def test_a_restart_of_the_database_costs_no_run(
    server: Faulty, asker: Client, cluster: Cluster, undisturbed: str
) -> None:
    """It trains on meanwhile, and cannot record what it has learned."""
    run_id = in_the_middle(asker)
    cluster.stop()
    server.switch(HOLD, on=False)
    cluster.start()
    run = asker.wait(run_id, "succeeded")
    check_whole(run)
    assert asker.digest_of_parameters(run) == undisturbed


def test_while_the_database_is_away_requests_are_told_to_come_back(
    server: Faulty, asker: Client, cluster: Cluster
) -> None:
    run_id = in_the_middle(asker)
    cluster.stop()
    try:
        response = asker.get(f"/api/runs/{run_id}")
        assert (response.status_code, kind(response)) == (503, "storage-unavailable")
        assert asker.get("/readyz", token=None).status_code == 503
        assert asker.get("/healthz", token=None).status_code == 200
    finally:
        cluster.start()
    assert asker.get("/readyz", token=None).status_code == 200
    server.switch(HOLD, on=False)
    asker.wait(run_id, "succeeded")


def test_a_server_ends_while_the_database_is_away_and_the_next_resumes_its_run(
    server: Faulty, asker: Client, begin: Callable[..., Faulty], digits: Path, cluster: Cluster, database: str
) -> None:
    run_id = in_the_middle(asker)
    cluster.stop()
    try:
        assert server.stop() == 0
    finally:
        cluster.start()
    expire_in(database)
    server.switch(HOLD, on=False)
    with Client(begin(server.home, digits, database_url=database).url()) as client:
        check_whole(client.wait(run_id))


def test_a_home_moves_from_sqlite_with_all_that_it_has(
    begin: Callable[..., Faulty], digits: Path, cluster: Cluster, tmp_path: Path
) -> None:
    """With one run in the middle, and two that wait for it."""
    home, key = tmp_path / "home", {"headers": {"Idempotency-Key": "k"}}
    before = begin(home, digits)
    with Client(before.url()) as client:
        run = client.trained(RUN)
        model = client.post("/api/models", {"architecture": SMALL}, **key).json()
        before.switch(HOLD)
        runs = [client.train(run["model_id"]) for _ in range(3)]
        before.wait_held(runs[0])
        page = client.get(f"/api/models/{run['model_id']}/runs?limit=1").json()
        outputs = client.infer(run["param_id"], ROWS)["outputs"]
        assert before.stop() == 0
    before.switch(HOLD, on=False)
    variables = environment(home, database_url=cluster.database())
    moved = forking.run("migrate-database", env=variables, timeout=60)
    assert moved.returncode == 0, moved.stderr
    assert moved.stdout.startswith("Moved 2 models, 4 runs, ")
    again = forking.run("migrate-database", env=variables, timeout=60)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    after = begin(home, digits, database_url=variables["FALCON_MNIST_DATABASE_URL"])
    with Client(after.url()) as client:
        assert client.run(run["run_id"]) == run
        assert client.post("/api/models", {"architecture": SMALL}, **key).json() == model
        assert client.infer(run["param_id"], ROWS)["outputs"] == outputs
        rest = client.get(f"/api/models/{run['model_id']}/runs?cursor={page['next_cursor']}").json()["items"]
        assert [each["run_id"] for each in rest] == [*runs[1::-1], run["run_id"]]
        for run_id in runs:
            assert client.digest_of_parameters(client.wait(run_id, "succeeded")) == client.digest_of_parameters(run)
        assert after.logged("resuming run at epoch 3", runs[0]) == 1


def test_the_doctor_looks_at_a_database_elsewhere(cluster: Cluster, digits: Path, tmp_path: Path) -> None:
    url = cluster.database()

    def doctor(url: str) -> subprocess.CompletedProcess[str]:
        variables = environment(tmp_path, database_url=url, dataset=digits)
        return forking.run("doctor", env=variables, timeout=60)

    assert "database: none yet" in doctor(url).stdout
    Store(open_database(url, wait=1)).close()
    assert "no faults" in doctor(url).stdout
    assert doctor(url).returncode == 0
    away = doctor(url.replace(f":{cluster.port}/", ":1/").replace("tests@", "tests:hidden@"))
    assert away.returncode == 1
    assert "see that the server runs" in away.stdout
    assert "hidden" not in away.stdout + away.stderr


def test_no_text_is_too_odd_for_the_database(asker: Client) -> None:
    for odd in ("%00", "r_%00", "%ED%A0%80", "'", "%25s", "r_" + "0" * 5000):
        for path in (f"/api/runs/{odd}", f"/api/models/{odd}/runs", f"/api/params/{odd}"):
            assert asker.get(path).status_code == 404
    for odd in ("\0", "p_\0", "\ud800", "'", "%s"):
        answer = asker.post("/api/infer", {"param_id": odd, "inputs": ROWS})
        assert answer.status_code in (400, 404)  # half of a surrogate pair is no JSON text
    for key in ("k", "'", "%s", "\\", "%00"):
        headers = {"Idempotency-Key": key}
        made = [asker.post("/api/models", {"architecture": SMALL}, headers=headers).json() for _ in range(2)]
        assert made[0] == made[1]
