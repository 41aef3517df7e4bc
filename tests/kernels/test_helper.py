"""A forward pass that the process's parked thread shares: the same bits, whoever else asks for it."""

import itertools
import threading
from functools import cache

import numpy as np
import pytest
from cases import for_each


def _network(kernels, *hidden):
    widths = (784, *hidden, 10)
    layers = [layer for a, b in itertools.pairwise(widths) for layer in (("linear", a, b), ("relu", b, b))]
    network = kernels.Network(layers[:-1])
    return network, network.pack(_parameters(network.parameter_count))


@cache  # the same for each instruction set, and slow to draw
def _parameters(count):
    return np.random.default_rng(1).standard_normal(count, dtype=np.float32) * np.float32(0.1)


def _images(random, rows, density, dtype):
    pixels = (random.integers(1, 256, (rows, 784)) * (random.random((rows, 784)) < density)).astype(np.uint8)
    return pixels if dtype == np.uint8 else pixels / np.float32(255)


def _forward(kernels, network, packed, images, workspaces=1, rows=128):
    memory = [kernels.Workspace(network, rows) for _ in range(workspaces)]
    return network.forward(packed, images, np.full((len(images), 10), np.nan, np.float32), *memory).tobytes()


@for_each("dtype", [np.uint8, np.float32])
@for_each("density", [0.2, 1.0])
# Shared by rows; by columns, of which a layer has three; by columns; more rows than the workspaces have.
@for_each("hidden, rows", [
    *(((701, 64), rows) for rows in (100, 257)),
    ((1400, 3), 20),
    *(((1001, 500), rows) for rows in (15, 17, 100, 150)),
])  # fmt: skip
def test_the_bits_are_those_of_one_thread(kernels, random, hidden, rows, density, dtype):
    network, packed = _network(kernels, *hidden)
    images = _images(random, rows, density, dtype)
    assert _forward(kernels, network, packed, images, 2) == _forward(kernels, network, packed, images)


@for_each("density", [0.2, 1.0])
@for_each("hidden, rows", [((33, 64), 1), ((33, 64), 40), ((1001, 500), 1), ((1001, 500), 2), ((16,), 0)])
def test_short_calls_in_a_row_give_the_same_bits(kernels, random, hidden, rows, density):
    """From the second one on the helper polls for the next call."""
    network, packed = _network(kernels, *hidden)
    images = _images(random, rows, density, np.float32)
    memory = [kernels.Workspace(network, 128) for _ in range(2)]
    found = [np.full((rows, 10), np.nan, np.float32) for _ in range(50)]
    for out in found:
        network.forward(packed, images, out, *memory)
    assert {out.tobytes() for out in found} == {_forward(kernels, network, packed, images)}


def test_calls_at_the_same_time_do_not_disturb_one_another(kernels, random):
    network, packed = _network(kernels, 128)
    images = [_images(random, rows, 1.0, np.uint8) for rows in (60, 200, 90, 257)]
    alone = [_forward(kernels, network, packed, each) for each in images]
    found = [[] for _ in images]

    def call(number: int) -> None:
        for _ in range(50):
            found[number].append(_forward(kernels, network, packed, images[number], 2))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[bits] * 50 for bits in alone]


def test_what_cannot_be_shared_is_refused_and_harms_nobody(kernels, random):
    network, packed = _network(kernels, 16)
    other, _ = _network(kernels, 16)
    images, out = _images(random, 100, 1.0, np.uint8), np.empty((100, 10), np.float32)
    workspace = kernels.Workspace(network, 32)
    with pytest.raises(ValueError, match="another network"):
        network.forward(packed, images, out, workspace, kernels.Workspace(other, 32))
    with pytest.raises(RuntimeError, match="in use"):
        network.forward(packed, images, out, workspace, workspace)
    assert _forward(kernels, network, packed, images, 2) == _forward(kernels, network, packed, images)
