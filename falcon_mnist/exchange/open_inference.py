"""Tensors of the Open Inference Protocol, version 2, with its binary data extension.

A parameter set is a model: input `pixels`, outputs `probabilities`, `logits`, `labels`. Binary data follow the JSON of
a body, tensor after tensor, little-endian and row by row
(https://github.com/kserve/open-inference-protocol; Triton's "Binary Tensor Data Extension").
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from falcon_mnist.constants import CLASSES, MAX_ROWS, PIXELS, Array

INPUT = "pixels"
INPUT_DATATYPES = {"FP32": "<f4", "UINT8": "u1"}
# Output to its datatype, that of its bytes, and its shape; -1 stands for any number of rows.
OUTPUTS: dict[str, tuple[str, str, list[int]]] = {
    "probabilities": ("FP32", "<f4", [-1, CLASSES]),
    "logits": ("FP32", "<f4", [-1, CLASSES]),
    "labels": ("INT64", "<i8", [-1]),
}


class TensorError(ValueError):
    """A tensor that cannot be used; the message is one clause about it."""


def server_metadata() -> dict[str, Any]:
    """What answers, and what it can do beyond the protocol."""
    return {"name": "falcon-mnist", "version": version("falcon-mnist"), "extensions": ["binary_tensor_data"]}


def model_metadata(param_id: str) -> dict[str, Any]:
    """The tensors of a parameter set: `pixels` may also be UINT8, 0 to 255."""
    outputs = [{"name": name, "datatype": kind, "shape": shape} for name, (kind, _, shape) in OUTPUTS.items()]
    inputs = [{"name": INPUT, "datatype": "FP32", "shape": [-1, PIXELS]}]
    return {"name": param_id, "platform": "falcon-mnist", "inputs": inputs, "outputs": outputs}


def check_input(name: str, datatype: str, shape: list[int]) -> None:
    """Raise `TensorError` unless this is rows of pixels."""
    if name != INPUT:
        raise TensorError(f"is not known: the one input is {INPUT}")
    if datatype not in INPUT_DATATYPES:
        raise TensorError(f"must have datatype {' or '.join(INPUT_DATATYPES)}")
    if len(shape) != 2 or shape[1] != PIXELS or not 1 <= shape[0] <= MAX_ROWS:
        raise TensorError(f"must have shape [n, {PIXELS}] with n from 1 to {MAX_ROWS}")


def rows_of_bytes(data: memoryview, datatype: str, shape: list[int]) -> npt.NDArray[Any]:
    """The rows (n, 784) in binary data: float32 or uint8. Raises `TensorError`."""
    dtype = np.dtype(INPUT_DATATYPES[datatype])
    if len(data) != shape[0] * shape[1] * dtype.itemsize:
        raise TensorError(f"has {len(data)} bytes of data, but its shape and datatype need {_bytes(shape, dtype)}")
    rows = np.frombuffer(data, dtype=dtype).reshape(shape)
    if datatype == "UINT8":
        return rows
    return _finite(np.require(rows, np.float32, "A"))  # copied where the JSON before it has an odd length


def rows_of_numbers(numbers: Array, datatype: str, shape: list[int]) -> npt.NDArray[Any]:
    """The rows (n, 784) of numbers that came as JSON, in one list or a list of rows. Raises `TensorError`."""
    if numbers.size != shape[0] * shape[1]:
        raise TensorError(f"has {numbers.size} numbers, but its shape needs {shape[0] * shape[1]}")
    rows = numbers.reshape(shape)
    if datatype == "FP32":
        return rows
    with np.errstate(invalid="ignore"):  # numbers that uint8 does not have are told below
        whole = rows.astype(np.uint8)
    if not np.array_equal(whole, rows):
        raise TensorError("must hold whole numbers from 0 to 255, for UINT8")
    return whole


def response(
    param_id: str, request_id: str | None, outputs: Mapping[str, npt.NDArray[Any]], binary: frozenset[str]
) -> tuple[dict[str, Any], bytes]:
    """The JSON of an answer, and the binary data that follow it, for the outputs named in `binary`."""
    described, data = [], b""
    for name, values in outputs.items():
        datatype, dtype, _ = OUTPUTS[name]
        output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(values.shape)}
        if name in binary:
            added = np.ascontiguousarray(values, dtype=dtype).tobytes()
            output["parameters"] = {"binary_data_size": len(added)}
            data += added
        else:
            output["data"] = values.ravel()
        described.append(output)
    document: dict[str, Any] = {"model_name": param_id, "outputs": described}
    return ({"id": request_id} | document if request_id is not None else document), data


def _finite(rows: Array) -> Array:
    if not np.isfinite(rows).all():
        raise TensorError("holds values that are not finite")
    return rows


def _bytes(shape: list[int], dtype: np.dtype[Any]) -> int:
    return shape[0] * shape[1] * dtype.itemsize
