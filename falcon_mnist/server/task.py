"""Answers to requests: of the application, by waitress's task, a plain one in one piece, and of waitress itself."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from waitress.task import ErrorTask, WSGITask
from waitress.utilities import build_http_date

from falcon_mnist import logs
from falcon_mnist.api.answered import ANSWER_HEADERS, new_request_id
from falcon_mnist.api.streams import WHEN_READ
from falcon_mnist.server.parser import StorageFull


class AnswerTask(WSGITask):  # type: ignore[misc]
    """waitress puts the names of headers into capitals and sorts them, which takes longer than to parse a request."""

    wrote_header: bool

    def get_environment(self) -> dict[str, Any]:
        """What the application learns of the request."""
        environment: dict[str, Any] = super().get_environment()
        environment[WHEN_READ] = self.channel.when_read
        return environment

    def build_response_header(self) -> bytes:
        """The first lines of an answer."""
        if not self._is_plain():
            return bytes(super().build_response_header())
        return head(str(self.status), self.response_headers, self.start_time)

    def write(self, data: bytes) -> None:
        """Write a part of the body, the first together with the head."""
        if not self.wrote_header and self.content_length == len(data) and self.complete and self._is_plain():
            self.channel.write_soon(self.build_response_header() + data)
            self.wrote_header = True
            self.content_bytes_written = len(data)
        else:
            super().write(data)

    def _is_plain(self) -> bool:
        """Whether the head is to say nothing that the application has not said, but for the date."""
        return (
            self.version == "1.1"
            and self._is_delimited()
            and not self.close_on_finish
            and self.request.headers.get("CONNECTION", "").lower() != "close"
        )

    def _is_delimited(self) -> bool:
        """Whether the client can tell where the answer ends: after a 204 or a 304, waitress closes all the same."""
        length = ("content-length", str(self.content_length))  # as Falcon says it
        return length in self.response_headers if self.has_body else self.content_length is None


class Refusal(ErrorTask):  # type: ignore[misc]
    """waitress's own answer to malformed HTTP, with the headers and the line in the log that every answer has."""

    def execute(self) -> None:
        """Write it."""
        request_id = new_request_id()
        self.response_headers += [("X-Request-ID", request_id), *ANSWER_HEADERS]
        if isinstance(self.request.error, StorageFull):
            self.response_headers.append(("Retry-After", "10"))
        super().execute()
        logs.answered({"request_id": request_id, "status": self.request.error.code})


def head(status: str, headers: Iterable[tuple[str, str]], now: float) -> bytes:
    """The first lines of an answer, with its date."""
    lines = [f"HTTP/1.1 {status}", *map(": ".join, headers), _date(int(now))]
    return "\r\n".join(lines).encode("latin-1")


@lru_cache(1)
def _date(second: int) -> str:
    return f"Date: {build_http_date(second)}\r\n\r\n"
