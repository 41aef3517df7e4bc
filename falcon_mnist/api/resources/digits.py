"""The digits of the data set, by their numbers."""

from __future__ import annotations

from typing import ClassVar

import falcon
import numpy as np

from falcon_mnist.api.auth import READ
from falcon_mnist.api.errors import Fault, Problem, invalid_fields
from falcon_mnist.api.request import read_query
from falcon_mnist.api.resources.base import Resource, answer
from falcon_mnist.api.sentences import shortly
from falcon_mnist.constants import MAX_DIGITS


class Digits(Resource):
    """`/digits/{part}`."""

    access: ClassVar = {"GET": READ}

    def on_get(self, req: falcon.Request, resp: falcon.Response, part: str) -> None:
        """Answer digits of the training or test set, at most `MAX_DIGITS`."""
        if part not in ("train", "test"):
            raise Problem("unknown-path", "The parts of the data set are train and test.")
        query = read_query(req, "indices")
        data = self._data()
        images, labels = (
            (data.train_images, data.train_labels) if part == "train" else (data.test_images, data.test_labels)
        )
        indices = _indices(query.get("indices"), len(labels))
        document = {
            "dataset": {"name": data.name, "checksum": data.checksum},
            "count": len(labels),
            "images": images[indices],
            "labels": labels[indices],
        }
        answer(resp, document)


def _indices(text: str | None, count: int) -> np.ndarray:
    """Raises a 422 `Problem`."""
    if text is None:
        raise invalid_fields([Fault("/indices", "is required")])
    words = text.split(",", MAX_DIGITS)
    if len(words) > MAX_DIGITS:
        raise invalid_fields([Fault("/indices", f"must have at most {MAX_DIGITS} entries")])
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) < 10 and int(word) < count):
            rule = f"must be whole numbers from 0 to {count - 1}, by commas"
            raise invalid_fields([Fault("/indices", f"{rule}, but one is {shortly(word)}")])
    return np.array([int(word) for word in words])
