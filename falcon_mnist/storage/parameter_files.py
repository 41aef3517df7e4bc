"""Parameter files: safetensors, written so that a crash leaves either the whole file or none.

The file's length and SHA-256 are returned to be recorded in its row, and checked whenever it is read.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import safetensors.numpy

from falcon_mnist import kernels
from falcon_mnist.constants import Array
from falcon_mnist.training import network

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/vnd.safetensors"

# Longer than anyone takes from a file's last byte to the row that records it.
ABANDONED_SECONDS = 600
_TEMPORARY = ".tmp"


class DamagedFileError(Exception):
    """A stored file that is not what was written."""


class Written(NamedTuple):
    """What a row records of its file."""

    size_bytes: int
    sha256: str


class ParameterFiles:
    """The files of all parameter sets, in one folder, each named by its id."""

    def __init__(self, storage: Path) -> None:
        self._folder = storage / "parameters"
        make_private(self._folder)

    def _path(self, param_id: str) -> Path:
        return self._folder / f"{param_id}.safetensors"

    def write(self, param_id: str, net: kernels.Network, parameters: Array) -> Written:
        """Write a parameter set; it is on the disk when this returns. Raises `OSError`, leaving nothing."""
        return write_durably(self._path(param_id), safetensors.numpy.save(_tensors(net, parameters)))

    def remove(self, param_id: str) -> None:
        """Take back a file that no row records."""
        self._path(param_id).unlink(missing_ok=True)

    def sweep(self, recorded: Container[str]) -> None:
        """Remove files that no row records: a process was killed between writing and recording."""
        sweep(self._folder, lambda name: name.removesuffix(".safetensors") in recorded)

    def read_bytes(self, param_id: str, expected: Written) -> bytes:
        """The file as it was written. Raises `DamagedFileError`."""
        return read_verified(self._path(param_id), expected)

    def read(self, param_id: str, expected: Written, architecture: Mapping[str, Any]) -> Array:
        """The flat parameter vector of a set. Raises `DamagedFileError`."""
        tensors = tensors_in(self.read_bytes(param_id, expected), param_id)
        net = network.build(architecture)
        try:
            pairs = [(tensors[f"linear.{i}.W"], tensors[f"linear.{i}.b"]) for i in range(len(net.slices))]
            return network.flatten(net, pairs)
        except (KeyError, ValueError) as error:
            raise DamagedFileError(f"{param_id}: is not a parameter set of its model") from error


def _tensors(net: kernels.Network, parameters: Array) -> dict[str, Array]:
    tensors = {}
    for index, (weight, bias) in enumerate(network.views(net, parameters)):
        tensors[f"linear.{index}.W"] = weight
        tensors[f"linear.{index}.b"] = bias
    return tensors


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner alone."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(exist_ok=True, mode=0o700)


def read_verified(path: Path, expected: Written) -> bytes:
    """The file as it was written. Raises `DamagedFileError`."""
    try:
        with path.open("rb") as file:
            data = file.read(expected.size_bytes + 1)
    except OSError as error:
        raise DamagedFileError(f"{path.stem}: cannot be read ({error.strerror})") from error
    if len(data) != expected.size_bytes or hashlib.sha256(data).hexdigest() != expected.sha256:
        raise DamagedFileError(f"{path.stem}: length or SHA-256 is not what was recorded")
    return data


def tensors_in(data: bytes, name: str) -> dict[str, Array]:
    """The arrays in a safetensors file. Raises `DamagedFileError`."""
    try:
        return dict(safetensors.numpy.load(data))
    except Exception as error:  # of many kinds, none of which means anything else
        raise DamagedFileError(f"{name}: is not a safetensors file of arrays") from error


def write_durably(path: Path, data: bytes) -> Written:
    """Put `data` at `path`, whole and on the disk, or nothing: temporary name, fsync, rename, fsync."""
    temporary = path.with_name(f".{path.name}{_TEMPORARY}")
    try:
        with _created(temporary) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        temporary.unlink(missing_ok=True)
        path.unlink(missing_ok=True)  # its name is new: nobody else's file is there
        raise
    return Written(len(data), hashlib.sha256(data).hexdigest())


def _created(path: Path) -> BinaryIO:
    """A new file for its owner alone, locked for as long as it is open: it is no orphan."""
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        file = os.fdopen(descriptor, "wb")
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return file
        file.close()  # it was swept before it was locked


def sweep(folder: Path, wanted: Callable[[str], bool]) -> None:
    """Remove files that nobody wants and nobody is at work on."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if wanted(path.name):
                continue
            with path.open("rb") as file:
                if _abandoned(file, temporary=path.suffix == _TEMPORARY):
                    path.unlink()
                    log.info("removed the abandoned file %s", path.name)


def _abandoned(file: BinaryIO, *, temporary: bool) -> bool:
    """Whether a file is left over: a temporary one that no process holds, or one that was not recorded for long."""
    if temporary:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until it is closed: nobody begins to work on it
        except BlockingIOError:
            return False
        except OSError:
            pass  # here are no locks
        else:
            return True
    return time.time() - os.fstat(file.fileno()).st_mtime > ABANDONED_SECONDS
