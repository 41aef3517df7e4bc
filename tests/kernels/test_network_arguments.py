"""Networks refuse bad arguments, by name and before anything has changed."""

import numpy as np
import pytest
from bits import same_bits
from cases import for_each

NET = [("linear", 4, 3), ("relu", 3, 3), ("linear", 3, 2)]  # 23 parameters


def arguments(kernels, method):
    """Good ones, fresh for each call."""
    net = kernels.Network(NET)
    images, labels = np.zeros((6, 4), dtype=np.float32), np.zeros(6, dtype=np.uint8)
    rows = {"images": images, "labels": labels, "order": np.arange(6)}
    workspace = {"workspace": kernels.Workspace(net, 4, training=True)}
    vector = np.zeros(23, dtype=np.float32)
    common = {"parameters": vector} | workspace
    steps = {"batch_size": 2, "learning_rates": f32(3) + 0.1, "optimizer": kernels.Optimizer("sgd", momentum=0.9)}
    steps["state"] = {"velocity": vector.copy()}
    return net, common | {
        "forward": {"inputs": images, "out": np.zeros((6, 2), dtype=np.float32)},
        "evaluate": rows,
        "gradients": rows | {"out": vector.copy()},
        "train": rows | steps,
    }[method]


def call(kernels, net, method, given):
    """A method with these arguments, those of `train` in their groups."""
    groups = {"batches": kernels.Batches, "steps": kernels.Steps} if method == "train" else {}
    grouped = {name for group in groups.values() for name in group._fields}
    made = {
        name: group(**{field: given[field] for field in group._fields if field in given})
        for name, group in groups.items()
    }
    return getattr(net, method)(**{name: value for name, value in given.items() if name not in grouped}, **made)


def f32(*shape):
    return np.zeros(shape, dtype=np.float32)


def locked(array):
    array.flags.writeable = False
    return array


def bytes_of(good, name, count):
    return good[name].view(np.uint8)[:count]


