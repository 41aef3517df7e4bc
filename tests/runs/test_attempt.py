"""An attempt at a run, step by step: what it resumes from, and what a locked database does to it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from away import AwayFolder
from small_networks import SMALL

from falcon_mnist.constants import FAILED, QUEUED, RUNNING, SUCCEEDED
from falcon_mnist.data import dataset
from falcon_mnist.runs.attempt import STORAGE_PAUSE_SECONDS, Attempt, Parts
from falcon_mnist.runs.checkpoints import Checkpoints
from falcon_mnist.storage.database import DatabaseBusyError, DatabaseFullError, DatabaseLostError
from falcon_mnist.storage.files import LocalFolder
from falcon_mnist.storage.migrations import migrate
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.sqlite import SQLite
from falcon_mnist.storage.store import Store
from falcon_mnist.storage.tables import RunRow
from falcon_mnist.training import trainer
from falcon_mnist.training.hyperparams import Hyperparams
from falcon_mnist.training.trainer import DivergedError, Metrics


class TroubledStore(Store):
    """A store that is locked while `busy` is set, or has no room while `full` is."""

    busy = False
    full = False
    loses_answer = False
    recorded = False  # what an answer that is lost would have told of

    @contextmanager
    def together(self) -> Iterator[None]:
        with super().together():
            yield
        if self.loses_answer and self.recorded:
            raise DatabaseLostError("server closed the connection unexpectedly")

    def record_checkpoint(self, *args: object) -> None:
        super().record_checkpoint(*args)  # type: ignore[arg-type]
        self.recorded = True

    def succeed(self, *args: object, **named: object) -> None:
        super().succeed(*args, **named)  # type: ignore[arg-type]
        self.recorded = True

    def record_epochs(self, *args: object, **named: object) -> None:
        self._check()
        super().record_epochs(*args, **named)  # type: ignore[arg-type]

    def fail(self, *args: object) -> bool:
        self._check()
        return super().fail(*args)  # type: ignore[arg-type]

    def requeue(self, *args: object, **named: object) -> RunRow | None:
        self._check()
        return super().requeue(*args, **named)  # type: ignore[arg-type]

    def _check(self) -> None:
        if self.busy:
            raise DatabaseBusyError("database is locked")
        if self.full:
            raise DatabaseFullError("database or disk is full")


@pytest.fixture
def parts(tmp_path: Path, digits: Path) -> Iterator[Parts]:
    database = SQLite(None, wait=0)
    migrate(database)
    store = TroubledStore(database)
    data = dataset.load(str(digits), tmp_path)
    yield Parts(
        store=store,
        checkpoints=Checkpoints(LocalFolder(tmp_path / "checkpoints")),
        parameters=ParameterFiles(LocalFolder(tmp_path / "parameters")),
        open_data=lambda: data,
        progress_write_seconds=0.0,
    )
    store.close()


def queued(store: Store) -> str:
    hyperparams = Hyperparams(epochs=3).model_dump()
    model = store.create_model(SMALL, hyperparams)
    return store.create_run(model, hyperparams, max_queued=1).id


def saved_in_the_middle(parts: Parts, run_id: str) -> None:
    """Begin the run, and have it saved and requeued after its first epoch."""
    run = parts.store.claim(run_id, "first")
    assert run is not None
    attempt = Attempt(parts, run, "first")
    for _ in attempt.run_to_completion():
        found = parts.store.run(run_id)
        attempt.lease.drain = attempt.lease.drain or (found is not None and found.epoch >= 1)
    requeued = parts.store.run(run_id)
    assert requeued is not None
    assert (requeued.state, requeued.epoch, requeued.worker_losses) == (QUEUED, 1, 0)
    assert requeued.checkpoint


def completed(parts: Parts, run_id: str) -> bytes:
    run = parts.store.claim(run_id, "second")
    assert run is not None
    for _ in Attempt(parts, run, "second").run_to_completion():
        pass
    ended = parts.store.run(run_id)
    assert ended is not None
    assert (ended.state, ended.epoch) == (SUCCEEDED, 3)
    assert [epoch.epoch for epoch in parts.store.history(run_id)] == [1, 2, 3]
    row = parts.store.parameters(ended.param_id)
    assert row is not None
    return parts.parameters.read_bytes(row.id, row.written)


def test_a_saved_run_ends_as_one_that_was_never_interrupted(parts: Parts) -> None:
    run_id = queued(parts.store)
    saved_in_the_middle(parts, run_id)
    assert completed(parts, run_id) == completed(parts, queued(parts.store))


def test_a_run_that_is_to_finish_succeeds_at_the_end_of_its_epoch(parts: Parts) -> None:
    run_id = queued(parts.store)
    run = parts.store.claim(run_id, "first")
    assert run is not None
    assert parts.store.finish(run_id)
    attempt = Attempt(parts, run, "first")
    assert attempt.lease.beat(0)
    for _ in attempt.run_to_completion():
        pass
    ended = parts.store.run(run_id)
    assert ended is not None
    assert (ended.state, ended.epoch) == (SUCCEEDED, 1)
    assert ended.param_id


def test_a_run_restarts_where_the_instruction_set_is_another(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    run_id = queued(parts.store)
    saved_in_the_middle(replace(parts, isa="another"), run_id)
    first = completed(parts, run_id)
    assert "restarting from epoch 1" in caplog.text
    run = parts.store.run(run_id)
    assert run is not None
    assert run.isa == parts.isa
    assert first == completed(parts, queued(parts.store))


def test_parameters_stay_where_the_answer_to_their_recording_is_lost(parts: Parts) -> None:
    """The row may be there. If it is not, the file is swept as any that no row names."""
    assert isinstance(parts.store, TroubledStore)
    run_id = queued(parts.store)
    parts.store.loses_answer = True
    completed(parts, run_id)


def test_a_checkpoint_stays_where_the_answer_to_its_recording_is_lost(parts: Parts) -> None:
    assert isinstance(parts.store, TroubledStore)
    run_id = queued(parts.store)
    run = parts.store.claim(run_id, "first")
    assert run is not None
    attempt = Attempt(parts, run, "first")
    attempt.lease.drain = parts.store.loses_answer = True
    for _ in attempt.run_to_completion():
        pass
    parts.store.loses_answer = False
    left = parts.store.requeue(run_id, "first", worker_lost=False)
    assert left is not None
    parts.checkpoints.read(left.checkpoint)
    completed(parts, run_id)


def seen_epochs(parts: Parts, run_id: str) -> list[int]:
    """What the run's row says after each step of an attempt."""
    run = parts.store.claim(run_id, "worker")
    assert run is not None
    rows = [parts.store.run(run_id) for _ in Attempt(parts, run, "worker").run_to_completion()]
    return [row.epoch for row in rows if row is not None]


