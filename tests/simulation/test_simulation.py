"""That seeds of the simulation repeat exactly. `python -m tests.long simulation` plays many, in CI too."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from .scenario import Scenario


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Faults fill the log."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", range(3))
def test_a_seed_repeats_exactly(seed: int) -> None:
    first, second = Scenario(seed), Scenario(seed)
    first.play()
    second.play()
    assert first.world.trace
    assert first.world.digest() == second.world.digest()
