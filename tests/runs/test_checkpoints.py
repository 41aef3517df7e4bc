"""When a run's checkpoints are written, by a clock moved by hand, and which of them remain."""

from __future__ import annotations

import errno
from itertools import count

import numpy as np
import pytest
from manual_time import ManualTime

from falcon_mnist.runs.checkpoints import Checkpoint, Checkpoints, CheckpointWriter
from falcon_mnist.storage.database import DatabaseLostError
from falcon_mnist.storage.files import Entry, Written, verified
from falcon_mnist.training.state import State

MIN_INTERVAL = 4.0
MAX_SHARE = 0.125


class SlowStorage:
    """A `Storage` in memory whose writes take time, or fail."""

    def __init__(self, time: ManualTime) -> None:
        self.files: dict[str, bytes] = {}
        self.seconds = 0.0  # that a write takes
        self.full = False
        self._time = time

    def put(self, name: str, data: bytes) -> Written:
        self._time.pass_seconds(self.seconds)
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.files[name] = data
        return Written.of(data)

    def get(self, name: str, expected: Written) -> bytes:
        return verified(name, self.files[name], expected)

    def delete(self, name: str) -> None:
        del self.files[name]

    def list(self) -> list[Entry]:
        return [Entry(name, 0.0) for name in self.files]


class Scene:
    """A run that saves its state, and the row that records it."""

    def __init__(self) -> None:
        self.time = ManualTime()
        self.storage = SlowStorage(self.time)
        ids = count(1)
        self.checkpoints = Checkpoints(
            self.storage,
            new_id=lambda prefix: f"{prefix}_{next(ids)}",
            max_share=MAX_SHARE,
            min_interval_seconds=MIN_INTERVAL,
        )
        self.recorded: Checkpoint | None = None
        self.refusal: Exception | None = None  # what the row answers

    def _record(self, checkpoint: Checkpoint | None) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.recorded = checkpoint

    def writer(self, *, at_once: bool = True, current: Checkpoint | None = None) -> CheckpointWriter:
        return CheckpointWriter(self.checkpoints, self._record, current, at_once=at_once, clock=self.time.clock)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def state(epoch: int = 1) -> State:
    return State({"parameters": np.arange(3, dtype=np.float32)}, epoch=epoch)


def saves(writer: CheckpointWriter, *, now: bool = False) -> bool:
    """Whether it is time for a checkpoint; one that is begun is finished."""
    return len(list(writer.maybe_save(state(), now=now))) == 2


def test_the_first_checkpoint_is_written_at_once_or_after_the_minimum_interval(scene: Scene) -> None:
    assert saves(scene.writer(at_once=True))
    later = scene.writer(at_once=False)
    assert not saves(later)
    scene.time.pass_seconds(MIN_INTERVAL - 1)
    assert not saves(later)
    scene.time.pass_seconds(1)
    assert saves(later)


def test_the_next_one_waits_for_the_minimum_interval_from_the_end_of_the_last(scene: Scene) -> None:
    scene.storage.seconds = 0.25  # 2 s at the largest share
    writer = scene.writer()
    assert saves(writer)
    scene.time.pass_seconds(MIN_INTERVAL - 0.5)
    assert not saves(writer)
    scene.time.pass_seconds(0.5)
    assert saves(writer)


def test_slow_checkpoints_take_no_more_than_their_share_of_the_time(scene: Scene) -> None:
    scene.storage.seconds = 2.0
    writer = scene.writer()
    assert saves(writer)
    scene.time.pass_seconds(2.0 / MAX_SHARE - 0.5)
    assert not saves(writer)
    scene.time.pass_seconds(0.5)
    assert saves(writer)


def test_one_that_is_asked_for_now_waits_for_nothing(scene: Scene) -> None:
    writer = scene.writer(at_once=False)
    assert saves(writer, now=True)
    assert not saves(writer)
    assert saves(writer, now=True)


def test_a_full_disk_pauses_checkpoints_for_ten_intervals_and_not_the_run(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    first = scene.writer()
    assert saves(first)
    recorded, scene.storage.full, scene.storage.seconds = scene.recorded, True, 1.0
    writer = scene.writer(current=recorded)
    assert not saves(writer)
    assert caplog.messages == ["no checkpoint could be written: No space left on device"]
    assert scene.recorded == recorded
    assert recorded is not None
    assert list(scene.storage.files) == [recorded["file"]]
    scene.storage.full = False
    scene.time.pass_seconds(10 * MIN_INTERVAL - 1)
    assert not saves(writer)
    scene.time.pass_seconds(1)
    assert saves(writer)


def test_the_one_before_is_removed_after_the_new_one_is_recorded(scene: Scene) -> None:
    writer = scene.writer()
    assert saves(writer)
    assert list(scene.storage.files) == ["c_1.safetensors"]
    steps = writer.maybe_save(state(epoch=2), now=True)
    next(steps)
    assert scene.recorded is not None
    assert scene.recorded["file"] == "c_1.safetensors"
    next(steps)
    assert (scene.recorded["file"], scene.recorded["epoch"]) == ("c_2.safetensors", 2)
    assert list(scene.storage.files) == ["c_1.safetensors", "c_2.safetensors"]
    assert next(steps, None) is None
    assert list(scene.storage.files) == ["c_2.safetensors"]
    assert scene.checkpoints.read(scene.recorded).epoch == 2


def test_the_one_that_a_run_resumed_from_is_removed_too(scene: Scene) -> None:
    assert saves(scene.writer())
    assert saves(scene.writer(current=scene.recorded))
    assert list(scene.storage.files) == ["c_2.safetensors"]


@pytest.mark.parametrize(
    ("refusal", "remaining"),
    [
        (RuntimeError("another worker's"), ["c_1.safetensors"]),
        (DatabaseLostError("gone"), ["c_1.safetensors", "c_2.safetensors"]),  # the row may name either
    ],
    ids=["no longer ours", "database lost"],
)
def test_one_that_the_row_did_not_take_is_removed_unless_the_row_may_name_it(
    scene: Scene, refusal: Exception, remaining: list[str]
) -> None:
    writer = scene.writer()
    assert saves(writer)
    scene.refusal = refusal
    with pytest.raises(type(refusal)):
        saves(writer, now=True)
    assert list(scene.storage.files) == remaining
