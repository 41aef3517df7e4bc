"""Threads and their connections: each request is answered once, and who reads nothing is closed."""

from __future__ import annotations

import itertools
import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asking import READ, until
from in_process import answer_path, served
from raw_http import Raw, request


def _answer_much(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Length", str(2**18))])
    return [bytes(2**18)]


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
            while received.count(b"/") < 120 and (
                piece := connection.receive(seconds=5)
            ):  # one in HTTP/1.1, one in a path
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
