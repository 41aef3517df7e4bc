"""The store's contract, for every backend: what one user of it can rely on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from backends import (
    ARCHITECTURE,
    DATASET,
    HYPERPARAMS,
    METRICS,
    Backend,
    new_model,
    new_run,
    running,
    seen,
)
from manual_time import ManualTime

from falcon_mnist.clock import Clock
from falcon_mnist.constants import CANCELLED, FAILED, QUEUED, RUNNING, SUCCEEDED
from falcon_mnist.storage.database import DatabaseBusyError
from falcon_mnist.storage.files import Written
from falcon_mnist.storage.opening import database_at
from falcon_mnist.storage.removal import remove_model, remove_parameters, remove_run
from falcon_mnist.storage.store import MAX_WORKER_LOSSES, Conflict, Refused, RunLostError, Store
from falcon_mnist.storage.tables import RunRow

CHECKPOINT = {"file": "c_0.safetensors", "size_bytes": 1, "sha256": "0"}

# Everything that a worker writes to the run that it has claimed.
WRITES: dict[str, Callable[[Store, str, str], object]] = {
    "renew": lambda store, run, owner: store.renew(run, owner),
    "basis": lambda store, run, owner: store.record_basis(run, owner, dataset=DATASET, isa="avx2"),
    "checkpoint": lambda store, run, owner: store.record_checkpoint(run, owner, CHECKPOINT),
    "epoch": lambda store, run, owner: store.record_epochs(run, owner, {1: METRICS}),
    "restart": lambda store, run, owner: store.restart(run, owner),
    "succeed": lambda store, run, owner: store.succeed(run, owner, "p_0", size_bytes=1, sha256="0"),
    "fail": lambda store, run, owner: store.fail(run, owner, "diverged", "It did."),
    "requeue": lambda store, run, owner: store.requeue(run, owner, worker_lost=True),
    "drain": lambda store, run, owner: store.request_drain(run, owner),
}
written_by_workers = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)

# Every way to end a running run.
ENDS: dict[str, Callable[[Store, str], object]] = {
    SUCCEEDED: lambda store, run: store.succeed(run, "worker", "p_0", size_bytes=1, sha256="0"),
    FAILED: lambda store, run: store.fail(run, "worker", "diverged", "It did."),
    CANCELLED: lambda store, run: store.cancel(run),
}
ended = pytest.mark.parametrize("state", ENDS)


def refused(write: Callable[[], object]) -> bool:
    """Whether a write says that the run is not this owner's."""
    try:
        return not write()
    except RunLostError:
        return True


# Models


def test_a_model_is_read_as_it_was_created(store: Store, time: ManualTime) -> None:
    created = new_model(store)
    found = store.model(created.id)
    assert found
    assert (found.architecture, found.hyperparams) == (ARCHITECTURE, HYPERPARAMS)
    assert found.created_at == created.created_at == time.clock.timestamp() == "2023-11-14T22:13:20.000000Z"
    assert found.number == created.number
    assert store.model("m_0") is None


def test_a_key_that_was_used_before_gives_the_model_that_it_made(backend: Backend, store: Store) -> None:
    first = store.create_model(ARCHITECTURE, HYPERPARAMS, key="k", fingerprint="body")
    later = backend.store()  # another server
    assert later.create_model(ARCHITECTURE, HYPERPARAMS, key="k", fingerprint="body").id == first.id
    with pytest.raises(Conflict) as conflict:
        later.create_model(ARCHITECTURE, HYPERPARAMS, key="k", fingerprint="another body")
    assert conflict.value.reason is Refused.KEY_REUSED
    assert later.create_model(ARCHITECTURE, HYPERPARAMS, key="l", fingerprint="body").id != first.id


def test_without_a_key_the_same_model_twice_is_two_models(store: Store) -> None:
    assert new_model(store).id != new_model(store).id


# Creating runs


def test_a_run_begins_queued(store: Store, time: ManualTime) -> None:
    run = seen(store, new_run(store).id)
    assert (run["state"], run["epoch"], run["hyperparams"]) == (QUEUED, 0, HYPERPARAMS)
    assert run["created_at"] == time.clock.timestamp()
    assert all(run[name] is None for name in ("started_at", "finished_at", "dataset", "isa", "checkpoint", "owner"))


