"""What the store's verbs take on each database, both durable: each write waits for the disk."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import postgres
import pytest

from falcon_mnist.storage.opening import open_database
from falcon_mnist.storage.store import Store

METRICS = {"train_loss": 1.5, "train_accuracy": 0.25, "val_loss": 1.5, "val_accuracy": 0.25}


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Cluster]:
    if missing := postgres.missing():
        pytest.skip(missing)
    with postgres.cluster(durable=True) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    postgresql = request.param == "postgresql"
    place = request.getfixturevalue("server").database() if postgresql else tmp_path / "rows.db"
    store = Store(open_database(place, wait=60))
    yield store
    store.close()


def make(store: Store) -> Any:
    """A queued run, of a model of its own: what a sweep creates."""
    return store.create_run(store.create_model({}, {}), {}, max_queued=10**6)


def read(store: Store) -> Callable[[], Any]:
    """A run as clients poll it."""
    run_id = make(store).id

    def poll() -> Any:
        with store.snapshot():
            return store.run(run_id), store.history(run_id)

    return poll


def create(store: Store) -> Callable[[], Any]:
    return lambda: make(store)


def execute(store: Store) -> Callable[[], Any]:
    """Claim and end a run."""
    numbers = count()

    def act() -> None:
        run = store.claim(make(store).id, "worker")
        assert run
        store.succeed(run.id, "worker", f"p_{next(numbers)}", size_bytes=1, sha256="")

    return act


def record_epochs(store: Store) -> Callable[[], Any]:
    numbers = count(1)
    run_id = make(store).id
    store.claim(run_id, "worker")
    return lambda: store.record_epochs(run_id, "worker", {next(numbers): METRICS})


def renew(store: Store) -> Callable[[], Any]:
    run_id = make(store).id
    store.claim(run_id, "worker")
    return lambda: store.renew(run_id, "worker")


@pytest.mark.benchmark(min_rounds=100, max_time=2, warmup=True, warmup_iterations=20)
@pytest.mark.parametrize("verb", [read, renew, record_epochs, create, execute], ids=lambda verb: verb.__name__)
def bench_verb(benchmark: Any, store: Store, verb: Callable[[Store], Callable[[], Any]]) -> None:
    benchmark.group = verb.__name__
    benchmark(verb(store))
