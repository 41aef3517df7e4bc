"""The digits to train and test on: MNIST, a folder of IDX files, or digits drawn here.

Whatever has to be made once (downloaded, unpacked, drawn) is kept under `home/data/` as plain IDX files, so
that every process maps the same pages:

    mnist/            the four files, and record.json with the SHA-256 of each
    synthetic-1/      the same, by version of the drawing
    folder-<sha>/     the files of a folder that had to be unpacked, by the SHA-256 of what was packed
    download/         downloads under way or cut off
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from falcon_mnist.data import digits, idx, sources
from falcon_mnist.data.idx import Bytes, DataError, Opened
from falcon_mnist.data.sources import Progress

__all__ = ["DataError", "Dataset", "Progress", "describe", "fetch", "load"]

log = logging.getLogger(__name__)

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = idx.FILES

# Longer than the slowest download that is let run; a process that holds the lock longer than this hangs.
LOCK_SECONDS = sources.MNIST.total_seconds + 120
_RECORD = "record.json"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images as uint8 (rows, 784) and labels as uint8 (rows,), read-only and shared between processes.

    `checksum` is the same wherever the data is the same, gzipped or not. `reason` says for a person which
    data this is, and why.
    """

    name: str
    checksum: str
    train_images: Bytes
    train_labels: Bytes
    test_images: Bytes
    test_labels: Bytes
    reason: str


class NotMadeError(DataError):
    """The data set has to be downloaded, drawn or unpacked first."""


def load(
    choice: str,
    home: Path,
    *,
    progress: Progress | None = None,
    source: sources.Source = sources.MNIST,
    make: bool = True,
) -> Dataset:
    """The data set of the setting: `auto`, `mnist`, `synthetic`, or a folder with the four IDX files.

    `auto` is MNIST if it is there or can be downloaded, else synthetic digits. Raises `DataError`, and
    `OSError` if the disk is full. With `make=False` nothing is written, and `NotMadeError` raised instead.
    """
    if choice == "mnist":
        return fetch(home, progress=progress, source=source, make=make)
    if choice == "synthetic":
        return _synthetic(home, progress, "Synthetic digits are used, as the setting says.", make)
    if choice != "auto":
        return _folder(choice, home, make)
    try:
        return fetch(home, progress=progress, source=source, make=make)
    except NotMadeError:
        return _synthetic(home, progress, "Synthetic digits were used so far: MNIST could not be downloaded.", make)
    except DataError as error:
        reason = f"{str(error).rstrip('.')}; using synthetic digits."
        log.warning("%s", reason)
        return _synthetic(home, progress, reason, make)


def fetch(
    home: Path, *, progress: Progress | None = None, source: sources.Source = sources.MNIST, make: bool = True
) -> Dataset:
    """MNIST, downloaded unless it is there already. Raises `DataError`, and `OSError` if the disk is full."""
    data = home / "data"
    files = _opened(data / "mnist", idx.FILES)
    if files is not None:
        return _dataset("mnist", files, "MNIST is used: it has been downloaded before.")
    if not make:
        raise NotMadeError("MNIST has not been downloaded yet.")
    from falcon_mnist.data import download  # imports an HTTP client, which nobody else needs

    # Asked before the lock is taken, so that processes without a network wait side by side, not in turn.
    mirrors = download.answering(source)
    fetch_into = partial(download.fetch, source, mirrors, data / "download", progress=progress)
    files = _kept(data / "mnist", idx.FILES, fetch_into)
    return _dataset("mnist", files, "MNIST is used: it could be downloaded.")


def describe(dataset: Dataset) -> list[tuple[str, str]]:
    """What there is to say about a data set, as rows of a table."""
    rows = [("data set", dataset.name), ("why", dataset.reason), ("checksum", dataset.checksum)]
    for part, images, labels in (
        ("training", dataset.train_images, dataset.train_labels),
        ("test", dataset.test_images, dataset.test_labels),
    ):
        each = ", ".join(f"{digit}: {count}" for digit, count in enumerate(np.bincount(labels, minlength=10)))
        rows.append((f"{part} digits", f"{len(labels):,} ({each})"))
        ink = np.count_nonzero(images) / images.size
        rows.append((f"{part} ink", f"{ink:.1%} of the pixels are not zero"))
    return rows


def _dataset(name: str, files: Mapping[str, Opened], reason: str) -> Dataset:
    """Check that the four files belong together. Raises `DataError`."""
    for images, labels in ((TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS)):
        here, there = len(files[images].rows), len(files[labels].rows)
        if here != there:
            raise DataError(f"{images} has {here} rows and {labels} has {there}: they must be as many.")
    # What `sha256sum` prints of the four plain files, hashed again.
    listing = "".join(f"{files[file].sha256}  {file}\n" for file in idx.FILES)
    checksum = f"sha256:{hashlib.sha256(listing.encode()).hexdigest()}"
    rows = {file: opened.rows for file, opened in files.items()}
    return Dataset(name, checksum, rows[TRAIN_IMAGES], rows[TRAIN_LABELS], rows[TEST_IMAGES], rows[TEST_LABELS], reason)


def _synthetic(home: Path, progress: Progress | None, reason: str, make: bool) -> Dataset:
    def draw(folder: Path) -> None:
        first = 0
        for images, labels, count in (
            (TRAIN_IMAGES, TRAIN_LABELS, digits.TRAINING),
            (TEST_IMAGES, TEST_LABELS, digits.TEST),
        ):
            drawn: list[bytes] = []
            idx.write(folder / images, _drawn(first, count, drawn, progress))
            idx.write(folder / labels, [idx.header(idx.LABELS, count), *drawn])
            first += count

    files = _kept(home / "data" / f"synthetic-{digits.VERSION}", idx.FILES, draw if make else None)
    return _dataset("synthetic", files, reason)


