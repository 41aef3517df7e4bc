"""What a server does when the Ray cluster, or its connection to it, is gone."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

import pytest
from asking import PATIENCE, until
from checking_client import Client
from faulty_servers import kill
from forking import forked_by
from interrupting import interrupted
from ray_cluster import CPUS, RayCluster
from server_process import Server, alive, children, cpu_seconds
from small_networks import ENDLESS

Serve = Callable[..., Server]


def ready(client: Client) -> dict[str, str]:
    """What `/readyz` says."""
    response = client.get("/readyz", token=None)
    assert response.status_code == 200
    answer: dict[str, str] = response.json()
    return answer


def workers(client: Client) -> tuple[int, int]:
    """How many runs train at the same time, by `/api/status` and by `/metrics`."""
    lines = client.get("/metrics").text.splitlines()
    [gauge] = [line.split()[1] for line in lines if line.startswith("falcon_mnist_workers ")]
    return client.get("/api/status").json()["workers"], int(float(gauge))


def test_a_server_whose_cluster_is_gone_stays_and_its_run_goes_on_when_it_is_back(
    served_by_ray: Server, ray_cluster: RayCluster, undisturbed: str
) -> None:
    server = served_by_ray
    with Client(server.url()) as client:
        until(lambda: ready(client) == {"status": "ready"}, "the cluster has answered")
        assert workers(client) == (CPUS, CPUS)
        run_id, _ = interrupted(client, server)
        (driver,) = forked_by(server.process.pid)
        used = cpu_seconds(driver)
        ray_cluster.kill()
        until(lambda: ready(client) == {"status": "ready", "runs": "waiting"}, "the server has noticed")
        with suppress(FileNotFoundError, ProcessLookupError):  # it may have ended
            # To look for it again and again would take a whole CPU.
            assert cpu_seconds(driver) - used < 0.5
        queued = client.train(client.model(epochs=1))
        assert client.wait(queued, "queued")
        ray_cluster.start()
        assert client.digest_of_parameters(client.wait(run_id, "succeeded")) == undisturbed
        client.wait(queued, "succeeded")
        assert ready(client) == {"status": "ready"}
    # It was no fault of the run.
    losses = server.on_disk.query("SELECT worker_losses FROM runs WHERE id IN (?, ?)", run_id, queued)
    assert losses == [(0,), (0,)]
    assert "Ray answers: 2 CPUs" in server.log()
    assert server.log().count("runs wait: ") >= 1


def test_a_server_whose_connection_to_ray_is_gone_makes_another(
    served_by_ray: Server, ray_cluster: RayCluster, undisturbed: str
) -> None:
    server = served_by_ray
    with Client(server.url()) as client:
        run_id, _ = interrupted(client, server)
        kill(*children(server.process.pid), *forked_by(server.process.pid))
        assert client.digest_of_parameters(client.wait(run_id, "succeeded")) == undisturbed
    assert "the connection to Ray was lost" in server.log()


def test_a_stopped_worker_is_replaced(served_by_ray: Server) -> None:
    """Ray itself does not notice, and the run declares as many CPUs as the cluster has."""
    server = served_by_ray
    with Client(server.url()) as client:
        run_id = client.train(client.model(ENDLESS))
        (stopped,) = until(server.workers, "a worker trains")
        client.wait(run_id, "running")
        server.pause(stopped)  # in a transaction of SQLite it would keep everybody waiting
        # A task ends it, for which Ray may have to start a process first: on a busy machine that takes its time.
        until(lambda: not alive(stopped), "it is ended", patience=4 * PATIENCE)
        (other,) = until(server.workers, "another has taken its place")
        assert other != stopped
        client.post(f"/api/runs/{run_id}/cancel")


def test_a_server_that_finds_no_cluster_serves_and_ends(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{nobody.getsockname()[1]}")
        server = serve(executor="ray")
        with Client(server.url()) as client:
            queued = client.train(client.model(epochs=1))
            until(lambda: "Ray cannot be used: ConnectionRefusedError" in server.log(), "the log says why")
            assert ready(client) == {"status": "ready", "runs": "waiting"}
            assert client.run(queued)["state"] == "queued"
            assert workers(client) == (0, 0)
        assert server.stop() == 0
