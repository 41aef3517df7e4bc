"""Forward, gradients and training against float64, and bit by bit for any micro-batch and number of threads."""

import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from bits import same_bits, sgd, sgd_train
from cases import for_each

from falcon_mnist.kernels import reference

EPS = np.finfo(np.float32).eps

ARCHITECTURES = {
    "one linear": [("linear", 7, 10)],
    "of width 1": [("linear", 1, 1)],
    "two linear": [("linear", 10, 33), ("linear", 33, 7)],
    "activation first": [("sigmoid", 10, 10), ("linear", 10, 7)],
    "relu": [("linear", 300, 33), ("relu", 33, 33), ("linear", 33, 10)],
    "activations in a row": [
        ("linear", 33, 10),
        ("tanh", 10, 10),
        ("relu", 10, 10),
        ("sigmoid", 10, 10),
        ("linear", 10, 7),
    ],
    "activations first and last": [
        ("relu", 7, 7),
        ("tanh", 7, 7),
        ("linear", 7, 33),
        ("sigmoid", 33, 33),
        ("linear", 33, 10),
        ("tanh", 10, 10),
        ("sigmoid", 10, 10),
    ],
    "five linear": [
        ("linear", 10, 33),
        ("relu", 33, 33),
        ("linear", 33, 7),
        ("sigmoid", 7, 7),
        ("linear", 7, 1),
        ("tanh", 1, 1),
        ("linear", 1, 300),
        ("linear", 300, 10),
    ],
}


def drawn_parameters(random, net):
    """Weights that keep values near 1 from layer to layer, and biases beside them."""
    parameters = random.uniform(-0.5, 0.5, net.parameter_count).astype(np.float32)
    for weight_at, (inputs, outputs), _ in net.slices:
        parameters[weight_at : weight_at + inputs * outputs] *= np.float32(np.sqrt(12 / inputs))
    return parameters


def drawn_rows(random, net, count, dtype=np.float32):
    if dtype == np.uint8:
        images = random.integers(0, 256, (count, net.inputs), dtype=np.uint8)
    else:
        images = random.standard_normal((count, net.inputs)).astype(np.float32)
    return images, random.integers(0, net.outputs, count, dtype=np.uint8)


def forward(kernels, net, parameters, images, rows=64):
    out = np.full((len(images), net.outputs), np.nan, dtype=np.float32)
    assert net.forward(parameters, images, out, kernels.Workspace(net, rows)) is out
    return out


def forward_bound(layers, parameters, images):
    """How far float32 outputs may be from exact ones: roundings of each layer, and what becomes of them later."""
    x = images / 255 if images.dtype == np.uint8 else images.astype(float)
    bound, at = EPS * np.abs(x) * (images.dtype == np.uint8), 0
    for kind, inputs, outputs in layers:
        if kind == "linear":
            weight = np.abs(parameters[at : at + inputs * outputs].reshape(inputs, outputs).astype(float))
            bias = np.abs(parameters[at + inputs * outputs :][:outputs])
            bound = bound @ weight + (inputs + 2) * EPS * (np.abs(x) @ weight + bias)
            x = reference.forward([(kind, inputs, outputs)], parameters[at : at + (inputs + 1) * outputs], x)
            at += (inputs + 1) * outputs
        else:  # no slope is steeper than 1
            x = reference.FORWARD[kind](x)
            bound = bound + 4 * EPS * np.abs(x)
    return 1.01 * bound  # for products of errors


@for_each("layers", ARCHITECTURES.values())
@for_each("dtype", [np.uint8, np.float32])
@for_each("count", [0, 1, 3, 4, 65])
def test_forward_matches_float64(kernels, random, layers, count, dtype):
    net = kernels.Network(layers)
    parameters, (images, _) = drawn_parameters(random, net), drawn_rows(random, net, count, dtype)
    out = forward(kernels, net, parameters, images)
    error = np.abs(out - reference.forward(layers, parameters, images))
    assert np.all(error <= forward_bound(layers, parameters, images))


