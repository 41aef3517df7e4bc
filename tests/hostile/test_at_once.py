"""Requests that are answered in the thread that reads from all connections."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from in_process import make, served
from raw_http import Raw, request
from waitress import wasyncore

from falcon_mnist.api.at_once import KEY, NotAtOnce
from falcon_mnist.server.channel import AT_ONCE_SECONDS
from falcon_mnist.server.listener import Listeners

LARGE = 20_000_000  # bytes, more than a connection takes without a reader


def _application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answers with the body and the thread's name; slow ones not at once, large ones with many bytes."""
    body = environ["wsgi.input"].read()
    if environ["PATH_INFO"] == "/slow" and KEY in environ:
        raise NotAtOnce
    if environ["PATH_INFO"] == "/wrong":
        raise ValueError
    answer = (
        b"x" * LARGE if environ["PATH_INFO"] == "/large" else body + b" " + threading.current_thread().name.encode()
    )
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


@pytest.fixture
def server() -> Iterator[Listeners]:
    with served(_application, may_be_quick=lambda request: request.command == "POST") as server:
        yield server


def _ask(connection: Raw, method: str, path: str, body: bytes = b"") -> bytes:
    """The body of an answer that says how long it is."""
    connection.send(request(method, path, body=body))
    return _answer(connection)


def _answer(connection: Raw) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.receive(seconds=10)
    head, _, answer = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    assert length
    while len(answer) < int(length[1]):
        answer += connection.receive(seconds=10)
    return answer


def test_what_may_be_quick_is_answered_by_the_thread_that_reads_and_all_else_by_another(server: Listeners) -> None:
    names = {thread.ident: thread.name.encode() for thread in threading.enumerate()}
    reads = names[server.listeners[0].io_thread]
    with Raw(server.addresses[0]) as connection:
        for _ in range(2):
            assert _ask(connection, "POST", "/", b"body") == b"body " + reads
            assert reads not in _ask(connection, "GET", "/")


def test_what_turns_out_slow_is_answered_by_another_thread_from_its_beginning(server: Listeners) -> None:
    with Raw(server.addresses[0]) as connection:
        for body in (b"body", b"b" * 200_000):
            answer, _, thread = _ask(connection, "POST", "/slow", body).partition(b" ")
            assert answer == body
            assert thread != b""
            assert thread not in _ask(connection, "POST", "/", b"body")


def test_a_failure_is_an_answer_and_ends_its_own_connection_alone(server: Listeners) -> None:
    with Raw(server.addresses[0]) as failing, Raw(server.addresses[0]) as other:
        failing.send(request("POST", "/wrong", body=b"body"))
        assert failing.status() == 500
        assert failing.closed()
        assert _ask(other, "POST", "/", b"body").startswith(b"body ")


def test_what_is_malformed_is_refused(server: Listeners) -> None:
    with Raw(server.addresses[0]) as connection:
        connection.send(b"nonsense\r\n\r\n")
        assert connection.status() == 400


def test_a_client_that_does_not_read_an_answer_holds_nobody(server: Listeners) -> None:
    with Raw(server.addresses[0], receive_bytes=4096) as reads_later, Raw(server.addresses[0]) as other:
        reads_later.send(request("POST", "/large", body=b"body") * 3)
        for _ in range(3):
            assert _ask(other, "POST", "/", b"body").startswith(b"body ")
        for _ in range(3):
            assert reads_later.status() == 200


def test_slow_answers_of_one_round_are_shared_with_other_threads() -> None:
    """Else whoever comes next waits for all of them."""
    begun, go_on = threading.Event(), threading.Event()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] == "/held":
            begun.set()
            assert go_on.wait(10)
        if KEY in environ:
            time.sleep(AT_ONCE_SECONDS)
        return _application(environ, start_response)

    with served(application, may_be_quick=lambda request: request.command == "POST") as server, ExitStack() as stack:
        held, *connections = [stack.enter_context(Raw(server.addresses[0])) for _ in range(4)]
        for connection in connections:
            assert _ask(connection, "GET", "/")
        held.send(request("POST", "/held", body=b"body"))
        assert begun.wait(10)
        for connection in connections:  # all of them are ready when the thread that reads goes on
            connection.send(request("POST", "/", body=b"body"))
        go_on.set()
        threads = [_answer(connection).removeprefix(b"body ") for connection in (held, *connections)]
        assert sum(thread == threads[0] for thread in threads) == 2


def test_all_connections_that_wait_are_accepted_together() -> None:
    server = make(_application)
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(Raw(server.addresses[0]))
        wasyncore.poll2(1, server._map)
        assert len(server.channels) == 20
        for channel in server.channels:
            channel.handle_close()
    server.task_dispatcher.shutdown()
    server.close()
