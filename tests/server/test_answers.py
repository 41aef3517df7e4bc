"""The head of an answer: what waitress would say, whatever the client asked for."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from cases import for_each
from waitress.adjustments import Adjustments
from waitress.task import WSGITask

from falcon_mnist.server.channel import Channel
from falcon_mnist.server.parser import RequestParser
from falcon_mnist.server.task import AnswerTask


class _Channel:
    """Keeps what is written."""

    def __init__(self, application: Callable[..., Any]) -> None:
        adjustments = SimpleNamespace(ident=None, url_prefix="", log_socket_errors=True)
        self.server = SimpleNamespace(application=application, adj=adjustments, effective_port=80, server_name="here")
        self.adj, self.addr = adjustments, ("127.0.0.1", 1)
        self.written: list[bytes] = []

    def check_client_disconnected(self) -> bool:
        return False

    def when_read(self, then: Callable[[], None]) -> None:
        raise AssertionError("this application asks for nothing when its answer is read")

    def write_soon(self, data: bytes) -> int:
        self.written.append(data)
        return len(data)


def _request(method: str, version: str, **headers: str) -> Any:
    return SimpleNamespace(
        command=method, version=version, headers=headers, path="/", request_uri="/", query="", url_scheme="http",
        get_body_stream=lambda: None,
    )  # fmt: skip


def _parts(answer: bytes) -> tuple[bytes, set[bytes], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    return first, {line.partition(b": ")[0].lower() + b": " + line.partition(b": ")[2] for line in lines}, body


@for_each("connection", [{}, {"CONNECTION": "keep-alive"}, {"CONNECTION": "Close"}])
@for_each("version", ["1.0", "1.1", "2.0"])
@for_each("method", ["GET", "HEAD"])
@for_each(
    "status, pieces, length",
    [
        ("200 OK", [b"body"], 4),
        ("200 OK", [b"bo", b"dy"], 4),
        ("200 OK", [], 0),
        ("200 OK", [b"body"], None),
        ("200 OK", [b"bo", b"dy"], None),
        ("200 OK", [b"more than it said"], 4),
        ("200 OK", [b"less"], 10),
        ("304 Not Modified", [], 4),
        ("404 Not Found", [b"body"], 4),
    ],
)
def test_it_says_what_waitress_says(
    connection: dict[str, str], version: str, method: str, status: str, pieces: list[bytes], length: int | None
) -> None:
    def application(environ: object, start_response: Callable[..., Any]) -> list[bytes]:
        headers = [("x-kind", "test"), ("Set-Cookie", "a"), ("Set-Cookie", "b")]
        start_response(status, headers + ([] if length is None else [("content-length", str(length))]))
        return [] if method == "HEAD" else pieces

    request = _request(method, version, **connection)
    assert _answered(AnswerTask, application, request) == _answered(WSGITask, application, request)


def _answered(kind: type[WSGITask], application: Callable[..., Any], request: Any) -> tuple[object, ...]:
    """The first line, the headers, the body, whether the connection closes, and whether a head was written."""
    channel = _Channel(application)
    task = kind(channel, request)
    task.start = lambda: None
    task.start_time = 1_800_000_000.7
    task.service()
    return (*_parts(b"".join(channel.written)), task.close_on_finish, task.wrote_header)


@for_each("status", ["204 No Content", "304 Not Modified"])
def test_an_answer_that_has_no_body_keeps_the_connection(status: str) -> None:
    """waitress closes it, and a client that asks by `If-None-Match` would connect anew each time."""

    def application(environ: object, start_response: Callable[..., Any]) -> list[bytes]:
        start_response(status, [("etag", '"1"')])
        return []

    first, headers, body, closes, _ = _answered(AnswerTask, application, _request("GET", "1.1"))
    assert (first, headers, body) == (
        b"HTTP/1.1 " + status.encode(), {b'etag: "1"', b"date: Fri, 15 Jan 2027 08:00:00 GMT"}, b""
    )  # fmt: skip
    assert not closes
    for version, connection in (("1.0", {}), ("1.1", {"CONNECTION": "close"})):
        *_, closes, _ = _answered(AnswerTask, application, _request("GET", version, **connection))
        assert closes


def test_waitress_can_name_a_request_that_it_could_not_read() -> None:
    """It does if the client is gone before the answer, and would throw if the request had no path."""
    request = RequestParser(Adjustments(), Channel)
    request.received(b"nonsense\r\n\r\n")
    assert request.error
    assert Channel.error_task_class(None, request).request.path == ""
