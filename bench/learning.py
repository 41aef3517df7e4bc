"""What the recipes reach: each is trained with several seeds on MNIST; the test digits are looked at once for each.

    python bench/learning.py                          # all: an hour and a half on two cores
    python bench/learning.py --recipe quick --seeds 1

Each seed is written to `falcon_mnist/training/recipes.json` as it ends, and what stands there for the same
hyperparameters is not measured again; then the table in `docs/learning.md` is written. Seconds are those of training
alone, on all cores. The recipes were chosen on a validation set; the test digits chose nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from configurations import digits
from readme import machine, markdown, put_into

from falcon_mnist import kernels
from falcon_mnist.data.dataset import Dataset
from falcon_mnist.training import recipes, trainer
from falcon_mnist.training.hyperparams import Hyperparams
from falcon_mnist.training.recipes import RECIPES, Recipe

RESULTS = Path(recipes.__file__).with_name("recipes.json")
DOCUMENT = Path(__file__).parents[1] / "docs" / "learning.md"
SEEDS = 3  # of all but `best`


def layers(recipe: Recipe) -> list[tuple[str, int, int]]:
    """As `kernels.Network` takes them."""
    found, width = [], 784
    for layer in recipe.architecture["layers"]:
        inputs, width = width, layer.get("out", width)
        found.append((layer["type"], inputs, width))
    return found


def measure(recipe: Recipe, data: Dataset, seed: int) -> tuple[float, float]:
    """Train; the error on the test digits in percent, and seconds of training."""
    hyperparams = Hyperparams.model_validate({**recipe.hyperparams, "seed": seed})
    net = kernels.Network(layers(recipe))
    state = trainer.initial_state(net, hyperparams)
    images, labels = np.array(data.train_images), np.array(data.train_labels)
    started = time.perf_counter()
    for metrics in trainer.train(net, state, images, labels, hyperparams):
        if metrics is not None and state.epoch % max(1, hyperparams.epochs // 10) == 0:
            print(f"  epoch {state.epoch}: train loss {metrics.train_loss:.4f}", flush=True)
    seconds = time.perf_counter() - started
    workspace = kernels.Workspace(net, net.micro_batch_rows)
    test_images, test_labels = np.array(data.test_images), np.array(data.test_labels)
    count, _, correct = net.evaluate(state.result, test_images, test_labels, None, workspace)
    return round(100 - 100 * correct / count, 2), round(seconds, 1)


def entry(name: str, results: dict[str, Any]) -> dict[str, Any]:
    """What is known of a recipe as it stands now."""
    known = results.get(name)
    if known and known["hyperparams"] == RECIPES[name].hyperparams and known["hidden"] == list(RECIPES[name].hidden):
        return dict(known)
    recipe = RECIPES[name]
    return {"hidden": list(recipe.hidden), "hyperparams": recipe.hyperparams, "errors": [], "seconds": []}


def table(results: dict[str, Any]) -> list[str]:
    """The recipes as Markdown."""
    rows = []
    for name, recipe in RECIPES.items():
        found = results.get(name)
        widths = "-".join(map(str, (784, *recipe.hidden, 10)))
        shown = ["not measured", "", ""]
        if found:
            errors = found["errors"]
            shown = [f"{np.mean(errors):.2f} %", f"{min(errors):.2f} to {max(errors):.2f} ({len(errors)})",
                     f"{np.mean(found['seconds']):.0f}"]  # fmt: skip
        rows.append([f"`{name}`", recipe.purpose, widths, recipe.source, *shown])
    header = ["recipe", "what it is", "network", "source", "test error", "range (seeds)", "seconds"]
    machines = sorted({found["machine"] for found in results.values()})
    return [*markdown(header, rows, words=4), "", *(f"Measured on: {each}" for each in machines)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", action="append", choices=RECIPES)
    parser.add_argument("--seeds", type=int)
    arguments = parser.parse_args()
    data = digits()
    if data.name != "mnist":
        raise SystemExit(f"The recipes are for MNIST; the data set is {data.name}: set FALCON_MNIST_DATASET.")
    results = recipes.measured()
    for name in arguments.recipe or RECIPES:
        found = entry(name, results)
        for seed in range(len(found["errors"]) + 1, (arguments.seeds or (1 if name == "best" else SEEDS)) + 1):
            print(f"{name}, seed {seed}", flush=True)
            error, seconds = measure(RECIPES[name], data, seed)
            print(f"  test error {error:.2f} % after {seconds:.0f} s", flush=True)
            found["errors"].append(error)
            found["seconds"].append(seconds)
            results[name] = {**found, "machine": machine()}
            RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    put_into(DOCUMENT, "learning", table(results))


if __name__ == "__main__":
    main()
