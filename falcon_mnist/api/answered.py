"""What every answer has, and what is kept of it: a place among those of the last minute, a count, a line in the log."""

from __future__ import annotations

import itertools
import logging
import re
import uuid
from collections.abc import Mapping

from falcon_mnist import logs
from falcon_mnist.api.service import Service

# Of every answer that does not say otherwise. The API answers programs: nothing of it is to be rendered, framed,
# sniffed, kept or told to other sites.
ANSWER_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)

_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")

# Random once, then counted: asking the system for each one would give up the GIL, and with it the CPU.
_PROCESS = uuid.uuid4().hex[:20]
_numbers = itertools.count()


def new_request_id() -> str:
    """An id that no other request has."""
    return f"{_PROCESS}{next(_numbers):012x}"


def request_id_of(sent: str | None) -> str:
    """The request's own `X-Request-ID` if that is a short plain one, else a new one."""
    return sent if sent and _PLAIN.fullmatch(sent) else new_request_id()


class Answered:
    """Told of each answer once it is ready."""

    def __init__(self, service: Service) -> None:
        self._traffic = service.traffic
        self._metrics = service.metrics

    def __call__(
        self,
        ids: Mapping[str, object],
        method: str,
        path: str,
        route: str | None,
        status: int,
        seconds: float,
        *,
        quietly: bool = False,
    ) -> None:
        """`ids` are those of the request and of what it made; `quietly` leaves out the line in the log."""
        milliseconds = seconds * 1e3
        self._traffic.add(milliseconds)
        self._metrics.answered(method, route, status, seconds)
        if not quietly and logs.access.isEnabledFor(logging.INFO):
            facts = {"method": method, "path": path, "status": status, "ms": round(milliseconds, 2)}
            logs.answered({**ids, **facts})
