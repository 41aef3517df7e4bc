"""The two clients. Each operation is written once, as steps; a client sends, pauses, and hands the answers back."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

import httpx

from falcon_mnist.client.errors import ClientError
from falcon_mnist.client.methods import Operations
from falcon_mnist.client.pace import AsyncTransport, Transport, trusted
from falcon_mnist.client.steps import Request, Retries, Steps

T = TypeVar("T")

AT_HOME = "http://127.0.0.1:8000"
TIMEOUT_SECONDS = 60.0
RETRIES = 5  # about ten seconds in all, which a server needs to start again


class Client(Operations):
    """A connection to a server. Its methods raise `ClientError`.

    What fails for a moment (a lost connection, 429, 502, 503) is tried again, up to `retries` times; nothing is
    created twice by that. An answer has `timeout` seconds, and a long one more, but no more than 10 kB a second takes.
    `transport` and `pause` stand in for the network and for waiting.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout: float = TIMEOUT_SECONDS,
        retries: int = RETRIES,
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        options = _options(url, token, timeout)
        transport = transport or Transport(timeout, trusted(options["base_url"]))
        self._http = httpx.Client(**options, transport=transport)
        self._retries = Retries(retries, self._http.base_url)
        self._pause = pause

    @classmethod
    def from_env(cls) -> Self:
        """A client of the server that FALCON_MNIST_URL and FALCON_MNIST_TOKEN name."""
        return cls(*_from_env())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def carry_out(self, steps: Steps[T]) -> T:
        """Do what the steps say; their result."""
        attempts = self._retries.over(steps)
        outcome: Any = None
        while True:
            try:
                step = attempts.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, Request):
                try:
                    outcome = self._http.request(**_sent(step))
                except httpx.RequestError as error:
                    outcome = error
            else:
                outcome = self._pause(step)


class AsyncClient(Operations):
    """The same for asyncio: every method is awaited."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout: float = TIMEOUT_SECONDS,
        retries: int = RETRIES,
        transport: httpx.AsyncBaseTransport | None = None,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        options = _options(url, token, timeout)
        transport = transport or AsyncTransport(timeout, trusted(options["base_url"]))
        self._http = httpx.AsyncClient(**options, transport=transport)
        self._retries = Retries(retries, self._http.base_url)
        self._pause = pause

    @classmethod
    def from_env(cls) -> Self:
        """A client of the server that FALCON_MNIST_URL and FALCON_MNIST_TOKEN name."""
        return cls(*_from_env())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def carry_out(self, steps: Steps[T]) -> T:
        """Do what the steps say; their result."""
        attempts = self._retries.over(steps)
        outcome: Any = None
        while True:
            try:
                step = attempts.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, Request):
                try:
                    outcome = await self._http.request(**_sent(step))
                except httpx.RequestError as error:
                    outcome = error
            else:
                outcome = await self._pause(step)


def _options(url: str, token: str, timeout: float) -> dict[str, Any]:
    base = url.rstrip("/").removesuffix("/api")  # `serve` prints the address of the API
    if not token.isascii() or not token.isprintable():
        raise ClientError("invalid-token", "the token must be printable ASCII characters")
    try:
        address = httpx.URL(base)
    except httpx.InvalidURL as error:
        raise ClientError("invalid-url", f"{base} is no address of a server ({error})") from None
    headers = {"Authorization": f"Bearer {token}"}
    # Proxies and passwords of the environment are not for a server that is named together with its token.
    return {"base_url": address, "headers": headers, "timeout": timeout, "trust_env": False}


def _sent(request: Request) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": request.path,
        "params": request.query,
        "content": request.content,
        "headers": request.headers,
    }


def _from_env() -> tuple[str, str]:
    if not (token := os.environ.get("FALCON_MNIST_TOKEN")):
        raise ClientError("no-token", "FALCON_MNIST_TOKEN is not set")
    return os.environ.get("FALCON_MNIST_URL", AT_HOME), token
