"""Stored files in an object store, S3 or Google Cloud Storage, through fsspec."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from fsspec.asyn import AsyncFileSystem

from falcon_mnist.clock import SYSTEM_CLOCK, Clock
from falcon_mnist.storage.files import DamagedFileError, Entry, StorageUnavailableError, Written, verified

# Requests of one process at the same time, for each of its storages. A server has eight threads and two storages:
# so a store that does not answer holds six of them at most, and others for no longer than they wait for their turn.
MOST_REQUESTS = 3
TURN_SECONDS = 0.5
# A file of less than the most that S3 takes in one request goes in one: no parts of an interrupted upload stay behind.
ONE_REQUEST_BYTES = 5 * 2**30

_Answer = TypeVar("_Answer")
Request = Callable[[AsyncFileSystem], Coroutine[Any, Any, _Answer]]


class Patience(NamedTuple):
    """How long a store may take, in seconds."""

    answer: float = 5.0  # for a request, and as much more as its data takes at the slowest rate that is of use
    bytes_per_second: float = 2.0**20
    listing: float = 300.0  # of a million files, in pages of a thousand
    pauses: tuple[float, ...] = (0.2, 1.0)  # before a request that failed is made again


PATIENCE = Patience()


class ObjectStore:
    """A `Storage` under a prefix of a bucket. Opens nothing before it is used."""

    def __init__(
        self,
        place: str,
        connect: Callable[[], AsyncFileSystem],
        *,
        clock: Clock = SYSTEM_CLOCK,
        patience: Patience = PATIENCE,
    ) -> None:
        """`place` is `bucket/prefix`."""
        self._place = place
        self._connect = connect
        self._clock = clock
        self._patience = patience
        self._turns = threading.BoundedSemaphore(MOST_REQUESTS)

    @cached_property
    def _filesystem(self) -> AsyncFileSystem:
        return self._connect()

    def put(self, name: str, data: bytes) -> Written:
        """In one request, which is done whole or not at all; one whose answer was lost may have been done."""
        path = self._path(name)
        self._ask(lambda fs: fs._pipe_file(path, data, chunksize=ONE_REQUEST_BYTES), self._seconds(len(data)))
        return Written.of(data)

    def get(self, name: str, expected: Written) -> bytes:
        """In one request, for no more than was written."""
        path = self._path(name)
        end = expected.size_bytes + 1 if expected.size_bytes else None  # S3 refuses any range of an empty file
        try:
            data = self._ask(
                lambda fs: fs._cat_file(path, start=None if end is None else 0, end=end),
                self._seconds(expected.size_bytes),
                may_miss=True,
            )
        except FileNotFoundError:
            bucket = self._place.partition("/")[0]
            self._ask(lambda fs: fs._info(bucket), self._patience.answer)  # else nothing at all is there
            raise DamagedFileError(name, "is not there") from None
        return verified(name, data, expected)

    def delete(self, name: str) -> None:
        """Of a name that is not there, nothing is deleted."""
        path = self._path(name)
        with suppress(FileNotFoundError):
            self._ask(lambda fs: fs._rm_file(path), self._patience.answer, may_miss=True)

    def list(self) -> list[Entry]:
        """By this machine's clock and the store's: an age is wrong by as much as these differ."""
        found = self._ask(lambda fs: fs._find(self._place, detail=True), self._patience.listing)
        now = self._clock.wall()
        start = len(self._path(""))
        named = ((path[start:], _written_at(info)) for path, info in found.items())
        return [Entry(name, now - written) for name, written in named if "/" not in name]

    def _path(self, name: str) -> str:
        return f"{self._place}/{name}"

    def _seconds(self, size: int) -> float:
        return self._patience.answer + size / self._patience.bytes_per_second

    def _ask(self, request: Request[_Answer], seconds: float, *, may_miss: bool = False) -> _Answer:
        """What the store answers, each try within `seconds`.

        Raises `StorageUnavailableError`, and with `may_miss` a `FileNotFoundError` for what is not there.
        """
        if not self._turns.acquire(timeout=TURN_SECONDS):
            raise StorageUnavailableError(f"{self._place}: too many requests wait for it")
        try:
            return self._tried(request, seconds, may_miss)
        finally:
            self._turns.release()

    def _tried(self, request: Request[_Answer], seconds: float, may_miss: bool) -> _Answer:
        for pause in (*self._patience.pauses, None):
            try:
                return _within(seconds, request, self._filesystem)
            except FileNotFoundError as error:
                if may_miss:
                    raise
                raise self._unavailable(error) from error
            except Exception as error:  # of many kinds, by library and provider
                if pause is None or isinstance(error, PermissionError):
                    raise self._unavailable(error) from error
                time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _unavailable(self, error: Exception) -> StorageUnavailableError:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return StorageUnavailableError(f"{self._place}: {reason}")


def _within(seconds: float, request: Request[_Answer], filesystem: AsyncFileSystem) -> _Answer:
    """Make a request on fsspec's thread and cancel it when its time is over: whatever a library waits for, it ends."""

    async def limited() -> _Answer:
        return await asyncio.wait_for(request(filesystem), seconds)

    future = asyncio.run_coroutine_threadsafe(limited(), filesystem.loop)
    try:
        return future.result()
    finally:
        future.cancel()  # where this thread was interrupted


def _written_at(info: dict[str, Any]) -> float:
    written = info["LastModified"] if "LastModified" in info else info["mtime"]  # S3's name, Google's
    return float(written.timestamp())


def connect_s3(**options: Any) -> AsyncFileSystem:
    """Credentials, region and endpoint come from where AWS's programs look for them.

    Of the same options, fsspec makes one in a process, whose connections all its storages share.
    """
    from s3fs import S3FileSystem

    config = {"connect_timeout": 3, "read_timeout": 10, "retries": {"total_max_attempts": 1}}
    found = S3FileSystem(config_kwargs=config, use_listings_cache=False, **options)
    found.retries = 1  # they are made here
    found.connect()  # makes a client, which takes a second of a busy CPU; the time of the first request begins later
    return found


def connect_gcs(**options: Any) -> AsyncFileSystem:
    """Credentials come from where Google's programs look for them. Shared as those of S3."""
    # Not the class that gcsfs exports: that one asks over gRPC first of what kind a bucket is, and needs leave for it.
    from gcsfs.core import GCSFileSystem

    return GCSFileSystem(use_listings_cache=False, **options)
