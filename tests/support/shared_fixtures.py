"""One server in this process for most tests, and a maker of server processes for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import forked_workers
import numpy as np
import postgres
import pytest
import ray_cluster as ray_cluster_
from asking import LIMITED_BODY, READ, WRITE, Document
from buckets import Bucket, buckets
from checking_client import Client
from interrupting import INTERRUPTED
from needed import skip_if
from on_disk import OnDisk
from once import once
from server_process import Server, environment
from several import both_started
from small_networks import write_digits

from falcon_mnist.api.service import Service
from falcon_mnist.app import open_service
from falcon_mnist.data import digits as drawing
from falcon_mnist.server.serve import running
from falcon_mnist.settings import Settings


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgres.Cluster]:
    """A PostgreSQL server of this session. Where there is none the test is skipped, which CI does not allow."""
    skip_if(postgres.missing())
    with postgres.cluster() as running:
        yield running


@pytest.fixture(scope="session")
def s3() -> Iterator[Callable[[], Bucket]]:
    """Makes empty places in an S3 server of this session."""
    with buckets("s3") as new:
        yield new


@pytest.fixture(scope="session")
def gs() -> Iterator[Callable[[], Bucket]]:
    """The same of Google Cloud Storage."""
    with buckets("gs") as new:
        yield new


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[ray_cluster_.RayCluster]:
    """A Ray cluster of this session. Where Ray is not installed the test is skipped, which CI does not allow."""
    skip_if(ray_cluster_.missing())
    with ray_cluster_.cluster() as running:
        yield running


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small data set."""
    return write_digits(tmp_path_factory.mktemp("data") / "digits")


@pytest.fixture(scope="session")
def drawn_digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """5,000 drawn digits, the first batch: images and labels."""
    return drawn_once(tmp_path_factory, 0)


@pytest.fixture(scope="session")
def last_drawn_digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """The last batch."""
    return drawn_once(tmp_path_factory, 13)


def drawn_once(factory: pytest.TempPathFactory, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """To draw a batch takes a quarter of a second."""
    made = once(factory, f"drawn-{batch}", lambda: b"".join(part.tobytes() for part in drawing.draw(batch)))
    images, labels = made[: -drawing.BATCH], made[-drawing.BATCH :]
    return np.frombuffer(images, np.uint8).reshape(drawing.BATCH, -1), np.frombuffer(labels, np.uint8)


@pytest.fixture(scope="session")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> OnDisk:
    """What the session's server keeps on disk."""
    return OnDisk(tmp_path_factory.mktemp("session") / "home")


@pytest.fixture(scope="session")
def service(on_disk: OnDisk, digits: Path) -> Iterator[tuple[Service, str]]:
    """The session's service and its URL."""
    tokens = on_disk.home.parent / "tokens"
    tokens.write_text(f"# who may do what\n{WRITE}\n\n{READ} read\n")
    settings = Settings(
        home=on_disk.home, tokens_file=tokens, dataset=str(digits), workers=2, max_body_bytes=40 * 2**20
    )
    service = open_service(settings, make_executor=forked_workers.make_executor)
    with running(service) as url:
        yield service, url


@pytest.fixture(scope="session")
def client(service: tuple[Service, str]) -> Iterator[Client]:
    """A client of the session's server whose token may write."""
    with Client(service[1]) as client:
        yield client


@pytest.fixture(scope="session")
def trained(client: Client) -> Document:
    """A run that has succeeded, of a model with a softmax."""
    body = {
        "architecture": {
            "input_size": 784,
            "layers": [
                {"type": "linear", "in": 784, "out": 16},
                {"type": "relu"},
                {"type": "linear", "in": 16, "out": 10},
                {"type": "softmax"},
            ],
        },
        "hyperparams": {"epochs": 3},
    }
    return client.trained(body)


@pytest.fixture
def serve(tmp_path: Path, digits: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers with these settings, each in a process of its own, and ends them after the test."""
    servers: list[Server] = []

    def start(*command: str, home: Path | None = None, port: int = 0, **settings: object) -> Server:
        given = {"dataset": digits, "workers": 1} | settings
        servers.append(Server(environment(home or tmp_path / "home", **given), *command, arguments=[str(port)]))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def limited_server(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Iterator[tuple[Client, OnDisk]]:
    """A server process with one worker, room for one queued run, and bodies of at most 20000 bytes."""
    home = tmp_path_factory.mktemp("limited") / "home"
    tokens = home.parent / "tokens"
    tokens.write_text(f"{WRITE}\n{READ} read\n")
    settings = {"dataset": digits, "workers": 1, "max_queued_runs": 1, "max_body_bytes": LIMITED_BODY}
    server = Server(environment(home, tokens=None, tokens_file=tokens, **settings))
    try:
        with Client(server.url()) as client:
            yield client, server.on_disk
    finally:
        assert server.stop() == 0


@pytest.fixture
def pair(serve: Callable[..., Server]) -> Server:
    """A server of two processes."""
    return both_started(serve(processes=2))


@pytest.fixture(scope="session")
def undisturbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the interrupted run's parameters when nothing happens to it."""

    def learned() -> bytes:
        client: Client = request.getfixturevalue("client")
        return client.digest_of_parameters(client.trained(INTERRUPTED)).encode()

    return once(tmp_path_factory, "undisturbed", learned).decode()
