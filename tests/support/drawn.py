"""Digits drawn from pen strokes, so many that a network which has learned them reads what a hand draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from falcon_mnist.data import digits, idx


def write_drawn_digits(folder: Path) -> Path:
    """10,000 to train on and 1,000 to test on, in IDX files."""
    folder.mkdir(parents=True)
    training = [digits.draw(batch) for batch in (0, 1)]
    test_images, test_labels = digits.draw(2)
    parts = {
        "train": (np.concatenate([images for images, _ in training]), np.concatenate([x for _, x in training])),
        "t10k": (test_images[:1000], test_labels[:1000]),
    }
    for part, (images, labels) in parts.items():
        idx.write(folder / f"{part}-images-idx3-ubyte", [idx.header(idx.IMAGES, len(labels)), images.tobytes()])
        idx.write(folder / f"{part}-labels-idx1-ubyte", [idx.header(idx.LABELS, len(labels)), labels.tobytes()])
    return folder
