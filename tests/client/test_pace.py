"""Servers whose answers never end, and whom a client trusts to be the server."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpcore
import httpx
import pytest
from asynchronous import run_async

from falcon_mnist.client import AsyncClient, Client, ClientError
from falcon_mnist.client.pace import LEAST_BYTES_PER_SECOND, MOST_BYTES, Pace, trusted

HEAD = b"HTTP/1.1 200 OK\r\n"
# How an answer begins, and what comes again and again.
ENDLESS = {
    "head": (HEAD, b"a"),
    "headers": (HEAD, b"A:\r\n"),
    "body": (HEAD + b"Content-Length: 1000000\r\n\r\n", b" "),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "body without a length": (HEAD + b"\r\n", b" "),
}


@contextmanager
def trickling(beginning: bytes, piece: bytes) -> Iterator[str]:
    """The address of a server that sends the same piece again and again."""
    over = threading.Event()

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                connection.sendall(beginning)
                while not over.wait(0.01):
                    connection.sendall(piece)
            except OSError:
                return  # its client has gone

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


def _sync(url: str) -> None:
    with Client(url, "a-token", timeout=0.2) as client:
        client.version()


def _asynchronous(url: str) -> None:
    async def ask() -> None:
        async with AsyncClient(url, "a-token", timeout=0.2) as client:
            await client.version()

    run_async(ask())


@pytest.mark.parametrize("ask", [_sync, _asynchronous], ids=["Client", "AsyncClient"])
@pytest.mark.parametrize("part", ENDLESS)
def test_an_answer_that_never_ends_is_an_error(ask: Callable[[str], None], part: str) -> None:
    with (
        trickling(*ENDLESS[part]) as url,
        pytest.raises(ClientError, match=r"no server answers .*not complete") as error,
    ):
        ask(url)
    assert error.value.code == "unreachable"


def test_a_long_answer_has_time_for_its_length() -> None:
    now = 0.0
    pace = Pace(10.0, lambda: now)
    now = 9.0
    assert pace.seconds_left() == 1
    pace.took(bytes(5 * LEAST_BYTES_PER_SECOND))
    assert pace.seconds_left() == 6
    now = 15.0
    with pytest.raises(httpcore.ReadTimeout):
        pace.seconds_left()
    pace.begin()  # the next request over the same connection
    assert pace.seconds_left() == 10


def test_an_answer_longer_than_any_is_an_error() -> None:
    pace = Pace(10.0, lambda: 0.0)
    for _ in range(MOST_BYTES // 2**20 + 1):
        pace.took(bytes(2**20))
    with pytest.raises(httpcore.ReadError, match="more than"):
        pace.seconds_left()


@pytest.mark.parametrize(("scheme", "has_authorities"), [("http", False), ("https", True)])
def test_a_server_has_to_be_known_to_an_authority_and_without_tls_none_is_read(
    scheme: str, *, has_authorities: bool
) -> None:
    context = trusted(httpx.URL(f"{scheme}://server"))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert (context.cert_store_stats()["x509_ca"] > 0) == has_authorities