METHODS = ["forward", "evaluate", "gradients", "train"]
LEARNING = ["evaluate", "gradients", "train"]
# Methods, the argument that is bad, how it is made from the good ones, error, what the message says.
BAD = [
    (METHODS, "parameters", lambda good: f32(22), ValueError, r"parameters has shape \(22,\), .* needs \(23,\)"),
    (METHODS, "parameters", lambda good: f32(23, 1), TypeError, "parameters must be a 1-D .* not a 2-D float32"),
    (METHODS, "parameters", lambda good: np.zeros(23), TypeError, "parameters must be .* not a 1-D float64"),
    (METHODS, "parameters", lambda good: [0.0] * 23, TypeError, "parameters must be .* not list"),
    (METHODS, "parameters", lambda good: f32(46)[::2], ValueError, "parameters must be aligned and C-contiguous"),
    (["train"], "parameters", lambda good: locked(f32(23)), ValueError, "parameters must be writable"),
    (["train"], "state", lambda good: {"velocity": f32(24)}, ValueError, r"velocity has shape \(24,\), .* \(23,\)"),
    (["train"], "state", lambda good: {"velocity": locked(f32(23))}, ValueError, "velocity must be writable"),
    (["train"], "state", lambda good: {"velocity": [0.0] * 23}, TypeError, "velocity must be .* not list"),
    (["train"], "state", lambda good: {}, ValueError, "state must have velocity, not none"),
    (["train"], "state", lambda good: good["state"] | {"more": f32(23)}, ValueError, "have velocity, not velocity"),
    (["train"], "state", lambda good: None, TypeError, "state"),
    (["train"], "state", lambda good: {"velocity": good["parameters"]}, ValueError, "velocity shares .* parameters"),
    (["train"], "optimizer", lambda good: None, TypeError, "optimizer"),
    (["train"], "learning_rates", lambda good: f32(2), ValueError, r"learning_rates has shape \(2,\), .* needs \(3,\)"),
    (["train"], "learning_rates", lambda good: 0.1, TypeError, "learning_rates must be .* not float"),
    (["train"], "learning_rates", lambda good: good["parameters"][:3], ValueError, "shares .* learning_rates"),
    (["train"], "batch_size", lambda good: 0, ValueError, "batch_size must be at least 1, not 0"),
    (["train"], "batch_size", lambda good: -3, ValueError, "batch_size must be at least 1, not -3"),
    (["train"], "first_step", lambda good: -1, ValueError, "first_step must be at least 0, not -1"),
    (["train"], "smoothing", lambda good: 1.0, ValueError, "smoothing must be from 0 to below 1, not 1.0"),
    (LEARNING, "images", lambda good: f32(6, 5), ValueError, r"images has shape \(6, 5\), .* needs \(6, 4\)"),
    (LEARNING, "images", lambda good: f32(4), TypeError, "images must be a 2-D float32 or uint8 array, not a 1-D"),
    (LEARNING, "images", lambda good: np.zeros((6, 4)), TypeError, "images must be .* not a 2-D float64 array"),
    (LEARNING, "images", lambda good: f32(4, 6).T, ValueError, "images must be aligned and C-contiguous"),
    (["forward"], "inputs", lambda good: f32(6, 5), ValueError, r"inputs has shape \(6, 5\), .* needs \(6, 4\)"),
    (["forward"], "inputs", lambda good: f32(12, 4)[::2], ValueError, "inputs must be aligned and C-contiguous"),
    (["forward"], "inputs", lambda good: None, TypeError, "inputs must be .* not NoneType"),
    (["forward"], "out", lambda good: f32(6, 3), ValueError, r"out has shape \(6, 3\), .* needs \(6, 2\)"),
    (["forward"], "out", lambda good: locked(f32(6, 2)), ValueError, "out must be writable"),
    (["forward"], "out", lambda good: f32(2, 6).T, ValueError, "out must be aligned and C-contiguous"),
    (["forward"], "out", lambda good: good["inputs"].reshape(12, 2)[:6], ValueError, "out shares .* inputs"),
    (["forward"], "out", lambda good: good["parameters"][:12].reshape(6, 2), ValueError, "out shares .* parameters"),
    (["gradients"], "out", lambda good: f32(22), ValueError, r"out has shape \(22,\), .* needs \(23,\)"),
    (["gradients"], "out", lambda good: locked(f32(23)), ValueError, "out must be writable"),
    (["gradients"], "out", lambda good: good["parameters"], ValueError, "out shares memory with parameters"),
    (LEARNING, "labels", lambda good: np.zeros(5, np.uint8), ValueError, r"labels has shape \(5,\), .* needs \(6,\)"),
    (LEARNING, "labels", lambda good: np.zeros(6, np.int64), TypeError, "labels must be a 1-D uint8 array, not a 1-D"),
    (LEARNING, "labels", lambda good: np.full(6, 2, np.uint8), ValueError, "labels must be below 2, .* not 2"),
    (LEARNING, "order", lambda good: np.array([0, 6]), ValueError, "order must hold row numbers from 0 to 5"),
    (LEARNING, "order", lambda good: np.array([-1, 0]), ValueError, "order must hold row numbers from 0 to 5"),
    (LEARNING, "order", lambda good: np.arange(6, dtype=np.int32), TypeError, "order must be a 1-D int64 array, not"),
    (LEARNING, "order", lambda good: np.arange(6)[::-1], ValueError, "order must be aligned and C-contiguous"),
    (LEARNING, "order", lambda good: [0, 1], TypeError, "order must be .* not list"),
    (["evaluate", "train"], "stop", lambda good: np.zeros(2, np.uint8), ValueError, "stop must hold one flag, not 2"),
    (["evaluate", "train"], "stop", lambda good: np.zeros(1, bool), TypeError, "stop must be a 1-D uint8 array, not"),
    (["evaluate", "train"], "stop", lambda good: False, TypeError, "stop must be a 1-D uint8 array, not bool"),
    (METHODS, "workspace", lambda good: None, TypeError, "workspace"),
    (METHODS, "workspace", lambda good: good["parameters"], TypeError, "workspace"),
    (
        METHODS,
        "workspace",
        lambda good: type(good["workspace"])(type(good["workspace"].network)(NET), 4, training=True),
        ValueError,
        "the workspace was made for another network",
    ),
    (
        ["gradients", "train"],
        "workspace",
        lambda good: type(good["workspace"])(good["workspace"].network, 4),
        ValueError,
        "the workspace has no room for gradients: make it with training=True",
    ),
    # What is checked before a pass must not be changed by its steps.
    (["train"], "images", lambda good: bytes_of(good, "parameters", 24).reshape(6, 4), ValueError, "parameters shares"),
    (["train"], "labels", lambda good: bytes_of(good, "parameters", 6), ValueError, "parameters shares .* labels"),
    (["train"], "labels", lambda good: bytes_of(good["state"], "velocity", 6), ValueError, "velocity shares .* labels"),
    (["train"], "order", lambda good: bytes_of(good["state"], "velocity", 48).view(np.int64), ValueError, "shares"),
]  # fmt: skip


@for_each("method, name, make, error, words", [(method, *case) for methods, *case in BAD for method in methods])
def test_a_bad_argument_is_refused_by_name(kernels, method, name, make, error, words):
    net, good = arguments(kernels, method)
    call(kernels, net, method, good)
    _, good = arguments(kernels, method)
    good["workspace"] = kernels.Workspace(net, 4, training=True)
    before = good["parameters"].copy()
    with pytest.raises(error, match=words):
        call(kernels, net, method, good | {name: make(good)})
    assert same_bits(good["parameters"], before)
