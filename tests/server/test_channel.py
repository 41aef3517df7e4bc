"""Threads and their connections: each request is answered once, and who reads nothing is closed."""

from __future__ import annotations

import itertools
import re
import socket
import struct
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from asking import PATIENCE, READ, until
from cases import for_each
from in_process import answer_path, served
from raw_http import Raw, request

from falcon_mnist.api.streams import WHEN_READ
from falcon_mnist.api.turns import Released
from falcon_mnist.server.listener import Listeners

MUCH = 2**18


def _answer_much(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Length", str(MUCH))])
    return [bytes(MUCH)]


def test_a_client_that_reads_nothing_is_closed() -> None:
    with (
        served(_answer_much, read_seconds=1.0, cleanup_interval=1) as server,
        Raw(server.addresses[0]) as connection,
    ):
        connection.send_while_taken(request("GET", "/", token=READ) * 600, seconds=0.2)
        until(lambda: _is_reset(connection), "the server has closed it")


def _is_reset(connection: Raw) -> bool:
    connection.socket.settimeout(0.1)
    try:
        connection.socket.send(b"G")
    except TimeoutError:
        return False
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False


@for_each("leaves", [False, True])
def test_the_application_is_told_when_its_answer_is_read_or_its_client_has_left(leaves: bool) -> None:
    told = threading.Event()

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Released:
        start_response("200 OK", [("Content-Length", str(2**24))])
        return Released([bytes(2**24)], partial(environ[WHEN_READ], told.set))  # more than the system takes

    with served(answer) as server, Raw(server.addresses[0], receive_bytes=4096) as connection:
        connection.send(request("GET", "/"))
        connection.socket.recv(1, socket.MSG_PEEK)
        assert not told.is_set()
        if leaves:
            connection.socket.close()
        else:
            connection.widen()
            assert connection.status() == 200
        assert told.wait(PATIENCE)


def test_a_client_that_has_left_is_not_asked_for_its_next_body(caplog: pytest.LogCaptureFixture) -> None:
    """There was nothing to send it to any more: a traceback in the log."""
    asked, left, answered = threading.Event(), threading.Event(), threading.Event()

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", str(MUCH))])
        asked.set()
        assert left.wait(PATIENCE)
        yield bytes(MUCH)
        until(environ["waitress.client_disconnected"], "the server has closed the connection")
        answered.set()

    with served(answer) as server:
        with Raw(server.addresses[0]) as connection:
            connection.send(request("GET", "/") + request("POST", "/", "Expect: 100-continue", "Content-Length: 4"))
            assert asked.wait(PATIENCE)
            reset = struct.pack("ii", 1, 0)
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        left.set()
        assert answered.wait(PATIENCE)
    assert caplog.records == []


def test_what_has_been_read_is_not_kept() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(served(_answer_much))
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        for _ in range(20):
            connection = stack.enter_context(Raw(server.addresses[0]))
            connection.send(request("GET", "/"))
            assert connection.status() == 200
        until(lambda: tracemalloc.get_traced_memory()[0] < 4 * MUCH, "little is kept of twenty answers")


def test_bodies_beyond_what_all_may_take_in_memory_wait_in_files() -> None:
    """Two hundred connections took a gigabyte, before a turn was asked for."""
    size, half = 2**20, bytes(2**19)
    lengths: list[int] = []

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        lengths.append(len(environ["wsgi.input"].read()))
        start_response("200 OK", [("Content-Length", "0")])
        return []

    def received(server: Listeners) -> list[int]:
        return [channel.request.body_bytes_received for channel in server.channels if channel.request is not None]

    chunk = b"%x\r\n%b\r\n" % (len(half), half)
    kinds = [(f"Content-Length: {size}", half, half), ("Transfer-Encoding: chunked", chunk, chunk + b"0\r\n\r\n")] * 6
    with ExitStack() as stack:
        server = stack.enter_context(served(answer, bodies_memory=3 * size, sockets=2))
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        connections = [stack.enter_context(Raw(address)) for address in server.addresses for _ in kinds[::2]]
        for connection, (header, first, _) in zip(connections, kinds, strict=True):
            connection.send(request("POST", "/", header) + first)
        until(lambda: len(at := received(server)) == len(kinds) and min(at) >= len(half), "half of each is there")
        assert tracemalloc.get_traced_memory()[0] < 2 * size  # with each address on its own it was more
        for connection, (_, _, rest) in zip(connections, kinds, strict=True):
            connection.send(rest)
            assert connection.status() == 200
        assert lengths == [size] * len(kinds)


# Ten times as many as it takes, on average, to see what the test below is about.
CONNECTIONS = 80


@pytest.fixture
def restless() -> Iterator[None]:
    """Python's threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def _pipelined(url: str, number: int) -> int:
    """Send 60 requests in pieces and read the answers meanwhile; returns how many came, in their order, once each."""
    paths = [b"/%06d" % at for at in range(60)]
    data = b"".join(b"GET %s HTTP/1.1\r\nHost: here\r\n\r\n" % path for path in paths)
    size = (20, 57, 90, 200)[number % 4]
    with Raw(url) as connection:
        sender = threading.Thread(
            target=lambda: [connection.send(data[at : at + size]) for at in range(0, len(data), size)]
        )
        sender.start()
        try:
            received = b""
            # One in HTTP/1.1, one in a path.
            while received.count(b"/") < 120 and (piece := connection.receive(PATIENCE)):
                received += piece
        finally:
            sender.join()
    return sum(answer == path for answer, path in zip(re.findall(rb"/\d{6}", received), paths, strict=False))


@pytest.mark.parametrize("at_once", [False, True])
def test_threads_that_meet_on_a_connection_answer_each_request_once(restless: None, *, at_once: bool) -> None:
    """Without the lock of `Channel`, or where it is let go too soon, one of 5 to 12 connections has other answers."""
    turns = itertools.cycle([True, False, True])
    quick = (lambda _, __: next(turns)) if at_once else (lambda _, __: False)
    with served(answer_path, may_be_quick=quick) as server, ThreadPoolExecutor(4) as clients:
        answered = list(clients.map(lambda number: _pipelined(server.addresses[0], number), range(CONNECTIONS)))
    assert answered == [60] * CONNECTIONS
