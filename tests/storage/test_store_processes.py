"""The store's contract under several processes that write at the same time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress

from backends import (
    ARCHITECTURE,
    HYPERPARAMS,
    METRICS,
    Backend,
    Processes,
    new_model,
    new_run,
    running,
    seen,
    wait_for_the_others,
)

from falcon_mnist.constants import QUEUED, RUNNING
from falcon_mnist.storage.files import Written
from falcon_mnist.storage.removal import InUseError, remove_model
from falcon_mnist.storage.store import Conflict, Store

PROCESSES = range(Processes.COUNT)


def claim_all(backend: Backend, owner: str) -> list[str]:
    with closing(backend.store()) as store:
        claimed = []
        while queued := store.queued(3):
            claimed += [run_id for run_id in queued if store.claim(run_id, owner)]
        return claimed


def test_each_run_is_claimed_by_one_process(in_processes: Processes, backend: Backend, store: Store) -> None:
    ids = [new_run(store).id for _ in range(20)]
    claimed = in_processes(claim_all, *((backend, f"worker {number}") for number in PROCESSES))
    assert Counter(run_id for each in claimed for run_id in each) == Counter(ids)
    assert all(seen(store, run_id)["owner"] == f"worker {n}" for n in PROCESSES for run_id in claimed[n])


def open_and_create(backend: Backend, model_id: str) -> tuple[list[str], str, int]:
    """Models of ten keys, runs of three keys, and how many runs the queue took without one."""
    with closing(backend.store()) as store:
        models = []
        for number in range(10):
            wait_for_the_others()
            models.append(store.create_model(ARCHITECTURE, HYPERPARAMS, key=f"k{number}", fingerprint="f").id)
        model = store.model(model_id) or store.model(models[0])
        assert model
        run = store.create_run(model, HYPERPARAMS, max_queued=20, key="k", fingerprint="f")
        taken = 0
        for _ in range(10):
            try:
                store.create_run(model, HYPERPARAMS, max_queued=20)
                taken += 1
            except Conflict:
                pass
        return models, run.id, taken


def test_of_many_first_starts_and_requests_at_once_each_key_makes_one_row_and_the_queue_keeps_its_limit(
    in_processes: Processes, new_backend: Callable[[], Backend]
) -> None:
    backend = new_backend()
    answers = in_processes(open_and_create, *((backend, "m_0") for _ in PROCESSES))
    assert len({str(models) for models, _, _ in answers}) == 1
    assert len({run_id for _, run_id, _ in answers}) == 1
    store = backend.store()
    assert sum(taken for _, _, taken in answers) == 19
    assert store.count_runs()[QUEUED] == 20


def train_for(backend: Backend, model_ids: list[str], epochs: int) -> list[int]:
    """How many runs of so many epochs are taken of each model, of three."""
    with closing(backend.store()) as store:
        taken = [0] * len(model_ids)
        for number, model_id in enumerate(model_ids):
            model = store.model(model_id)
            assert model
            wait_for_the_others()
            for _ in range(3):
                with suppress(Conflict):
                    store.create_run(model, HYPERPARAMS | {"epochs": epochs}, max_queued=1000)
                    taken[number] += 1
        return taken


def test_of_other_hyperparameters_at_once_one_set_is_taken(
    in_processes: Processes, backend: Backend, store: Store
) -> None:
    models = [new_model(store).id for _ in range(10)]
    taken = in_processes(train_for, *((backend, models, 1 + number) for number in PROCESSES))
    assert all(sorted(of_model) == [0, 0, 0, 3] for of_model in zip(*taken, strict=True))


def remove_or_use(backend: Backend, remove: bool, sets: list[str]) -> int:
    """Remove the models of these parameter sets, or evaluate the sets and train from them; how many were removed."""
    with closing(backend.database()) as database:
        store = Store(database)
        removed = 0
        for param_id in sets:
            store.record_evaluation(param_id, {})
            if (row := store.parameters(param_id)) is None:
                continue
            with suppress(InUseError, Conflict):
                if remove:
                    removed += remove_model(database, row.model_id) is not None
                elif model := store.model(row.model_id):
                    store.cancel(store.create_run(model, HYPERPARAMS, max_queued=1000, start_from=param_id).id)
        return removed


def test_what_is_removed_and_used_at_once_is_there_or_not(
    in_processes: Processes, backend: Backend, store: Store
) -> None:
    sets = [f"p_{number}" for number in range(12)]
    for param_id in sets:
        store.import_parameters(param_id, ARCHITECTURE, HYPERPARAMS, Written(1, "0"))
    removed = in_processes(remove_or_use, *((backend, bool(number % 2), sets) for number in PROCESSES))
    assert sum(removed) == len(sets) - sum(store.parameters(param_id) is not None for param_id in sets)
    assert store.faults() == []


def requeue_all(backend: Backend) -> int:
    with closing(backend.store()) as store:
        return sum(store.requeue_expired(lease) is not None for lease in store.leases())


def test_an_expired_run_is_requeued_by_one_observer_and_loses_one_worker(
    in_processes: Processes, backend: Backend, store: Store
) -> None:
    ids = [running(store).id for _ in range(20)]
    requeued = in_processes(requeue_all, *((backend,) for _ in PROCESSES))
    assert sum(requeued) == 20
    assert {seen(store, run_id)["worker_losses"] for run_id in ids} == {1}


def work(backend: Backend, run_id: str) -> None:
    with closing(backend.store()) as store:
        for epoch in range(1, 16):
            store.record_epochs(run_id, "worker", {epoch: METRICS})
            assert store.renew(run_id, "worker")


def test_workers_that_write_at_once_lose_nothing(in_processes: Processes, backend: Backend, store: Store) -> None:
    model = new_model(store)
    runs = [new_run(store, model) for _ in PROCESSES]
    for run in runs:
        store.claim(run.id, "worker")
    in_processes(work, *((backend, run.id) for run in runs))
    assert [len(store.history(run.id)) for run in runs] == [15] * len(runs)
    assert {(lease.renewals, seen(store, lease.run_id)["state"]) for lease in store.leases()} == {(16, RUNNING)}
