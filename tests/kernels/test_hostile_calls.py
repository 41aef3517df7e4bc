"""What must raise, or change nothing, before memory is touched that is not the caller's."""

import numpy as np
import pytest
from bits import same_bits
from cases import for_each

LAYERS = [("linear", 4, 3), ("relu", 3, 3), ("linear", 3, 2)]


@for_each("name", ["Network", "Packed", "Workspace", "Optimizer"])
def test_objects_are_made_whole_or_not_at_all(kernels, name):
    kind = type(kernels.Network(LAYERS)) if name == "Network" else getattr(kernels, name)
    with pytest.raises(TypeError, match="positional"):
        kind.__new__(kind)


def test_a_second_init_changes_nothing(kernels):
    net = kernels.Network(LAYERS)
    net.__init__([("linear", 9, 9)])
    assert (net.inputs, net.parameter_count) == (4, 23)


def test_sizes_beyond_64_bits_are_refused_not_computed(kernels):
    """2^31 rows of 2^54 parameters: their product has no place in 64 bits."""
    net = kernels.Network([("linear", 2**24, 2**24)] * 64)
    assert net.parameter_count == 64 * (2**48 + 2**24)
    with pytest.raises(MemoryError):
        kernels.Workspace(net, 2**31 - 1, training=True)
    with pytest.raises(ValueError, match="parameters has shape"):
        net.pack(np.zeros(3, np.float32))


@for_each("call", ["evaluate", "gradients", "train"])
def test_labels_that_change_after_they_were_checked_raise(kernels, call):
    """As those of a memory-mapped file may. Here the array says so itself when it is asked for its maximum."""

    class Changing(np.ndarray):
        def max(self, *arguments, **options):
            found = np.asarray(self).max(*arguments, **options)
            np.asarray(self)[:] = 255
            return found

    net = kernels.Network(LAYERS)
    images, labels = np.ones((50, 4), np.float32), np.zeros(50, np.uint8).view(Changing)
    parameters = np.ones(23, np.float32)
    workspace = kernels.Workspace(net, 8, training=True)
    calls = {
        "evaluate": lambda: net.evaluate(parameters, images, labels, None, workspace, threads=2),
        "gradients": lambda: net.gradients(parameters, images, labels, None, np.empty_like(parameters), workspace),
        "train": lambda: net.train(
            parameters,
            {},
            kernels.Batches(images, labels, None, 8),
            kernels.Steps(kernels.Optimizer("sgd"), np.ones(7, np.float32)),
            workspace,
        ),
    }
    before = parameters.copy()
    with pytest.raises(ValueError, match="changed during the call"):
        calls[call]()
    assert same_bits(parameters, before)


@for_each(
    "kind, params, words",
    [("sgdd", {}, "optimizer is 'sgdd'; it is one of sgd"), ("sgd", {"beta": 1}, "sgd has no parameter 'beta'")],
)
def test_an_optimizer_that_does_not_exist_is_refused(kernels, kind, params, words):
    with pytest.raises(ValueError, match=words):
        kernels.Optimizer(kind, **params)
