"""What is wrong with options, by their own names; the faults of a body say where in the body that options make."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from falcon_mnist.api import schemas
from falcon_mnist.api.errors import Problem
from falcon_mnist.api.validation import parse
from falcon_mnist.cli.options import HYPERPARAMETERS


class OptionsError(Exception):
    """Options that make no valid model; the message names them."""


def checked(body: Mapping[str, Any], *, max_parameters: int) -> schemas.CreateModel:
    """The body of `POST /models` that options have made. Raises `OptionsError`."""
    try:
        return parse(schemas.CreateModel, body, max_parameters=max_parameters)
    except Problem as problem:
        raise OptionsError(in_options(problem.faults, body["hyperparams"])) from None


def in_options(faults: Sequence[tuple[str, str]], hyperparams: Mapping[str, Any]) -> str:
    """Faults, each a JSON Pointer and what is wrong there, as a sentence about the options that made `hyperparams`."""
    # The width of a hidden layer stands twice: as what comes out of it, and as what goes into the next.
    told = [fault for fault in faults if not fault[0].endswith("/in")] or faults
    return "; ".join(dict.fromkeys(_in_options(pointer, detail, hyperparams) for pointer, detail in told))


def _in_options(pointer: str, detail: str, hyperparams: Mapping[str, Any]) -> str:
    if pointer.startswith("/architecture"):
        return f"--hidden: {detail}"
    for name, wanted in HYPERPARAMETERS.items():
        group = wanted.path[0]
        if pointer in (f"/hyperparams/{group}", "/hyperparams/" + "/".join(wanted.path)):  # a group is its first option
            if wanted.only and _type(group, hyperparams) not in wanted.only:
                return f"{_option(name)} needs --{group} {' or '.join(wanted.only)}"
            said = _named(detail)
            return said if said.startswith(_option(name)) else f"{_option(name)}: {said}"
    return f"{pointer}: {detail}"


def _type(group: str, hyperparams: Mapping[str, Any]) -> str:
    """The type of optimizer or schedule, by default the first there is."""
    return str(hyperparams[group].get("type", get_args(HYPERPARAMETERS[group].type)[0]))


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _named(detail: str) -> str:
    """A fault's text with options in place of the members that it names."""
    return re.sub(r"\w+_\w+", lambda found: _option(found[0]) if found[0] in HYPERPARAMETERS else found[0], detail)
