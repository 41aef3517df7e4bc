"""What every model of a JSON document here has in common."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Strict(BaseModel):
    """No unknown members, no coercion."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
        populate_by_name=False,
        serialize_by_alias=True,
    )


def integral(value: Any) -> Any:
    """JSON has one kind of number: 5.0 is the integer 5 (JSON Schema, section 6.1.1)."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def real(value: Any) -> Any:
    """An integer of any size as a float; beyond its range, infinity, which is then refused."""
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) < 2**1023 else math.inf
    return value


# These stand after a field's limits, which the JSON Schema would not show otherwise.
INTEGRAL = BeforeValidator(integral)
REAL = BeforeValidator(real)
Size = Annotated[int, Field(ge=1, le=2**31 - 1), INTEGRAL]
