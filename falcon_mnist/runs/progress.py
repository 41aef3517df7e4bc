"""What a worker has to record of its run, collected for a moment: short epochs do not cost a transaction each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from falcon_mnist.clock import Clock
from falcon_mnist.storage.store import Store

# A run's row is not written more often, except when the run ends or is saved. Each transaction waits for the disk.
WRITE_SECONDS = 0.25


class Progress:
    """The finished epochs of a run, and the basis they were trained on, that its row does not have yet."""

    def __init__(self, store: Store, run_id: str, owner: str, *, clock: Clock, write_seconds: float) -> None:
        self._store = store
        self._run_id = run_id
        self._owner = owner
        self._clock = clock
        self._write_seconds = write_seconds
        self._written_at = clock.monotonic()
        self._basis: dict[str, Any] = {}
        self._epochs: dict[int, Mapping[str, Any]] = {}
        self._best_epoch = 0

    def note_basis(self, dataset: Mapping[str, str], isa: str) -> None:
        """The run trains on this data set with this instruction set."""
        self._basis = {"dataset": dataset, "isa": isa}

    def note_epoch(self, epoch: int, metrics: Mapping[str, Any], best_epoch: int) -> None:
        """An epoch is finished."""
        self._epochs[epoch] = metrics
        self._best_epoch = best_epoch

    def write_if_due(self) -> bool:
        """As `write`, unless the row was written a moment ago; says whether it was written now."""
        due = self._clock.monotonic() - self._written_at >= self._write_seconds
        return due and self.write()

    def write(self) -> bool:
        """Record what is noted; says whether there was anything. Raises `RunLostError`."""
        if not self._basis and not self._epochs:
            return False
        with self.written_with():
            return True

    @contextmanager
    def written_with(self) -> Iterator[None]:
        """A transaction of what is noted and what the block writes: it records both or neither."""
        with self._store.together():
            if self._basis:
                self._store.record_basis(self._run_id, self._owner, **self._basis)
            if self._epochs:
                self._store.record_epochs(self._run_id, self._owner, self._epochs, best_epoch=self._best_epoch)
            yield
        self._basis, self._epochs = {}, {}
        self._written_at = self._clock.monotonic()
