"""What is trained: the configurations that the benchmarks compare, declared once, and the data."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from falcon_mnist.constants import CLASSES, PIXELS
from falcon_mnist.data import dataset, idx
from falcon_mnist.settings import Settings


@dataclass(frozen=True)
class Configuration:
    """A network and how it is trained, on 54,000 rows of MNIST unless its data says otherwise.

    `part` is how much of an epoch the contenders are timed on; theirs is scaled to a whole one. `epochs` of
    this project's runs are timed. `beside` is the configuration whose time this one's is held against.
    """

    name: str
    hidden: tuple[int, ...] = (128,)
    activation: str = "relu"
    batch_size: int = 64
    lr: float = 0.1
    momentum: float = 0.0
    nesterov: bool = False
    optimizer: str = "sgd"
    weight_decay: float = 0.0
    hidden_dropout: float = 0.0
    augmentation: dict[str, float] | None = None
    zeros: bool = True  # whether the pixels of the background are 0, or 1 of 255
    part: float = 1.0
    epochs: int = 21
    beside: str | None = None

    @property
    def layers(self) -> list[tuple[str, int, int]]:
        """As `kernels.Network` takes them."""
        widths = (PIXELS, *self.hidden, CLASSES)
        layers: list[tuple[str, int, int]] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [("linear", inputs, outputs), (self.activation, outputs, outputs)]
        return layers[:-1]

    @property
    def forward_flop(self) -> int:
        """Of one row, without skipping anything."""
        return sum(2 * inputs * outputs for kind, inputs, outputs in self.layers if kind == "linear")

    @property
    def training_flop(self) -> int:
        """Of one row: forward, gradients of the weights, and of what goes into each layer but the first."""
        return 3 * self.forward_flop - 2 * PIXELS * self.hidden[0]

    @property
    def architecture(self) -> dict[str, Any]:
        """As the API takes it."""
        layers = [
            {"type": kind, "in": inputs, "out": outputs} if kind == "linear" else {"type": kind}
            for kind, inputs, outputs in self.layers
        ]
        return {"input_size": PIXELS, "layers": layers}

    def hyperparams(self, epochs: int) -> dict[str, Any]:
        """As the API takes them."""
        optimizer = {"type": self.optimizer, "lr": self.lr, "weight_decay": self.weight_decay}
        if self.optimizer == "sgd":
            optimizer |= {"momentum": self.momentum, "nesterov": self.nesterov}
        return {
            "epochs": epochs,
            "batch_size": self.batch_size,
            "optimizer": optimizer,
            "dropout": {"hidden": self.hidden_dropout},
            "augmentation": self.augmentation,
        }


CONFIGURATIONS = {
    each.name: each
    for each in (
        Configuration("784-128-10"),
        Configuration("batch 1", batch_size=1, lr=0.01, part=0.02, epochs=6),
        Configuration("batch 4096", batch_size=4096),
        Configuration("784-512-256-10, batch 128", hidden=(512, 256), batch_size=128, part=0.5, epochs=5),
        Configuration("784-1024-1024-10", hidden=(1024, 1024), part=0.05, epochs=2),
        Configuration("no zeros", zeros=False, epochs=11),
        Configuration("momentum 0.9", momentum=0.9, lr=0.01, beside="784-128-10"),
        Configuration("sigmoid", activation="sigmoid", beside="784-128-10"),
        Configuration("tanh", activation="tanh", beside="784-128-10"),
    )
}

# Widths and batches between those, for the table of training.
SHAPES = (
    "784-16-10",
    "784-64-10",
    "784-320-10",
    "784-128-10, batch 256",
    "784-128-10, batch 512",
    "784-300-100-10, batch 200",
    "784-200-100-50-10, batch 500",
    "784-1024-512-10, batch 256",
)

_NETWORK = re.compile(r"784((?:-\d+)+)-10(?:, batch (\d+))?")


def configuration(name: str) -> Configuration:
    """The one of this name, or the network that the name describes: "784-300-100-10, batch 200".

    Raises `ValueError` for any other name.
    """
    if name in CONFIGURATIONS:
        return CONFIGURATIONS[name]
    described = _NETWORK.fullmatch(name)
    if described is None:
        raise ValueError(f"there is no configuration {name}")
    hidden = tuple(int(width) for width in described[1][1:].split("-"))
    return Configuration(name, hidden, batch_size=int(described[2] or 64))


def digits() -> dataset.Dataset:
    """What FALCON_MNIST_DATASET says, or MNIST where it is there or can be downloaded."""
    settings = Settings.from_env()
    return dataset.load(settings.dataset, settings.home)


def training_images(data: dataset.Dataset, *, zeros: bool) -> npt.NDArray[np.uint8]:
    """The training images (rows, 784), with a background of 1 instead of 0 unless `zeros`."""
    return np.asarray(data.train_images) if zeros else np.maximum(data.train_images, np.uint8(1))


def write_folder(data: dataset.Dataset, folder: Path, *, zeros: bool) -> None:
    """The data set as a folder of IDX files, for a server and for contenders in processes of their own."""
    folder.mkdir(parents=True)
    arrays = (training_images(data, zeros=zeros), data.train_labels, data.test_images, data.test_labels)
    for (name, kind), array in zip(idx.FILES.items(), arrays, strict=True):
        idx.write(folder / name, (idx.header(kind, len(array)), array.tobytes()))
