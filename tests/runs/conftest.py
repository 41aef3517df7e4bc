"""Servers whose runs are executed by each of the backends in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from asking import until
from checking_client import Client
from ray_cluster import RayCluster
from server_process import Server, environment

from falcon_mnist.app import BACKENDS
from falcon_mnist.constants import ACTIVE

Serve = Callable[..., Server]


@pytest.fixture
def serve_with_ray(serve: Serve, ray_cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """As `serve`, with runs on the tests' cluster."""
    monkeypatch.setenv("RAY_ADDRESS", ray_cluster.address)
    until(lambda: not ray_cluster.workers(), "those of the test before have ended")

    def start(*command: str, **settings: object) -> Server:
        return on_ray(serve(*command, executor="ray", **settings), ray_cluster)

    return start


def on_ray(server: Server, cluster: RayCluster) -> Server:
    """Its workers, and what they log, are the cluster's."""
    of_itself = server.log
    server.workers = cluster.workers  # type: ignore[method-assign]
    server.log = lambda: of_itself() + cluster.log_of_workers()  # type: ignore[method-assign]
    return server


@pytest.fixture(params=sorted(BACKENDS))
def serve_each(request: pytest.FixtureRequest, serve: Serve) -> Serve:
    """As `serve`, with each backend."""
    chosen: Serve = serve if request.param == "pool" else request.getfixturevalue("serve_with_ray")
    return chosen


@pytest.fixture(scope="session")
def session_on_ray(
    ray_cluster: RayCluster, digits: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Client]]:
    """A server with runs on the tests' cluster: to start one, and its workers, takes three seconds of a CPU."""
    home = tmp_path_factory.mktemp("on_ray") / "home"
    variables = environment(home, dataset=digits, executor="ray", workers=5)  # the pool's setting
    server = Server(variables | {"RAY_ADDRESS": ray_cluster.address})
    try:
        with Client(server.url()) as client:
            yield server, client
    finally:
        assert server.stop() == 0


@pytest.fixture
def served_by_ray(
    session_on_ray: tuple[Server, Client], ray_cluster: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    """The session's server on Ray, without a run, and with what it logs from now on."""
    server, client = session_on_ray
    until(lambda: not ray_cluster.workers(), "those of the test before have ended")
    log, seen = server.log, len(server.log())
    with monkeypatch.context() as patched:
        patched.setattr(server, "log", lambda: log()[seen:] + ray_cluster.log_of_workers())
        patched.setattr(server, "workers", ray_cluster.workers)
        yield server
    for state in ACTIVE:
        for run in client.get(f"/api/runs?state={state}").json()["items"]:
            client.post(f"/api/runs/{run['run_id']}/cancel")


@pytest.fixture(params=sorted(BACKENDS))
def served_by_each(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server without a run, with each backend."""
    if request.param == "ray":
        yield request.getfixturevalue("served_by_ray")
    else:
        server: Server = request.getfixturevalue("serve")()
        yield server
        assert server.stop() == 0
