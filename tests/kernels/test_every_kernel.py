"""Every kernel on small shapes, in each way that it takes: what the sanitizers run (`python -m tests.long sanitize`).

Values are held to the float64 twins by the other tests; here, to the bits of one thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from bits import initial_state, same_bits
from cases import for_each

THREADS = [1, 2, 3, 16]
PIXELS = 784
# Tiles of one to eight vectors of 8 and of 16 lanes; later layers that skip zeros, and that do not.
HIDDEN = [(), (8,), (24,), (40,), (56,), (80,), (112,), (150,), (100, 70), (64, 30, 96), (70, 80, 70)]
OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {}),
    ("sgd", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "averaging": 0.99}),
    ("adam", {}),
    ("adamw", {"weight_decay": 0.01}),
]


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).uniform(-1, 1, shape).astype(np.float32)


def pixels(rows: int, columns: int, density: float) -> np.ndarray:
    random = np.random.default_rng(3)
    drawn = random.integers(1, 256, (rows, columns)) * (random.random((rows, columns)) < density)
    return drawn.astype(np.uint8)


def network_of(kernels: ModuleType, inputs: int, hidden: tuple[int, ...], activation: str = "relu") -> Any:
    widths = (inputs, *hidden, 10)
    layers = [(("linear", a, b), (activation, b, b)) for a, b in itertools.pairwise(widths)]
    return kernels.Network([*itertools.chain(*layers)][:-1])


# And the rows of a workspace for them. Few inputs, or so many that the first layer has halves.
IMAGES = [
    ([pixels(37, 50, 0.2), pixels(37, 50, 1.0), floats(37, 50)], 16),
    ([pixels(90, 200, 0.2), pixels(90, 200, 1.0), floats(90, 200)], 40),
]


def elementwise(kernels: ModuleType) -> None:
    for n in (1, 15, 33):
        x, out = floats(n), floats(n)
        for kind in ("relu", "sigmoid", "tanh"):
            getattr(kernels, kind)(x, out)
            getattr(kernels, f"{kind}_backward")(out, x)


def by_rows(kernels: ModuleType) -> None:
    for rows, columns in ((1, 1), (3, 10), (17, 33)):
        x = floats(rows, columns)
        y = kernels.softmax(x)
        kernels.softmax_backward(y, x)
        kernels.argmax(x)
        kernels.add_bias(x, floats(columns))
        kernels.bias_backward(x)
        for smoothing in (0, 0.1):
            kernels.softmax_cross_entropy(x, np.zeros(rows, np.uint8), y, smoothing=smoothing)


def gemm(kernels: ModuleType) -> None:
    for m, n, k in ((1, 1, 1), (1, 10, 50), (7, 10, 64), (16, 33, 410), (64, 10, 30), (13, 129, 31)):
        a, b = floats(m, k), floats(k, n)
        for left, right in itertools.product((a, np.asfortranarray(a)), (b, np.asfortranarray(b))):
            for beta in (0, 2):
                kernels.gemm(left, right, floats(m, n), alpha=0.5, beta=beta)


def numbers(kernels: ModuleType) -> None:
    out = floats(19)
    assert kernels.narrow(floats(19).astype(np.float64), out)
    assert kernels.within(abs(out)[None], 1)
    assert kernels.random_words([1, 2], [1, 2, 3, 4], 19).shape == (19, 4)


def updates(kernels: ModuleType) -> None:
    for kind, params in OPTIMIZERS:
        optimizer, parameters = kernels.Optimizer(kind, **params), floats(35)
        kernels.apply_update(parameters, floats(35), initial_state(optimizer, parameters), optimizer, 0.1)


def limits(kernels: ModuleType) -> None:
    kernels.fma_peak(10)
    kernels.cache_bandwidth(2)


def augmented(kernels: ModuleType) -> None:
    settings = {"shift": 3, "rotation": 20, "scale": 0.2, "shear": 0.2, "elastic": 8, "smoothness": 4}
    images, order = pixels(5, PIXELS, 0.2), np.arange(5)[::-1].copy()
    results = [
        kernels.augment(images, order, np.zeros_like(images), seed=1, epoch=0, threads=threads, **settings)
        for threads in THREADS
    ]
    assert all(same_bits(each, results[0]) for each in results)


# By the methods that they call; those of networks are called by the tests below.
CALLS: dict[Callable[[ModuleType], None], set[str]] = {
    elementwise: {f"{kind}{way}" for kind in ("relu", "sigmoid", "tanh") for way in ("", "_backward")},
    by_rows: {"softmax", "softmax_backward", "argmax", "add_bias", "bias_backward", "softmax_cross_entropy"},
    gemm: {"gemm"},
    numbers: {"narrow", "within", "random_words"},
    updates: {"apply_update"},
    limits: {"fma_peak", "cache_bandwidth"},
    augmented: {"augment"},
}


@for_each("call", CALLS)
def test_kernels_outside_networks(kernels: ModuleType, call: Callable[[ModuleType], None]) -> None:
    call(kernels)


def test_no_kernel_is_left_out(kernels: ModuleType) -> None:
    methods = {name for name in dir(kernels) if callable(getattr(kernels, name)) and name.islower() and name[0] != "_"}
    assert set().union(*CALLS.values()) == methods


def results(
    kernels: ModuleType, network: Any, images: np.ndarray, threads: int, way: int = 0, rows: int = 16
) -> tuple[Any, ...]:
    """Bits of an evaluation, of gradients and of an epoch by one of `OPTIMIZERS`, so many rows at a time."""
    workspace, batch = kernels.Workspace(network, rows, training=True), rows + 2
    labels, order = (np.arange(len(images)) % 10).astype(np.uint8), np.arange(len(images))[::-1].copy()
    parameters = floats(network.parameter_count) / np.float32(8)
    gradients, optimizer = np.zeros_like(parameters), kernels.Optimizer(OPTIMIZERS[way][0], **OPTIMIZERS[way][1])
    state, rates = initial_state(optimizer, parameters), np.full(-(-len(images) // batch), 0.1, np.float32)
    evaluated = network.evaluate(parameters, images, labels, order, workspace, threads=threads)
    summed = network.gradients(parameters, images, labels, order, gradients, workspace, threads=threads)
    batches, steps = kernels.Batches(images, labels, order, batch), kernels.Steps(optimizer, rates)
    trained = network.train(parameters, state, batches, steps, workspace, threads=threads)
    bits = [array.tobytes() for array in (gradients, parameters, *state.values())]
    return str((evaluated, summed, trained)), *bits


@for_each("number, hidden", enumerate(HIDDEN))
@for_each("kind", range(3))
def test_networks_on_any_number_of_threads(
    kernels: ModuleType, number: int, hidden: tuple[int, ...], kind: int
) -> None:
    kinds, rows = IMAGES[(number + kind) % 2]
    images = kinds[kind]
    network = network_of(kernels, images.shape[1], hidden)
    one = results(kernels, network, images, 1, rows=rows)
    # Sixteen of them wait longest for each other: once for each network, with one kind of images after the other.
    many = 16 if (number + kind) % 3 == 0 else 5
    for threads in (2, 3, many):
        assert results(kernels, network, images, threads, rows=rows) == one, f"{threads} threads"


@for_each("way", range(len(OPTIMIZERS)))
@for_each("density", [0.2, 1.0])
@for_each("activation", ["sigmoid", "tanh"])
def test_optimizers_and_activations(kernels: ModuleType, way: int, density: float, activation: str) -> None:
    network, images = network_of(kernels, 50, (33, 70), activation), pixels(37, 50, density)
    assert results(kernels, network, images, 3, way) == results(kernels, network, images, 1, way)


@for_each("rows, batch", [(2, 1), (150, 150)])
@for_each("hidden", [(64,), (70, 80)])
def test_single_images_and_large_batches(kernels: ModuleType, rows: int, batch: int, hidden: tuple[int, ...]) -> None:
    network, images = network_of(kernels, 50, hidden), pixels(rows, 50, 0.2)
    labels, start = np.zeros(rows, np.uint8), floats(network.parameter_count)
    rates, optimizer = np.full(-(-rows // batch), 0.1, np.float32), kernels.Optimizer("sgd")
    ended = []
    for threads in THREADS:
        parameters, workspace = start.copy(), kernels.Workspace(network, rows, training=True)
        batches, steps = kernels.Batches(images, labels, None, batch), kernels.Steps(optimizer, rates, smoothing=0.1)
        network.train(parameters, {}, batches, steps, workspace, threads=threads)
        ended.append(parameters.tobytes())
    assert ended == ended[:1] * len(THREADS)


@for_each("hidden", [(), (33,), (100, 70)])
@for_each("images", [pixels(60, 50, 0.2), pixels(60, 50, 1.0), floats(60, 50)])
def test_forward_alone_and_shared(kernels: ModuleType, hidden: tuple[int, ...], images: np.ndarray) -> None:
    network = network_of(kernels, 50, hidden)
    packed = network.pack(floats(network.parameter_count))
    memory = [kernels.Workspace(network, 16) for _ in range(2)]
    alone, shared = (np.zeros((60, 10), np.float32) for _ in range(2))
    network.forward(packed, images, alone, memory[0])
    network.forward(packed, images, shared, *memory)
    assert same_bits(alone, shared)


@for_each("hidden", [(33,), (100, 70)])
def test_rows_drawn_anew(kernels: ModuleType, hidden: tuple[int, ...]) -> None:
    network, images, labels = network_of(kernels, PIXELS, hidden), pixels(20, PIXELS, 0.2), np.zeros(20, np.uint8)
    noise = kernels.Noise(
        seed=1, input_dropout=0.2, hidden_dropout=0.4, augmentation={"shift": 2, "rotation": 20, "elastic": 30}
    )
    start, rates, ended = floats(network.parameter_count) / np.float32(8), np.full(3, 0.1, np.float32), []
    for threads in THREADS:
        parameters, workspace = start.copy(), kernels.Workspace(network, 8, training=True)
        batches = kernels.Batches(images, labels, None, 8)
        steps = kernels.Steps(kernels.Optimizer("sgd"), rates, noise=noise, epoch=1)
        network.train(parameters, {}, batches, steps, workspace, threads=threads)
        ended.append(parameters.tobytes())
    assert ended == ended[:1] * len(THREADS)
