"""Stored parameters, ready for forward passes: loaded once, and kept for all threads in a bounded cache."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

from falcon_mnist import kernels
from falcon_mnist.clock import SYSTEM_CLOCK, Clock
from falcon_mnist.constants import Array
from falcon_mnist.inference.figures import CacheFigures, SharedFigures
from falcon_mnist.inference.removals import Removals
from falcon_mnist.settings import cpus
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.store import Store
from falcon_mnist.training import network

# Enough for several parameter sets of the largest size, or fifty of the specification's example.
CACHE_BYTES = 256 * 2**20
# Workspaces are reused: so many bytes of idle ones are kept for each of the last eight architectures. Where one is
# larger, its forward pass takes so long that allocating it again does not count.
KEPT_ARCHITECTURES = 8
KEPT_BYTES = 12 * 2**20
# A forward pass of so many multiplications, some 50 us, is given memory for the kernels' parked thread as well. They
# call it where that saves time (`kernels/training/forward_shared.pxi`). Fewer than three rows take as long as three.
TWO_THREAD_PRODUCTS = 5_000_000
FEWEST_ROWS = 3
CPUS = cpus()
# A cached parameter set may have been deleted by another server. So its row is looked for again after so many seconds.
LOOK_SECONDS = 2.0


class Answer(NamedTuple):
    """Logits of a batch, and how long the forward pass took."""

    logits: Array  # (rows, 10)
    milliseconds: float


class RowCheck(NamedTuple):
    """When a parameter set's row was last found in the database."""

    at: float  # seconds of the monotonic clock
    removals: bytes  # the counts of this server's removals at that time


class ForwardPasses:
    """Forward passes of one architecture; its parameter sets share the workspaces."""

    def __init__(self, layers: tuple[tuple[str, int, int], ...]) -> None:
        self.network = kernels.Network(layers)
        self._idle: list[kernels.Workspace] = []

    def forward(self, parameters: kernels.Packed, rows: Array | npt.NDArray[np.uint8], logits: Array) -> float:
        """Write the logits of `rows`; returns the milliseconds that it took. Any number of threads may call it."""
        products = max(len(rows), FEWEST_ROWS) * self.network.parameter_count
        two_threads = CPUS > 1 and products >= TWO_THREAD_PRODUCTS
        workspaces = [self._workspace() for _ in range(2 if two_threads else 1)]
        start = time.perf_counter()
        self.network.forward(parameters, rows, logits, *workspaces)
        milliseconds = (time.perf_counter() - start) * 1e3
        for workspace in workspaces:
            if (len(self._idle) + 1) * workspace.nbytes <= KEPT_BYTES:
                self._idle.append(workspace)
        return milliseconds

    def _workspace(self) -> kernels.Workspace:
        try:
            return self._idle.pop()
        except IndexError:
            return kernels.Workspace(self.network, self.network.micro_batch_rows)


forward_passes = lru_cache(KEPT_ARCHITECTURES)(ForwardPasses)


class Predictor:
    """A network with its parameters; any number of threads may call it."""

    def __init__(
        self, net: kernels.Network, parameters: Array, *, model_id: str | None = None, checked: RowCheck | None = None
    ) -> None:
        """A stored parameter set has the id of its model and when its row was `checked`; one from a request neither."""
        self.model_id = model_id
        self.checked = checked
        self._passes = forward_passes(net.layers)
        self._parameters = self._passes.network.pack(parameters)
        self.size_bytes = self._parameters.nbytes

    def __call__(self, rows: Array | npt.NDArray[np.uint8]) -> Answer:
        """Logits of `rows` (n, 784): float32, or uint8 from 0 to 255."""
        logits = np.empty((len(rows), self._passes.network.outputs), dtype=np.float32)
        return Answer(logits, self._passes.forward(self._parameters, rows, logits))


