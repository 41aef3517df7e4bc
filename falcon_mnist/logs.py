"""What goes to standard error: a JSON line for each request and each event of a run, or lines for people."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, TextIO

import orjson

Style = Literal["json", "text"]

access = logging.getLogger("falcon_mnist.access")

_ANSWERED = "request"  # the event

# How long a line of the access log may wait for others.
BATCH_SECONDS = 0.02
# So many lines may wait for a slow disk; then each request waits for it.
MOST_LINES = 10_000

# Takes lines of the access log as JSON, where that is how they are written.
_batch: BatchHandler | None = None

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
            self.take(self.format(record))
        except Exception:
            self.handleError(record)

    def take(self, line: str) -> None:
        """Take a line that is formatted already."""
        self._lines.append(line + "\n")
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


# The least level of what libraries log: httpx has whole URLs, botocore where it finds credentials; what gcsfs calls
# errors is tried again, or told by us.
_LIBRARIES = {
    "httpx": logging.WARNING,
    "botocore": logging.WARNING,
    "aiobotocore": logging.WARNING,
    "gcsfs": logging.CRITICAL,
}


def style(wanted: str) -> Style:
    """The style of the setting `FALCON_MNIST_LOG`; `auto` is text on a terminal, and JSON elsewhere."""
    if wanted == "auto":
        return "text" if sys.stderr.isatty() else "json"
    return "text" if wanted == "text" else "json"


def configure(level: int, style: Style) -> None:
    """Send records of `level` and above to standard error."""
    global _configured, _batch
    _configured = level, style
    coloured = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    formatter = JsonFormatter() if style == "json" else TextFormatter(coloured=coloured)
    at_once, batch = logging.StreamHandler(), BatchHandler(sys.stderr)
    for handler in (at_once, batch):
        handler.setFormatter(formatter)
    access.handlers[:] = [batch] if level <= logging.INFO else []
    access.propagate = not access.handlers
    _batch = batch if access.handlers and style == "json" else None
    root = logging.getLogger()
    root.handlers[:] = [at_once]
    root.setLevel(level)
    for name, least in _LIBRARIES.items():
        logging.getLogger(name).setLevel(least)


def answered(facts: Mapping[str, object]) -> None:
    """Log an answer to a request; as JSON without a record, which takes a quarter of a small inference's time."""
    if _batch is None:
        access.info(_ANSWERED, extra=facts)
    else:
        _batch.take(_json_line(_ANSWERED, "INFO", access.name, facts, time.time()))


def configured() -> tuple[int, Style]:
    """The arguments of the last `configure`, or what Python does without it."""
    return _configured


def is_behind() -> bool:
    """Whether the access log waits for a slow disk."""
    handlers = access.handlers  # one at most, of `configure`
    return bool(handlers) and isinstance(handlers[0], BatchHandler) and handlers[0].waiting > MOST_LINES // 2


def _json_line(event: str, level: str, logger: str, facts: Mapping[str, object], seconds: float) -> str:
    """The one form of a line as JSON; `seconds` since the epoch."""
    head = {"event": event, "level": level, "logger": logger}
    line = {**head, **facts, "time": datetime.fromtimestamp(seconds, UTC)}
    return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


_GREEN, _YELLOW, _RED, _DIM = "32", "33", "31", "2"
# What every record has, so that the rest is what its caller knows of the event.
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


def _facts(record: logging.LogRecord) -> dict[str, object]:
    return {
        name: value
        for name, value in vars(record).items()
        if name not in _STANDARD and not str(name).startswith("_")  # as Ray's `_ray_timestamp_ns`, on every record
    }


class JsonFormatter(logging.Formatter):
    """A JSON object, with a traceback as its member `exc_info`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        facts = _facts(record)
        if record.exc_info:
            facts["exc_info"] = self.formatException(record.exc_info)
        return _json_line(record.getMessage(), record.levelname, record.name, facts, record.created)


class TextFormatter(logging.Formatter):
    """`12:04:31 200 POST /api/infer 1.2 ms`, or `12:04:32 epoch 1 finished run_id=r_… train_loss=0.389`.

    What clients choose is escaped: a path may hold what a terminal obeys.
    """

    def __init__(self, *, coloured: bool) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below it."""
        facts = {name: value for name, value in _facts(record).items() if value is not None}
        parts = [self._painted(self.formatTime(record, self.datefmt), _DIM)]
        if record.levelno >= logging.WARNING:
            parts.append(self._painted(record.levelname, _RED if record.levelno >= logging.ERROR else _YELLOW))
        if {"method", "path", "status", "ms"} <= facts.keys():
            parts.append(self._request(facts))
        else:
            parts.append(_plain(record.getMessage()))
        parts += [self._painted(f"{name}={_shown(value)}", _DIM) for name, value in facts.items()]
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        return "\n".join([" ".join(parts), *map(_plain, trace.splitlines())])

    def _request(self, facts: dict[str, object]) -> str:
        """What a request and its answer were; takes that from `facts`, and its id too unless it was refused."""
        method, path, status, ms = (facts.pop(name) for name in ("method", "path", "status", "ms"))
        refused = isinstance(status, int) and status >= 400
        if not refused:
            facts.pop("request_id", None)
        colour = _GREEN if not refused else _RED if int(str(status)) >= 500 else _YELLOW
        return f"{self._painted(str(status), colour)} {_plain(str(method))} {_plain(str(path))} {ms} ms"

    def _painted(self, text: str, colour: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._coloured else text


def _plain(text: str) -> str:
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _plain(str(value))
