"""Dropout and augmentation within training: what is drawn, by the NumPy twins, and that nothing else changes it."""

import numpy as np
import pytest
from cases import for_each

from falcon_mnist.kernels import MAX_THREADS, reference, supported, variant

EPOCH, SEED = 3, 2**40 + 7
DISTORTION = {"shift": 2.0, "rotation": 20.0, "scale": 0.1, "shear": 0.1, "elastic": 30.0}


def pixels_and_labels(rows, ink=0.2):
    random = np.random.default_rng(1)
    images = (random.integers(1, 256, (rows, 784)) * (random.random((rows, 784)) < ink)).astype(np.uint8)
    return images, random.integers(0, 10, rows, dtype=np.uint8)


def network_of(kernels, widths, activation="relu"):
    layers, inputs = [], 784
    for outputs in widths:
        layers += [("linear", inputs, outputs), (activation, outputs, outputs)]
        inputs = outputs
    return kernels.Network([*layers, ("linear", inputs, 10)])


def train(kernels, network, images, labels, noise, *, rows=None, batch=16, threads=1, order=None, segments=1):
    """The parameters after SGD without momentum at a learning rate of 0.5, and the loss."""
    order = np.arange(len(labels), dtype=np.int64) if order is None else order
    parameters = np.random.default_rng(2).uniform(-0.1, 0.1, network.parameter_count).astype(np.float32)
    optimizer = kernels.Optimizer("sgd")
    workspace = kernels.Workspace(network, rows or batch, training=True)
    loss, begin = 0.0, parameters.copy()
    for part in np.split(order, segments):
        rates = np.full(-(-len(part) // batch), 0.5, np.float32)
        batches = kernels.Batches(images, labels, part, batch)
        steps = kernels.Steps(optimizer, rates, noise=noise, epoch=EPOCH)
        _, loss, _ = network.train(parameters, {}, batches, steps, workspace, threads=threads, loss=loss)
    return parameters, loss, begin


@for_each("ink", [0.2, 0.95])
@for_each("activation", ["relu", "sigmoid", "tanh"])
@for_each("widths", [(100,), (70, 200)])
def test_one_step_with_dropout_is_the_twin_s(kernels, widths, activation, ink):
    images, labels = pixels_and_labels(40, ink)
    order = np.random.default_rng(3).permutation(40)[:24].astype(np.int64)
    network = network_of(kernels, widths, activation)
    noise = kernels.Noise(seed=SEED, input_dropout=0.2, hidden_dropout=0.4)
    after, loss, before = train(kernels, network, images, labels, noise, batch=24, order=order)
    draw = {"seed": SEED, "epoch": EPOCH}
    pixels = images[order] / 255 * reference.dropout_scales(order, 784, 0.2, **draw, stream=2)
    scales = {
        2 * i + 1: reference.dropout_scales(order, width, 0.4, **draw, stream=16 + i) for i, width in enumerate(widths)
    }
    wanted_loss, _, gradient = reference.gradients(network.layers, before, pixels, labels[order], scales=scales)
    assert loss == pytest.approx(wanted_loss, rel=1e-5)
    np.testing.assert_allclose(after, before - 0.5 * gradient, rtol=0, atol=2e-6)


def test_one_step_on_distorted_images_is_that_on_what_augment_makes(kernels):
    images, labels = pixels_and_labels(40)
    order = np.random.default_rng(3).permutation(40)[:24].astype(np.int64)
    network = network_of(kernels, (64,))
    distorted = kernels.augment(images, order, np.empty((24, 784), np.uint8), seed=SEED, epoch=EPOCH, **DISTORTION)
    noise = kernels.Noise(seed=SEED, augmentation=DISTORTION)
    drawn, loss, _ = train(kernels, network, images, labels, noise, batch=7, order=order)
    given, same_loss, _ = train(kernels, network, distorted, labels[order], None, batch=7)
    assert loss == same_loss
    assert drawn.tobytes() == given.tobytes()


@for_each("widths", [(), (64,), (64, 130)])
@for_each("batch", [1, 16, 48])
def test_bits_depend_on_neither_threads_nor_micro_batches_nor_segments(kernels, widths, batch):
    images, labels = pixels_and_labels(16 if batch == 1 else 96)
    network = network_of(kernels, widths)
    noise = kernels.Noise(seed=SEED, input_dropout=0.1, hidden_dropout=0.5, augmentation=DISTORTION)
    results = {
        train(kernels, network, images, labels, noise, batch=batch, **way)[0].tobytes()
        for way in ({}, {"threads": 2}, {"threads": 3, "rows": 5}, {"threads": MAX_THREADS}, {"segments": 2})
    }
    assert len(results) == 1


def test_avx2_and_avx512_give_the_same_bits():
    images, labels = pixels_and_labels(50)
    results = set()
    for isa in [isa for isa in supported() if isa != "baseline"]:
        kernels = variant(isa)
        noise = kernels.Noise(seed=SEED, input_dropout=0.1, hidden_dropout=0.5, augmentation=DISTORTION)
        network = network_of(kernels, (64, 100))
        results.add(train(kernels, network, images, labels, noise)[0].tobytes())
    assert len(results) <= 1


def test_as_many_units_are_dropped_as_asked():
    """Of 100,000 words below 0.3 * 2^32, within five standard deviations."""
    dropped = reference.dropout_scales(np.arange(1000), 100, 0.3, seed=SEED, epoch=EPOCH, stream=16) == 0
    assert abs(dropped.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / dropped.size)


@for_each(
    "other, same",
    [({"seed": SEED + 1}, False), ({"seed": SEED - 2**40}, False), ({"hidden_dropout": 0.41}, False), ({}, True)],
)
def test_seed_and_rate_decide(kernels, other, same):
    images, labels = pixels_and_labels(32)
    network = network_of(kernels, (64,))
    given = {"seed": SEED, "hidden_dropout": 0.4}
    one = train(kernels, network, images, labels, kernels.Noise(**given))[0]
    two = train(kernels, network, images, labels, kernels.Noise(**(given | other)))[0]
    assert (one.tobytes() == two.tobytes()) is same


def test_noise_that_is_none_changes_no_bit(kernels):
    images, labels = pixels_and_labels(32)
    network = network_of(kernels, (64,))
    plain = train(kernels, network, images, labels, None)[0]
    assert train(kernels, network, images, labels, kernels.Noise(seed=SEED))[0].tobytes() == plain.tobytes()


@for_each(
    "given, word",
    [
        ({"hidden_dropout": 1.0}, "hidden_dropout must be from 0 to 0.99"),
        ({"input_dropout": -0.1}, "input_dropout must be from 0"),
        ({"seed": -1}, "seed must be from 0"),
        ({"seed": 2**63}, "seed must be from 0"),
        ({"augmentation": {"shift": 11}}, "shift must be from 0 to 10"),
        ({"augmentation": {"tilt": 1}}, "augmentation has no 'tilt': it has shift"),
    ],
)
def test_what_is_out_of_range_is_named(kernels, given, word):
    with pytest.raises(ValueError, match=word):
        kernels.Noise(**given)


def test_rows_of_floats_cannot_be_drawn_anew(kernels):
    images, labels = pixels_and_labels(16)
    network = network_of(kernels, (64,))
    floats = images.astype(np.float32)
    with pytest.raises(ValueError, match="images must be uint8"):
        train(kernels, network, floats, labels, kernels.Noise(input_dropout=0.1))
    train(kernels, network, floats, labels, kernels.Noise(hidden_dropout=0.1))


def test_only_images_of_784_pixels_can_be_distorted(kernels):
    network = kernels.Network([("linear", 30, 10)])
    images, labels = pixels_and_labels(16)
    with pytest.raises(ValueError, match="the network has 30 inputs"):
        train(kernels, network, images[:, :30].copy(), labels, kernels.Noise(augmentation={}))
