"""The Open Inference Protocol: rows go as bytes, and outputs come as bytes, without a number written in decimal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import httpx
import numpy as np
import numpy.typing as npt

from falcon_mnist.client.errors import read_json
from falcon_mnist.client.forms import holds, in_path, json_of
from falcon_mnist.client.inference import Images, as_rows, parts
from falcon_mnist.client.steps import Request, Steps

Output = Literal["probabilities", "logits", "labels"]
HEADER_LENGTH = "Inference-Header-Content-Length"  # of the JSON before the bytes
_DTYPES = {"FP32": "<f4", "INT64": "<i8"}


def v2_server() -> Steps[dict[str, Any]]:
    """What answers, by that protocol."""
    return json_of("GET", "/v2")


def v2_live() -> Steps[bool]:
    """Whether the process lives."""
    return holds("/v2/health/live")


def v2_ready() -> Steps[bool]:
    """Whether requests can be served."""
    return holds("/v2/health/ready")


def v2_model(param_id: str) -> Steps[dict[str, Any]]:
    """The tensors of a parameter set."""
    return json_of("GET", f"/v2/models/{in_path(param_id)}")


def v2_model_ready(param_id: str) -> Steps[bool]:
    """Whether a parameter set is there."""
    response = yield Request("GET", f"/v2/models/{in_path(param_id)}/ready", fine=(404,))
    return response.is_success


def v2_infer(
    param_id: str, images: Images, outputs: Sequence[Output] = ("probabilities",)
) -> Steps[dict[str, npt.NDArray[Any]]]:
    """What trained parameters say about images, which are as in `infer`: an array for each output."""
    rows = as_rows(images)
    answers = []
    for part in parts(rows):
        response = yield _request(param_id, part, outputs)
        answers.append(_arrays(response))
    return {name: np.concatenate([answer[name] for answer in answers]) for name in outputs}


def _request(param_id: str, rows: Images, outputs: Sequence[Output]) -> Request:
    datatype = "UINT8" if rows.dtype == np.uint8 else "FP32"
    size = {"binary_data_size": rows.nbytes}
    pixels = {"name": "pixels", "datatype": datatype, "shape": rows.shape, "parameters": size}
    wanted = [{"name": name, "parameters": {"binary_data": True}} for name in outputs]
    header = json.dumps({"inputs": [pixels], "outputs": wanted}).encode()
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(header))}
    return Request("POST", f"/v2/models/{in_path(param_id)}/infer", {}, header + rows.tobytes(), headers)


def _arrays(response: httpx.Response) -> dict[str, npt.NDArray[Any]]:
    length = int(response.headers[HEADER_LENGTH])
    found, at = {}, length
    for output in read_json(response, length)["outputs"]:
        size = output["parameters"]["binary_data_size"]
        values = np.frombuffer(response.content[at : at + size], _DTYPES[output["datatype"]])
        found[output["name"]] = values.reshape(output["shape"])
        at += size
    return found