def test_bytes_count_as_the_nearest_float32_to_a_255th(kernels, random):
    net = kernels.Network([("linear", 256, 5)])
    parameters = drawn_parameters(random, net)
    every = np.arange(256, dtype=np.uint8)
    images = np.stack([every, every[::-1], random.permutation(every)])
    floats = (images / 255).astype(np.float32)
    assert same_bits(forward(kernels, net, parameters, images), forward(kernels, net, parameters, floats))
    one = kernels.Network([("linear", 1, 1)])  # x * 1 + 0
    alone = forward(kernels, one, np.array([1, 0], dtype=np.float32), every[:, None])
    assert same_bits(alone[:, 0], (every / 255).astype(np.float32))


@for_each("layers", ARCHITECTURES.values())
@for_each("dtype", [np.uint8, np.float32])
def test_a_row_has_the_same_bits_whatever_stands_beside_it(kernels, random, layers, dtype):
    net = kernels.Network(layers)
    parameters, (images, _) = drawn_parameters(random, net), drawn_rows(random, net, 300, dtype)
    whole = forward(kernels, net, parameters, images, 300)
    for count in (1, 2, 3, 4, 5, 64, 299):
        for first in (0, 7, 300 - count):
            rows = slice(first, first + count) if first + count <= 300 else slice(0, count)
            assert same_bits(forward(kernels, net, parameters, images[rows], 300), whole[rows]), (first, count)


@for_each("layers", ARCHITECTURES.values())
@for_each("dtype", [np.uint8, np.float32])
@for_each("picked", [None, 90])
def test_the_size_of_the_workspace_changes_no_bit(kernels, random, layers, dtype, picked):
    net = kernels.Network(layers)
    start, (images, labels) = drawn_parameters(random, net), drawn_rows(random, net, 70, dtype)
    order = None if picked is None else random.integers(0, 70, picked)
    results = []
    for rows in (1, 2, 3, 4, 7, 32, 33, 64, 256):
        workspace = kernels.Workspace(net, rows, training=True)
        outputs = forward(kernels, net, start, images, rows)
        gradient = np.full_like(start, np.nan)
        tallies = [
            net.evaluate(start, images, labels, order, workspace),
            net.gradients(start, images, labels, order, gradient, workspace),
        ]
        parameters, velocity = start.copy(), np.zeros_like(start)
        tallies.append(sgd_train(kernels, net, parameters, velocity, images, labels, order, 33, 0.1, 0.9, workspace))
        results.append((tallies, *(array.tobytes() for array in (outputs, gradient, parameters, velocity))))
    assert all(result == results[0] for result in results)
    assert same_bits(parameters, start) == (net.outputs == 1)  # one class leaves nothing to learn


@for_each("layers", ARCHITECTURES.values())
@for_each("dtype", [np.uint8, np.float32])
@for_each("density", [0.2, 1.0])
def test_the_number_of_threads_changes_no_bit(kernels, random, layers, dtype, density):
    net = kernels.Network(layers)
    start, (images, labels) = drawn_parameters(random, net), drawn_rows(random, net, 70, dtype)
    images[random.random(images.shape) > density] = 0
    # Sixteen wait longest for each other: for images as they are stored with zeros, and as floats without.
    many = (16,) if (dtype == np.uint8) == (density < 1) else ()
    results = []
    for threads in (1, 2, 3, *many):
        gradient, parameters, velocity = np.full_like(start, np.nan), start.copy(), np.zeros_like(start)
        workspace = kernels.Workspace(net, 20, training=True)
        tallies = [
            net.evaluate(start, images, labels, None, kernels.Workspace(net, 20), threads=threads),
            net.gradients(start, images, labels, None, gradient, workspace, threads=threads),
            sgd_train(
                kernels, net, parameters, velocity, images, labels, None, 33, 0.1, 0.9, workspace, threads=threads
            ),
        ]
        results.append((tallies, *(array.tobytes() for array in (gradient, parameters, velocity))))
    assert all(result == results[0] for result in results)


@for_each("threads", [-1, 0, 17])
def test_a_number_of_threads_that_there_cannot_be_is_refused(kernels, random, threads):
    net = kernels.Network(ARCHITECTURES["relu"])
    parameters, (images, labels) = drawn_parameters(random, net), drawn_rows(random, net, 9)
    with pytest.raises(ValueError, match=f"threads must be from 1 to 16, not {threads}"):
        net.evaluate(parameters, images, labels, None, kernels.Workspace(net, 4), threads=threads)