def _drawn(first: int, count: int, labels: list[bytes], progress: Progress | None) -> Iterator[bytes]:
    """An IDX file of digits, drawn piece by piece; their labels are added to `labels`."""
    yield idx.header(idx.IMAGES, count)
    for start in range(first, first + count, digits.BATCH):
        images, these = digits.draw(start // digits.BATCH)
        labels.append(these.tobytes())
        yield images.tobytes()
        if progress:
            progress("drawing digits", start + digits.BATCH, digits.TRAINING + digits.TEST)


def _folder(choice: str, home: Path, make: bool) -> Dataset:
    try:
        folder = Path(choice).expanduser()
        if not choice or not folder.is_dir():
            raise ValueError
    except (OSError, RuntimeError, ValueError):
        raise DataError(
            "The data set must be auto, mnist, synthetic, or an existing folder with the four IDX files: "
            f"{Path(choice).name!r} is none of these."
        ) from None
    found = {name: _found(folder, name) for name in idx.FILES}
    packed = {name: path for name, path in found.items() if path.suffix == ".gz"}
    files = {name: idx.open_file(found[name], kind) for name, kind in idx.FILES.items() if name not in packed}
    if packed:
        files |= _unpacked(packed, home / "data", make)
    # What the files hold, not where they lie, is what a run's record must tell.
    is_mnist = {name: file.sha256 for name, file in files.items()} == sources.MNIST.sha256
    reason = f"The files of the folder in the setting are used{', which are MNIST' if is_mnist else ''}."
    return _dataset("mnist" if is_mnist else "folder", files, reason)


def _found(folder: Path, name: str) -> Path:
    """The file of that name, in either spelling, plain before gzipped. Raises `DataError`."""
    for suffix in ("", ".gz"):
        for spelling in (name, name.replace("-idx", ".idx")):
            path = folder / f"{spelling}{suffix}"
            try:
                if path.is_file():
                    return path
            except OSError as error:
                raise DataError(f"{path.name} cannot be read ({error.strerror}).") from error
    raise DataError(
        f"The folder has no {name} (or {name.replace('-idx', '.idx')}, or either with .gz): "
        f"it must hold {', '.join(idx.FILES)}."
    )


def _unpacked(packed: Mapping[str, Path], data: Path, make: bool) -> dict[str, Opened]:
    """Gzipped files, unpacked once under a name that says what was in them."""
    sha256 = hashlib.sha256()
    for name, path in packed.items():
        try:
            with path.open("rb") as file:
                sha256.update(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n".encode())
        except OSError as error:
            raise DataError(f"{path.name} cannot be read ({error.strerror}).") from error

    def unpack(folder: Path) -> None:
        for name, path in packed.items():
            with path.open("rb") as file:
                idx.write(folder / name, idx.unpacked(file, idx.FILES[name], path.name))

    return _kept(data / f"folder-{sha256.hexdigest()[:16]}", packed, unpack if make else None)


def _kept(folder: Path, names: Collection[str], make: Callable[[Path], None] | None) -> dict[str, Opened]:
    """The files `names` of a folder, which one process makes, with `make`, while the others wait.

    The folder appears whole or not at all. Raises `DataError`, and `OSError` if the disk is full.
    """
    files = _opened(folder, names)
    if files is not None:
        return files
    if make is None:
        raise NotMadeError(f"The data {folder.name} have not been made yet.")
    try:
        for private in (folder.parent.parent, folder.parent):
            private.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(folder.with_name(f".{folder.name}.lock")):
            # Nobody else can be at work here: these are from a process that was killed.
            for abandoned in folder.parent.glob(f".{folder.name}.*.tmp"):
                shutil.rmtree(abandoned)
            return _opened(folder, names) or _made(folder, names, make)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DataError(f"The data folder cannot be written ({error.strerror}).") from error


def _opened(folder: Path, names: Collection[str]) -> dict[str, Opened] | None:
    """The files of a folder, if they are there and as they were recorded, else None."""
    try:
        record = json.loads((folder / _RECORD).read_bytes())
        files = {name: idx.open_file(folder / name, idx.FILES[name]) for name in names}
        if all(record[name] == files[name].sha256 for name in names):
            return files
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, DataError):
        pass
    log.warning("the kept data %s is damaged and is made again", folder.name)
    return None


def _made(folder: Path, names: Collection[str], make: Callable[[Path], None]) -> dict[str, Opened]:
    with tempfile.TemporaryDirectory(".tmp", f".{folder.name}.", folder.parent) as temporary:
        new = Path(temporary, "new")
        new.mkdir()
        make(new)
        files = {name: idx.open_file(new / name, idx.FILES[name]) for name in names}
        record = {name: file.sha256 for name, file in files.items()}
        idx.write(new / _RECORD, [json.dumps(record, indent=1).encode()])
        _sync(new)
        if folder.exists():
            folder.rename(Path(temporary, "damaged"))
        new.rename(folder)
        _sync(folder.parent)
    return files


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _locked(path: Path) -> AbstractContextManager[object]:
    """Hold the lock of a file, which the system takes back from a process that dies. Raises `DataError`."""
    try:
        return FileLock(path, timeout=LOCK_SECONDS, mode=0o600).acquire()
    except Timeout:
        raise DataError(f"Another process has been at work on the data for {LOCK_SECONDS:g} seconds: end it.") from None
