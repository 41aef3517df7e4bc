"""Curves drawn in characters."""

from __future__ import annotations

import pytest

from falcon_mnist.cli import curves


def rows(text: str) -> list[str]:
    return text.rstrip("\n").split("\n")


def test_a_curve_goes_from_its_first_to_its_last_value_over_the_whole_width() -> None:
    drawn = rows(curves.draw([[1.0, 0.0]], 4, 2).plain)
    assert drawn == ["1.0000 │⠙⢦⡀⠀", "0.0000 │⠀⠀⠙⢦"]


def test_a_steep_curve_stays_in_one_piece() -> None:
    drawn = rows(curves.draw([[0.0, 0.0, 1.0, 1.0]], 2, 3).plain)
    cells = [[ord(cell) - 0x2800 for cell in line[-2:]] for line in drawn]
    assert all(any(row) for row in cells)


@pytest.mark.parametrize("curve", [[0.5], [0.5, 0.5, 0.5]])
def test_what_does_not_change_is_a_line_in_the_middle(curve: list[float]) -> None:
    drawn = rows(curves.draw([curve, []], 4, 3).plain)
    assert [any(cell >= "\u2801" for cell in line[8:]) for line in drawn] == [False, True, False]


def test_each_curve_has_its_colour() -> None:
    text = curves.draw([[0.0, 0.0], [1.0, 1.0]], 3, 2)
    styles = {text.plain[span.start] != "\u2800" and str(span.style) for span in text.spans}
    assert set(curves.COLOURS) <= styles
