"""Servers whose rows are in PostgreSQL: the main job through two of them, and the database lost under them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import forking
import pytest
from faulty_servers import expire_in
from interrupting import LONG
from postgres import Cluster
from serving import SMALL, Client, Document, Server, environment, kind, pixels, until

from falcon_mnist.storage.opening import open_database
from falcon_mnist.storage.store import Store

ROWS = (pixels(3) / 255).tolist()

# Trains for long enough to be moved in the middle, and four times for one test.
MOVED = {**LONG, "hyperparams": LONG["hyperparams"] | {"epochs": 20}}


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
def server(start: Callable[[str], Server]) -> Server:
    return start("home")


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url()) as client:
        yield client


def parameters(client: Client, run: Document) -> object:
    return client.get(f"/api/params/{run['param_id']}").json()["parameters"]


def in_the_middle(client: Client) -> str:
    """A run that has finished some epochs, and not all."""
    run_id = client.train(client.model(LONG))
    until(lambda: client.run(run_id)["epoch"] >= 5, "the run has finished five epochs")
    assert client.run(run_id)["state"] == "running"
    return run_id


def test_what_one_server_trains_another_serves(start: Callable[[str], Server]) -> None:
    with Client(start("one").url()) as one, Client(start("two").url()) as two:
        run = one.trained(epochs=2)
        assert two.run(run["run_id"]) == run
        outputs = [client.infer(run["param_id"], ROWS)["outputs"] for client in (one, two)]
        assert outputs[0] == outputs[1]
        listed = two.get(f"/api/models/{run['model_id']}/runs").json()["items"]
        assert [each["run_id"] for each in listed] == [run["run_id"]]


def test_a_restart_of_the_database_costs_no_run(client: Client, cluster: Cluster) -> None:
    undisturbed = client.wait(client.train(client.model(LONG)), "succeeded")
    run_id = in_the_middle(client)
    cluster.stop()
    cluster.start()
    run = client.wait(run_id, "succeeded")
    assert parameters(client, run) == parameters(client, undisturbed)
    assert [each["epoch"] for each in run["history"]] == list(range(1, 101))


def test_while_the_database_is_away_requests_are_told_to_come_back(client: Client, cluster: Cluster) -> None:
    run_id = in_the_middle(client)
    cluster.stop()
    try:
        response = client.get(f"/api/runs/{run_id}")
        assert (response.status_code, kind(response)) == (503, "storage-unavailable")
        assert client.get("/readyz", token=None).status_code == 503
        assert client.get("/healthz", token=None).status_code == 200
    finally:
        cluster.start()
    assert client.get("/readyz", token=None).status_code == 200
    client.wait(run_id, "succeeded")


def test_a_server_ends_while_the_database_is_away_and_the_next_resumes_its_run(
    start: Callable[[str], Server], cluster: Cluster, database: str
) -> None:
    first = start("home")
    with Client(first.url()) as client:
        run_id = in_the_middle(client)
    cluster.stop()
    try:
        assert first.stop() == 0
    finally:
        cluster.start()
    expire_in(database)
    with Client(start("home").url()) as client:
        run = client.wait(run_id, "succeeded")
        assert [each["epoch"] for each in run["history"]] == list(range(1, 101))


def test_a_home_moves_from_sqlite_with_all_that_it_has(
    serve: Callable[..., Server], cluster: Cluster, tmp_path: Path
) -> None:
    home, key = tmp_path / "home", {"headers": {"Idempotency-Key": "k"}}
    before = serve(home=home)
    with Client(before.url()) as client:
        run = client.trained(MOVED)
        model = client.post("/api/models", {"architecture": SMALL}, **key).json()
        runs = [client.train(run["model_id"]) for _ in range(3)]
        page = client.get(f"/api/models/{run['model_id']}/runs?limit=1").json()
        outputs = client.infer(run["param_id"], ROWS)["outputs"]
        before.stop()
    variables = environment(home, database_url=cluster.database())
    moved = forking.run("migrate-database", env=variables, timeout=60)
    assert moved.returncode == 0, moved.stderr
    assert moved.stdout.startswith("Moved 2 models, 4 runs, ")
    again = forking.run("migrate-database", env=variables, timeout=60)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    after = serve(home=home, database_url=variables["FALCON_MNIST_DATABASE_URL"])
    with Client(after.url()) as client:
        assert client.run(run["run_id"]) == run
        assert client.post("/api/models", {"architecture": SMALL}, **key).json() == model
        assert client.infer(run["param_id"], ROWS)["outputs"] == outputs
        rest = client.get(f"/api/models/{run['model_id']}/runs?cursor={page['next_cursor']}").json()["items"]
        assert [each["run_id"] for each in rest] == [*runs[1::-1], run["run_id"]]
        for run_id in runs:
            assert parameters(client, client.wait(run_id, "succeeded")) == parameters(client, run)


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


def test_no_text_is_too_odd_for_the_database(client: Client) -> None:
    for odd in ("%00", "r_%00", "%ED%A0%80", "'", "%25s", "r_" + "0" * 5000):
        for path in (f"/api/runs/{odd}", f"/api/models/{odd}/runs", f"/api/params/{odd}"):
            assert client.get(path).status_code == 404
    for odd in ("\0", "p_\0", "\ud800", "'", "%s"):
        answer = client.post("/api/infer", {"param_id": odd, "inputs": ROWS})
        assert answer.status_code in (400, 404)  # half of a surrogate pair is no JSON text
    for key in ("k", "'", "%s", "\\", "%00"):
        headers = {"Idempotency-Key": key}
        made = [client.post("/api/models", {"architecture": SMALL}, headers=headers).json() for _ in range(2)]
        assert made[0] == made[1]