@for_each("layers", ARCHITECTURES.values())
def test_packed_parameters_serve_as_the_flat_ones_do(kernels, random, layers):
    net = kernels.Network(layers)
    parameters, (images, labels) = drawn_parameters(random, net), drawn_rows(random, net, 20)
    packed = net.pack(parameters)
    assert packed.network is net
    assert packed.nbytes >= parameters.nbytes
    assert same_bits(forward(kernels, net, packed, images), forward(kernels, net, parameters, images))
    workspace = kernels.Workspace(net, 16, training=True)
    evaluated = [net.evaluate(each, images, labels, None, workspace) for each in (packed, parameters)]
    assert evaluated[0] == evaluated[1]
    parameters[:] = np.nan  # what was packed is a copy
    assert np.isfinite(forward(kernels, net, packed, images)).all()
    with pytest.raises(ValueError, match="packed for another network"):
        forward(kernels, kernels.Network(layers), packed, images)


@for_each("layers", ARCHITECTURES.values())
@for_each("dtype", [np.uint8, np.float32])
@for_each("count", [1, 2, 50])
def test_gradients_match_float64(kernels, random, layers, count, dtype):
    net = kernels.Network(layers)
    parameters, (images, labels) = drawn_parameters(random, net), drawn_rows(random, net, 60, dtype)
    order = random.integers(0, 60, count)
    gradient = np.full_like(parameters, np.nan)
    workspace = kernels.Workspace(net, 16, training=True)
    loss, correct = net.gradients(parameters, images, labels, order, gradient, workspace)
    expected_loss, right, expected = reference.gradients(layers, parameters, images, labels, order)
    logits_bound = forward_bound(layers, parameters, images[order]).max(axis=1)
    assert abs(loss - expected_loss) <= 2 * logits_bound.sum() + count * (net.outputs + 8) * EPS
    assert (type(correct), correct) == (int, right)
    for weight_at, (inputs, outputs), bias_at in net.slices:
        for part in (slice(weight_at, bias_at), slice(bias_at, bias_at + outputs)):
            largest = np.abs(expected[part]).max()
            assert np.abs(gradient[part] - expected[part]).max() <= 300 * EPS * largest + 4 * EPS / count, inputs


@for_each("layers", ARCHITECTURES.values())
def test_gradients_are_the_slopes_of_the_loss(kernels, random, layers):
    net = kernels.Network(layers)
    parameters, (images, labels) = drawn_parameters(random, net), drawn_rows(random, net, 20)
    gradient = np.empty_like(parameters)
    net.gradients(parameters, images, labels, None, gradient, kernels.Workspace(net, 20, training=True))

    def mean_loss(values):
        logits = reference.forward(layers, values, images)
        return reference.softmax_cross_entropy(logits, labels)[0] / len(images)

    h = 1e-6
    for at in random.permutation(net.parameter_count)[:60]:
        up, down = parameters.astype(float), parameters.astype(float)
        up[at] += h
        down[at] -= h
        assert abs(gradient[at] - (mean_loss(up) - mean_loss(down)) / (2 * h)) < 5e-6


def test_the_gradient_over_no_rows_is_0(kernels, random):
    net = kernels.Network([("linear", 7, 10)])
    workspace = kernels.Workspace(net, 4, training=True)
    parameters, (images, labels) = drawn_parameters(random, net), drawn_rows(random, net, 5)
    gradient = np.full_like(parameters, np.nan)
    net.gradients(parameters, images, labels, None, gradient, workspace)  # leaves another one in the workspace
    nothing = np.empty(0, dtype=np.int64)
    assert net.gradients(parameters, images, labels, nothing, gradient, workspace) == (0, 0)
    assert not gradient.any()
    before = parameters.copy()
    assert sgd_train(kernels, net, parameters, None, images, labels, nothing, 3, 0.1, 0, workspace) == (0, 0, 0)
    assert same_bits(parameters, before)


