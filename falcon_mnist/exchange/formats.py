"""The formats that a parameter set can be taken away in."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from falcon_mnist.constants import Array
from falcon_mnist.exchange import onnx_model
from falcon_mnist.storage.parameter_files import MEDIA_TYPE as SAFETENSORS
from falcon_mnist.training import network

JSON = "application/json"


class Format(NamedTuple):
    """A format's media type, and what writes it; None where that is done elsewhere."""

    media_type: str
    encode: Callable[[Mapping[str, Any], Array, str], bytes] | None = None
    # How often a set is in memory at the same time while it is written: as a file, as a vector, in the format …
    copies: int = 3


def npz(architecture: Mapping[str, Any], parameters: Array, param_id: str) -> bytes:
    """Arrays `linear.0.W`, `linear.0.b`, … as `numpy.load` reads them, and `architecture`, its JSON."""
    arrays = network.tensors(network.build(architecture), parameters)
    file = io.BytesIO()
    np.savez(file, architecture=np.array(json.dumps(architecture)), **arrays)  # type: ignore[arg-type]
    return file.getvalue()


FORMATS = {
    "json": Format(JSON),  # by the API, as it writes every answer
    "safetensors": Format(SAFETENSORS),  # the stored file itself
    "onnx": Format("application/vnd.onnx", onnx_model.encode, copies=6),
    "npz": Format("application/vnd.numpy.npz", npz, copies=5),
}
