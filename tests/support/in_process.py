"""A server of an application, in a thread of this process."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from asking import PATIENCE, until

from falcon_mnist.server.listener import Listeners
from falcon_mnist.server.serve import ADJUSTMENTS
from falcon_mnist.server.sockets import listen


def make(
    application: Callable[..., Any],
    *,
    max_body_bytes: int = 2**20,
    cleanup_interval: int = ADJUSTMENTS["cleanup_interval"],
    wait_seconds: int = 1,
    sockets: int = 1,
    **more: Any,
) -> Listeners:
    """One that nobody runs yet; `more` as `Listeners` takes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return Listeners(
            application,
            [each for _ in range(sockets) for each in listen("127.0.0.1", 0)],
            admits=lambda _: True,
            max_body_bytes=max_body_bytes,
            adjustments=ADJUSTMENTS
            | {
                "connection_limit": 100,
                "ident": None,
                "cleanup_interval": cleanup_interval,
                "asyncore_loop_timeout": wait_seconds,
            },
            **more,
        )


@contextmanager
def served(application: Callable[..., Any], **more: Any) -> Iterator[Listeners]:
    """One that runs while the block does; `more` as `make` takes it."""
    server = make(application, **more)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.task_dispatcher.shutdown()
        for channel in server.channels:
            channel.will_close = True
        server.pull_trigger()
        until(lambda: not server.channels, "the connections are closed")
        server.close()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def answer_path(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """An application that answers each request with its path."""
    body = environ["PATH_INFO"].encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
