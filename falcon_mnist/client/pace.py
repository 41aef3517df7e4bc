"""Connections that end where an answer comes in too slowly, or never ends.

The timeouts of httpx are those of one read: a server that sends a byte now and then would hold a command for ever.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

# What an answer has to come in at once the timeout has passed; a slow line has ten times as much.
LEAST_BYTES_PER_SECOND = 10_000
# No answer is longer: parameters come up to 500 million at once.
MOST_BYTES = 2**31


class Pace:
    """How long the next read of an answer may take: all bytes of the answer count, those of its head too."""

    def __init__(self, timeout: float, now: Callable[[], float] = time.monotonic) -> None:
        self._timeout = timeout
        self._now = now
        self.begin()

    def begin(self) -> None:
        """A part of a request was sent, and the answer is waited for."""
        self._bytes = 0
        self._end = self._now() + self._timeout

    def seconds_left(self) -> float:
        """Until when the next bytes must be here. Raises an error of httpcore."""
        if self._bytes > MOST_BYTES:
            raise httpcore.ReadError(f"its answer has more than {MOST_BYTES:,} bytes")
        left = self._end + self._bytes / LEAST_BYTES_PER_SECOND - self._now()
        if left <= 0:
            raise self.late()
        return min(left, self._timeout)

    def late(self) -> httpcore.ReadTimeout:
        """The error where they are not."""
        waited = self._now() - self._end + self._timeout
        return httpcore.ReadTimeout(f"its answer is not complete after {waited:.0f} seconds")

    def took(self, data: bytes) -> bytes:
        """These bytes of the answer have come in."""
        self._bytes += len(data)
        return data


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, timeout: float) -> None:
        self._inner = inner
        self._timeout = timeout
        self._pace = Pace(timeout)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return self._pace.took(self._inner.read(max_bytes, self._pace.seconds_left()))
        except httpcore.ReadTimeout:
            raise self._pace.late() from None

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)
        self._pace.begin()

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._timeout)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, inner: httpcore.AsyncNetworkStream, timeout: float) -> None:
        self._inner = inner
        self._timeout = timeout
        self._pace = Pace(timeout)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return self._pace.took(await self._inner.read(max_bytes, self._pace.seconds_left()))
        except httpcore.ReadTimeout:
            raise self._pace.late() from None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)
        self._pace.begin()

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(await self._inner.start_tls(ssl_context, server_hostname, timeout), self._timeout)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    def connect_tcp(self, *arguments: Any, **more: Any) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(*arguments, **more), self._timeout)


class _AsyncBackend(httpcore.AnyIOBackend):
    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    async def connect_tcp(self, *arguments: Any, **more: Any) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(await super().connect_tcp(*arguments, **more), self._timeout)


class Transport(httpx.BaseTransport):
    """For `httpx.Client`; connections are kept as it keeps them."""

    def __init__(self, timeout: float, trusted: ssl.SSLContext) -> None:
        self._pool = httpcore.ConnectionPool(**_options(trusted), network_backend=_Backend(timeout))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read its whole answer."""
        with _errors():
            answer = self._pool.handle_request(_sent(request))
            try:
                return _received(answer, answer.read())
            finally:
                answer.close()

    def close(self) -> None:
        """Close its connections."""
        self._pool.close()


class AsyncTransport(httpx.AsyncBaseTransport):
    """For `httpx.AsyncClient`."""

    def __init__(self, timeout: float, trusted: ssl.SSLContext) -> None:
        self._pool = httpcore.AsyncConnectionPool(**_options(trusted), network_backend=_AsyncBackend(timeout))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read its whole answer."""
        with _errors():
            answer = await self._pool.handle_async_request(_sent(request))
            try:
                return _received(answer, await answer.aread())
            finally:
                await answer.aclose()

    async def aclose(self) -> None:
        """Close its connections."""
        await self._pool.aclose()


def trusted(address: httpx.URL) -> ssl.SSLContext:
    """Whom to trust as the server at this address. Without TLS nobody: to read certificates takes 30 ms."""
    if address.scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Certificates of the environment are no more for a named server than its proxies are.
    return httpx.create_ssl_context(trust_env=False)


def _options(trusted: ssl.SSLContext) -> dict[str, Any]:
    return {"ssl_context": trusted, "max_connections": 100, "max_keepalive_connections": 20, "keepalive_expiry": 5.0}


def _sent(request: httpx.Request) -> httpcore.Request:
    url = request.url
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    return httpcore.Request(
        request.method, target, headers=request.headers.raw, content=request.content, extensions=request.extensions
    )


def _received(answer: httpcore.Response, content: bytes) -> httpx.Response:
    stream = httpx.ByteStream(content)
    return httpx.Response(answer.status, headers=answer.headers, stream=stream, extensions=answer.extensions)


@contextmanager
def _errors() -> Iterator[None]:
    """Raises errors of httpcore as those of httpx, which have the same names."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
    ) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error
