"""Any width on any number of threads: the bits of one thread, with and without zeros."""

from functools import lru_cache
from types import ModuleType

import numpy as np
from bits import sgd_train
from cases import for_each

WIDTHS = [(32,), (64,), (96,), (100,), (128,), (144,), (192,), (512,), (64, 96), (160, 80, 70)]


@lru_cache(1)  # of one case after the other: each is trained on with several numbers of threads
def drawn(n: int, inputs: int, density: float, parameter_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of which so many are not 0, and parameters."""
    random = np.random.default_rng(7)
    pixels = random.integers(1, 256, (n, inputs)) * (random.random((n, inputs)) < density)
    return pixels.astype(np.uint8), random.uniform(-0.3, 0.3, parameter_count).astype(np.float32)


def trained(kernels: ModuleType, network, rows: int, density: float, threads: int, momentum: float) -> object:
    """Metrics and parameters after two batches, of so many rows and of half as many."""
    n = rows + (rows + 1) // 2
    pixels, start = drawn(n, network.inputs, density, network.parameter_count)
    parameters = start.copy()
    velocity = np.zeros_like(parameters) if momentum else None
    workspace = kernels.Workspace(network, min(rows, 256), training=True)
    labels = (np.arange(n) % 10).astype(np.uint8)
    metrics = sgd_train(
        kernels, network, parameters, velocity, pixels, labels, None, rows, 0.1, momentum, workspace, threads=threads
    )
    return str(metrics), parameters.tobytes()


@for_each("hidden", WIDTHS)
@for_each("rows", [1, 15, 64, 257])
@for_each("density", [0.2, 1.0])
@for_each("momentum", [0.0, 0.9])
def test_no_number_of_threads_changes_a_bit(
    kernels: ModuleType, hidden: tuple[int, ...], rows: int, density: float, momentum: float
) -> None:
    # Too few inputs for the first layer to have halves, or halves that are not alike.
    layers, width = [], 200 if momentum else 50
    for outputs in hidden:
        layers += [("linear", width, outputs), ("relu", outputs, outputs)]
        width = outputs
    network = kernels.Network([*layers, ("linear", width, 10)])
    one = trained(kernels, network, rows, density, 1, momentum)
    # Sixteen of them wait longest for each other: once for each width, number of rows and density.
    many = (16,) if (momentum > 0) == (rows in (1, 64)) else ()
    for threads in (2, 3, 4, *many):
        assert trained(kernels, network, rows, density, threads, momentum) == one
