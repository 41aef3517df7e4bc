"""Digits of the data set, as they are and as training distorts them, in the terminal and as a picture."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from falcon_mnist import kernels
from falcon_mnist.cli import console
from falcon_mnist.constants import PIXELS, SIDE
from falcon_mnist.data.dataset import Dataset

ENLARGED = 4  # pixels of the picture for each pixel of a digit, across and down

Bytes = npt.NDArray[np.uint8]


def show(
    data: Dataset, count: int, variants: int, seed: int, augmentation: Mapping[str, Any], png: Path | None
) -> None:
    """Print `count` training digits that `seed` picks, each followed by what it is in `variants` epochs from 0 on."""
    images, labels = np.asarray(data.train_images), data.train_labels
    picked = np.random.default_rng(seed).choice(len(images), size=min(count, len(images)), replace=False)
    shown = np.empty((len(picked), 1 + variants, PIXELS), dtype=np.uint8)
    shown[:, 0] = images[picked]
    for epoch in range(variants):
        out = np.empty((len(picked), PIXELS), dtype=np.uint8)
        shown[:, 1 + epoch] = kernels.augment(images, picked, out, seed=seed, epoch=epoch, **augmentation)
    names = ["", *(f", epoch {epoch}" for epoch in range(variants))]
    captions = [f"{labels[image]} (image {image}){name}" for image in picked for name in names]
    console.out.print(console.digits(shown.reshape(-1, PIXELS), captions), markup=False, soft_wrap=True)
    if png is not None:
        png.write_bytes(encode_png(_sheet(shown if variants else shown.transpose(1, 0, 2))))
        console.say(f"Picture: {png}")


def _sheet(digits: Bytes) -> Bytes:
    """Digits (rows, columns, 784) as one enlarged picture, a digit beside a digit."""
    rows, columns = digits.shape[:2]
    sheet = digits.reshape(rows, columns, SIDE, SIDE).transpose(0, 2, 1, 3).reshape(SIDE * rows, SIDE * columns)
    return sheet.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)


def encode_png(pixels: Bytes) -> bytes:
    """A grey picture (height, width), 0 for black, as a PNG file."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)  # 8 bits, grey, not interlaced
    lines = np.pad(pixels, ((0, 0), (1, 0))).tobytes()  # the 0 before a line: it is not filtered
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks
