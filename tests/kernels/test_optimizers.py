"""Update rules: against torch.optim and float64, and bit by bit whatever the micro-batches, threads and places."""

import numpy as np
from bits import initial_state, same_bits
from cases import for_each

from falcon_mnist.kernels import reference

WAYS = {
    "sgd": ("sgd", {}),
    "momentum": ("sgd", {"momentum": 0.9}),
    "nesterov": ("sgd", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.02}),
    "decay": ("sgd", {"weight_decay": 0.02}),
    "adam": ("adam", {}),
    "adam-decay": ("adam", {"beta1": 0.8, "beta2": 0.99, "eps": 1e-3, "weight_decay": 0.1}),
    "adamw": ("adamw", {}),
    "adamw-decay": ("adamw", {"beta1": 0.8, "beta2": 0.99, "eps": 1e-3, "weight_decay": 0.5}),
}
AVERAGED = {f"{name}-averaged": (kind, {**params, "averaging": 0.95}) for name, (kind, params) in WAYS.items()}

# After 200 steps of torch 2.13's SGD, Adam and AdamW with lr=0.05 from START on `gradient`s, on the CPU.
START = np.linspace(-1, 1, 6).astype(np.float32)
GOLDEN = {
    "sgd": [-1.0000031, -0.6000467, -0.20057802, 0.19397368, 0.6289174, -0.66750956],
    "momentum": [-1.0001614, -0.6002006, -0.18898574, 0.52106947, 14.026665, -68.80823],
    "nesterov": [-0.12190885, -0.07321337, -0.024954569, 0.01743812, -3.0919983, -6.5522947],
    "decay": [-0.8186491, -0.4912323, -0.16451664, 0.1516053, 0.20260914, 0.37076566],
    "adam": [-1.0774509, -0.6460919, -0.13389234, 0.3475328, 1.0973767, 0.73007447],
    "adam-decay": [-1.5907484e-05, -0.00051155314, -0.0013882527, 0.07134445, 0.772718, 0.77972615],
    "adamw": [-0.9750584, -0.5846568, -0.12109524, 0.31457803, 0.9889644, 0.65954524],
    "adamw-decay": [-0.006626883, -0.004575005, -0.002333847, -0.002936731, -0.13381633, 0.001411289],
}
LAYERS = [("linear", 70, 40), ("relu", 40, 40), ("linear", 40, 40), ("relu", 40, 40), ("linear", 40, 10)]


def gradient(step):
    """Of each of the six parameters another size, from 1e-3 to 100."""
    numbers = np.sin(step * np.arange(2, 8)).astype(np.float32)
    return numbers * np.float32(10) ** np.arange(-3, 3).astype(np.float32)


@for_each("way", WAYS)
def test_200_steps_end_where_torch_ends(kernels, way):
    kind, params = WAYS[way]
    optimizer = kernels.Optimizer(kind, **params)
    parameters = START.copy()
    state = initial_state(optimizer, parameters)
    largest = np.zeros(6)
    for step in range(200):
        kernels.apply_update(parameters, gradient(step + 1), state, optimizer, 0.05, step=step)
        largest = np.maximum(largest, np.abs(parameters))
    assert (np.abs(parameters - GOLDEN[way]) <= 1e-5 * largest).all()


@for_each("way", WAYS | AVERAGED)
def test_steps_match_float64(kernels, random, way):
    kind, params = (WAYS | AVERAGED)[way]
    optimizer = kernels.Optimizer(kind, **params)
    parameters = random.standard_normal(53).astype(np.float32)
    state = initial_state(optimizer, parameters)
    exact, exact_state = parameters, state
    defaults = {"weight_decay": 0.01} if kind == "adamw" else {}
    twin = reference.Optimizer(kind, **(defaults | params))
    for step in range(30):
        g = random.standard_normal(53).astype(np.float32)
        exact, exact_state = twin.update(exact, g, exact_state, 0.01, step)
        kernels.apply_update(parameters, g, state, optimizer, 0.01, step=step)
    np.testing.assert_allclose(parameters, exact, rtol=2e-5, atol=2e-6)
    assert set(state) == set(exact_state)
    for name, array in state.items():
        np.testing.assert_allclose(array, exact_state[name], rtol=2e-5, atol=2e-6)


