"""`falcon-mnist doctor`: checks everything that a server needs, and says what to do about each problem.

It creates, changes and downloads nothing.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from falcon_mnist import kernels
from falcon_mnist.api.auth import Tokens
from falcon_mnist.data import dataset
from falcon_mnist.data.dataset import DataError, NotMadeError
from falcon_mnist.data.sources import Progress
from falcon_mnist.runs.checkpoints import Checkpoints
from falcon_mnist.settings import Settings, SettingsError
from falcon_mnist.storage.database import DatabaseFileError
from falcon_mnist.storage.files import MARK, DamagedFileError, StorageUnavailableError
from falcon_mnist.storage.migrations import SchemaError
from falcon_mnist.storage.opening import (
    CHECKPOINTS,
    PARAMETERS,
    check_storage,
    checkpoint_storage,
    open_read_only,
    parameter_storage,
)
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.private import obstacle, open_to_others
from falcon_mnist.storage.stopped_writer import stopped_writer
from falcon_mnist.storage.store import Store

# Room for a data set, its unpacking, and some hundred parameter sets.
ENOUGH_BYTES = 2**30
# Longer than a worker takes from one renewal of its lease to the next.
RENEWAL_SECONDS = 6.0


class Finding(NamedTuple):
    """What a check found; `advice` is empty where all is well."""

    subject: str
    found: str
    advice: str = ""


def examine(settings: Settings, *, progress: Progress) -> Iterator[Finding]:
    """Run every check."""
    yield _home(settings)
    yield from _space(settings)
    yield _token(settings)
    yield _instruction_set()
    yield _modes(settings)
    yield _storage(settings)
    try:
        store = open_read_only(settings)
    except (DatabaseFileError, SchemaError) as error:  # sentences that end with what to do
        found, _, advice = str(error).rpartition(": ")
        yield Finding("database", found, advice)
    except OSError as error:
        yield Finding("database", f"{error.strerror} ({error.filename})", "see that it can be read")
    else:
        if store is None:
            yield Finding("database", "none yet: the first `falcon-mnist serve` or `train` makes one")
        else:
            yield from _writer(settings)
            yield from _stored(settings, store, progress)
    yield _dataset(settings, progress)


def _writer(settings: Settings) -> Iterator[Finding]:
    """Who keeps all others from writing, and will not stop doing so by itself."""
    if isinstance(settings.database, Path) and (process := stopped_writer(settings.database)):
        found = f"process {process} was stopped in the middle of a write, which keeps all others from writing"
        yield Finding("database", found, f"let it go on, or end it: kill -CONT {process}, or kill -KILL {process}")


def _stored(settings: Settings, store: Store, progress: Progress) -> Iterator[Finding]:
    try:
        database = _database(store)
        yield database
        if not database.advice:  # rows of a damaged database tell nothing
            leases, since = store.leases(), time.monotonic()
            try:
                yield from _files(settings, store, progress)
                yield _checkpoints(settings, store)
            except StorageUnavailableError as error:
                yield Finding("stored files", f"they cannot be verified: {error.strerror}", _STORAGE_ADVICE)
            if leases:
                time.sleep(max(0.0, since + RENEWAL_SECONDS - time.monotonic()))
            # A lease that is as it was has not been renewed.
            yield _runs(store, lost=len(set(leases) & set(store.leases())))
    finally:
        store.close()


def _home(settings: Settings) -> Finding:
    """Whether this user can make files in the home, or in the folder in which it will be made."""
    if found := obstacle(settings.home):
        return Finding("home", found, "name a folder that can be written in FALCON_MNIST_HOME")
    return Finding("home", str(settings.home))


def _space(settings: Settings) -> Iterator[Finding]:
    """The free space on each file system that is written to."""
    places = {}
    database = [settings.database.parent] if isinstance(settings.database, Path) else []
    storage = [settings.storage] if isinstance(settings.storage, Path) else []
    for place in (*storage, *database, settings.home):
        existing = next(folder for folder in (place, *place.parents) if os.path.isdir(folder))
        places[existing.stat().st_dev] = existing
    for place in places.values():
        free = shutil.disk_usage(place).free
        advice = "" if free >= ENOUGH_BYTES else f"make room: at least {_size(ENOUGH_BYTES)} should be free"
        yield Finding("free space", f"{_size(free)} at {place}", advice)


def _token(settings: Settings) -> Finding:
    file = settings.tokens_file or settings.made_token
    if not settings.tokens and not settings.tokens_file and not os.path.exists(file):
        return Finding("tokens", "none yet: the first `falcon-mnist serve` or `train` makes one")
    try:
        Tokens(settings if settings.tokens else replace(settings, tokens_file=file))  # with a file it makes no token
    except SettingsError as error:
        advice = "correct it" if settings.tokens_file else "remove it: the next start makes a new one"
        return Finding("tokens", str(error), advice)
    if settings.tokens:
        return Finding("tokens", f"{len(settings.tokens)} in FALCON_MNIST_TOKENS")
    return Finding("tokens", f"in {file}", f"others may read it: chmod 600 {file}" if open_to_others(file) else "")


def _modes(settings: Settings) -> Finding:
    """Who else may open what is stored."""
    database = settings.database
    files = []
    if isinstance(database, Path):
        files = [database.with_name(f"{database.name}{suffix}") for suffix in ("", "-wal", "-shm")]
    folders = [settings.home]
    if isinstance(settings.storage, Path):
        folders += [settings.storage / PARAMETERS, settings.storage / CHECKPOINTS]
    wide = [str(place) for place in (*folders, *files) if os.path.exists(place) and open_to_others(place)]
    if not wide:
        return Finding("file modes", "closed to other users")
    return Finding(
        "file modes", f"other users may open {', '.join(wide)}", f"close it to them: chmod go= {' '.join(wide)}"
    )


_STORAGE_ADVICE = "see FALCON_MNIST_STORAGE_URL, the network, and what its credentials allow"


def _storage(settings: Settings) -> Finding:
    """Whether the storage answers, and how much of what is stored it has."""
    try:
        check_storage(settings)
        parameters = parameter_storage(settings, cached=False).list()
        checkpoints = checkpoint_storage(settings).list()
    except SettingsError as error:
        found, _, advice = str(error).rpartition(": ")
        return Finding("storage", found, advice)
    except OSError as error:
        return Finding("storage", f"it cannot be listed: {error.strerror}", _STORAGE_ADVICE)
    marks = sorted(entry.name for entry in parameters if entry.name.startswith(MARK))
    files, saved = (sum(not entry.name.startswith(MARK) for entry in each) for each in (parameters, checkpoints))
    found = f"{files} parameter files and {saved} checkpoints in {settings.storage}"
    if len(marks) > 1:
        advice = "give each database a place of its own, or delete the mark of one that is gone"
        return Finding("storage", f"{found}; several databases have used it: {', '.join(marks)}", advice)
    return Finding("storage", found)


def _instruction_set() -> Finding:
    """The kernels in use, and whether they compute what NumPy does."""
    random = np.random.default_rng(0)
    a, b = (random.standard_normal(shape, dtype=np.float32) for shape in ((67, 300), (300, 35)))
    right = np.allclose(kernels.gemm(a, b), a.astype(np.float64) @ b, rtol=1e-4, atol=1e-4)
    found = f"{kernels.isa()} in use; this CPU can run {', '.join(kernels.supported())}"
    advice = "" if right else "they compute wrong products: install again, or set FALCON_MNIST_ISA=baseline"
    return Finding("kernels", found, advice)


def _database(store: Store) -> Finding:
    if not (faults := store.faults()):
        return Finding("database", f"schema version {store.schema_version}, no faults")
    return Finding("database", "; ".join(faults), store.advice)


def _files(settings: Settings, store: Store, progress: Progress) -> Iterator[Finding]:
    """Every parameter file against its row."""
    files, rows = ParameterFiles(parameter_storage(settings, cached=False)), store.all_parameters()
    damaged = []
    for number, row in enumerate(rows, 1):
        try:
            files.read_bytes(row.id, row.written)
        except DamagedFileError as error:
            damaged.append(str(error))
        progress("verifying parameter files", number, len(rows))
    for fault in damaged:
        yield Finding("parameter file", fault, "restore it from a backup, or train its run again: same bits")
    yield Finding("parameter files", f"{len(rows) - len(damaged)} of {len(rows)} intact")


def _checkpoints(settings: Settings, store: Store) -> Finding:
    checkpoints, recorded = Checkpoints(checkpoint_storage(settings)), store.recorded_checkpoints()
    damaged = [checkpoint for checkpoint in recorded if not _is_whole(partial(checkpoints.read, checkpoint))]
    # A worker may have put a newer one in its place since the rows were read.
    lost = sum(checkpoint in damaged for checkpoint in store.recorded_checkpoints())
    damage = f"; {lost} are damaged, and their runs restart from epoch 1, to the same parameters" if lost else ""
    return Finding("checkpoints", f"{len(recorded) - lost} of {len(recorded)} intact{damage}")


def _is_whole(read: Callable[[], object]) -> bool:
    try:
        read()
    except DamagedFileError:
        return False
    return True


def _runs(store: Store, *, lost: int) -> Finding:
    """How many runs are in each state, and how many running ones have `lost` their worker."""
    counts = store.count_runs()
    found = ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "none"
    advice = f"start a server: {lost} of the running ones have lost their worker" if lost else ""
    return Finding("runs", found, advice)


def _dataset(settings: Settings, progress: Progress) -> Finding:
    try:
        data = dataset.load(settings.dataset, settings.home, progress=progress, make=False)
    except NotMadeError as error:
        return Finding("data set", f"{error} The first run does it.")
    except DataError as error:
        return Finding("data set", str(error), "set FALCON_MNIST_DATASET to auto, synthetic, or a good folder")
    except OSError as error:
        return Finding("data set", f"it cannot be read: {error.strerror}", "see that it can be read")
    return Finding("data set", f"{data.name}, {len(data.train_labels):,} digits to train on. {data.reason}")


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
