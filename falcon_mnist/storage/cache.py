"""Copies of stored files on this machine, so that one is fetched from an object store once."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from falcon_mnist.clock import NewId, new_id
from falcon_mnist.storage.files import Entry, Storage, Written
from falcon_mnist.storage.private import make_private

log = logging.getLogger(__name__)

# Two thousand parameter sets of 784-128-10, or twenty-five of the largest size.
CACHE_BYTES = 2**30


class Cache:
    """A folder of copies, those not used for longest deleted beyond `limit` bytes; any number of processes share it.

    Nothing is synced: a copy that a power failure has damaged is found out by its SHA-256, as any other.
    """

    def __init__(self, folder: Path, *, limit: int = CACHE_BYTES, new_id: NewId = new_id) -> None:
        self._folder = folder
        self._limit = limit
        self._new_id = new_id

    def get(self, name: str, expected: Written) -> bytes | None:
        """The copy, if it is here and is what was written."""
        path = self._folder / name
        try:
            with path.open("rb") as file:
                data = file.read(expected.size_bytes + 1)
            if Written.of(data) != expected:
                log.warning("the cached copy of %s is damaged: it is fetched again", name)
                return None
            os.utime(path)  # when it was used last
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("the cached copy of %s cannot be read: %s", name, error.strerror)
            return None
        return data

    def put(self, name: str, data: bytes) -> None:
        """Keep a copy, if there is room for it: without one, the file is fetched again."""
        if len(data) > self._limit:
            return
        temporary = self._folder / f".{self._new_id('tmp')}"  # two processes may fetch a file at the same time
        try:
            make_private(self._folder)
            self._make_room(len(data))
            try:
                with open(temporary, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                    file.write(data)
                temporary.replace(self._folder / name)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        except OSError as error:
            log.warning("no copy of %s can be cached: %s", name, error.strerror)

    def delete(self, name: str) -> None:
        """Delete a copy, if there is one."""
        with suppress(OSError):
            (self._folder / name).unlink()

    def _make_room(self, size: int) -> None:
        """What a killed process left unfinished goes as any other, when it is the oldest."""
        copies = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # another process makes room as well
                    status = entry.stat()
                    copies.append((status.st_mtime_ns, entry.name, status.st_size))
        excess = sum(copy[2] for copy in copies) + size - self._limit
        for _, name, freed in sorted(copies):
            if excess <= 0:
                return
            self.delete(name)
            excess -= freed


class CachedStorage:
    """A `Storage` that puts through to another one, and reads from copies where it can."""

    def __init__(self, storage: Storage, cache: Cache) -> None:
        self._storage = storage
        self._cache = cache

    def put(self, name: str, data: bytes) -> Written:
        """What counts is that the other storage has it."""
        written = self._storage.put(name, data)
        self._cache.put(name, data)
        return written

    def get(self, name: str, expected: Written) -> bytes:
        """Verified, wherever it comes from."""
        data = self._cache.get(name, expected)
        if data is None:
            data = self._storage.get(name, expected)
            self._cache.put(name, data)
        return data

    def delete(self, name: str) -> None:
        """Copies on other machines go as those not used do."""
        self._cache.delete(name)
        self._storage.delete(name)

    def list(self) -> list[Entry]:
        """What the other storage has."""
        return self._storage.list()
