"""Forward passes: parameters loaded and verified once, then shared by all threads from a bounded cache."""

from __future__ import annotations

import os
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
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.store import Store
from falcon_mnist.training import network

# Enough for several parameter sets of the largest size, or fifty of the specification's example.
CACHE_BYTES = 256 * 2**20
# Idle workspaces kept for later calls, per architecture, of so many architectures; further threads allocate theirs.
KEPT_WORKSPACES = 3
KEPT_ARCHITECTURES = 8
# A pass in a larger one takes so long that allocating it costs nothing beside that.
KEPT_BYTES = 4 * 2**20
# From so much work on, some 0.1 ms, a pass shares its rows with the kernels' parked thread, if that is free.
SHARED_PRODUCTS = 20_000_000
CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# How often, at most, the row of a cached parameter set is looked for: it may be removed.
LOOK_SECONDS = 2.0


class Answer(NamedTuple):
    """Logits of a batch, and how long the forward pass took."""

    logits: Array  # (rows, 10)
    milliseconds: float


class Seen(NamedTuple):
    """When the row of a parameter set was seen, by the monotonic clock, and after which removals."""

    at: float
    removals: bytes


class Passes:
    """Forward passes of one architecture, with idle workspaces that all its parameter sets share."""

    def __init__(self, layers: tuple[tuple[str, int, int], ...]) -> None:
        self.network = kernels.Network(layers)
        self._idle: list[kernels.Workspace] = []

    def forward(self, parameters: kernels.Packed, rows: Array | npt.NDArray[np.uint8], logits: Array) -> float:
        """Write the logits of `rows`; returns the milliseconds that it took. Any number of threads may call it."""
        shared = CPUS > 1 and len(rows) * self.network.parameter_count >= SHARED_PRODUCTS
        workspaces = [self._workspace() for _ in range(2 if shared else 1)]
        start = time.perf_counter()
        self.network.forward(parameters, rows, logits, *workspaces)
        milliseconds = (time.perf_counter() - start) * 1e3
        for workspace in workspaces:
            if len(self._idle) < KEPT_WORKSPACES and workspace.nbytes <= KEPT_BYTES:
                self._idle.append(workspace)
        return milliseconds

    def _workspace(self) -> kernels.Workspace:
        try:
            return self._idle.pop()
        except IndexError:
            return kernels.Workspace(self.network, self.network.micro_batch_rows)


passes = lru_cache(KEPT_ARCHITECTURES)(Passes)


class Predictor:
    """A network with its parameters; any number of threads may call it."""

    def __init__(
        self, net: kernels.Network, parameters: Array, *, model_id: str | None = None, seen: Seen | None = None
    ) -> None:
        """Of the parameter set of a model, whose row was `seen`, or of neither."""
        self.model_id = model_id
        self.seen = seen
        self._passes = passes(net.layers)
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
        """`removals` tells what other processes of this server remove; of other servers nothing does.

        `figures` is where they tell each other how their caches do. Each set is read in a turn of `load`, of which
        there is one at a time, and which may not come in time.
        """
        one_at_a_time = threading.Lock()
        self._turn = load or (lambda: one_at_a_time)
        self._removals = removals or Removals()
        self._clock = clock
        self._store = store
        self._files = files
        self._lock = threading.Lock()
        # One that is larger than the whole cache takes all of it.
        self._cached: LRUCache[str, Predictor] = LRUCache(limit, getsizeof=lambda found: min(found.size_bytes, limit))
        self._figures = figures or SharedFigures()
        self._note()

    def get(self, param_id: str) -> Predictor | None:
        """The predictor of a parameter set, None if there is no such set.

        Raises `DamagedFileError`, `StorageUnavailableError`, and as `load` where there is no turn.
        """
        if predictor := self._find(param_id):
            return predictor
        with self._turn():
            if predictor := self._find(param_id):
                return predictor
            if predictor := self._load(param_id):
                with self._lock:
                    self._cached[param_id] = predictor
                    self._figures.loaded()
                    self._note()
            return predictor

    def loaded(self, param_id: str) -> Predictor | None:
        """The predictor if it is in the cache and its row was seen lately: asks no database and reads no file."""
        with self._lock:
            predictor = self._cached.get(param_id)
            if predictor is None or not self._is_fresh(predictor.seen):
                return None
            self._figures.hit()
            return predictor

    def forget(self, param_ids: Iterable[str]) -> None:
        """Drop what was removed: from now on no process of this server answers from it. Others notice by themselves."""
        self._drop(param_ids)
        self._removals.note()

    def _drop(self, param_ids: Iterable[str]) -> None:
        with self._lock:
            for param_id in param_ids:
                self._cached.pop(param_id, None)
            self._note()

    def _find(self, param_id: str) -> Predictor | None:
        """The cached predictor, unless its set was removed, perhaps by another process or server."""
        with self._lock:
            predictor = self._cached.get(param_id)
            if predictor is not None:
                self._figures.hit()
        if predictor is None or self._is_fresh(predictor.seen):
            return predictor
        seen = self._now()
        if self._store.parameters(param_id) is None:
            self._drop([param_id])
            return None
        predictor.seen = seen
        return predictor

    def figures(self) -> CacheFigures:
        """Those of all processes of this server."""
        return self._figures.totals()

    def _note(self) -> None:
        self._figures.holds(len(self._cached), self._cached.currsize, self._cached.maxsize)

    def _is_fresh(self, seen: Seen | None) -> bool:
        return (
            seen is not None
            and self._clock.monotonic() <= seen.at + LOOK_SECONDS
            and self._removals.state() == seen.removals
        )

    def _now(self) -> Seen:
        """To be asked before a row is read: it may be removed right after."""
        return Seen(self._clock.monotonic(), self._removals.state())

    def _load(self, param_id: str) -> Predictor | None:
        seen = self._now()
        row = self._store.parameters(param_id)
        model = None if row is None else self._store.model(row.model_id)
        if row is None or model is None:
            return None
        parameters = self._files.read(param_id, row.written, model.architecture)
        return Predictor(network.build(model.architecture), parameters, model_id=model.id, seen=seen)


def adhoc(architecture: Mapping[str, Any], layers: list[tuple[Array, Array]]) -> Predictor:
    """A predictor for parameters that a client sent: `(W, b)` of each linear layer."""
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
