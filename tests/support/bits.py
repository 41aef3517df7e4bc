"""What the tests of the kernels share."""

import numpy as np


def same_bits(x, y):
    return x.shape == y.shape and x.tobytes() == y.tobytes()


def sgd(kernels, parameters, gradients, velocity, learning_rate, momentum=0.0):
    """One step of SGD in place; `velocity` is None without momentum."""
    optimizer = kernels.Optimizer("sgd", momentum=momentum)
    return kernels.apply_update(parameters, gradients, state_of(velocity), optimizer, learning_rate)


def sgd_train(
    kernels, net, parameters, velocity, images, labels, order, batch_size, learning_rate, momentum, *rest, **options
):
    """`Network.train` with SGD and the same learning rate at each step."""
    steps = -(-(len(images) if order is None else len(order)) // batch_size)
    optimizer, rates = kernels.Optimizer("sgd", momentum=momentum), np.full(steps, learning_rate, np.float32)
    batches = kernels.Batches(images, labels, order, batch_size)
    return net.train(parameters, state_of(velocity), batches, kernels.Steps(optimizer, rates), *rest, **options)


def initial_state(optimizer, parameters):
    return {name: parameters.copy() if name == "average" else np.zeros_like(parameters) for name in optimizer.state}


def state_of(velocity):
    return {} if velocity is None else {"velocity": velocity}
