"""Digits drawn from pen strokes, so many that a network which has learned them reads what a hand draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from falcon_mnist.data import digits, idx

TEST = 1000


def write_drawn_digits(folder: Path, *batches: tuple[np.ndarray, np.ndarray]) -> Path:
    """In IDX files, 1,000 to test on, and the rest of these batches to train on: 4,000 of one, 9,000 of two."""
    folder.mkdir(parents=True)
    drawn = batches or (digits.draw(0), digits.draw(1))
    images, labels = np.concatenate([each[0] for each in drawn]), np.concatenate([each[1] for each in drawn])
    parts = {"train": (images[TEST:], labels[TEST:]), "t10k": (images[:TEST], labels[:TEST])}
    for part, (images, labels) in parts.items():
        idx.write(folder / f"{part}-images-idx3-ubyte", [idx.header(idx.IMAGES, len(labels)), images.tobytes()])
        idx.write(folder / f"{part}-labels-idx1-ubyte", [idx.header(idx.LABELS, len(labels)), labels.tobytes()])
    return folder
