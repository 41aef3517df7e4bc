"""Pydantic's errors in this service's words and places."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from pydantic_core import ErrorDetails

from falcon_mnist.api.errors import MAX_ECHOED, kind_of
from falcon_mnist.training.fields import real

Place = tuple[str | int, ...]  # the steps from a body to one of its members
Faults = Iterator[tuple[Place, str]]

# Members whose kind decides which others they have, as that of each layer does.
_UNIONS = (["hyperparams", "optimizer"], ["hyperparams", "schedule"])


def place_of(entry: ErrorDetails) -> Place:
    """Where the fault lies in the body: pydantic's `loc` without the tags that it adds behind each union."""
    steps: list[str | int] = []
    in_union = False
    for step in entry["loc"]:
        if not in_union:
            steps.append(step)
        layer = isinstance(step, int) and steps[-2:-1] == ["layers"]
        in_union = not in_union and (layer or steps in _UNIONS)
    if entry["type"].startswith("union_tag"):
        steps.append("type")
    return (*steps, *entry.get("ctx", {}).get("at", ()))


def sentence_of(entry: ErrorDetails) -> str:
    """Pydantic's message in this service's words: the rule, and what kind of value was found."""
    kind, context, value = entry["type"], entry.get("ctx", {}), entry["input"]
    found = f", but is {_number(value)}" if isinstance(value, int | float) else ""
    sentences = {
        "missing": "is required",
        "extra_forbidden": "is not a known member",
        "union_tag_not_found": "is required and must name the kind of layer",
        "too_long": f"must have at most {context.get('max_length')} entries",
        "too_short": "must not be empty",  # no list is bounded in another way
        "string_too_long": f"must have at most {context.get('max_length')} characters",
        "finite_number": "must be finite",
        "greater_than": f"must be greater than {context.get('gt')}{found}",
        "greater_than_equal": f"must be at least {context.get('ge')}{found}",
        "less_than": f"must be less than {context.get('lt')}{found}",
        "less_than_equal": f"must be at most {context.get('le')}{found}",
        "array": str(context.get("detail")),
        "rule": str(context.get("detail")),
    }
    if kind in sentences:
        return sentences[kind]
    if kind in ("literal_error", "union_tag_invalid"):
        allowed = str(context.get("expected") or context.get("expected_tags"))
        tag = value.get("type") if kind == "union_tag_invalid" and isinstance(value, dict) else value
        return f"must be {allowed.replace(', ', ' or ')}, but is {shortly(tag)}"
    if kind == "int_type" and isinstance(value, float):
        return f"must be a whole number, but is {value}" if math.isfinite(value) else sentences["finite_number"]
    wanted = {
        "int_type": "a whole number",
        "float_type": "a number",
        "bool_type": "a boolean",
        "string_type": "a string",
        "list_type": "an array",
        "model_type": "an object",
        "model_attributes_type": "an object",
        "dict_type": "an object",
    }.get(kind)
    return f"must be {wanted}, but is {kind_of(value)}" if wanted else f"cannot be used ({entry['msg'][:MAX_ECHOED]})"


def _number(value: float) -> str:
    """As it was sent, more or less: 1e300 was, and not its 301 digits."""
    return str(value) if abs(value) < 1e20 else f"{real(value):.6g}"


def shortly(value: Any) -> str:
    """The value, if it is a number or a short string, else its kind."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.6g}"
    return repr(value) if isinstance(value, str) and len(value) <= 40 else kind_of(value)
