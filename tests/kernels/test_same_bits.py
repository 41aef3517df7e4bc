"""AVX2 and AVX-512 give the same bits: their fused sums run in one order, whatever the width of a vector."""

import numpy as np
from bits import sgd_train
from cases import for_each

from falcon_mnist.kernels import supported, variant

FUSED = [isa for isa in supported() if isa != "baseline"]


@for_each("hidden", [(), (37,), (64, 130)])
@for_each("activation", ["relu", "sigmoid", "tanh"])
@for_each("density, threads", [(0.2, 1), (0.2, 3), (1.0, 1), (1.0, 3)])
def test_an_epoch_has_the_same_bits_with_either_width(
    hidden: tuple[int, ...], activation: str, density: float, threads: int
) -> None:
    random = np.random.default_rng(5)
    pixels = (random.integers(1, 256, (70, 784)) * (random.random((70, 784)) < density)).astype(np.uint8)
    labels = random.integers(0, 10, 70, dtype=np.uint8)
    layers, width = [], 784
    for outputs in hidden:
        layers += [("linear", width, outputs), (activation, outputs, outputs)]
        width = outputs
    results = set()
    for isa in FUSED:
        kernels = variant(isa)
        network = kernels.Network([*layers, ("linear", width, 10)])
        parameters = np.random.default_rng(6).uniform(-0.1, 0.1, network.parameter_count).astype(np.float32)
        velocity = np.zeros_like(parameters)
        workspace = kernels.Workspace(network, 32, training=True)
        metrics = sgd_train(
            kernels, network, parameters, velocity, pixels, labels, None, 33, 0.1, 0.9, workspace, threads=threads
        )
        results.add((str(metrics), parameters.tobytes(), velocity.tobytes()))
    assert len(results) == min(len(FUSED), 1)


@for_each("kind", ["adam", "adamw"])
@for_each("density, threads", [(0.2, 1), (0.2, 2), (1.0, 1)])
def test_an_adaptive_rule_has_the_same_bits_with_either_width(kind: str, density: float, threads: int) -> None:
    random = np.random.default_rng(5)
    pixels = (random.integers(1, 256, (70, 784)) * (random.random((70, 784)) < density)).astype(np.uint8)
    labels, rates = random.integers(0, 10, 70, dtype=np.uint8), np.full(3, 0.01, np.float32)
    results = set()
    for isa in FUSED:
        kernels = variant(isa)
        network = kernels.Network([("linear", 784, 144), ("relu", 144, 144), ("linear", 144, 10)])
        optimizer = kernels.Optimizer(kind)
        parameters = np.random.default_rng(6).uniform(-0.1, 0.1, network.parameter_count).astype(np.float32)
        state = {name: np.zeros_like(parameters) for name in optimizer.state}
        workspace = kernels.Workspace(network, 32, training=True)
        batches, steps = kernels.Batches(pixels, labels, None, 32), kernels.Steps(optimizer, rates)
        network.train(parameters, state, batches, steps, workspace, threads=threads)
        results.add((parameters.tobytes(), *(array.tobytes() for array in state.values())))
    assert len(results) == min(len(FUSED), 1)
