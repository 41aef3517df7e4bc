"""What goes to standard error: a JSON line for each request and each event of a run, or plain text."""

from __future__ import annotations

import logging
from typing import Literal

from pythonjsonlogger.orjson import OrjsonFormatter

Style = Literal["json", "text"]

# What this process does, so that its workers can do the same.
_configured: tuple[int, Style] = (logging.WARNING, "text")


def configure(level: int, style: Style) -> None:
    """Send records of `level` and above to standard error."""
    global _configured
    _configured = level, style
    handler = logging.StreamHandler()
    if style == "json":
        names = {"levelname": "level", "name": "logger", "message": "event"}
        handler.setFormatter(
            OrjsonFormatter("{message}{levelname}{name}", style="{", timestamp="time", rename_fields=names)
        )
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs whole URLs


def configured() -> tuple[int, Style]:
    """The arguments of the last `configure`, or what Python does without it."""
    return _configured
