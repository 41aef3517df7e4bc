"""MNIST from its mirrors: found out within seconds whether they can be reached, resumed, checked.

What decides is the SHA-256 of each unpacked file, so it does not matter who packed it or sent it.
"""

from __future__ import annotations

import hashlib
import io
import os
import queue
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

import httpx

from falcon_mnist.data import idx
from falcon_mnist.data.idx import DataError
from falcon_mnist.data.sources import Progress, Source

_Show = Callable[[int, int], None]

# Five kilobytes: small enough to be had whole before anybody has to wait.
_SMALLEST = "t10k-labels-idx1-ubyte"
_ATTEMPTS = 3


class _WrongDataError(Exception):
    """A mirror sent something else than the file; the message is a phrase."""


@cache
def _tls() -> ssl.SSLContext:
    """TLS as httpx has it. To read the certificates of all authorities takes 30 ms: once for all mirrors."""
    return httpx.create_ssl_context()


def answering(source: Source) -> list[str]:
    """The mirrors with the quickest one that has MNIST first. Raises `DataError` if there is none.

    Each is asked in a thread of its own that is left behind when time is up: looking up a name can hang
    in the system, where no timeout reaches.
    """
    answers: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
    with suppress(OSError):  # which each mirror's thread meets again, and tells
        _tls()  # before threads would make one each
    for mirror in source.mirrors:
        threading.Thread(target=_ask, args=(source, mirror, answers), name="mirror", daemon=True).start()
    end = time.monotonic() + source.first_seconds
    reasons: list[str] = []
    while len(reasons) < len(source.mirrors):
        try:
            mirror, reason = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            reasons.append(f"no answer within {source.first_seconds:g} seconds")
            break
        if not reason:
            return [mirror, *(other for other in source.mirrors if other != mirror)]
        reasons.append(reason)
    raise _cannot(reasons)


def _cannot(reasons: Sequence[str]) -> DataError:
    return DataError(f"MNIST cannot be downloaded here ({', then '.join(dict.fromkeys(reasons))}).")


def _ask(source: Source, mirror: str, answers: queue.SimpleQueue[tuple[str, str]]) -> None:
    """Get the smallest file from one mirror and check it: a portal's log-in page is no answer."""
    packed = io.BytesIO()
    try:
        with httpx.Client(timeout=source.first_seconds, verify=_tls()) as client:
            _get(source, client, mirror, _SMALLEST, packed, lambda done, total: None)
        _check(source, _SMALLEST, packed)
    except Exception as error:  # whatever it is, this mirror is of no use, and the others may be
        answers.put((mirror, _why(error)))
    else:
        answers.put((mirror, ""))


def fetch(
    source: Source, mirrors: Sequence[str], parts: Path, folder: Path, *, progress: Progress | None = None
) -> None:
    """Download the four files and unpack them into `folder`; what is cut off waits in `parts` for next time.

    Raises `DataError`, and `OSError` if the disk is full.
    """
    parts.mkdir(exist_ok=True)
    end = time.monotonic() + source.total_seconds
    with httpx.Client(timeout=source.read_seconds, verify=_tls()) as client:
        for name in idx.FILES:

            def show(done: int, total: int, name: str = name) -> None:
                if time.monotonic() > end:
                    raise _cannot([f"it took longer than {source.total_seconds:g} seconds"])
                if progress:
                    progress(f"downloading {name}", done, total)

            part = parts / f"{name}.gz.part"
            _fetch_file(source, client, mirrors, name, part, show)
            with part.open("rb") as packed:
                idx.write(folder / name, idx.unpacked(packed, idx.FILES[name], name))
            part.unlink()
    parts.rmdir()


def _fetch_file(
    source: Source, client: httpx.Client, mirrors: Sequence[str], name: str, part: Path, show: _Show
) -> None:
    """Get one file, whole and checked, into `part`. Raises `DataError` when no mirror has it."""
    reasons = []
    for mirror in mirrors:
        for _ in range(_ATTEMPTS):
            with part.open("ab+") as packed:
                resumed = packed.tell() > 0
                try:
                    _get(source, client, mirror, name, packed, show)
                    _check(source, name, packed)
                    return
                except httpx.TransportError as error:
                    # Cut off: what has come so far is kept, and the next attempt resumes there.
                    reasons.append(_why(error))
                except _WrongDataError as error:
                    reasons.append(_why(error))
                    packed.truncate(0)
                    if not resumed:
                        break
                except OSError:
                    # A full disk gets its room back.
                    part.unlink()
                    raise
    raise _cannot(reasons)


def _get(source: Source, client: httpx.Client, mirror: str, name: str, packed: BinaryIO, show: _Show) -> None:
    """Add to a file what it lacks.

    Raises `httpx.TransportError` when cut off, after keeping what came, and `_WrongDataError`.
    """
    done = packed.seek(0, os.SEEK_END)
    headers = {"Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    with client.stream("GET", f"{mirror}{name}.gz", headers=headers) as response:
        if response.status_code == 200:
            done = 0
            packed.seek(0)
            packed.truncate()
        elif response.status_code != 206:
            raise _WrongDataError(f"a mirror answered {response.status_code}")
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
            raise _WrongDataError("a mirror sent another part than it was asked for")
        total = done + int(response.headers.get("Content-Length", 0))
        for piece in response.iter_raw():
            done += len(piece)
            if done > source.max_packed_bytes:
                raise _WrongDataError("a mirror sent too much")
            packed.write(piece)
            show(done, max(done, total))


def _check(source: Source, name: str, packed: BinaryIO) -> None:
    """Unpack a file to see whether it is the one that is wanted. Raises `_WrongDataError`."""
    packed.seek(0)
    sha256 = hashlib.sha256()
    try:
        for piece in idx.unpacked(packed, idx.FILES[name], name):
            sha256.update(piece)
    except DataError as error:
        raise _WrongDataError("a mirror sent something else") from error
    if sha256.hexdigest() != source.sha256[name]:
        raise _WrongDataError("a mirror sent other data, by its SHA-256")


def _why(error: Exception) -> str:
    """An error as a short phrase; those of the network carry their real cause inside."""
    if isinstance(error, _WrongDataError):
        return str(error)
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
