"""What goes to standard error: a JSON line for each request and each event of a run, or plain text."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from typing import Any, Literal, TextIO

from pythonjsonlogger.orjson import OrjsonFormatter

Style = Literal["json", "text"]

access = logging.getLogger("falcon_mnist.access")

# How long a line of the access log may wait for others.
BATCH_SECONDS = 0.02
# So many lines may wait for a slow disk; then each request waits for it.
MOST_LINES = 10_000

# What this process does, so that its workers can do the same.
_configured: tuple[int, Style] = (logging.WARNING, "text")


class BatchHandler(logging.Handler):
    """Writes lines from a thread of its own, all of a short while at once, so that requests wait for no disk."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: deque[str] = deque()
        self._writing = threading.Lock()
        self._some = threading.Event()  # lines wait, or it is too early to say that none do
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many lines are not written yet."""
        return len(self._lines)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; where very many wait, write them now."""
        try:
            self._lines.append(self.format(record) + "\n")
        except Exception:
            self.handleError(record)
        if not self._some.is_set():
            self._some.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="access log", daemon=True)
                self._thread.start()
        if len(self._lines) > MOST_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            self._some.clear()
            self._stream.write("".join(self._lines.popleft() for _ in range(len(self._lines))))
            self._stream.flush()

    def _write(self) -> None:
        while True:
            self._some.wait()
            time.sleep(BATCH_SECONDS)
            try:
                self.flush()
            except OSError:  # a full disk, or nobody who reads: those lines are lost, as each single one would be
                continue


def configure(level: int, style: Style) -> None:
    """Send records of `level` and above to standard error."""
    global _configured
    _configured = level, style
    at_once = logging.StreamHandler()
    access.handlers[:] = []
    access.propagate = style != "json"
    if style == "json":
        batch = BatchHandler(sys.stderr)
        batch.setFormatter(_json())
        access.addHandler(batch)
        at_once.setFormatter(_json())
    else:
        at_once.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [at_once]
    root.setLevel(level)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs whole URLs


def configured() -> tuple[int, Style]:
    """The arguments of the last `configure`, or what Python does without it."""
    return _configured


def is_behind() -> bool:
    """Whether the access log waits for a slow disk."""
    return any(isinstance(each, BatchHandler) and each.waiting > MOST_LINES // 2 for each in access.handlers)


def _json() -> logging.Formatter:
    names: dict[str, Any] = {"levelname": "level", "name": "logger", "message": "event"}
    return OrjsonFormatter("{message}{levelname}{name}", style="{", timestamp="time", rename_fields=names)