@for_each("way", WAYS | AVERAGED)
@for_each("batch_size", [1, 24])
def test_training_is_a_loop_of_steps_that_decay_no_bias(kernels, random, way, batch_size):
    kind, params = (WAYS | AVERAGED)[way]
    optimizer = kernels.Optimizer(kind, **params)
    undecayed = kernels.Optimizer(kind, **params | {"weight_decay": 0.0})
    net, images, labels, start = problem(kernels, random)
    rates = np.linspace(0.01, 0.001, -(-60 // batch_size)).astype(np.float32)
    parameters, state = start.copy(), initial_state(optimizer, start)
    workspace = kernels.Workspace(net, 24, training=True)
    order = random.permutation(60)
    batches = kernels.Batches(images, labels, order, batch_size)
    net.train(parameters, state, batches, kernels.Steps(optimizer, rates, first_step=7), workspace)
    looped, looped_state, d = start.copy(), initial_state(optimizer, start), np.empty_like(start)
    for step, rate in enumerate(rates):
        rows = order[step * batch_size : (step + 1) * batch_size]
        net.gradients(looped, images, labels, rows, d, workspace)
        for at, (_, outputs), bias_at in net.slices:
            for part, rule in ((slice(at, bias_at), optimizer), (slice(bias_at, bias_at + outputs), undecayed)):
                parts = {name: array[part] for name, array in looped_state.items()}
                kernels.apply_update(looped[part], d[part], parts, rule, rate, step=7 + step)
    assert same_bits(parameters, looped)
    assert all(same_bits(state[name], looped_state[name]) for name in state)


@for_each("way", ["nesterov", "adam-decay", "adamw-decay", "adamw-decay-averaged"])
@for_each("width", [1, 16, 37, 48, 80, 96, 112, 128, 144])
@for_each("inputs", [16, 33, 70])
def test_each_parameter_of_any_layer_gets_the_step_of_its_gradient(kernels, random, way, width, inputs):
    kind, params = (WAYS | AVERAGED)[way]
    optimizer = kernels.Optimizer(kind, **params)
    network = kernels.Network([("linear", inputs, width)])
    pixels = (random.integers(1, 256, (24, inputs)) * (random.random((24, inputs)) < 0.2)).astype(np.uint8)
    labels = np.zeros(24, np.uint8)
    parameters = random.standard_normal(network.parameter_count).astype(np.float32)
    ((at, _, bias_at),) = network.slices
    looped, d = parameters.copy(), np.empty_like(parameters)
    state, looped_state = initial_state(optimizer, parameters), initial_state(optimizer, parameters)
    workspace = kernels.Workspace(network, 24, training=True)
    network.gradients(looped, pixels, labels, None, d, workspace)
    weights = slice(at, bias_at)
    kernels.apply_update(looped[weights], d[weights], {k: v[weights] for k, v in looped_state.items()}, optimizer, 0.01)
    batches = kernels.Batches(pixels, labels, None, 24)
    network.train(parameters, state, batches, kernels.Steps(optimizer, np.full(1, 0.01, np.float32)), workspace)
    assert same_bits(parameters[weights], looped[weights])
    assert all(same_bits(state[name][weights], looped_state[name][weights]) for name in state)


@for_each("way", ["nesterov", "adam-decay", "adamw", "momentum-averaged", "adamw-averaged"])
@for_each("density", [0.2, 1.0])
def test_threads_and_micro_batches_change_no_bit(kernels, random, way, density):
    kind, params = (WAYS | AVERAGED)[way]
    optimizer = kernels.Optimizer(kind, **params)
    net, images, labels, start = problem(kernels, random, density)
    rates = np.full(3, 0.01, np.float32)
    ended = []
    for rows, threads in ((24, 1), (5, 1), (24, 2), (7, 3), (24, 5)):
        parameters, state = start.copy(), initial_state(optimizer, start)
        workspace = kernels.Workspace(net, rows, training=True)
        batches = kernels.Batches(images, labels, None, 24)
        steps = kernels.Steps(optimizer, rates, smoothing=0.1)
        result = net.train(parameters, state, batches, steps, workspace, threads=threads)
        ended.append((result, parameters.tobytes(), {name: array.tobytes() for name, array in state.items()}))
    assert all(each == ended[0] for each in ended)


def test_a_gradient_of_0_moves_nothing_whatever_eps_is(kernels):
    optimizer = kernels.Optimizer("adam", eps=1e-300)
    parameters = np.ones(20, np.float32)
    state = initial_state(optimizer, parameters)
    kernels.apply_update(parameters, np.zeros_like(parameters), state, optimizer, 0.1)
    assert same_bits(parameters, np.ones(20, np.float32))


def problem(kernels, random, density=0.3):
    """A network, images, labels and parameters."""
    net = kernels.Network(LAYERS)
    images = random.integers(1, 256, (60, 70), dtype=np.uint8) * (random.random((60, 70)) < density).astype(np.uint8)
    labels = random.integers(0, 10, 60, dtype=np.uint8)
    return net, images, labels, random.uniform(-0.3, 0.3, net.parameter_count).astype(np.float32)
