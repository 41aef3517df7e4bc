"""A bucket that fails as real ones do: each file is whole or not there, and an answer may be late or lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from falcon_mnist.clock import Clock
from falcon_mnist.storage.files import DamagedFileError, Entry, StorageUnavailableError, Written, verified

from .world import START, Crashed, Interrupts, Process

if TYPE_CHECKING:
    from .shared import Shared

SLOW_SECONDS = (1.0, 30.0)  # past a lease


@dataclass
class SharedBucket:
    """What all processes put and get. What it has done survives whatever fails."""

    files: dict[Path, tuple[bytes, float]] = field(default_factory=dict)  # and when it was put, by the bucket's clock
    away: float = 0.0  # the share of requests that fails, half of them when they are done
    slow: float = 0.0  # the share that takes long
    failed: bool = False  # whether a request has
    changes: int = 0


class ProcessBucket:
    """A `Storage` in a folder of the bucket, as a process uses it, which may end before or after a request is done."""

    def __init__(self, shared: Shared, folder: Path, process: Process, clock: Clock, interrupts: Interrupts) -> None:
        self._act = partial(shared.act_as, process)
        self._bucket = shared.bucket
        self._folder = folder
        self._process = process
        self._clock = clock
        self._interrupts = interrupts

    def put(self, name: str, data: bytes) -> Written:
        """The bucket has a clock of its own."""
        self._arrive()
        self._bucket.files[self._folder / name] = data, START + self._process.world.now
        self._answer()
        return Written.of(data)

    def get(self, name: str, expected: Written) -> bytes:
        """What was put, from then on."""
        self._arrive()
        data, _ = self._bucket.files.get(self._folder / name, (None, 0.0))
        if data is None:
            raise DamagedFileError(name, "is not there")
        return verified(name, data, expected)

    def delete(self, name: str) -> None:
        """From then on it is not there."""
        self._arrive()
        self._bucket.files.pop(self._folder / name, None)
        self._answer()

    def list(self) -> list[Entry]:
        """All that was put by then."""
        self._arrive()
        now, files = self._clock.wall(), self._bucket.files
        return [Entry(path.name, now - at) for path, (_, at) in files.items() if path.parent == self._folder]

    def _arrive(self) -> None:
        """Only a process that lives asks for something."""
        world = self._process.world
        if world.chance(self._bucket.slow):
            world.wait(self._process, world.random.uniform(*SLOW_SECONDS))
            self._act()
        self._interrupts.strike(self._folder)
        if not self._process.alive:
            raise Crashed
        self._bucket.changes += 1
        self._maybe_fail()

    def _answer(self) -> None:
        """It is done, whether the process learns of it or not."""
        self._interrupts.strike(self._folder)
        if not self._process.alive:
            raise Crashed
        self._maybe_fail()

    def _maybe_fail(self) -> None:
        if self._process.world.chance(self._bucket.away / 2):
            self._bucket.failed = True
            raise StorageUnavailableError("simulated")
