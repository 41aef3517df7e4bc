"""The data set of a server, which makes none itself: its workers do."""

from __future__ import annotations

import threading
from pathlib import Path

from cachetools import TTLCache

from falcon_mnist.clock import SYSTEM_CLOCK, Clock
from falcon_mnist.data import dataset
from falcon_mnist.data.dataset import Dataset

# Opening a folder takes 0.1 s, for its checksum. Opened again later: a worker may have downloaded MNIST.
KEEP_SECONDS = 60


class ReadyDataset:
    """The data set that the settings give, as soon as a worker or a command has made it."""

    def __init__(self, choice: str, home: Path, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._choice = choice
        self._home = home
        self._lock = threading.Lock()
        self._kept: TTLCache[str, Dataset] = TTLCache(1, KEEP_SECONDS, timer=clock.monotonic)

    def load(self) -> Dataset:
        """The data set. Raises `DataError` while there is none."""
        with self._lock:
            if (found := self._kept.get(self._choice)) is None:
                found = self._kept[self._choice] = dataset.load(self._choice, self._home, make=False)
            return found
