"""What the tests of the page share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from checking_client import Client

if TYPE_CHECKING:
    from playwright.sync_api import Page, ViewportSize

OpenPage = Callable[..., "Page"]
Stroke = list[tuple[float, float]]


DESKTOP: ViewportSize = {"width": 1200, "height": 800}


class Site(NamedTuple):
    """A server that has digits drawn from pen strokes, and a client of it."""

    url: str
    client: Client


def _arc(x: float, y: float, width: float, height: float, start: int, end: int) -> Stroke:
    """Of an ellipse around (x, y), between two angles in degrees, clockwise from the right."""
    angles = [math.radians(start + (end - start) * step / 6) for step in range(7)]
    return [(x + width * math.cos(angle), y + height * math.sin(angle)) for angle in angles]


# Points of strokes, as shares of the square.
ONE: list[Stroke] = [[(0.5, 0.2), (0.5, 0.8)]]
THREE: list[Stroke] = [[*_arc(0.46, 0.33, 0.17, 0.16, -160, 90), *_arc(0.46, 0.67, 0.2, 0.17, -90, 150)]]
SEVEN: list[Stroke] = [[(0.28, 0.2), (0.7, 0.2), (0.6, 0.45), (0.45, 0.82)]]


def draw(page: Page, strokes: list[Stroke]) -> None:
    """Draw with the mouse."""
    page.locator(".pad").scroll_into_view_if_needed()
    box = page.locator(".pad").bounding_box()
    assert box
    for stroke in strokes:
        for index, (x, y) in enumerate(stroke):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            if index == 0:
                page.mouse.down()
        page.mouse.up()