@pytest.mark.parametrize("active", [QUEUED, RUNNING])
def test_an_active_run_with_other_hyperparameters_is_a_conflict(store: Store, active: str) -> None:
    model = new_model(store)
    run = new_run(store, model)
    if active == RUNNING:
        store.claim(run.id, "worker")
    new_run(store, model)  # with the same ones
    with pytest.raises(Conflict, match=run.id) as conflict:
        store.create_run(model, HYPERPARAMS | {"epochs": 4}, max_queued=9)
    assert conflict.value.reason is Refused.OTHER_HYPERPARAMS
    for one in store.runs(model_id=model.id, limit=9):
        store.cancel(one.id)
    store.create_run(model, HYPERPARAMS | {"epochs": 4}, max_queued=9)


def test_a_full_queue_takes_no_run_and_leaves_nothing(store: Store) -> None:
    model = new_model(store)
    for _ in range(2):
        store.create_run(model, HYPERPARAMS, max_queued=2)
    with pytest.raises(Conflict) as conflict:
        store.create_run(model, HYPERPARAMS, max_queued=2)
    assert conflict.value.reason is Refused.QUEUE_FULL
    assert store.count_runs()[QUEUED] == 2
    store.claim(store.queued(1)[0], "worker")  # which takes it out of the queue
    store.create_run(model, HYPERPARAMS, max_queued=2)


def test_a_key_is_replayed_before_conflicts_and_the_queue_are_looked_at(store: Store) -> None:
    model, other = new_model(store), new_model(store)
    first = store.create_run(model, HYPERPARAMS, max_queued=1, key="k", fingerprint="body")
    again = store.create_run(model, HYPERPARAMS | {"epochs": 9}, max_queued=1, key="k", fingerprint="body")
    assert again.id == first.id
    assert store.create_run(other, HYPERPARAMS, max_queued=2, key="k", fingerprint="body").id != first.id
    with pytest.raises(Conflict) as conflict:
        store.create_run(model, HYPERPARAMS, max_queued=9, key="k", fingerprint="another body")
    assert conflict.value.reason is Refused.KEY_REUSED


# Claims, leases, losses


def test_the_oldest_run_is_queued_first(store: Store) -> None:
    ids = [new_run(store).id for _ in range(4)]
    assert store.queued(3) == ids[:3]
    store.claim(ids[1], "worker")
    assert store.queued(9) == [ids[0], *ids[2:]]


def test_a_run_is_claimed_once(store: Store, time: ManualTime) -> None:
    run_id = new_run(store).id
    claimed = store.claim(run_id, "first")
    assert claimed
    assert (claimed.state, claimed.owner, claimed.started_at) == (RUNNING, "first", time.clock.timestamp())
    assert store.claim(run_id, "second") is None
    assert store.claim("r_0", "second") is None
    assert seen(store, run_id)["owner"] == "first"


def test_a_run_ends_no_earlier_than_it_began_though_clocks_differ(backend: Backend, store: Store) -> None:
    """It is made, claimed and ended on machines of which each is an hour behind the one before."""
    machines = [backend.store(clock=Clock(wall=lambda behind=behind: 1.7e9 - 3600 * behind)) for behind in range(3)]
    made, claims, ends = machines
    run = new_run(made)
    assert claims.claim(run.id, "worker")
    assert ends.fail(run.id, "worker", "diverged", "")
    times = [seen(store, run.id)[name] for name in ("created_at", "started_at", "finished_at")]
    assert times == [run.created_at] * 3
    cancelled = new_run(made)
    assert ends.cancel(cancelled.id)
    assert seen(store, cancelled.id)["finished_at"] == cancelled.created_at
    for machine in machines:
        machine.close()


def test_a_run_that_is_claimed_again_started_when_it_did_at_first(store: Store, time: ManualTime) -> None:
    run = running(store)
    store.requeue(run.id, "worker", worker_lost=True)
    time.pass_seconds(60)
    again = store.claim(run.id, "second")
    assert again
    assert again.started_at == run.started_at


