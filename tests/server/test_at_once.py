"""Requests that are answered in the thread that reads from all connections."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from asking import until
from in_process import make, served
from raw_http import Raw, request

from falcon_mnist.api.at_once import Answer
from falcon_mnist.server.channel import AT_ONCE_SECONDS
from falcon_mnist.server.listener import Listeners
from falcon_mnist.server.plain_head import Head

LARGE = 20_000_000  # bytes, more than a connection takes without a reader


def _application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answers with the body and the thread's name, and at one path with many bytes."""
    body = environ["wsgi.input"].read()
    answer = b"x" * LARGE if environ["PATH_INFO"] == "/large" else _answer_to(body)
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


def _at_once(request: Head, body: bytes) -> Answer | None:
    """The same, but for what is slow; and it fails at one path."""
    if request.path == "/slow":
        return None
    if request.path == "/wrong":
        raise ValueError
    answer = b"x" * LARGE if request.path == "/large" else _answer_to(body)
    return Answer([("content-length", str(len(answer)))], answer)


def _answer_to(body: bytes) -> bytes:
    return body + b" " + threading.current_thread().name.encode()


POSTS = {"may_be_quick": lambda head, _: head.method == "POST", "answer_at_once": _at_once}


@pytest.fixture
def server() -> Iterator[Listeners]:
    with served(_application, **POSTS) as server:
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
    with Raw(server.addresses[0]) as connection:
        _ask(connection, "GET", "/")  # so its threads have begun
        names = {thread.ident: thread.name.encode() for thread in threading.enumerate()}
        reads = names[server.listeners[0].io_thread]
        for _ in range(2):
            assert _ask(connection, "POST", "/", b"body") == b"body " + reads
            assert reads not in _ask(connection, "GET", "/")


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_that_thread_answers_in_however_many_pieces_a_request_comes(pieces: int) -> None:
    server = make(_application, **POSTS)
    sent = request("POST", "/", body=b"body")
    with Raw(server.addresses[0]) as connection:
        server.turn()
        for _ in range(2):
            for at in range(pieces):
                connection.send(sent[at * len(sent) // pieces : (at + 1) * len(sent) // pieces])
                server.turn()
            assert _answer(connection) == _answer_to(b"body")
    _end(server)


def test_a_body_beyond_the_limit_is_not_answered_at_once() -> None:
    with served(_application, **POSTS, max_body_bytes=4) as server, Raw(server.addresses[0]) as connection:
        assert not _ask(connection, "POST", "/", b"body").startswith(b"body waitress")
        assert _ask(connection, "POST", "/", b"body!").startswith(b" waitress")


def test_what_is_not_answered_at_once_is_tried_only_once() -> None:
    tried = []

    def count(head: Head, body: bytes) -> Answer | None:
        tried.append(head.path)
        return _at_once(head, body)

    with (
        served(_application, **POSTS | {"answer_at_once": count}) as server,
        Raw(server.addresses[0]) as connection,
    ):
        for path in ("/slow", "/wrong"):
            assert _ask(connection, "POST", path, b"body").startswith(b"body waitress")
    assert tried == ["/slow", "/wrong"]


def test_what_turns_out_slow_is_answered_by_another_thread_from_its_beginning(server: Listeners) -> None:
    with Raw(server.addresses[0]) as connection:
        for body in (b"body", b"b" * 200_000):
            answer, _, thread = _ask(connection, "POST", "/slow", body).partition(b" ")
            assert answer == body
            assert thread != b""
            assert thread not in _ask(connection, "POST", "/", b"body")


def test_a_failure_leaves_the_request_to_the_application_and_its_connection_alone(server: Listeners) -> None:
    with Raw(server.addresses[0]) as connection:
        assert _ask(connection, "POST", "/wrong", b"body").startswith(b"body waitress")
        assert _ask(connection, "POST", "/", b"body").startswith(b"body ")


def test_requests_that_come_together_are_answered_in_their_order(server: Listeners) -> None:
    with Raw(server.addresses[0]) as connection:
        connection.send(b"".join(request("POST", "/", body=b"body %d" % number) for number in range(5)))
        received = b""
        while received.count(b"body ") < 5:
            received += connection.receive(seconds=10)
        assert re.findall(rb"body (\d)", received) == [b"%d" % number for number in range(5)]


def test_a_client_that_is_gone_when_it_is_answered_harms_no_other() -> None:
    left = threading.Event()

    def leave(asked: Head, body: bytes) -> Answer | None:
        if asked.path == "/leave":
            gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # it is reset
            gone.socket.close()
            left.set()
        return _at_once(asked, body)

    with served(_application, **POSTS | {"answer_at_once": leave}) as server, Raw(server.addresses[0]) as other:
        gone = Raw(server.addresses[0])
        gone.send(request("POST", "/leave", body=b"body"))
        assert left.wait(10)
        until(lambda: len(server.channels) == 1, "the connection is closed")
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
        reads_later.widen()
        for _ in range(3):
            assert reads_later.status() == 200


def test_slow_answers_of_one_round_are_shared_with_other_threads() -> None:
    """Else whoever comes next waits for all of them."""
    begun, go_on = threading.Event(), threading.Event()

    def slowly(asked: Head, body: bytes) -> Answer | None:
        if asked.path == "/held":
            begun.set()
            assert go_on.wait(10)
        time.sleep(AT_ONCE_SECONDS)
        return _at_once(asked, body)

    with served(_application, **POSTS | {"answer_at_once": slowly}) as server, ExitStack() as stack:
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
        server.turn()
        assert len(server.channels) == 20
    _end(server)


def _end(server: Listeners) -> None:
    for channel in server.channels:
        channel.handle_close()
    server.task_dispatcher.shutdown()
    server.close()