class Predictors:
    """The predictors of stored parameter sets, the least recently used ones dropped beyond `limit` bytes."""

    def __init__(
        self,
        store: Store,
        files: ParameterFiles,
        *,
        limit: int = CACHE_BYTES,
        clock: Clock = SYSTEM_CLOCK,
        removals: Removals | None = None,
        figures: SharedFigures | None = None,
        load: Callable[[], AbstractContextManager[Any]] | None = None,
    ) -> None:
        """The processes of one server share `removals` and `figures`; servers share neither.

        `removals` counts the deletions of each process, `figures` holds the hits, loads and sizes of each cache. `load`
        makes the context manager in which a parameter file is read: it lets one thread in at a time, and may raise
        rather than wait for long.
        """
        one_at_a_time = threading.Lock()
        self._loading = load or (lambda: one_at_a_time)
        self._removals = removals or Removals()
        self._clock = clock
        self._store = store
        self._files = files
        self._lock = threading.Lock()
        # A predictor larger than the limit counts as the limit: it is cached, alone.
        self._cached: LRUCache[str, Predictor] = LRUCache(limit, getsizeof=lambda found: min(found.size_bytes, limit))
        self._figures = figures or SharedFigures()
        self._publish_size()

    def get(self, param_id: str) -> Predictor | None:
        """The predictor of a parameter set, None if there is no such set.

        Raises `DamagedFileError`, `StorageUnavailableError`, and what `load` raises.
        """
        if predictor := self._cached_and_stored(param_id):
            return predictor
        with self._loading():
            if predictor := self._cached_and_stored(param_id):  # another thread has loaded it meanwhile
                return predictor
            if predictor := self._read(param_id):
                with self._lock:
                    self._cached[param_id] = predictor
                    self._figures.loaded()
                    self._publish_size()
            return predictor

    def loaded(self, param_id: str, max_bytes: float) -> Predictor | None:
        """The predictor if it is cached, no larger, and its row was checked lately: asks no database, reads no file."""
        with self._lock:
            predictor = self._cached.get(param_id)
            if predictor is None or predictor.size_bytes > max_bytes or not self._is_fresh(predictor.checked):
                return None
            self._figures.hit()
            return predictor

    def forget(self, param_ids: Iterable[str]) -> None:
        """Drop deleted sets: no process of this server uses them from now on, other servers after `LOOK_SECONDS`."""
        self._drop(param_ids)
        self._removals.note()

    def _drop(self, param_ids: Iterable[str]) -> None:
        with self._lock:
            for param_id in param_ids:
                self._cached.pop(param_id, None)
            self._publish_size()

    def _cached_and_stored(self, param_id: str) -> Predictor | None:
        """The cached predictor; dropped, and None, if another process or server has deleted its set."""
        with self._lock:
            predictor = self._cached.get(param_id)
            if predictor is not None:
                self._figures.hit()
        if predictor is None or self._is_fresh(predictor.checked):
            return predictor
        check = self._check()
        if self._store.parameters(param_id) is None:
            self._drop([param_id])
            return None
        predictor.checked = check
        return predictor

    def figures(self) -> CacheFigures:
        """Hits, loads and sizes of the caches of all processes of this server."""
        return self._figures.totals()

    def _publish_size(self) -> None:
        self._figures.holds(len(self._cached), self._cached.currsize, self._cached.maxsize)

    def _is_fresh(self, checked: RowCheck | None) -> bool:
        return (
            checked is not None
            and self._clock.monotonic() <= checked.at + LOOK_SECONDS
            and self._removals.state() == checked.removals
        )

    def _check(self) -> RowCheck:
        """Taken before the row is read: a deletion between the two then makes the check stale."""
        return RowCheck(self._clock.monotonic(), self._removals.state())

    def _read(self, param_id: str) -> Predictor | None:
        check = self._check()
        row = self._store.parameters(param_id)
        model = None if row is None else self._store.model(row.model_id)
        if row is None or model is None:
            return None
        parameters = self._files.read(param_id, row.written, model.architecture)
        return Predictor(network.build(model.architecture), parameters, model_id=model.id, checked=check)


def adhoc(architecture: Mapping[str, Any], layers: list[tuple[Array, Array]]) -> Predictor:
    """A predictor for parameters that a request brought: `(W, b)` of each linear layer. Not cached."""
    net = network.build(architecture)
    return Predictor(net, network.flatten(net, layers))


def outputs(logits: Array, *, want_logits: bool, want_probabilities: bool, want_labels: bool) -> dict[str, Any]:
    """The `outputs` member of an answer: exactly what was asked for, as arrays."""
    found: dict[str, Any] = {}
    if want_labels:
        found["labels"] = kernels.argmax(logits)
    if want_probabilities:
        found["probabilities"] = kernels.softmax(logits)
    if want_logits:
        found["logits"] = logits
    return found
