"""`falcon-mnist digits`: test digits, to be sent to a server."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson

from falcon_mnist.cli import console
from falcon_mnist.cli.show import encode_png
from falcon_mnist.constants import MAX_ROWS, SIDE

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]


class DigitsError(Exception):
    """Digits that are not to be had; the message is one sentence."""


def pick(labels: Bytes, count: int, start: int, label: int | None) -> Numbers:
    """The numbers of the first `count` digits from `start` on, of those with that label. Raises `DigitsError`."""
    if count > MAX_ROWS:
        raise DigitsError(f"--count: a request takes at most {MAX_ROWS} digits")
    of_label = np.arange(len(labels)) if label is None else np.flatnonzero(labels == label)
    picked = of_label[of_label >= start][:count]
    if not len(picked):
        wanted = "digit" if label is None else f"digit {label}"
        raise DigitsError(f"there is no test {wanted} from number {start} on: there are {len(labels):,} test digits")
    return picked


def send(data: bytes) -> None:
    """Write to standard output, byte for byte. Raises `DigitsError` if it was closed before this process began."""
    if sys.stdout is None:
        raise DigitsError("standard output is closed: send the digits to a file or a program")
    with console.writing_output():
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def as_json(images: Bytes) -> bytes:
    """Images (n, 784) as a body of `/infer` that lacks `param_id`: 0 to 1, as training reads them."""
    pixels = images.astype(np.float32) / np.float32(255)
    return orjson.dumps({"inputs": pixels}, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


def write_pictures(images: Bytes, labels: Bytes, numbers: Numbers, folder: Path) -> list[Path]:
    """Images (n, 784) as PNG files of 28 x 28 pixels, named by number and label."""
    paths = [folder / f"digit-{number}-is-{label}.png" for number, label in zip(numbers, labels, strict=True)]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(encode_png(image.reshape(SIDE, SIDE)))
    return paths


def draw(images: Bytes, labels: Bytes, numbers: Numbers) -> None:
    """Show images (n, 784) on standard error, over their labels and numbers."""
    captions = [f"{label} (test digit {number})" for number, label in zip(numbers, labels, strict=True)]
    console.err.print(console.digits(images, captions), markup=False, soft_wrap=True)
