"""Recipes: networks and hyperparameters that reach what the literature reports, each with its source.

What was measured stands in `recipes.json`, which `bench/learning.py` writes.
"""

from __future__ import annotations

import itertools
import json
from importlib import resources
from typing import Any, NamedTuple

from falcon_mnist.constants import CLASSES, PIXELS


class Recipe(NamedTuple):
    """A network and how to train it; `hyperparams` has what differs from the defaults."""

    purpose: str
    hidden: tuple[int, ...]  # widths of the hidden layers, all relu
    hyperparams: dict[str, Any]
    source: str

    @property
    def architecture(self) -> dict[str, Any]:
        """As the API takes it."""
        widths, layers = (PIXELS, *self.hidden, CLASSES), []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [{"type": "linear", "in": inputs, "out": outputs}, {"type": "relu"}]
        return {"input_size": PIXELS, "layers": layers[:-1]}


def _adamw(lr: float, weight_decay: float, epochs: int, **more: Any) -> dict[str, Any]:
    """AdamW in batches of 256 on all 60,000 digits, with a cosine behind two epochs of warm-up."""
    return {
        "epochs": epochs,
        "batch_size": 256,
        "optimizer": {"type": "adamw", "lr": lr, "weight_decay": weight_decay},
        "schedule": {"type": "cosine", "warmup_epochs": 2},
        "train_split": 1,
        **more,
    }


AFFINE = {"shift": 1.5, "rotation": 15, "scale": 0.15, "shear": 0.15}
GENTLE = {**AFFINE, "shift": 1.25, "elastic": 25}

RECIPES = {
    "lecun-300": Recipe(
        "One hidden layer, the digits as they are.",
        (300,),
        _adamw(0.002, 0.05, 20),
        "LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998: 4.7 %",
    ),
    "simard-800": Recipe(
        "One hidden layer, elastic distortions.",
        (800,),
        _adamw(0.002, 0.01, 120, augmentation={"shift": 1, "elastic": 36}),
        "Simard, Steinkraus and Platt, Best practices for convolutional neural networks applied to visual document "
        "analysis, 2003: 0.7 %",
    ),
    "dropout": Recipe(
        "Dropout of pixels and units, no distortions.",
        (1024, 1024),
        _adamw(0.001, 0.01, 100, dropout={"input": 0.2, "hidden": 0.5}),
        "Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout: a simple way to prevent neural networks "
        "from overfitting, 2014: 1.25 %",
    ),
    "ciresan-1000-500": Recipe(
        "Two hidden layers, affine and elastic distortions.",
        (1000, 500),
        _adamw(0.002, 0.1, 240, augmentation={**AFFINE, "elastic": 36}),
        "Cireşan, Meier, Gambardella and Schmidhuber, Deep, big, simple neural nets for handwritten digit recognition, "
        "2010: 0.49 %",
    ),
    "best": Recipe(
        "The lowest error within half an hour.",
        (1500, 1000, 500),
        _adamw(0.001, 0.1, 400, augmentation=GENTLE),
        "Cireşan, Meier, Gambardella and Schmidhuber 2010, with 2000-1500-1000-500: 0.41 %",
    ),
    "quick": Recipe(
        "The lowest error within half a minute.",
        (1000, 500),
        _adamw(0.002, 0.05, 22, augmentation={**AFFINE, "elastic": 20}),
        "of our own",
    ),
}


def measured() -> dict[str, Any]:
    """By recipe, of those measured: `errors` in percent and `seconds` of each seed, and on which `machine`."""
    text = resources.files(__package__).joinpath("recipes.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
