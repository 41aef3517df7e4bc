"""The figures of the caches of several processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from falcon_mnist.inference.figures import SharedFigures


def test_the_figures_of_caches_are_added_up() -> None:
    numbers: Any = [0.0] * SharedFigures.doubles(2)
    make: Callable[[int], SharedFigures] = lambda number: SharedFigures(numbers, number)  # noqa: E731
    first, second = make(0), make(1)
    first.hit()
    second.loaded()
    second.holds(3, 300, 1000)
    first.holds(1, 50, 1000)
    assert first.totals() == second.totals() == (1, 1, 4, 350, 2000)
    assert make(1).totals() == (1, 1, 1, 50, 1000)
