"""What removal takes with it, what it refuses, and that it gives its room back, on every database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from backends import ARCHITECTURE, HYPERPARAMS, METRICS, Backend, new_model, new_run, running

from falcon_mnist.storage.files import LocalFolder, Written
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.removal import (
    EPOCHS_AT_ONCE,
    InUseError,
    Removed,
    Remover,
    remove_model,
    remove_parameters,
    remove_run,
)
from falcon_mnist.storage.store import Conflict, Refused, Store, Trained
from falcon_mnist.storage.tables import RunRow

MOST_EPOCHS = 1000


@pytest.fixture
def folders(tmp_path: Path) -> tuple[LocalFolder, LocalFolder]:
    return LocalFolder(tmp_path / "parameters"), LocalFolder(tmp_path / "checkpoints")


@pytest.fixture
def remover(store: Store, folders: tuple[LocalFolder, LocalFolder]) -> Remover:
    return store.remover(ParameterFiles(folders[0]), folders[1])


def succeeded(store: Store, folders: tuple[LocalFolder, LocalFolder], param_id: str = "p_0", notes: str = "") -> RunRow:
    """A run with everything that a run can leave behind."""
    run = running(store)
    store.record_epochs(run.id, "worker", {1: METRICS})
    checkpoint = folders[1].put("c_0.safetensors", b"state")
    store.record_checkpoint(run.id, "worker", {"file": "c_0.safetensors", **checkpoint._asdict()})
    written = folders[0].put(f"{param_id}.safetensors", b"parameters")
    store.succeed(run.id, "worker", param_id, **written._asdict(), evaluation={"notes": notes})
    ended = store.run(run.id)
    assert ended
    return ended


def names(folders: tuple[LocalFolder, LocalFolder]) -> list[str]:
    return [entry.name for folder in folders for entry in folder.list()]


def left(store: Store, run: RunRow) -> list[bool]:
    """Whether the model, the run, its epochs, its parameter set and the evaluation of that are there."""
    found = (store.model(run.model_id), store.run(run.id), store.history(run.id), store.parameters("p_0"))
    return [bool(each) for each in (*found, store.evaluation("p_0"))]


def test_a_model_goes_with_all_that_it_has(
    store: Store, folders: tuple[LocalFolder, LocalFolder], remover: Remover
) -> None:
    run = succeeded(store, folders)
    assert left(store, run) == [True] * 5
    removed = remover.remove(remove_model, run.model_id)
    assert removed == Removed(1, ("p_0",), ("c_0.safetensors",))
    assert left(store, run) == [False] * 5
    assert names(folders) == []
    assert remover.remove(remove_model, run.model_id) is None


def long_history(backend: Backend, store: Store, runs: int) -> str:
    """A model with so many runs that have ended, each of as many epochs as there may be."""
    model = new_model(store)
    for _ in range(runs):
        store.cancel(new_run(store, model).id)
    with closing(backend.database()) as database:
        database.execute_sql(f"""INSERT INTO epochs (run_id, epoch, train_loss, train_accuracy)
            WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {MOST_EPOCHS})
            SELECT id, i, 1.5, 0.25 FROM runs, numbers""")
        RunRow.update(epoch=MOST_EPOCHS).execute(database)
    return model.id


def test_a_long_history_goes_in_parts_and_others_write_in_between(
    backend: Backend, store: Store, remover: Remover
) -> None:
    model_id = long_history(backend, store, 2 * EPOCHS_AT_ONCE // MOST_EPOCHS)
    left: list[int] = []

    @contextmanager
    def turn() -> Iterator[None]:
        yield
        new_model(store)
        runs = store.runs(limit=1000, model_id=model_id)
        assert all(len(store.history(run.id)) == MOST_EPOCHS for run in runs[:1] + runs[-1:])
        left.append(len(runs))

    removed = remover.remove(remove_model, model_id, turn)
    assert removed
    assert removed.runs == 2 * EPOCHS_AT_ONCE // MOST_EPOCHS
    parts = [before - after for before, after in pairwise([removed.runs, *left])]
    assert len(parts) > 2
    assert max(parts) * MOST_EPOCHS <= EPOCHS_AT_ONCE + MOST_EPOCHS
    assert store.model(model_id) is None


def test_a_model_with_an_active_run_keeps_its_long_history(backend: Backend, store: Store, remover: Remover) -> None:
    model_id = long_history(backend, store, EPOCHS_AT_ONCE // MOST_EPOCHS + 1)
    model = store.model(model_id)
    assert model
    new_run(store, model)
    runs = store.runs(limit=1000, model_id=model_id)
    with pytest.raises(InUseError):
        remover.remove(remove_model, model_id)
    assert store.runs(limit=1000, model_id=model_id) == runs


def test_what_was_trained_stays_counted(
    store: Store, folders: tuple[LocalFolder, LocalFolder], remover: Remover
) -> None:
    """A counter that fell would be taken for one that began anew, and all that is left for new work."""
    assert store.trained() == Trained(epochs=0, samples=0)
    run = running(store)
    for epoch in (1, 2, 2):
        store.record_epochs(run.id, "worker", {epoch: METRICS | {"samples": 540}})
    assert store.trained() == Trained(epochs=2, samples=1080)
    store.restart(run.id, "worker")
    store.record_epochs(run.id, "worker", {1: METRICS})
    store.fail(run.id, "worker", "diverged", "It did.")
    remover.remove(remove_run, run.id)
    assert store.trained() == Trained(epochs=3, samples=1080)


def test_a_run_goes_with_its_parameter_set(
    store: Store, folders: tuple[LocalFolder, LocalFolder], remover: Remover
) -> None:
    run = succeeded(store, folders)
    assert remover.remove(remove_run, run.id)
    assert left(store, run) == [True, False, False, False, False]
    assert names(folders) == []
    assert remover.remove(remove_run, run.id) is None


def test_the_run_of_a_removed_parameter_set_keeps_its_id(
    store: Store, folders: tuple[LocalFolder, LocalFolder], remover: Remover
) -> None:
    run = succeeded(store, folders)
    assert remover.remove(remove_parameters, "p_0")
    assert left(store, run) == [True, True, True, False, False]
    assert names(folders) == ["c_0.safetensors"]
    now = store.run(run.id)
    assert now
    assert now.param_id == "p_0"
    assert remover.remove(remove_parameters, "p_0") is None


def test_nothing_else_goes(store: Store, folders: tuple[LocalFolder, LocalFolder], remover: Remover) -> None:
    kept = succeeded(store, folders)
    other = succeeded(store, folders, "p_1")
    remover.remove(remove_model, other.model_id)
    assert left(store, kept) == [True] * 5
    assert "p_0.safetensors" in names(folders)


def test_what_an_active_run_needs_stays(
    store: Store, folders: tuple[LocalFolder, LocalFolder], remover: Remover
) -> None:
    run = succeeded(store, folders)
    model = store.model(run.model_id)
    assert model
    active = store.create_run(model, HYPERPARAMS, max_queued=10, start_from="p_0")
    for _ in ("queued", "running"):
        for which, row_id in (
            (remove_model, model.id),
            (remove_run, active.id),
            (remove_run, run.id),
            (remove_parameters, "p_0"),
        ):
            with pytest.raises(InUseError, match=active.id):
                remover.remove(which, row_id)
        assert left(store, run) == [True] * 5
        store.claim(active.id, "worker")
    store.cancel(active.id)
    assert remover.remove(remove_model, model.id)


def test_keys_go_with_their_rows(store: Store, remover: Remover) -> None:
    model = store.create_model(ARCHITECTURE, HYPERPARAMS, key="m", fingerprint="1")
    run = store.create_run(model, HYPERPARAMS, max_queued=10, key="r", fingerprint="1")
    store.cancel(run.id)
    remover.remove(remove_run, run.id)
    assert store.create_run(model, HYPERPARAMS, max_queued=10, key="r", fingerprint="2").id != run.id


def test_a_request_that_was_overtaken_by_a_removal_is_refused(store: Store, remover: Remover) -> None:
    model = new_model(store)
    with pytest.raises(Conflict) as refused:
        store.create_run(model, HYPERPARAMS, max_queued=10, start_from="p_0")
    assert refused.value.reason is Refused.START_REMOVED
    remover.remove(remove_model, model.id)
    with pytest.raises(Conflict) as refused:
        store.create_run(model, HYPERPARAMS, max_queued=10)
    assert refused.value.reason is Refused.MODEL_REMOVED
    assert store.record_evaluation("p_0", {"loss": 1}) is None


def test_an_imported_set_has_a_model_and_no_run(store: Store, remover: Remover) -> None:
    written = Written(3, "0")
    first = store.import_parameters("p_1", ARCHITECTURE, HYPERPARAMS, written, key="k", fingerprint="1")
    again = store.import_parameters("p_2", ARCHITECTURE, HYPERPARAMS, written, key="k", fingerprint="1")
    assert (first.id, again.id, first.run_id) == ("p_1", "p_1", None)
    with pytest.raises(Conflict):
        store.import_parameters("p_3", ARCHITECTURE, HYPERPARAMS, written, key="k", fingerprint="2")
    assert remover.remove(remove_model, first.model_id) == Removed(0, ("p_1",), ())


def test_a_file_that_cannot_be_deleted_is_left_to_the_sweep(
    store: Store, folders: tuple[LocalFolder, LocalFolder], remover: Remover, tmp_path: Path
) -> None:
    run = succeeded(store, folders)
    path = tmp_path / "parameters" / "p_0.safetensors"
    path.unlink()
    path.mkdir()  # what unlink refuses for every user
    assert remover.remove(remove_run, run.id)
    assert left(store, run)[1:] == [False] * 4


def size(database: Path) -> int:
    """Of its files."""
    return sum(path.stat().st_size for path in database.parent.glob(database.name + "*"))


def test_a_database_in_a_file_gives_its_room_back(folders: tuple[LocalFolder, LocalFolder], tmp_path: Path) -> None:
    file = tmp_path / "room.db"
    store = Backend(file).store()
    remover = store.remover(ParameterFiles(folders[0]), folders[1])
    before = new_run(store)
    for _ in range(2):
        runs = [succeeded(store, folders, f"p_{number}", notes="x" * 2**20) for number in range(10)]
        assert size(file) > 10 * 2**20
        for run in runs:
            remover.remove(remove_model, run.model_id)
        assert size(file) < 5 * 2**20  # the log keeps up to 4 MiB for what comes
    assert store.run(before.id)
    store.close()
