"""What the tests of the page share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from serving import Client

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenPage = Callable[..., "Page"]
Stroke = list[tuple[float, float]]


class Site(NamedTuple):
    """A server that has digits drawn from pen strokes, and a client of it."""

    url: str
    client: Client


# Corners of strokes, as shares of the square.
ONE: list[Stroke] = [[(0.5, 0.2), (0.5, 0.8)]]
THREE: list[Stroke] = [
    [(0.3, 0.25), (0.45, 0.17), (0.62, 0.22), (0.66, 0.33), (0.58, 0.44), (0.45, 0.48),
     (0.6, 0.52), (0.68, 0.64), (0.62, 0.77), (0.47, 0.83), (0.3, 0.77)],
]  # fmt: skip
SEVEN: list[Stroke] = [[(0.28, 0.2), (0.7, 0.2), (0.6, 0.45), (0.45, 0.82)]]


def draw(page: Page, strokes: list[Stroke]) -> None:
    """Draw with the mouse."""
    box = page.locator(".pad").bounding_box()
    assert box
    for stroke in strokes:
        for index, (x, y) in enumerate(stroke):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
            if index == 0:
                page.mouse.down()
        page.mouse.up()