def test_epochs_that_end_within_a_moment_are_recorded_with_the_end_of_the_run(parts: Parts) -> None:
    run_id = queued(parts.store)
    assert set(seen_epochs(replace(parts, progress_write_seconds=math.inf), run_id)) == {0, 3}
    ended = parts.store.run(run_id)
    assert ended is not None
    assert (ended.state, ended.isa) == (SUCCEEDED, parts.isa)
    assert [epoch.epoch for epoch in parts.store.history(run_id)] == [1, 2, 3]
    assert set(seen_epochs(parts, queued(parts.store))) == {0, 1, 2, 3}


def test_epochs_that_ended_before_a_run_failed_are_recorded(parts: Parts) -> None:
    def train(*args: object, **named: object) -> Iterator[Metrics | None]:
        for number, metrics in enumerate(filter(None, trainer.train(*args, **named))):  # type: ignore[arg-type]
            if number == 2:
                raise DivergedError("The loss stopped being finite in epoch 3.")
            yield metrics

    run_id = queued(parts.store)
    seen_epochs(replace(parts, progress_write_seconds=math.inf, train=train), run_id)
    failed = parts.store.run(run_id)
    assert failed is not None
    assert (failed.state, failed.epoch, failed.error["code"]) == (FAILED, 2, "diverged")


