"""Layers skip the zeros of their input: to the same bits as the dense kernels, put together by hand."""

import itertools
from functools import cache
from types import ModuleType

import numpy as np
from bits import same_bits, sgd, sgd_train
from cases import for_each

# Rows, inputs, outputs of the first layer: what masks and panels hold, one more and one less; a single one; as many as
# there are masks for and one more, both of inputs and of a batch.
SHAPES = [
    (70, 784, 37),
    (64, 783, 64),
    (65, 128, 130),
    (1, 65, 70),
    (3, 1, 64),
    (6, 4096, 20),
    (5, 4097, 64),
    (4097, 17, 70),
]


@cache
def images(rows: int, inputs: int, density: float, seed: int = 0) -> np.ndarray:
    """Pixels of which so many are not 0; one in nine inputs is background in every row, and one row altogether."""
    random = np.random.default_rng(seed)
    pixels = random.integers(1, 256, (rows, inputs)) * (random.random((rows, inputs)) < density)
    pixels[1:2] = 0
    pixels[:, inputs // 9 : 2 * inputs // 9] = 0
    return pixels.astype(np.uint8)


def network_of(kernels: ModuleType, inputs: int, outputs: int):
    """With one hidden layer, and parameters for it."""
    network = kernels.Network([("linear", inputs, outputs), ("relu", outputs, outputs), ("linear", outputs, 10)])
    return network, normal(network.parameter_count).copy()


@cache
def normal(count: int) -> np.ndarray:
    """Parameters."""
    return (np.random.default_rng(1).standard_normal(count) * 0.05).astype(np.float32)


def labels_of(rows: int) -> np.ndarray:
    return (np.arange(rows) % 10).astype(np.uint8)


def pairs(network, parameters: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    found = []
    for weight, (inputs, outputs), bias in network.slices:
        found.append(
            (parameters[weight : weight + inputs * outputs].reshape(inputs, outputs), parameters[bias : bias + outputs])
        )
    return found


def first_half(inputs: int) -> int:
    """How many inputs of the first layer are summed first: those from there on are summed apart, and added."""
    return inputs // 2 // 64 * 64 or inputs


def by_hand(kernels: ModuleType, network, parameters: np.ndarray, x: np.ndarray, labels: np.ndarray):
    """Logits and gradients from dense matrix products."""
    (w1, b1), (w2, b2) = pairs(network, parameters)
    half = first_half(len(w1))
    product = kernels.gemm(x[:, :half], w1[:half])
    if half < len(w1):
        product += kernels.gemm(x[:, half:], w1[half:])
    hidden = kernels.relu(kernels.add_bias(product, b1))
    logits = kernels.add_bias(kernels.gemm(hidden, w2), b2)
    d = np.empty_like(logits)
    kernels.softmax_cross_entropy(logits, labels, d)
    d *= np.float32(1 / len(x))
    d_hidden = kernels.relu_backward(hidden, kernels.gemm(d, w2.T))
    parts = [kernels.gemm(x.T, d_hidden), kernels.bias_backward(d_hidden)]
    parts += [kernels.gemm(hidden.T, d), kernels.bias_backward(d)]
    return logits, np.concatenate([part.ravel() for part in parts])


@for_each("rows, inputs, outputs", SHAPES)
@for_each("density", [0.0, 0.02, 0.19, 0.45, 0.6, 1.0])
def test_skipping_zeros_changes_no_bit(
    kernels: ModuleType, rows: int, inputs: int, outputs: int, density: float
) -> None:
    network, parameters = network_of(kernels, inputs, outputs)
    pixels, labels = images(rows, inputs, density), labels_of(rows)
    x = (pixels / np.float32(255)).astype(np.float32)
    logits, gradients = by_hand(kernels, network, parameters, x, labels)
    for given, workspace_rows in ((pixels, 16), (pixels, 5000), (x, 1), (x, 256)):
        workspace = kernels.Workspace(network, workspace_rows, training=True)
        case = f"{given.dtype}, workspace of {workspace_rows} rows"

        found = np.full((rows, 10), np.nan, dtype=np.float32)
        network.forward(parameters, given, found, workspace)
        assert same_bits(found, logits), case

        of_network = np.full_like(parameters, np.nan)
        network.gradients(parameters, given, labels, None, of_network, workspace)
        assert same_bits(of_network, gradients), case


@for_each("rows, inputs, outputs", SHAPES)
@for_each("batch_size, workspace_rows", [(1, 64), (7, 5), (7, 64), (64, 5), (64, 64), (4096, 64), (5000, 5000)])
@for_each("momentum", [0.0, 0.9])
def test_a_step_that_writes_no_gradient_is_the_same_step(
    kernels: ModuleType, rows: int, inputs: int, outputs: int, batch_size: int, workspace_rows: int, momentum: float
) -> None:
    network, parameters = network_of(kernels, inputs, outputs)
    rows = min(rows, 3 * batch_size + 1)
    pixels, labels = images(rows, inputs, 0.19), labels_of(rows)
    order = np.random.default_rng(2).permutation(rows).astype(np.int64)
    workspace = kernels.Workspace(network, workspace_rows, training=True)

    trained = parameters.copy()
    velocity = np.zeros_like(parameters) if momentum else None
    sgd_train(kernels, network, trained, velocity, pixels, labels, order, batch_size, 0.1, momentum, workspace)

    expected, gradients = parameters.copy(), np.empty_like(parameters)
    velocity = np.zeros_like(parameters) if momentum else None
    for start in range(0, rows, batch_size):
        batch = order[start : start + batch_size]
        network.gradients(expected, pixels, labels, batch, gradients, workspace)
        sgd(kernels, expected, gradients, velocity, 0.1, momentum)
    assert same_bits(trained, expected)


@for_each("rows, inputs, outputs", SHAPES)
def test_pixels_that_are_background_everywhere_keep_their_weights(
    kernels: ModuleType, rows: int, inputs: int, outputs: int
) -> None:
    network, parameters = network_of(kernels, inputs, outputs)
    trained = parameters.copy()
    workspace = kernels.Workspace(network, rows, training=True)
    sgd_train(
        kernels, network, trained, None, images(rows, inputs, 0.6), labels_of(rows), None, rows, 0.1, 0.0, workspace
    )
    before, after = pairs(network, parameters)[0][0], pairs(network, trained)[0][0]
    background = slice(inputs // 9, 2 * inputs // 9)
    np.testing.assert_array_equal(after[background], before[background])
    assert (after != before).any()


@for_each(
    "rows, widths",
    [
        *((70, (100, 64)), (33, (65, 130)), (130, (64, 200)), (5, (4097, 64)), (1, (80, 96))),
        *((31, (64, 64)), (32, (64, 128, 300)), (140, (128, 100, 64)), (64, (30, 70, 64, 65))),
    ],
)
# Of each layer in turn: from almost nothing behind relu to almost everything, and some of both in one network.
@for_each("biases", [(-9.0,), (-1.0,), (0.0,), (9.0,), (0.0, 9.0), (9.0, 0.0)])
def test_skipping_what_relu_has_left_changes_no_bit(
    kernels: ModuleType, rows: int, widths: tuple[int, ...], biases: tuple[float, ...]
) -> None:
    layers = []
    for inputs, outputs in itertools.pairwise((30, *widths)):
        layers += [("linear", inputs, outputs), ("relu", outputs, outputs)]
    network = kernels.Network([*layers, ("linear", widths[-1], 10)])
    parameters = normal(network.parameter_count) * np.float32(20)
    *hidden, (w_last, b_last) = pairs(network, parameters)
    for (w, b), bias in zip(hidden, itertools.cycle(biases), strict=False):
        w *= np.float32(np.sqrt(2 / len(w)))
        b += np.float32(bias)
    images = np.random.default_rng(4).integers(0, 256, (rows, 30)).astype(np.uint8)
    labels = labels_of(rows)

    inputs_of = [(images / np.float32(255)).astype(np.float32)]
    for w, b in hidden:
        inputs_of.append(kernels.relu(kernels.add_bias(kernels.gemm(inputs_of[-1], w), b)))
    logits = kernels.add_bias(kernels.gemm(inputs_of[-1], w_last), b_last)
    d = np.empty_like(logits)
    kernels.softmax_cross_entropy(logits, labels, d)
    d *= np.float32(1 / rows)
    parts: list[np.ndarray] = []
    for (w, _), x in zip(reversed([*hidden, (w_last, b_last)]), reversed(inputs_of), strict=True):
        parts[:0] = [kernels.gemm(x.T, d).ravel(), kernels.bias_backward(d)]
        d = kernels.relu_backward(x, kernels.gemm(d, w.T)) if x is not inputs_of[0] else d
    expected = np.concatenate(parts)
    after_a_step = parameters.copy()
    sgd(kernels, after_a_step, expected, None, 0.1)

    # Three threads wait for each other after each micro-batch, so there are to be few of those: 140 rows one by one
    # took twenty times as long as all else here. One row on three threads is the fourth of the networks.
    for workspace_rows, threads in ((1, 1), (48, 1), (48, 3), (256, 3)):
        workspace = kernels.Workspace(network, workspace_rows, training=True)
        case = f"workspace of {workspace_rows} rows, {threads} threads"
        found = np.empty_like(logits)
        network.forward(parameters, images, found, workspace)
        assert same_bits(found, logits), case
        gradients = np.empty_like(parameters)
        network.gradients(parameters, images, labels, None, gradients, workspace, threads=threads)
        assert same_bits(gradients, expected), case
        trained = parameters.copy()
        sgd_train(kernels, network, trained, None, images, labels, None, rows, 0.1, 0.0, workspace, threads=threads)
        assert same_bits(trained, after_a_step), case


@for_each("others", [0, 9])
@for_each("outputs", [10, 64])
def test_skipping_zeros_changes_no_sign_of_a_logit_that_is_0(kernels: ModuleType, others: int, outputs: int) -> None:
    """A product that underflows leaves -0, adding 1 * 0 makes it +0: alone a row is sparse, behind ones it is not."""
    network = kernels.Network([("linear", 784, outputs)])
    parameters = np.ones(network.parameter_count, np.float32)
    weight, bias = pairs(network, parameters)[0]
    weight[0], bias[:] = -1e-30, -0.0
    row = np.zeros((1, 784), np.float32)
    row[0, 0] = 1e-30
    images = np.concatenate([np.ones((others, 784), np.float32), row])
    logits = np.empty((len(images), outputs), np.float32)
    network.forward(parameters, images, logits, kernels.Workspace(network, 256))
    assert logits[-1].view(np.int32).tolist() == [0] * outputs


@for_each("dtype", ["uint8", "float32"])
def test_skipping_zeros_changes_no_sign_of_a_gradient_that_is_0(kernels: ModuleType, dtype: str) -> None:
    network, parameters = network_of(kernels, 100, 64)
    pixels = images(64, 100, 0.05)
    given = pixels if dtype == "uint8" else (pixels / np.float32(255)).astype(np.float32)
    gradients = np.empty_like(parameters)
    workspace = kernels.Workspace(network, 64, training=True)
    network.gradients(parameters, given, labels_of(64), None, gradients, workspace)
    zeros = gradients == 0
    assert zeros.any()
    assert not np.signbit(gradients[zeros]).any()
