"""Where a training run stands, on disk: what it resumes from when its worker, its server or the power is gone.

Each checkpoint is a file of its own; the run's row names the one that counts, and the one before is removed
after that. So whichever write is the last before a crash, the row names a whole file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from falcon_mnist.clock import SYSTEM_CLOCK, Clock, NewId, new_id
from falcon_mnist.storage.database import DatabaseLostError
from falcon_mnist.storage.files import DamagedFileError, Storage, Written, discard
from falcon_mnist.storage.parameter_files import decode, encode
from falcon_mnist.training.state import Scalars, State

log = logging.getLogger(__name__)

# A checkpoint may cost this share of a run's time, and is not written more often than once in these seconds.
MAX_SHARE = 0.02
MIN_INTERVAL_SECONDS = 1.0


class Checkpoint(Scalars):
    """What the run's row records: the file, and the state's scalars."""

    file: str
    size_bytes: int
    sha256: str


class Checkpoints:
    """The checkpoints of all runs, in one storage."""

    def __init__(
        self,
        storage: Storage,
        *,
        new_id: NewId = new_id,
        max_share: float = MAX_SHARE,
        min_interval_seconds: float = MIN_INTERVAL_SECONDS,
    ) -> None:
        self.max_share = max_share
        self.min_interval_seconds = min_interval_seconds
        self._storage = storage
        self._new_id = new_id

    def write(self, state: State) -> Checkpoint:
        """Write a state; it is on the disk when this returns. Raises `OSError`, leaving nothing."""
        name = f"{self._new_id('c')}.safetensors"
        size_bytes, sha256 = self._storage.put(name, encode(state.arrays))
        return {"file": name, "size_bytes": size_bytes, "sha256": sha256, **state.scalars()}

    def read(self, checkpoint: Checkpoint) -> State:
        """The state that was written. Raises `DamagedFileError`, `StorageUnavailableError`."""
        written = Written(checkpoint["size_bytes"], checkpoint["sha256"])
        name = checkpoint["file"]
        arrays = decode(self._storage.get(name, written), name)
        if "parameters" not in arrays:
            raise DamagedFileError(name, "holds no parameters")
        return State.of({name: array.copy() for name, array in arrays.items()}, checkpoint)

    def remove(self, checkpoint: Checkpoint | None) -> None:
        """Remove a checkpoint that no row names any more."""
        if checkpoint is not None:
            discard(self._storage, checkpoint["file"])


class CheckpointWriter:
    """Writes one run's checkpoints: often enough to lose little, rarely enough to cost little."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        record: Callable[[Checkpoint | None], None],
        current: Checkpoint | None,
        *,
        at_once: bool,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`record` puts a checkpoint into the run's row, and raises if the run is no longer this worker's.

        The first one is written `at_once`, for a run that may soon lose its worker again.
        """
        self._checkpoints = checkpoints
        self._record = record
        self._current = current
        self._clock = clock
        self._next = clock.monotonic() + (0.0 if at_once else checkpoints.min_interval_seconds)

    def maybe_save(self, state: State, *, now: bool = False) -> Iterator[None]:
        """Write a checkpoint if it is time for one, or `now`; a step after each effect."""
        start = self._clock.monotonic()
        if not now and start < self._next:
            return
        try:
            written = self._checkpoints.write(state)
        except OSError as error:
            # A full disk takes the safety net away, not the run: there may be room again by its end.
            log.error("no checkpoint could be written: %s", error.strerror)
            self._next = self._clock.monotonic() + 10 * self._checkpoints.min_interval_seconds
            return
        yield
        try:
            self._record(written)
        except DatabaseLostError:
            raise  # the row may name it; if it does not, it is swept as any file that no row names
        except BaseException:
            self._checkpoints.remove(written)
            raise
        yield
        self._checkpoints.remove(self._current)
        self._current = written
        end = self._clock.monotonic()
        interval = (end - start) / self._checkpoints.max_share
        self._next = end + max(self._checkpoints.min_interval_seconds, interval)