def test_a_checkpoint_is_recorded_with_the_epochs_before_it(parts: Parts) -> None:
    run_id = queued(parts.store)
    run = parts.store.claim(run_id, "first")
    assert run is not None
    attempt = Attempt(replace(parts, progress_write_seconds=math.inf, train=in_whole_epochs), run, "first")
    attempt.lease.drain = True
    for _ in attempt.run_to_completion():
        pass
    requeued = parts.store.run(run_id)
    assert requeued is not None
    assert (requeued.state, requeued.epoch, requeued.checkpoint["epoch"]) == (QUEUED, 1, 1)
    assert completed(parts, run_id) == completed(parts, queued(parts.store))


def in_whole_epochs(*args: object, **named: object) -> Iterator[Metrics | None]:
    """As `trainer.train`, which can be saved at the end of epochs alone."""
    return filter(None, trainer.train(*args, **named))  # type: ignore[arg-type]


@pytest.fixture
def away(tmp_path: Path) -> AwayFolder:
    """A storage that is away for two requests."""
    folder = AwayFolder(tmp_path / "parameters")
    folder.failures = 2
    return folder


def test_a_run_waits_for_its_storage(parts: Parts, away: AwayFolder, caplog: pytest.LogCaptureFixture) -> None:
    run_id, pauses = queued(parts.store), []
    completed(replace(parts, parameters=ParameterFiles(away), sleep=pauses.append), run_id)
    assert pauses == [STORAGE_PAUSE_SECONDS] * 2
    assert caplog.text.count("run waits for its storage") == 1


def test_a_checkpoint_that_cannot_be_read_yet_is_waited_for(parts: Parts, away: AwayFolder, tmp_path: Path) -> None:
    run_id = queued(parts.store)
    saved_in_the_middle(parts, run_id)
    checkpoints = AwayFolder(tmp_path / "checkpoints")
    checkpoints.failures = 2
    pauses: list[float] = []
    after = completed(replace(parts, checkpoints=Checkpoints(checkpoints), sleep=pauses.append), run_id)
    assert len(pauses) == 2
    assert after == completed(parts, queued(parts.store))


def test_a_run_that_waits_for_its_storage_can_be_drained_and_cancelled(parts: Parts, away: AwayFolder) -> None:
    away.failures = 1000
    waiting = replace(parts, parameters=ParameterFiles(away), sleep=lambda seconds: None)
    for number, asked in enumerate(("drain", "cancel")):
        run_id = queued(parts.store)
        run = parts.store.claim(run_id, "first")
        assert run is not None
        attempt = Attempt(waiting, run, "first")
        for _ in attempt.run_to_completion():
            if away.failures < 1000 - 3 - number:
                attempt.lease.drain = asked == "drain"
                attempt.lease.stop[0] = asked == "cancel"
        left = parts.store.run(run_id)
        assert left is not None
        assert left.state == (QUEUED if asked == "drain" else RUNNING)
        parts.store.cancel(run_id)
    assert away.failures > 900


@pytest.mark.parametrize("trouble", ["busy", "full"])
@pytest.mark.parametrize("drained", [False, True])
def test_a_run_whose_end_cannot_be_recorded_is_left(parts: Parts, trouble: str, drained: bool) -> None:
    """Its worker returns as if nothing were wrong, and so counts as no loss when the run is requeued."""
    run_id = queued(parts.store)
    run = parts.store.claim(run_id, "first")
    assert run is not None
    assert isinstance(parts.store, TroubledStore)
    attempt = Attempt(parts, run, "first")
    for _ in attempt.run_to_completion():
        found = parts.store.run(run_id)
        attempt.lease.drain = drained and found is not None and found.epoch >= 1
        setattr(parts.store, trouble, attempt.lease.drain == drained)
    left = parts.store.run(run_id)
    assert left is not None
    assert left.state == RUNNING
    setattr(parts.store, trouble, False)
    parts.store.requeue(run_id, "first", worker_lost=False)
    assert completed(parts, run_id)
