"""`falcon-mnist infer`: what a network of a server reads in pictures of digits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from falcon_mnist.cli import console
from falcon_mnist.client import Client, pictures
from falcon_mnist.client.answers import Bytes, Prediction

# What is read more surely than this is told without the second choice.
SURE = 0.95


class NothingReadError(Exception):
    """There is nothing to read, or nothing to read it with; the message is one sentence."""


def prepared(files: Sequence[Path]) -> tuple[list[Path], Bytes]:
    """The files in which a digit can be seen, and the digits (n, 784). Says what is wrong with the others.

    Raises `NothingReadError` if there is none.
    """
    seen, digits, fault = [], [], ""
    for file in files:
        try:
            digits.append(pictures.read(file))
            seen.append(file)
        except (pictures.PictureError, OSError) as error:
            fault = f"{file}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
            if len(files) > 1:
                console.complain(str(fault))
    if not digits:
        raise NothingReadError(fault if len(files) == 1 else "there is no picture to read")
    return seen, np.array(digits)


def newest(client: Client) -> str:
    """The id of the newest parameter set. Raises `NothingReadError`, `ClientError`."""
    items = client.parameter_sets(limit=1)["items"]
    if not items:
        raise NothingReadError("the server has no trained network yet: start a run, or import one")
    return items[0]["param_id"]


def document(files: Sequence[Path], found: Prediction) -> list[dict[str, Any]]:
    """Predictions for scripts."""
    rows = zip(files, found.labels.tolist(), found.probabilities.tolist(), strict=True)
    return [{"file": str(file), "label": label, "probabilities": each} for file, label, each in rows]


def lines(files: Sequence[Path], found: Prediction) -> list[str]:
    """Predictions for people."""
    margin = max(len(str(file)) for file in files)
    return [f"{file!s:{margin}}  {said(each)}" for file, each in zip(files, found.probabilities, strict=True)]


def said(probabilities: np.ndarray) -> str:
    """A digit and how surely it is read; also the second choice where the first is not sure."""
    first, second = np.argsort(-probabilities)[:2]
    text = f"{first} ({probabilities[first]:.1%})"
    return text if probabilities[first] >= SURE else f"{text}, or {second} ({probabilities[second]:.1%})"


def draw(digits: Bytes, files: Sequence[Path], found: Prediction) -> None:
    """Show each digit as the network is given it, and what is read in it."""
    for digit, line in zip(digits, lines(files, found), strict=True):
        console.out.print(console.digits(digit[None], [""]), markup=False, soft_wrap=True)
        console.say(line)
