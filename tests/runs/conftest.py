"""Servers whose runs are executed by each of the backends in turn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from interrupting import LONG, parameter_bytes
from once import once
from ray_cluster import RayCluster
from serving import Client, Server, until
from several import both_started

from falcon_mnist.app import BACKENDS

Serve = Callable[..., Server]


@pytest.fixture(scope="session")
def undisturbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The parameters of the long run when nothing happens to it."""

    def learned() -> bytes:
        client: Client = request.getfixturevalue("client")
        return parameter_bytes(client, client.trained(LONG))

    return once(tmp_path_factory, "undisturbed", learned)


@pytest.fixture
def serve_with_ray(serve: Serve, ray_cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """As `serve`, with runs on the tests' cluster."""
    monkeypatch.setenv("RAY_ADDRESS", ray_cluster.address)
    until(lambda: not ray_cluster.workers(), "those of the test before have ended")

    def start(**settings: object) -> Server:
        return on_ray(serve(executor="ray", **settings), ray_cluster)

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


@pytest.fixture
def pair(serve: Serve) -> Server:
    """A server of two processes."""
    return both_started(serve(processes=2))
