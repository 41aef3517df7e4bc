"""A service with a trained parameter set, for benchmarks that look inside a request."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from falcon_mnist import network
from falcon_mnist.service import Service
from falcon_mnist.settings import Settings
from falcon_mnist.store import new_id

ARCHITECTURE = {
    "input_size": 784,
    "layers": [{"type": "linear", "in": 784, "out": 128}, {"type": "relu"}, {"type": "linear", "in": 128, "out": 10}],
}


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Open on an empty home; nothing runs."""
    opened = Service.open(Settings(home=tmp_path_factory.mktemp("home"), tokens=("token",)))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def param_id(service: Service) -> str:
    """A stored parameter set of the specification's example, as it is before training."""
    store, net, param_id = service.store, network.build(ARCHITECTURE), new_id("p")
    run = store.create_run(store.create_model(ARCHITECTURE, {}), {}, max_queued=1)
    store.claim(run.id, "bench")
    written = service.files.write(param_id, net, network.initial_parameters(net, seed=1))
    store.succeed(run.id, "bench", param_id, size_bytes=written.size_bytes, sha256=written.sha256)
    return param_id


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """512 rows of pixels, four in five of them 0, as in MNIST."""
    random = np.random.default_rng(1)
    return (random.integers(0, 256, (512, 784)) * (random.random((512, 784)) < 0.2)).astype(np.uint8)


@pytest.fixture(scope="session")
def project() -> Path:
    """The repository."""
    return Path(__file__).parents[1]
