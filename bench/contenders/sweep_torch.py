"""The trainings of a sweep with PyTorch: in a process that holds the data, and as trials of Ray Tune."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from configurations import Configuration

from contenders import ours, with_torch
from contenders.ours import Array
from falcon_mnist.data import dataset
from falcon_mnist.runs import worker

_data: tuple[Array, Array] | None = None


def load(folder: Path) -> tuple[Array, Array]:
    """Scaled once, and not for each training."""
    found = dataset.load(str(folder), folder)
    return np.divide(found.train_images, np.float32(255), dtype=np.float32), np.array(found.train_labels)


def prepare(folder: Path) -> None:
    global _data
    os.nice(worker.NICENESS)
    torch.set_num_threads(1)
    _data = load(folder)


def train(configuration: Configuration, epochs: int, seed: int, data: tuple[Array, Array] | None = None) -> float:
    """The accuracy on the validation rows."""
    data = data or _data
    assert data is not None
    images, labels = data
    rows = np.random.default_rng(seed).permutation(len(labels))
    training, validation = rows[:54_000], rows[54_000:]
    trained = with_torch.Training(configuration, images, labels, ours.initial(configuration))
    accuracy = 0.0
    for epoch in range(epochs):
        trained.epoch(np.random.default_rng((seed, epoch)).permutation(training))
        accuracy = trained.accuracy(validation)
    return accuracy


def tune(address: str, folder: Path, configuration: Configuration, epochs: int, runs: int) -> tuple[float, list[float]]:
    """Seconds of a sweep of so many trials, and their accuracies."""
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    import ray
    from ray import tune as ray_tune

    ray.init(
        address=address, log_to_driver=False, logging_level="error",
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parents[1])}},
    )  # fmt: skip

    def trial(config: dict[str, Any], data: tuple[Array, Array]) -> dict[str, float]:
        torch.set_num_threads(1)
        return {"accuracy": train(configuration, epochs, config["seed"], data)}

    with_data = ray_tune.with_parameters(trial, data=load(folder / "digits"))
    tuner = ray_tune.Tuner(
        ray_tune.with_resources(with_data, {"cpu": 1}),
        param_space={"seed": ray_tune.grid_search(list(range(runs)))},
        run_config=ray_tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
        tune_config=ray_tune.TuneConfig(reuse_actors=True),
    )
    start = time.perf_counter()
    results = tuner.fit()
    seconds = time.perf_counter() - start
    ray.shutdown()  # before the cluster ends, which would end this process too
    return seconds, [result.metrics["accuracy"] for result in results]
