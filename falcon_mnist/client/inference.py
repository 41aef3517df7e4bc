"""Images as bytes, as `/infer` takes them, and its answers as arrays."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from falcon_mnist.client.answers import Prediction, Warned
from falcon_mnist.client.errors import read_json
from falcon_mnist.client.steps import Request, Steps
from falcon_mnist.constants import MAX_ROWS, PIXELS, SIDE

Images = npt.NDArray[Any]


def infer(param_id: str, images: Images, *, logits: bool = False) -> Steps[Prediction]:
    """What trained parameters say about images: (784), (n, 784), (28, 28) or (n, 28, 28), as many as there are.

    `uint8` counts from 0 (background) to 255 (ink), floats from 0 to 1.
    """
    rows = as_rows(images)
    query = {"param_id": param_id, "dtype": rows.dtype.name, "return": "labels,probabilities" + ",logits" * logits}
    headers = {"Content-Type": "application/octet-stream"}
    answers = []
    for part in parts(rows):
        response = yield Request("POST", "/api/infer", query, part.tobytes(), headers)
        answers.append(read_json(response))
    return _joined(answers)


def infer_adhoc(
    architecture: Mapping[str, Any], parameters: Mapping[str, Any], images: Images, *, logits: bool = False
) -> Steps[Prediction]:
    """What parameters that nobody stores say about images, which are as in `infer`."""
    rows = as_rows(images)
    pixels = rows / np.float32(255) if rows.dtype == np.uint8 else rows
    document = {"architecture": architecture, "parameters": parameters, "return": {"logits": logits}}
    answers = []
    for part in parts(pixels):
        content = json.dumps(document | {"inputs": part.tolist()}).encode()
        response = yield Request("POST", "/api/infer_adhoc", {}, content, {"Content-Type": "application/json"})
        answers.append(read_json(response))
    return _joined(answers)


def as_rows(images: Images) -> Images:
    """Images as rows (n, 784) of uint8 or little-endian float32. Raises `ValueError`."""
    array = np.asarray(images)
    if array.shape[-2:] == (SIDE, SIDE):
        array = array.reshape(*array.shape[:-2], PIXELS)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != PIXELS or not len(array):
        raise ValueError(
            f"images must be rows of {PIXELS} pixels or pictures of {SIDE} x {SIDE}, but are {array.shape}"
        )
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype.kind != "f":
        raise ValueError(f"images must be uint8 from 0 to 255 or floats from 0 to 1, but are {array.dtype}")
    return np.ascontiguousarray(array, dtype="<f4")


def parts(rows: Images) -> Iterator[Images]:
    """As many rows as one request may have, again and again."""
    for start in range(0, len(rows), MAX_ROWS):
        yield rows[start : start + MAX_ROWS]


def _joined(answers: Sequence[dict[str, Any]]) -> Prediction:
    def together(name: str, dtype: type) -> Any:
        return np.concatenate([np.array(answer["outputs"][name], dtype) for answer in answers])

    return Prediction(
        labels=together("labels", np.int64),
        probabilities=together("probabilities", np.float32),
        logits=together("logits", np.float32) if "logits" in answers[0]["outputs"] else None,
        latency_ms=sum(answer["latency_ms"] for answer in answers),
        warnings=_warnings(answers),
    )


def _warnings(answers: Sequence[dict[str, Any]]) -> list[Warned]:
    """Of all requests, each code once; rows are counted from the first image."""
    found: dict[str, Warned] = {}
    for number, answer in enumerate(answers):
        for warning in answer.get("warnings", ()):
            kept = found.setdefault(warning["code"], Warned(code=warning["code"], rows=[], detail=warning["detail"]))
            kept["rows"] = [*kept["rows"], *(number * MAX_ROWS + row for row in warning["rows"])][:10]
    return list(found.values())
