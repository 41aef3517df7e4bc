"""Networks, inputs and a data set that are small, and a run that does not end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import endless
import numpy as np
from asking import Document

from falcon_mnist.client import network
from falcon_mnist.data import idx

# The hyperparameters of a model that names none.
SGD = {"type": "sgd", "lr": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
DEFAULTS: dict[str, Any] = {
    "epochs": 5,
    "batch_size": 64,
    "optimizer": SGD,
    "schedule": {"type": "constant", "warmup_epochs": 0.0},
    "dropout": {"input": 0.0, "hidden": 0.0},
    "label_smoothing": 0.0,
    "augmentation": None,
    "averaging": 0.0,
    "loss": "cross_entropy",
    "seed": 42,
    "train_split": 0.9,
    "shuffle": True,
    "early_stopping": None,
    "keep": "last",
}


def write_digits(folder: Path) -> Path:
    """600 training images and 100 test images in IDX files: ten fixed pictures under noise, easily told apart."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(20240607)
    pictures = random.integers(0, 200, (10, 784))
    for part, count in (("train", 600), ("t10k", 100)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = (pictures[labels] + random.integers(0, 56, (count, 784))).astype(np.uint8)
        idx.write(folder / f"{part}-images-idx3-ubyte", [idx.header(idx.IMAGES, count), images.tobytes()])
        idx.write(folder / f"{part}-labels-idx1-ubyte", [idx.header(idx.LABELS, count), labels.tobytes()])
    return folder


def linear(inputs: int, outputs: int) -> Document:
    return {"type": "linear", "in": inputs, "out": outputs}


def architecture(*hidden: int, activation: str = "relu", softmax: bool = False) -> Document:
    """784 pixels, hidden layers of these widths, 10 classes."""
    return dict(network(*hidden, activation=activation, softmax=softmax))


SMALL = architecture(16)
# Too long to end within a test.
ENDLESS = {"architecture": architecture(1024, 1024), "hyperparams": {"epochs": endless.EPOCHS}}
# Too long as well where the worker is forked, for such workers sleep between its steps (`endless`), which take little.
RESTING = ENDLESS | {"architecture": architecture(128, 64)}


def pixels(rows: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, 784), dtype=np.uint8)
