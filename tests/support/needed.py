"""What a test needs from the machine: where it is missing the test is skipped, which CI does not allow."""

from __future__ import annotations

import os

import pytest


def skip_if(missing: str | None) -> None:
    """Skip what is being collected or run if something is `missing`; says what, and in CI fails instead."""
    if missing and os.environ.get("CI"):
        pytest.fail(missing)
    if missing:
        pytest.skip(missing, allow_module_level=True)
