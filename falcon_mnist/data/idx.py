"""IDX, the file format of MNIST: a big-endian header, then one byte a pixel or a label.

    images: 0x00000803, rows, 28, 28, then rows * 784 bytes
    labels: 0x00000801, rows, then rows bytes from 0 to 9

Nothing is allocated, read or mapped on the word of a header before the file's length has confirmed it.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from falcon_mnist.constants import PIXELS, SIDE

Bytes = npt.NDArray[np.uint8]

# MNIST is 47 MB: a header that promises more than this is a mistake or a trap.
MAX_UNPACKED = 1 << 30
_CHUNK = 1 << 20


class DataError(Exception):
    """Data that cannot be used or had; the message is one sentence or two for a person, without a path."""


class Kind(NamedTuple):
    """What a file of one kind begins with, and how many bytes each of its rows has."""

    noun: str
    magic: int
    sizes: tuple[int, ...]

    @property
    def header_length(self) -> int:
        """Bytes before the first row."""
        return 4 * (2 + len(self.sizes))

    @property
    def row_length(self) -> int:
        """Bytes of one row."""
        return PIXELS if self.sizes else 1


IMAGES = Kind("images", 0x00000803, (SIDE, SIDE))
LABELS = Kind("labels", 0x00000801, ())

# The four files of a data set, under the names that MNIST gave them.
FILES: dict[str, Kind] = {
    "train-images-idx3-ubyte": IMAGES,
    "train-labels-idx1-ubyte": LABELS,
    "t10k-images-idx3-ubyte": IMAGES,
    "t10k-labels-idx1-ubyte": LABELS,
}


def header(kind: Kind, rows: int) -> bytes:
    """The header of a file of so many rows."""
    return b"".join(number.to_bytes(4, "big") for number in (kind.magic, rows, *kind.sizes))


def rows_in(head: bytes, kind: Kind, name: str) -> int:
    """The number of rows that a header promises. Raises `DataError` if it is not a header of this kind."""
    if len(head) < kind.header_length:
        raise DataError(f"{name} ends within its header: it must hold IDX {kind.noun}; copy the file again.")
    magic, rows, *sizes = (int.from_bytes(head[i : i + 4], "big") for i in range(0, kind.header_length, 4))
    if magic != kind.magic:
        raise DataError(
            f"{name} begins with 0x{magic:08x}, but IDX {kind.noun} of bytes begin with 0x{kind.magic:08x}: "
            "check that it is the right file."
        )
    if tuple(sizes) != kind.sizes:
        raise DataError(f"{name} holds images of {sizes[0]}x{sizes[1]} pixels: they must have 28x28.")
    if rows == 0:
        raise DataError(f"{name} holds no {kind.noun}: at least one is needed.")
    return rows


class Opened(NamedTuple):
    """A whole, checked file: its rows, read-only in a memory map, and the SHA-256 of its bytes."""

    rows: Bytes
    sha256: str


def open_file(path: Path, kind: Kind) -> Opened:
    """Map a plain IDX file: images as uint8 (rows, 784), labels as uint8 (rows,). Raises `DataError`."""
    name = path.name
    try:
        with path.open("rb") as file:
            rows = rows_in(file.read(kind.header_length), kind, name)
            _check_length(os.fstat(file.fileno()).st_size, rows, kind, name)
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            shape = (rows, PIXELS) if kind.sizes else (rows,)
            mapped = np.memmap(file, np.uint8, "r", offset=kind.header_length, shape=shape)
    except OSError as error:
        raise DataError(f"{name} cannot be read ({error.strerror}).") from error
    if kind is LABELS and int(mapped.max()) > 9:
        raise DataError(f"{name} holds the label {int(mapped.max())}: labels must be digits from 0 to 9.")
    return Opened(mapped, sha256)


def _check_length(length: int, rows: int, kind: Kind, name: str) -> None:
    expected = kind.header_length + rows * kind.row_length
    if length != expected:
        raise DataError(
            f"{name} is {length} bytes long, but its header promises {rows} {kind.noun}, "
            f"which take {expected}: copy the file again."
        )


def unpacked(file: BinaryIO, kind: Kind, name: str) -> Iterator[bytes]:
    """The bytes of a gzipped IDX file in pieces, never more of them than its header promises.

    Raises `DataError`: then what was yielded so far is to be thrown away.
    """
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as plain:
            head = plain.read(kind.header_length)
            rows = rows_in(head, kind, name)
            yield head
            left = rows * kind.row_length
            if left > MAX_UNPACKED:
                raise DataError(f"{name} promises {rows} {kind.noun}: more than 1 GiB is not read.")
            # Asking for one byte more than is left finds both a surplus and a damaged end.
            while piece := plain.read(min(_CHUNK, left + 1)):
                left -= len(piece)
                if left < 0:
                    raise DataError(
                        f"{name} unpacks to more than the {rows} {kind.noun} that its header promises: "
                        "copy the file again."
                    )
                yield piece
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{name} is damaged or not gzip: copy or download it again.") from error
    except OSError as error:
        raise DataError(f"{name} cannot be read ({error.strerror}).") from error
    if left:
        raise DataError(f"{name} unpacks to {left} bytes less than its header promises: copy the file again.")


def write(path: Path, pieces: Iterable[bytes]) -> str:
    """Write a new file, for its owner alone, and sync it; returns its SHA-256.

    Raises `OSError`, and whatever `pieces` raises.
    """
    sha256 = hashlib.sha256()
    with open(path, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        for piece in pieces:
            sha256.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return sha256.hexdigest()
