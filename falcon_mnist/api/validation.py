"""From a decoded body to its model, or to a `Problem` that lists every fault.

Faults under `architecture` or `parameters` make it a 400, all others a 422 (contract, "400 or 422").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from falcon_mnist.api import agreement
from falcon_mnist.api.errors import Fault, invalid_fields, pointer
from falcon_mnist.api.sentences import Faults, Place, place_of, sentence_of
from falcon_mnist.api.suggestions import unknown_member
from falcon_mnist.training.fields import Strict
from falcon_mnist.training.hyperparams import merge

Body = TypeVar("Body", bound=Strict)

# How many unknown members of a body are compared with all that are known, each for some milliseconds at most.
_MAX_GUESSES = 20


def overriding(hyperparams: Mapping[str, Any], body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A body of `StartTraining` with its hyperparameters put over the model's."""
    overrides = body.get("hyperparams", {})
    return {**body, "hyperparams": merge(hyperparams, overrides)} if isinstance(overrides, Mapping) else body


def parse(
    schema: type[Body], body: Mapping[str, Any], *, max_parameters: int, sent: Mapping[str, Any] | None = None
) -> Body:
    """The model of a decoded `body`; raises a `Problem` (400 or 422) that lists every fault in it.

    Pointers lead into what the client `sent`, if `body` has more than that.
    """
    faults: list[tuple[Place, str]] = []
    parsed: Body | None = None
    try:
        parsed = schema.model_validate(body)
    except ValidationError as error:
        faults += _member_faults(schema, error)
    members = _members(schema)
    if "architecture" in members:
        faults += agreement.architecture_faults(body.get("architecture"), max_parameters)
    if "parameters" in members:
        faults += agreement.parameter_faults(body.get("architecture"), body.get("parameters"))
    if "returns" in members:
        faults += agreement.return_faults(body.get("return"))
    if faults:
        faults.sort(key=lambda fault: not _structural(fault[0]))  # those that make it a 400 stand first
        structural = _structural(faults[0][0])
        shown = [Fault(pointer(_within(body if sent is None else sent, place)), detail) for place, detail in faults]
        raise invalid_fields(shown, structural=structural)
    return cast(Body, parsed)


def _member_faults(schema: type[Strict], error: ValidationError) -> Faults:
    guesses = 0
    for entry in error.errors(include_url=False):
        place, sentence = place_of(entry), sentence_of(entry)
        if entry["type"] == "extra_forbidden" and (guesses := guesses + 1) <= _MAX_GUESSES:
            sentence = unknown_member(schema, place)
        yield place, sentence


@cache
def _members(schema: type[Strict]) -> frozenset[str]:
    return frozenset(schema.model_fields)


def _structural(place: Sequence[str | int]) -> bool:
    """Whether a fault there makes the status 400."""
    return place[:1] in (("architecture",), ("parameters",))


def _within(sent: Mapping[str, Any], place: Place) -> Place:
    """`place` in a merged body, cut before the first member that the client did not send.

    The last step stays in any case: it may name a member that is missing.
    """
    value: Any = sent
    for depth, step in enumerate(place[:-1]):
        if isinstance(value, Mapping) and step not in value:
            return place[:depth]
        value = value[step] if isinstance(value, Mapping) else None
    return place
