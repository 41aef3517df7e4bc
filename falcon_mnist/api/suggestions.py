"""What a client probably meant by a member that is not known where it stands, according to the schema."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from functools import cache
from typing import Any

from pydantic import BaseModel

Place = tuple[str, ...]

# Names beyond these are a mistake of another kind, or meant to cost time: comparing takes milliseconds.
_LONGEST_NAME = 40
_ENTRY = "*"  # any entry of an array
_LEAST_ALIKE = 0.6
_LEAST_ALIKE_ELSEWHERE = 0.8


def unknown_member(schema: type[BaseModel], place: Sequence[str | int]) -> str:
    """The sentence about a member that `schema` does not know at `place`."""
    *parents, name = (_ENTRY if isinstance(step, int) else step for step in place)
    known = _known(schema)
    here = tuple(parents)
    if types := known.get((*here, name)):
        return f"is known with type {' or '.join(sorted(types))} alone"
    meant = _meant(known, here, name) if len(name) <= _LONGEST_NAME else None
    if meant is not None:
        return f"is not a known member: did you mean {'.'.join(meant)}?"
    siblings = [other[-1] for other in known if other[:-1] == here]
    return f"is not a known member: known here are {', '.join(siblings)}" if siblings else "is not a known member"


def _meant(known: Mapping[Place, set[str]], here: Place, name: str) -> Place | None:
    """The known member that `name` is most like, from where both ways part."""
    best: tuple[float, bool, int] = (0, False, 0)
    found = None
    for place in known:
        beside = place[:-1] == here
        way = place[_common(place, here) :]
        if _ENTRY in way:
            continue  # no one entry of an array is meant
        alike = _alike(name, place[-1])
        if alike >= (_LEAST_ALIKE if beside else _LEAST_ALIKE_ELSEWHERE) and (alike, beside, -len(way)) > best:
            best, found = (alike, beside, -len(way)), way
    return found


def _common(place: Place, here: Place) -> int:
    steps = zip(place, here, strict=False)
    return next((depth for depth, (one, other) in enumerate(steps) if one != other), min(len(place), len(here)))


def _alike(name: str, known: str) -> float:
    """From 0 to 1. `batchSize` and `batch-size` are `batch_size`; `learning_rate` is `lr`, and `wd` `weight_decay`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("-", "_").replace(" ", "_")
    if words.strip("_") == known:
        return 1.0
    if known == _initials(words) or words == _initials(known):
        return 0.95
    return SequenceMatcher(None, words, known).ratio()


def _initials(words: str) -> str:
    """Of two words or more."""
    initials = "".join(word[0] for word in words.split("_") if word)
    return initials if len(initials) > 1 else ""


@cache
def _known(schema: type[BaseModel]) -> dict[Place, set[str]]:
    """All members with their places, and the values of `type` beside which they stand if not beside all."""
    document = schema.model_json_schema()
    types: defaultdict[Place, set[str]] = defaultdict(set)
    for place, type_ in _members(document, document, ()):
        types[place].add(type_)
    return {place: found - {""} for place, found in types.items()}


def _members(document: Mapping[str, Any], schema: Mapping[str, Any], at: Place) -> Iterator[tuple[Place, str]]:
    """Every member below `schema`, with the `type` that its object must have ("" for any)."""
    if "$ref" in schema:
        schema = document["$defs"][schema["$ref"].rpartition("/")[2]]
    for variant in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        yield from _members(document, variant, at)
    if "items" in schema:
        yield from _members(document, schema["items"], (*at, _ENTRY))
    properties = schema.get("properties", {})
    kinds = _values(properties.get("type", {}))
    for name, member in properties.items():
        for kind in kinds:
            yield (*at, name), kind
        yield from _members(document, member, (*at, name))


def _values(schema: Mapping[str, Any]) -> list[str]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", [""]))
