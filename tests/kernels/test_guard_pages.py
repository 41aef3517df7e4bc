"""No kernel touches a byte before or behind what it is given: pages that nobody may touch stand there."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import same_bits, sgd_train
from cases import for_each
from guarded import guarded

LENGTHS = [1, 3, 15, 16, 17, 31, 33, 64, 100]
Guard = Callable[[Any], Any]


@pytest.fixture(params=[False, True], ids=["behind", "before"])
def guard(request: pytest.FixtureRequest) -> Guard:
    return partial(guarded, before=request.param)


def _floats(random, *shape):
    return random.uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize(("before", "place"), [(False, 40), (True, -1)])
def test_a_byte_too_many_ends_the_process(*, before: bool, place: int) -> None:
    code = (
        "import ctypes, numpy, guarded;"
        f"array = guarded.guarded(numpy.zeros(10, numpy.float32), before={before});"
        f"ctypes.string_at(array.ctypes.data + {place}, 1)"
    )
    support = Path(__file__).parents[1] / "support"
    assert subprocess.run([sys.executable, "-c", code], cwd=support, check=False).returncode == -signal.SIGSEGV


@for_each("n", LENGTHS)
def test_elementwise(kernels, random, guard: Guard, n: int) -> None:
    x, y = guard(_floats(random, n)), guard(np.zeros(n, np.float32))
    for kind in ("relu", "sigmoid", "tanh"):
        getattr(kernels, kind)(x, y)
        getattr(kernels, f"{kind}_backward")(y, x, guard(np.zeros(n, np.float32)))
    assert kernels.narrow(guard(x.astype(np.float64)), y)
    kernels.apply_update(x, y, {}, kernels.Optimizer("sgd"), 0.1)
    kernels.apply_update(
        x, y, {"velocity": guard(np.zeros(n, np.float32))}, kernels.Optimizer("sgd", momentum=0.9), 0.1
    )


@for_each("rows, columns", [(1, 1), (3, 10), (16, 10), (17, 33), (33, 16), (5, 100)])
def test_by_rows(kernels, random, guard: Guard, rows: int, columns: int) -> None:
    x, out = guard(_floats(random, rows, columns)), guard(np.zeros((rows, columns), np.float32))
    labels = guard(random.integers(0, columns, rows, dtype=np.uint8))
    kernels.softmax(x, out)
    kernels.argmax(x)
    kernels.softmax_backward(out, x, guard(np.zeros_like(x)))
    kernels.softmax_cross_entropy(x, labels, out)
    kernels.add_bias(x, guard(_floats(random, columns)))
    kernels.bias_backward(x, guard(np.zeros(columns, np.float32)))


@for_each("m, n, k", [(1, 1, 1), (1, 10, 784), (7, 10, 64), (16, 33, 100), (33, 17, 5), (64, 64, 64), (13, 129, 31)])
def test_gemm(kernels, random, guard: Guard, m: int, n: int, k: int) -> None:
    a, b, c = guard(_floats(random, m, k)), guard(_floats(random, k, n)), guard(np.zeros((m, n), np.float32))
    a_transposed, b_transposed = guard(a.T.copy()).T, guard(b.T.copy()).T
    for left in (a, a_transposed):
        for right in (b, b_transposed):
            kernels.gemm(left, right, c)
            kernels.gemm(left, right, c, alpha=0.5, beta=2.0)


@for_each("hidden", [(), (10,), (33,), (64, 100)])
@for_each("inputs", [1, 50, 784])
@for_each("rows", [1, 15, 33])
@for_each("density", [0.2, 1.0])
def test_networks(
    kernels, random, guard: Guard, hidden: tuple[int, ...], inputs: int, rows: int, density: float
) -> None:
    layers, width = [], inputs
    for outputs in hidden:
        layers += [("linear", width, outputs), ("relu", outputs, outputs)]
        width = outputs
    network = kernels.Network([*layers, ("linear", width, 10)])
    plain = (random.integers(1, 256, (rows, inputs)) * (random.random((rows, inputs)) < density)).astype(np.uint8)
    start = _floats(random, network.parameter_count) / np.float32(8)
    labels, order = guard((np.arange(rows) % 10).astype(np.uint8)), guard(np.arange(rows)[::-1].copy())
    parameters, gradients = guard(start), guard(np.zeros_like(start))
    results = []
    for images in (guard(plain), guard(plain / np.float32(255))):
        for threads in (1, 3):
            workspace = kernels.Workspace(network, 16, training=True)
            out = guard(np.zeros((rows, 10), np.float32))
            network.forward(parameters, images, out, workspace)
            network.evaluate(parameters, images, labels, order, workspace, threads=threads)
            network.gradients(parameters, images, labels, order, gradients, workspace, threads=threads)
            trained, velocity = guard(start), guard(np.zeros_like(start))
            sgd_train(
                kernels, network, trained, velocity, images, labels, order, 10, 0.1, 0.9, workspace, threads=threads
            )
            results.append((out.copy(), gradients.copy(), trained.copy()))
    for result in results[1:]:
        assert all(map(same_bits, result, results[0]))


@for_each("hidden, rows", [((701,), 257), ((1001, 500), 33)])
@for_each("density", [0.2, 1.0])
def test_forward_passes_that_two_threads_share(
    kernels, random, guard: Guard, hidden: tuple[int, ...], rows: int, density: float
) -> None:
    widths = (784, *hidden, 10)
    network = kernels.Network([("linear", inputs, outputs) for inputs, outputs in itertools.pairwise(widths)])
    plain = (random.integers(1, 256, (rows, 784)) * (random.random((rows, 784)) < density)).astype(np.uint8)
    parameters = guard(_floats(random, network.parameter_count) / np.float32(8))
    for images in (guard(plain), guard(plain / np.float32(255))):
        out = guard(np.zeros((rows, 10), np.float32))
        network.forward(parameters, images, out, *(kernels.Workspace(network, 128) for _ in range(2)))
        assert out.any()


@for_each("rows", [1, 5, 33])
def test_augmentation(kernels, random, guard: Guard, rows: int) -> None:
    images = guard(random.integers(0, 256, (rows, 784), dtype=np.uint8))
    order, out = guard(np.arange(rows)[::-1].copy()), guard(np.zeros((rows, 784), np.uint8))
    settings = {"shift": 3, "rotation": 20, "scale": 0.2, "shear": 0.2, "elastic": 8, "smoothness": 4}
    for threads in (1, 3):
        kernels.augment(images, order, out, seed=1, epoch=0, threads=threads, **settings)
