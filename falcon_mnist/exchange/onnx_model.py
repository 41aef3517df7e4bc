"""A parameter set as an ONNX model: Gemm, the activations, and a last Softmax over the logits.

Input `pixels` (N, 784) float32 from 0 to 1; outputs `logits` and `probabilities`, both (N, 10) float32.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

from falcon_mnist.constants import CLASSES, PIXELS, Array
from falcon_mnist.training import network

# The versions of ONNX 1.12 (2022), which current runtimes read; nothing newer is needed.
OPSET, IR_VERSION = 17, 8

_OPERATORS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}


def encode(architecture: Mapping[str, Any], parameters: Array, param_id: str) -> bytes:
    """The model of a network and its flat parameter vector; its metadata hold both ids of where it comes from."""
    import onnx  # here, because importing it takes 0.25 s and 30 MB
    from onnx import TensorProto, helper

    nodes, weights = [], []
    for operator, inputs, output, tensors in _steps(architecture, parameters):
        attributes: dict[str, Any] = {"axis": 1} if operator == "Softmax" else {}
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        for name, array in tensors.items():
            weights.append(helper.make_tensor(name, TensorProto.FLOAT, array.shape, array.tobytes(), raw=True))
    signature = {"pixels": PIXELS, "logits": CLASSES, "probabilities": CLASSES}
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width]) for name, width in signature.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "falcon-mnist", infos[:1], infos[1:], initializer=weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="falcon-mnist",
        producer_version=version("falcon-mnist"),
    )
    helper.set_model_props(model, {"architecture": json.dumps(architecture), "param_id": param_id})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _steps(
    architecture: Mapping[str, Any], parameters: Array
) -> Iterator[tuple[str, list[str], str, dict[str, Array]]]:
    """Operator, names of its inputs, name of its output, and the arrays among the inputs, in order."""
    layers = [layer["type"] for layer in architecture["layers"] if layer["type"] != "softmax"]
    pairs = network.views(network.build(architecture), parameters)
    value = "pixels"
    linear = 0
    for index, kind in enumerate(layers):
        output = "logits" if index == len(layers) - 1 else f"layer.{index}"
        if kind == "linear":
            names = [f"linear.{linear}.W", f"linear.{linear}.b"]
            yield "Gemm", [value, *names], output, dict(zip(names, next(pairs), strict=True))
            linear += 1
        else:
            yield _OPERATORS[kind], [value], output, {}
        value = output
    yield "Softmax", ["logits"], "probabilities", {}
