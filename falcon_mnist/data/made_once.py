"""Folders of IDX files that are made once, by one of all processes, and recorded with their checksums."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from pathlib import Path

from falcon_mnist.data import idx, sources
from falcon_mnist.data.idx import DataError, Opened

log = logging.getLogger(__name__)

# Longer than the slowest download that is let run; a process that holds the lock longer than this hangs.
LOCK_SECONDS = sources.MNIST.total_seconds + 120
_RECORD = "record.json"


class NotMadeError(DataError):
    """The data set has to be downloaded, drawn or unpacked first."""


def made_once(
    folder: Path,
    names: Collection[str],
    make: Callable[[Path], None] | None,
    *,
    lock_seconds: float = LOCK_SECONDS,
) -> dict[str, Opened]:
    """The files `names` of a folder, which one process makes, with `make`, while the others wait.

    The folder appears whole or not at all. Raises `DataError`, and `OSError` if the disk is full.
    """
    files = opened(folder, names)
    if files is not None:
        return files
    if make is None:
        raise NotMadeError("The digits have not been unpacked or drawn yet.")
    try:
        for private in (folder.parent.parent, folder.parent):
            private.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(folder.with_name(f".{folder.name}.lock"), lock_seconds):
            # Nobody else can be at work here: these are from a process that was killed.
            for abandoned in folder.parent.glob(f".{folder.name}.*.tmp"):
                shutil.rmtree(abandoned)
            return opened(folder, names) or _made(folder, names, make)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DataError(f"The folder data in FALCON_MNIST_HOME cannot be written ({error.strerror}).") from error


def opened(folder: Path, names: Collection[str]) -> dict[str, Opened] | None:
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
        new.mkdir(mode=0o700)
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


def _locked(path: Path, seconds: float) -> AbstractContextManager[object]:
    """Hold the lock of a file, which the system takes back from a process that dies. Raises `DataError`."""
    from filelock import FileLock, Timeout  # slow to import, and most processes find all that they need

    try:
        return FileLock(path, timeout=seconds, mode=0o600).acquire()
    except Timeout:
        raise DataError(f"Another process has been at work on the data for {seconds:g} seconds: end it.") from None