@written_by_workers
def test_a_worker_that_lost_its_run_changes_nothing(store: Store, write: Callable[..., object]) -> None:
    run = running(store, "first")
    store.requeue(run.id, "first", worker_lost=True)
    for claim in (lambda: None, lambda: store.claim(run.id, "second")):
        claim()
        before = seen(store, run.id)
        assert refused(lambda: write(store, run.id, "first"))
        assert seen(store, run.id) == before
        assert not store.all_parameters()


@ended
@written_by_workers
def test_a_run_that_has_ended_never_changes(store: Store, state: str, write: Callable[..., object]) -> None:
    run = running(store)
    ENDS[state](store, run.id)
    before = seen(store, run.id)
    assert before["state"] == state
    assert before["finished_at"]
    assert refused(lambda: write(store, run.id, "worker"))
    assert not store.cancel(run.id)
    assert store.claim(run.id, "worker") is None
    assert store.held(run.id, "worker") is None
    assert seen(store, run.id) == before
    assert store.leases() == []


def test_a_lease_that_is_renewed_is_another_lease(store: Store) -> None:
    run, other = running(store), running(store)
    (lease,) = (lease for lease in store.leases() if lease.run_id == run.id)
    assert store.renew(run.id, "worker")
    assert lease not in store.leases()
    assert store.requeue_expired(lease) is None
    assert {each.run_id for each in store.leases()} == {run.id, other.id}


@pytest.mark.parametrize("checkpointed", [False, True])
def test_an_expired_run_is_requeued_and_lost_its_worker_unless_it_was_checkpointed(
    store: Store, checkpointed: bool
) -> None:
    run = running(store)
    if checkpointed:
        store.record_checkpoint(run.id, "worker", CHECKPOINT)
    (lease,) = store.leases()
    requeued = store.requeue_expired(lease)
    assert requeued
    assert (requeued.state, requeued.owner, requeued.worker_losses) == (QUEUED, None, int(not checkpointed))
    assert store.requeue_expired(lease) is None
    claimed = store.claim(run.id, "second")
    assert claimed
    assert not claimed.checkpointed_since_claim
    assert claimed.checkpoint == (CHECKPOINT if checkpointed else None)


def test_the_lease_of_one_claim_is_not_that_of_the_next(store: Store) -> None:
    """Neither has been renewed, but by different owners."""
    run = running(store, "first")
    (lease,) = store.leases()
    store.requeue(run.id, "first", worker_lost=False)
    store.claim(run.id, "second")
    assert store.requeue_expired(lease) is None
    assert seen(store, run.id)["owner"] == "second"


def test_a_task_that_is_tried_again_does_not_claim_what_was_claimed_since_it_was_handed_over(store: Store) -> None:
    """An earlier try of it, of the same owner, may still compute somewhere, cut off from the others."""
    run = new_run(store)
    assert store.claim(run.id, "owner", run.renewals)
    store.requeue(run.id, "owner", worker_lost=False)
    assert store.claim(run.id, "owner", run.renewals) is None
    assert store.queued(1) == [run.id]


def test_a_run_that_has_lost_its_worker_too_often_fails(store: Store) -> None:
    run = new_run(store)
    for loss in range(1, MAX_WORKER_LOSSES + 1):
        assert store.claim(run.id, "worker")
        requeued = store.requeue(run.id, "worker", worker_lost=True)
        assert requeued
        assert requeued.worker_losses == loss
    assert requeued.state == FAILED
    assert requeued.error["code"] == "worker_lost"
    assert requeued.finished_at
    assert store.queued(9) == []


def test_a_requeue_without_a_loss_counts_none(store: Store) -> None:
    run = new_run(store)
    for _ in range(2 * MAX_WORKER_LOSSES):
        assert store.claim(run.id, "worker")
        assert store.requeue(run.id, "worker", worker_lost=False)
    assert seen(store, run.id)["worker_losses"] == 0


def test_a_drain_is_told_to_the_worker_that_has_the_run_and_to_no_later_one(store: Store) -> None:
    run = running(store, "first")
    assert store.request_drain(run.id, "first")
    held = store.held(run.id, "first")
    assert held
    assert held.drain
    store.requeue(run.id, "first", worker_lost=False)
    again = store.claim(run.id, "second")
    assert again
    assert not again.drain


