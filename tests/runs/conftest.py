"""Servers whose runs are executed by each of the backends in turn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ray_cluster import RayCluster
from serving import Server, until

from falcon_mnist.app import BACKENDS

Serve = Callable[..., Server]


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
