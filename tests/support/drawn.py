"""Digits drawn from pen strokes, so many that a network which has learned them reads what a hand draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from falcon_mnist.data import idx


def write_drawn_digits(folder: Path, *batches: tuple[np.ndarray, np.ndarray], tests: int = 1000) -> Path:
    """In IDX files, so many to test on, and the rest of these batches of 5,000 to train on."""
    folder.mkdir(parents=True)
    images, labels = np.concatenate([each[0] for each in batches]), np.concatenate([each[1] for each in batches])
    parts = {"train": (images[tests:], labels[tests:]), "t10k": (images[:tests], labels[:tests])}
    for part, (images, labels) in parts.items():
        idx.write(folder / f"{part}-images-idx3-ubyte", [idx.header(idx.IMAGES, len(labels)), images.tobytes()])
        idx.write(folder / f"{part}-labels-idx1-ubyte", [idx.header(idx.LABELS, len(labels)), labels.tobytes()])
    return folder