def test_a_finish_is_told_to_every_worker_that_has_the_run_until_its_end(store: Store) -> None:
    run = running(store, "first")
    assert store.finish(run.id)
    assert store.finish(run.id)
    store.requeue(run.id, "first", worker_lost=True)
    assert not store.finish(run.id)
    again = store.claim(run.id, "second")
    assert again
    assert again.finish
    store.cancel(run.id)
    assert not store.finish(run.id)


# Progress


def test_epochs_are_kept_in_order_and_an_epoch_that_is_run_again_changes_nothing(store: Store) -> None:
    run = running(store)
    for epoch in (1, 2, 3):
        store.record_epochs(run.id, "worker", {epoch: METRICS | {"train_loss": float(epoch)}})
    store.record_epochs(run.id, "worker", {2: METRICS | {"train_loss": 9.0}})
    assert seen(store, run.id)["epoch"] == 3
    history = store.history(run.id)
    assert [(each.epoch, each.train_loss, each.val_loss) for each in history] == [
        (1, 1.0, None),
        (2, 2.0, None),
        (3, 3.0, None),
    ]


def test_what_lists_show_of_a_run_is_its_latest_epoch_and_that_of_best_accuracy(store: Store) -> None:
    first, second, third = (running(store) for _ in range(3))
    for epoch, accuracy in enumerate((0.5, 0.75, 0.25, 0.75), start=1):
        store.record_epochs(
            first.id, "worker", {epoch: METRICS | {"train_loss": float(epoch), "val_accuracy": accuracy}}
        )
    for epoch in (1, 2):
        store.record_epochs(second.id, "worker", {epoch: METRICS | {"val_accuracy": None}})
    runs = [run for each in (first, second, third) if (run := store.run(each.id))]
    assert [run.best_accuracy_epoch for run in runs] == [2, 0, 0]
    shown = store.shown_epochs(runs)
    assert {run_id: set(epochs) for run_id, epochs in shown.items()} == {
        first.id: {2, 4},
        second.id: {2},
        third.id: set(),
    }
    assert shown[first.id][4].train_loss == 4.0
    assert store.shown_epochs([]) == {}
    store.restart(first.id, "worker")
    assert seen(store, first.id)["best_accuracy_epoch"] == 0


def test_a_restart_forgets_epochs_and_checkpoint(store: Store) -> None:
    run, other = running(store), running(store)
    for each in (run, other):
        store.record_epochs(each.id, "worker", {1: METRICS})
    store.record_checkpoint(run.id, "worker", CHECKPOINT)
    store.restart(run.id, "worker")
    after = seen(store, run.id)
    assert (after["epoch"], after["checkpoint"]) == (0, None)
    assert [len(store.history(each.id)) for each in (run, other)] == [0, 1]


def test_what_a_run_trains_on_and_with_is_recorded(store: Store) -> None:
    run = running(store)
    store.record_basis(run.id, "worker", dataset=DATASET, isa="avx512")
    after = seen(store, run.id)
    assert (after["dataset"], after["isa"]) == (DATASET, "avx512")


def test_a_checkpoint_is_recorded_while_its_run_is_active(store: Store) -> None:
    run = running(store)
    store.record_checkpoint(run.id, "worker", CHECKPOINT)
    assert store.recorded_checkpoints() == [CHECKPOINT]
    store.cancel(run.id)
    assert store.recorded_checkpoints() == []


def test_success_and_the_parameter_set_are_one_write(store: Store) -> None:
    run = running(store)
    store.succeed(run.id, "worker", "p_0", size_bytes=7, sha256="abc")
    row = store.parameters("p_0")
    assert row
    assert (row.run_id, row.model_id, row.size_bytes, row.sha256) == (run.id, run.model_id, 7, "abc")
    assert store.run(run.id).param_id == "p_0"
    other = running(store)
    with pytest.raises(Exception, match=r"(?i)unique"):
        store.succeed(other.id, "worker", "p_0", size_bytes=7, sha256="abc")
    assert seen(store, other.id)["state"] == RUNNING


# Lists


def test_lists_are_newest_first_and_pages_do_not_overlap(store: Store) -> None:
    model = new_model(store)
    ids = [new_run(store, model).id for _ in range(5)]
    new_run(store)  # of another model
    page = store.runs(model_id=model.id, limit=2)
    new_run(store, model)  # which a walk that has begun does not see
    rest = store.runs(model_id=model.id, limit=9, before=page[-1].number)
    assert [run.id for run in [*page, *rest]] == ids[::-1]


