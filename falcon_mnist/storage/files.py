"""Stored files: put whole or not at all, read back verified, deleted, listed with their age."""

from __future__ import annotations

import errno
import hashlib
import logging
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple, Protocol

from falcon_mnist.clock import SYSTEM_CLOCK, Clock
from falcon_mnist.storage.disk import SYSTEM_DISK, Disk
from falcon_mnist.storage.private import make_private, sync_name

log = logging.getLogger(__name__)

# Longer than any process takes from a file's first byte to the row that records it.
ABANDONED_SECONDS = 600


class DamagedFileError(Exception):
    """A stored file that is not what was written, or is not there."""

    def __init__(self, name: str, fault: str) -> None:
        super().__init__(f"{name}: {fault}")
        self.name = name


class StorageUnavailableError(OSError):
    """The storage does not answer, or refuses what it is asked: later it may not."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EIO, reason)


class Written(NamedTuple):
    """What a row records of its file."""

    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Written:
        """What is recorded of these bytes."""
        return cls(len(data), hashlib.sha256(data).hexdigest())


class Entry(NamedTuple):
    """A file that is there, or one that a crash left behind."""

    name: str
    age: float  # seconds since it was last written, by the wall clock


class Storage(Protocol):
    """Files under names that are used once; any number of threads and processes may use one."""

    def put(self, name: str, data: bytes) -> Written:
        """Store `data`, durably, when this returns. Raises `OSError`.

        Then there is nothing, or the whole file, which a sweep deletes.
        """

    def get(self, name: str, expected: Written) -> bytes:
        """The file, as it was written. Raises `DamagedFileError`, `StorageUnavailableError`."""

    def delete(self, name: str) -> None:
        """Delete a file, if it is there. Raises `OSError`."""

    def list(self) -> list[Entry]:
        """All files, and what interrupted writes have left. Raises `OSError`."""


def verified(name: str, data: bytes, expected: Written) -> bytes:
    """`data`, if it is what was written. Raises `DamagedFileError`."""
    if Written.of(data) != expected:
        raise DamagedFileError(name, "length or SHA-256 is not what was recorded")
    return data


def discard(storage: Storage, name: str) -> bool:
    """Delete a file that no row records any more, or ever will; one that stays is swept. Says whether it is gone."""
    try:
        storage.delete(name)
    except OSError as error:
        log.error("the file %s cannot be deleted, a sweep tries again: %s", name, error.strerror)
        return False
    return True


class LocalFolder:
    """A `Storage` in a folder of this machine, which the first `put` makes."""

    def __init__(self, folder: Path, *, clock: Clock = SYSTEM_CLOCK, disk: Disk = SYSTEM_DISK) -> None:
        self._folder = folder
        self._clock = clock
        self._disk = disk
        self._named = False  # whether the folder's name is on the disk

    def put(self, name: str, data: bytes) -> Written:
        """Temporary name, sync, rename, sync of the folder."""
        disk = self._disk
        self._make_folder()
        path = self._folder / name
        temporary = self._folder / f".{name}.tmp"
        try:
            with disk.create(temporary) as file:
                file.write(data)
                disk.sync(file)
            disk.rename(temporary, path)
            disk.sync_folder(self._folder)
        except BaseException:
            disk.delete(temporary)
            disk.delete(path)
            raise
        return Written.of(data)

    def _make_folder(self) -> None:
        make_private(self._folder, self._disk)
        if not self._named:  # another process may have made it, and been killed before its name was on the disk
            sync_name(self._folder, self._disk)
            self._named = True

    def get(self, name: str, expected: Written) -> bytes:
        """In one read, of no more than was written."""
        try:
            data = self._disk.read(self._folder / name, expected.size_bytes + 1)
        except OSError as error:
            raise DamagedFileError(name, f"cannot be read ({error.strerror})") from error
        return verified(name, data, expected)

    def delete(self, name: str) -> None:
        """It may be there again after a power failure, until a sweep."""
        self._disk.delete(self._folder / name)

    def list(self) -> list[Entry]:
        """Temporary files too; what is no file is not listed."""
        if not self._disk.is_folder(self._folder):
            return []
        now = self._clock.wall()
        return [Entry(name, now - written) for name, written in self._disk.files(self._folder)]


class Sweeper:
    """Deletes files that no row records: a process was killed between writing and recording them."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._suspects: set[str] = set()

    def sweep(self, recorded: Container[str]) -> None:
        """Delete old files that are not `recorded` and were not at the last sweep: a clock may have jumped."""
        entries = self._storage.list()
        old = {entry.name for entry in entries if entry.age > ABANDONED_SECONDS and entry.name not in recorded}
        for name in old & self._suspects:
            self._storage.delete(name)
            log.info("deleted the abandoned file %s", name)
        self._suspects = old
