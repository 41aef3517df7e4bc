"""What the rules of training cost: an epoch with each, beside plain SGD and beside PyTorch's fused AdamW, in pairs.

Before that, an epoch with each rule in PyTorch shows that they are the same rules.

    python bench/rules.py [--pairs 15]

Each is timed with the number of threads that is best for it, PyTorch too. An epoch is 54,000 rows of MNIST on the
kernels and in PyTorch's loop, without validation. Prints, for each pair, both medians and the quartiles of their ratio,
with the largest or least ratio that is promised; ends with status 1 if a median misses it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import paired
import torch
from configurations import Configuration, digits
from contenders import THREADS, with_torch
from readme import machine

from falcon_mnist import kernels
from falcon_mnist.training import network, noise, optimizers
from falcon_mnist.training.hyperparams import Hyperparams

ROWS = 54_000
SGD = Configuration("SGD")
ADAMW = Configuration("AdamW", optimizer="adamw", lr=0.001, weight_decay=0.01)
DISTORTION = {"shift": 1.5, "rotation": 15.0, "scale": 0.15, "shear": 0.15, "elastic": 36.0, "smoothness": 5.0}
DROPOUT = Configuration("hidden dropout", hidden_dropout=0.5)
AUGMENTED = Configuration("augmentation", augmentation=DISTORTION)
WIDE = Configuration(
    "784-1024-512-10, AdamW, augmentation, batch 256",
    hidden=(1024, 512), batch_size=256, optimizer="adamw", lr=0.001, weight_decay=0.01, augmentation=DISTORTION,
)  # fmt: skip

SAME_RULES = [
    Configuration("SGD"),
    Configuration("SGD, momentum", momentum=0.9, lr=0.01),
    Configuration("SGD, Nesterov", momentum=0.9, nesterov=True, lr=0.01),
    Configuration("Adam", optimizer="adam", lr=0.001),
    Configuration("AdamW", optimizer="adamw", lr=0.001),
]
APART = 0.02  # of the distance that the parameters move in an epoch

Epoch = Callable[[], object]


class Promise(NamedTuple):
    """An epoch of `one` takes `least` to `most` times as long as one of `other`."""

    one: str
    other: str
    least: float
    most: float


PROMISES = [
    Promise("AdamW", "SGD", 0, 1.5),
    Promise("hidden dropout", "SGD", 0, 1.15),
    Promise("augmentation", "SGD", 0, 2),
    Promise("PyTorch, AdamW", "AdamW", 8, np.inf),
    Promise(f"PyTorch, {WIDE.name}", WIDE.name, 3, np.inf),
]


def order() -> np.ndarray:
    return np.random.default_rng(1).permutation(60_000)[:ROWS].astype(np.int64)


def ours(configuration: Configuration, threads: int) -> Epoch:
    """An epoch on the kernels, which goes on where the last one ended."""
    data, rows = digits(), order()
    images, labels = np.array(data.train_images), np.array(data.train_labels)
    hyperparams = Hyperparams.model_validate(configuration.hyperparams(1))
    net = kernels.Network(configuration.layers)
    optimizer, drawn = optimizers.build(hyperparams), noise.build(hyperparams)
    parameters = network.initial_parameters(net, 1)
    state = {name: np.zeros_like(parameters) for name in optimizer.state}
    workspace = kernels.Workspace(net, net.training_rows(configuration.batch_size), training=True)
    rates = np.full(-(-ROWS // configuration.batch_size), configuration.lr, np.float32)
    batches = kernels.Batches(images, labels, rows, configuration.batch_size)
    steps = kernels.Steps(optimizer, rates, noise=drawn)
    return lambda: net.train(parameters, state, batches, steps, workspace, threads=threads)


def pytorch(configuration: Configuration, threads: int) -> Epoch:
    """An epoch of PyTorch's loop."""
    data, rows = digits(), order()
    start = network.initial_parameters(kernels.Network(configuration.layers), 1)
    images, labels = np.array(data.train_images), np.array(data.train_labels)
    training = with_torch.Training(configuration, images, labels, start)

    def call() -> float:
        torch.set_num_threads(threads)
        return training.epoch(rows)

    return call


def apart(configuration: Configuration) -> float:
    """How far an epoch's parameters end from PyTorch's, as a share of the distance that PyTorch's moved."""
    data, rows = digits(), order()
    images, labels = np.array(data.train_images), np.array(data.train_labels)
    net, hyperparams = kernels.Network(configuration.layers), Hyperparams.model_validate(configuration.hyperparams(1))
    start = network.initial_parameters(net, 1)
    theirs = with_torch.Training(configuration, images, labels, start)
    theirs.epoch(rows)
    optimizer, found = optimizers.build(hyperparams), start.copy()
    rates = np.full(-(-ROWS // configuration.batch_size), configuration.lr, np.float32)
    batches = kernels.Batches(images, labels, rows, configuration.batch_size)
    state = {name: np.zeros_like(start) for name in optimizer.state}
    workspace = kernels.Workspace(net, configuration.batch_size, training=True)
    net.train(found, state, batches, kernels.Steps(optimizer, rates), workspace)
    wanted = theirs.parameters()
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted - start))


def fastest(make: Callable[[Configuration, int], Epoch], configuration: Configuration) -> tuple[Epoch, int]:
    """The epoch with the number of threads that takes least, by the better of two trials, and that number."""
    trials = []
    for threads in (each for each in THREADS if each):
        epoch = make(configuration, threads)
        trials.append((min(_seconds(epoch) for _ in range(2)), threads, epoch))
    _, threads, epoch = min(trials, key=lambda trial: trial[0])
    return epoch, threads


def _seconds(call: Epoch) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15)
    pairs = parser.parse_args().pairs
    print(machine())
    epochs = {each.name: fastest(ours, each) for each in (SGD, ADAMW, DROPOUT, AUGMENTED, WIDE)}
    epochs |= {f"PyTorch, {each.name}": fastest(pytorch, each) for each in (ADAMW, WIDE)}
    missed = 0
    for rule in SAME_RULES:
        share = apart(rule)
        missed += share > APART
        print(f"an epoch with {rule.name}: {share:.2%} of the distance moved apart from PyTorch, at most {APART:.0%}")
    for promise in PROMISES:
        (one, its_threads), (other, others_threads) = epochs[promise.one], epochs[promise.other]
        few = max(3, pairs // 3) if WIDE.name in promise.other else pairs
        found = paired.paired(other, one, pairs=few, rest=paired.REST_SECONDS)
        kept = promise.least <= found.ratio <= promise.most
        missed += not kept
        wanted = f"at most {promise.most}" if promise.least == 0 else f"at least {promise.least}"
        print(
            f"{promise.one} ({its_threads} threads) {found.theirs * 1e3:.0f} ms, {promise.other} ({others_threads})"
            f" {found.ours * 1e3:.0f} ms: {found}, {wanted}{'' if kept else ': MISSED'}",
            flush=True,
        )
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