def test_a_cursor_key_is_made_once(backend: Backend, store: Store) -> None:
    assert store.cursor_key == backend.store().cursor_key
    assert len(store.cursor_key) == 32


def test_a_cursor_key_that_is_there_is_only_read(backend: Backend, store: Store) -> None:
    made = store.cursor_key
    reader = Store(database_at(backend.place, wait=1.0, read_only=True))
    assert reader.cursor_key == made
    reader.close()


def test_a_snapshot_sees_one_moment(backend: Backend, store: Store) -> None:
    run = new_run(store)
    other = backend.store()
    with store.snapshot():
        assert seen(store, run.id)["state"] == QUEUED
        other.cancel(run.id)
        assert seen(store, run.id)["state"] == QUEUED
    assert seen(store, run.id)["state"] == CANCELLED


# Stores beside each other


def test_ids_are_handed_in(backend: Backend) -> None:
    store = Store(backend.database(), new_id=lambda prefix: f"{prefix}_7")
    assert new_run(store).id == "r_7"
    assert store.model("m_7")


def test_two_databases_in_a_process_know_nothing_of_each_other(
    new_backend: Callable[[], Backend], store: Store
) -> None:
    other = new_backend().store()
    mine, theirs = new_run(store), new_run(other)
    assert store.queued(9) == [mine.id]
    assert other.queued(9) == [theirs.id]


def test_a_write_gives_up_on_a_lock_when_it_has_waited_as_long_as_it_may(backend: Backend, store: Store) -> None:
    database, holder = backend.database(wait=0.01), backend.database()
    impatient, run = Store(database), running(store)
    model, written = new_model(store), Written(1, "0")
    with holder.writing_alone():  # one that may make or remove anything, and changes this run
        RunRow.update(drain=False).where(RunRow.id == run.id).execute(holder)
        writes: list[Callable[[], Any]] = [
            lambda: new_model(impatient),
            lambda: new_run(impatient, model),
            lambda: impatient.import_parameters("p_0", ARCHITECTURE, HYPERPARAMS, written),
            lambda: impatient.record_evaluation("p_0", {}),
            lambda: remove_model(database, model.id),
            lambda: remove_run(database, run.id),
            lambda: remove_parameters(database, "p_0"),
            lambda: impatient.cancel(run.id),
            lambda: impatient.renew(run.id, "worker"),
        ]
        for write in writes:
            with pytest.raises(DatabaseBusyError):
                write()
        assert impatient.run(run.id)  # readers need no lock
    assert impatient.renew(run.id, "worker")


def test_nothing_is_wrong_with_what_the_store_writes(store: Store) -> None:
    run = running(store)
    store.succeed(run.id, "worker", "p_0", size_bytes=1, sha256="0")
    assert store.faults() == []
    store.check()


# Counts


def test_runs_are_counted_right_whether_they_were_counted_before_or_not(store: Store) -> None:
    first, second, third = (running(store) for _ in range(3))
    for run in (first, second):
        ENDS[SUCCEEDED if run is first else CANCELLED](store, run.id)
    before = store.count_runs()
    store.count_further(enough=1)
    assert store.count_runs() == before
    assert {state: number for state, number in before.items() if number} == {SUCCEEDED: 1, CANCELLED: 1, RUNNING: 1}
    assert store.fail(third.id, "worker", "diverged", "It did.")
    new_run(store)
    store.count_further(enough=2)  # only one has ended since
    store.count_further(enough=1)
    assert store.count_runs() == {QUEUED: 1, RUNNING: 0, SUCCEEDED: 1, FAILED: 1, CANCELLED: 1}


def test_removed_runs_are_not_counted(store: Store) -> None:
    runs = [running(store) for _ in range(3)]
    for run in runs:
        assert store.fail(run.id, "worker", "diverged", "It did.")
    store.count_further(enough=1)
    late = running(store)
    assert store.cancel(late.id)
    for which, row_id in ((remove_run, runs[0].id), (remove_model, runs[1].model_id), (remove_run, late.id)):
        assert which(store._database, row_id)
    assert store.count_runs()[FAILED] == 1
    assert store.count_runs()[CANCELLED] == 0