@pytest.mark.parametrize("layers", ARCHITECTURES.values(), ids=ARCHITECTURES)
@for_each("momentum", [0.0, 0.9])
@for_each("batch_size", [1, 8, 30, 1000])
def test_training_is_a_loop_of_steps(kernels, random, layers, batch_size, momentum):
    """The same bits as gradients and sgd called from Python; and close to the float64 twin."""
    net = kernels.Network(layers)
    start, (images, labels) = drawn_parameters(random, net), drawn_rows(random, net, 60, np.uint8)
    order = random.permutation(60)[:43]
    workspace = kernels.Workspace(net, 16, training=True)
    parameters, velocity = start.copy(), None if momentum == 0 else np.zeros_like(start)
    # Not so fast that a rounding on one side of relu's corner grows from step to step.
    settings = batch_size, 0.01, momentum
    result = sgd_train(kernels, net, parameters, velocity, images, labels, order, *settings, workspace)

    looped, looped_velocity = start.copy(), None if momentum == 0 else np.zeros_like(start)
    gradient, loss, correct, batches = np.empty_like(start), 0.0, 0, 0
    for first in range(0, 43, batch_size):
        rows = order[first : first + batch_size]
        some_loss, some_correct = net.gradients(looped, images, labels, rows, gradient, workspace)
        sgd(kernels, looped, gradient, looped_velocity, 0.01, momentum)
        loss, correct, batches = loss + some_loss, correct + some_correct, batches + 1
    assert result == (batches, loss, correct)
    assert batches == -(-43 // batch_size)
    assert same_bits(parameters, looped)
    assert velocity is None or same_bits(velocity, looped_velocity)

    exact_velocity = None if momentum == 0 else np.zeros(len(start))
    expected = reference.train(
        layers, start, exact_velocity, reference.Batches(images, labels, order, batch_size), 0.01, momentum
    )
    assert result[0] == expected[0]
    assert result[1] == pytest.approx(expected[1], rel=1e-5, abs=1e-5)
    assert abs(result[2] - expected[2]) <= 1  # two logits may be equal to all digits of a float32
    np.testing.assert_allclose(parameters, expected[3], rtol=0, atol=2e-5)
    assert (velocity is None) == (expected[4] is None)
    if velocity is not None:
        np.testing.assert_allclose(velocity, expected[4], rtol=0, atol=1e-4)


@for_each("cuts", [(8,), (8, 8, 24), (40, 8)])
def test_where_an_epoch_is_cut_changes_no_bit(kernels, random, cuts):
    net = kernels.Network([("linear", 30, 12), ("relu", 12, 12), ("linear", 12, 10)])
    start, (images, labels) = drawn_parameters(random, net), drawn_rows(random, net, 60, np.uint8)
    workspace = kernels.Workspace(net, 16, training=True)

    whole = start.copy()
    _, loss, correct = sgd_train(kernels, net, whole, None, images, labels, np.arange(60), 8, 0.1, 0, workspace)
    parts, summed, right, first = start.copy(), 0.0, 0, 0
    for rows in (*cuts, 60 - sum(cuts)):
        order = np.arange(first, first + rows)
        _, summed, some = sgd_train(kernels, net, parts, None, images, labels, order, 8, 0.1, 0, workspace, loss=summed)
        right, first = right + some, first + rows
    assert (summed, right) == (loss, correct)
    assert same_bits(parts, whole)


@for_each("layers", ARCHITECTURES.values())
@for_each("dtype", [np.uint8, np.float32])
def test_evaluate_is_the_loss_of_forward(kernels, random, layers, dtype):
    net = kernels.Network(layers)
    parameters, (images, labels) = drawn_parameters(random, net), drawn_rows(random, net, 60, dtype)
    logits = forward(kernels, net, parameters, images)
    for order in (None, random.integers(0, 60, 71), np.empty(0, dtype=np.int64)):
        rows = np.arange(60) if order is None else order
        expected = kernels.softmax_cross_entropy(logits[rows], labels[rows])
        assert net.evaluate(parameters, images, labels, order, kernels.Workspace(net, 16)) == (len(rows), *expected)


@for_each("layers", ARCHITECTURES.values())
def test_nothing_around_the_results_changes(kernels, random, layers):
    net = kernels.Network(layers)
    parameters, (images, labels) = drawn_parameters(random, net), drawn_rows(random, net, 9)
    workspace = kernels.Workspace(net, 4, training=True)
    whole = np.full((9 + 4, net.outputs), 12345.5, dtype=np.float32)
    net.forward(parameters, images, whole[2:-2], workspace)
    assert np.isfinite(whole).all()
    assert np.all(whole[[0, 1, -2, -1]] == 12345.5)
    vectors = np.full((3, net.parameter_count), 12345.5, dtype=np.float32)
    net.gradients(parameters, images, labels, None, vectors[1], workspace)
    assert np.all(vectors[[0, 2]] == 12345.5)
    vectors[1] = parameters
    sgd_train(kernels, net, vectors[1], np.zeros_like(parameters), images, labels, None, 4, 0.1, 0.9, workspace)
    assert np.all(vectors[[0, 2]] == 12345.5)


def test_what_is_only_read_may_be_read_only(kernels, random, tmp_path):
    net = kernels.Network(ARCHITECTURES["relu"])
    parameters, (images, labels) = drawn_parameters(random, net), drawn_rows(random, net, 20, np.uint8)
    order = random.permutation(20)
    images.tofile(tmp_path / "images")
    mapped = np.memmap(tmp_path / "images", dtype=np.uint8, mode="r", shape=images.shape)
    for array in (labels, order, parameters):
        array.flags.writeable = False
    workspace = kernels.Workspace(net, 16, training=True)
    plain, gradient = np.empty_like(parameters), np.empty_like(parameters)
    assert same_bits(forward(kernels, net, parameters, mapped), forward(kernels, net, parameters, images))
    tallies = [
        net.gradients(parameters, rows, labels, order, out, workspace)
        for rows, out in ((images, plain), (mapped, gradient))
    ]
    assert tallies[0] == tallies[1]
    assert same_bits(plain, gradient)
    assert net.evaluate(parameters, mapped, labels, order, workspace)[0] == 20
    assert sgd_train(kernels, net, parameters.copy(), None, mapped, labels, order, 8, 0.1, 0, workspace)[0] == 3


@for_each("layers", ARCHITECTURES.values())
def test_a_stop_flag_that_is_already_set_leaves_everything_as_it_was(kernels, random, layers):
    net = kernels.Network(layers)
    parameters, (images, labels) = drawn_parameters(random, net), drawn_rows(random, net, 20)
    velocity = np.ones_like(parameters)
    before = parameters.copy()
    stop = np.array([1], dtype=np.uint8)
    workspace = kernels.Workspace(net, 16, training=True)
    assert sgd_train(kernels, net, parameters, velocity, images, labels, None, 8, 0.1, 0.9, workspace, stop) == (
        0,
        0,
        0,
    )
    assert net.evaluate(parameters, images, labels, None, workspace, stop) == (0, 0, 0)
    assert same_bits(parameters, before)
    assert np.all(velocity == 1)
    stop[0] = 0
    assert sgd_train(kernels, net, parameters, velocity, images, labels, None, 8, 0.1, 0.9, workspace, stop)[0] == 3
    assert net.evaluate(parameters, images, labels, None, workspace, stop)[0] == 20


class Training(threading.Thread):
    """A pass that would take minutes, in a thread of its own; entered once it has its workspace."""

    def __init__(self, kernels, random):
        super().__init__(daemon=True)
        self.kernels = kernels
        self.net = kernels.Network([("linear", 300, 300), ("relu", 300, 300), ("linear", 300, 10)])
        self.workspace = kernels.Workspace(self.net, 4, training=True)
        self.start_parameters = drawn_parameters(random, self.net)
        self.parameters = self.start_parameters.copy()
        self.images, self.labels = drawn_rows(random, self.net, 50)
        self.order = random.integers(0, 50, 2_000_000)
        self.stop = np.zeros(1, dtype=np.uint8)
        self.result = None

    def run(self):
        self.result = sgd_train(
            self.kernels,
            self.net,
            self.parameters,
            None,
            self.images,
            self.labels,
            self.order,
            2,
            1e-4,
            0,
            self.workspace,
            self.stop,
        )

    def __enter__(self):
        self.start()
        while self.is_alive() and not self.workspace.busy:
            time.sleep(0.001)
        return self

    def __exit__(self, *error):
        self.stop[0] = 1
        self.join()


def test_another_thread_can_stop_a_pass_between_steps(kernels, random):
    with Training(kernels, random) as training:
        pass
    batches, loss, correct = training.result
    assert batches < 1_000_000
    repeated = training.start_parameters.copy()
    assert sgd_train(
        kernels,
        training.net,
        repeated,
        None,
        training.images,
        training.labels,
        training.order[: 2 * batches],
        2,
        1e-4,
        0,
        training.workspace,
    ) == (batches, loss, correct)
    assert same_bits(training.parameters, repeated)


def test_a_workspace_serves_one_call_at_a_time(kernels, random):
    with Training(kernels, random) as training:
        net, images, labels = training.net, training.images, training.labels
        parameters, gradient = training.start_parameters.copy(), np.empty_like(training.start_parameters)
        out = np.empty((len(images), net.outputs), dtype=np.float32)
        calls = [
            lambda workspace: net.forward(parameters, images, out, workspace),
            lambda workspace: net.evaluate(parameters, images, labels, None, workspace),
            lambda workspace: net.gradients(parameters, images, labels, None, gradient, workspace),
            lambda workspace: sgd_train(kernels, net, parameters, None, images, labels, None, 8, 0.1, 0, workspace),
        ]
        for call in calls:
            with pytest.raises(RuntimeError, match="the workspace is in use by another call"):
                call(training.workspace)
        calls[0](kernels.Workspace(net, 4))  # the network itself serves any number
        assert training.is_alive()
    for call in calls:
        call(training.workspace)


def test_a_refused_call_leaves_the_workspace_free(kernels, random):
    net = kernels.Network([("linear", 7, 10)])
    workspace = kernels.Workspace(net, 4)
    parameters, (images, labels) = drawn_parameters(random, net), drawn_rows(random, net, 5)
    out = np.empty((5, 10), dtype=np.float32)
    for _ in range(2):
        with pytest.raises(ValueError, match="training=True"):
            net.gradients(parameters, images, labels, None, np.empty_like(parameters), workspace)
        net.forward(parameters, images, out, workspace)


def test_threads_with_a_workspace_each_do_not_disturb_one_another(kernels, random):
    net = kernels.Network(ARCHITECTURES["five linear"])
    start, (images, labels) = drawn_parameters(random, net), drawn_rows(random, net, 200)
    trained = [start.copy() for _ in range(5)]

    def train(parameters):
        workspace = kernels.Workspace(net, 16, training=True)
        for _ in range(10):
            sgd_train(kernels, net, parameters, None, images, labels, None, 10, 0.05, 0, workspace)

    train(trained[0])
    threads = [threading.Thread(target=train, args=(parameters,)) for parameters in trained[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same_bits(parameters, trained[0]) for parameters in trained[1:])


def test_training_learns(kernels, random):
    """Which of three inputs is the largest: half an epoch of it is not enough, ten are."""
    net = kernels.Network([("linear", 3, 16), ("relu", 16, 16), ("linear", 16, 3)])
    images = random.uniform(size=(3000, 3)).astype(np.float32)
    labels = images.argmax(axis=1).astype(np.uint8)
    parameters = drawn_parameters(random, net)
    velocity, workspace = np.zeros_like(parameters), kernels.Workspace(net, 64, training=True)
    for _ in range(10):
        sgd_train(kernels, net, parameters, velocity, images, labels, random.permutation(3000), 30, 0.1, 0.9, workspace)
    assert net.evaluate(parameters, images, labels, None, workspace)[2] > 0.96 * 3000


def test_what_a_network_tells_of_itself(kernels):
    net = kernels.Network(iter([["relu", 4, 4], ("linear", 4, np.int64(3)), ("linear", 3, 2)]))
    assert net.layers == (("relu", 4, 4), ("linear", 4, 3), ("linear", 3, 2))
    assert net.slices == ((0, (4, 3), 12), (15, (3, 2), 21))
    assert (net.inputs, net.outputs, net.parameter_count) == (4, 2, 23)
    with pytest.raises(AttributeError):
        net.inputs = 5
    workspace = kernels.Workspace(net, 7)
    assert (workspace.network, workspace.rows, workspace.training) == (net, 7, False)
    assert kernels.Workspace(net, 7, training=True).nbytes > workspace.nbytes > 4 * 7 * (4 + 4 + 3 + 2)


@for_each(
    "layers, words",
    [
        ([], "1 to 64 layers, not 0"),
        ([("linear", 2, 2)] * 65, "1 to 64 layers, not 65"),
        ([("relu", 2, 2)], "at least one linear layer"),
        ([("softmax", 2, 2)], "layer 0 is 'softmax'; a layer is one of linear, relu, sigmoid, tanh"),
        ([("linear", 2, 3), ("relu", 3, 4)], "layer 1, relu, has 3 inputs and 4 outputs"),
        ([("linear", 2, 3), ("linear", 4, 2)], "layer 1 has 4 inputs, but what comes before it has 3 outputs"),
        ([("linear", 0, 3)], "layer 0 is 0 by 3: both must be from 1 to"),
        ([("linear", 3, -1)], "layer 0 is 3 by -1: both must be from 1 to"),
        ([("linear", 3, 2**24 + 1)], "layer 0 is 3 by 16777217: both must be from 1 to 16777216"),
        ([("linear", 2**70, 2)], "both must be from 1 to 16777216"),
    ],
)
def test_layers_that_make_no_network_are_refused(kernels, layers, words):
    with pytest.raises(ValueError, match=words):
        kernels.Network(layers)


def test_64_layers_are_not_too_many(kernels, random):
    layers = [("linear", 3, 3), ("tanh", 3, 3)] * 32
    net = kernels.Network(layers)
    parameters, (images, _) = drawn_parameters(random, net), drawn_rows(random, net, 5)
    out = forward(kernels, net, parameters, images)
    error = np.abs(out - reference.forward(layers, parameters, images))
    assert np.all(error <= forward_bound(layers, parameters, images))


def test_a_workspace_that_cannot_be_had(kernels):
    widest = kernels.Network([("relu", 2**24, 2**24)] * 63 + [("linear", 2**24, 1)])
    with pytest.raises(MemoryError, match=r"^\d+ bytes for the kernels' workspace"):
        kernels.Workspace(widest, 2**31 - 1)  # more than any address space
    square = kernels.Network([("linear", 2**24, 2**24)] * 64)
    with pytest.raises(MemoryError, match=r"^\d{20} bytes"):  # as bytes, more than 64 bits hold
        kernels.Workspace(square, 2059008998, training=True)
    for rows in (0, -1, 2**31):
        with pytest.raises(ValueError, match=f"rows must be from 1 to 2147483647, not {rows}"):
            kernels.Workspace(widest, rows)
    for network in (None, 3):
        with pytest.raises(TypeError, match="network"):
            kernels.Workspace(network, 3)


@for_each("widths", [(784, 1, 100_000), (784, 200, 8192, 8192, 10), (12119, 67, 18784, 29885, 10), (10, 100_000)])
def test_a_wide_network_takes_so_many_rows_at_once_that_they_fit_into_32_mib(kernels, widths):
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [("linear", inputs, outputs), ("relu", outputs, outputs)]
    wide = kernels.Network(layers)
    assert 1 <= wide.micro_batch_rows < 256
    assert kernels.Workspace(wide, wide.micro_batch_rows, training=True).nbytes <= 2**25
    assert kernels.Workspace(wide, wide.micro_batch_rows + 1, training=True).nbytes > 2**25


def test_a_narrow_network_takes_256_rows_at_once(kernels):
    assert kernels.Network([("linear", 784, 128), ("linear", 128, 10)]).micro_batch_rows == 256


def test_large_batches_are_trained_in_small_micro_batches(kernels):
    network = kernels.Network([("linear", 50, 300), ("linear", 300, 10)])
    assert [network.training_rows(batch) for batch in (1, 64, 191, 192, 5000)] == [1, 64, 191, 64, 64]
    narrow = kernels.Network([("linear", 50, 64), ("linear", 64, 10)])
    assert [narrow.training_rows(batch) for batch in (191, 192, 5000)] == [191, 128, 128]
    large = kernels.Network([("linear", 1000, 2**12)])
    assert large.training_rows(5000) == large.micro_batch_rows == 256
    wide = kernels.Network([("linear", 50, 2**20), ("linear", 2**20, 1)])
    assert wide.training_rows(64) == wide.micro_batch_rows < 64
