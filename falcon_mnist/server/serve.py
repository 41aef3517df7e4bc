"""The WSGI application under waitress, with limits that fit it."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from falcon_mnist import logs
from falcon_mnist.api.app import build_app
from falcon_mnist.api.at_once import AtOnce, may_be_quick
from falcon_mnist.api.service import Service
from falcon_mnist.server.balance import Balance
from falcon_mnist.server.descriptors import connection_limit
from falcon_mnist.server.listener import Listeners
from falcon_mnist.server.parser import MAX_HEADER_BYTES
from falcon_mnist.server.sockets import BACKLOG, listen

log = logging.getLogger(__name__)

# How far a body may be over the limit and still be read to its end, so that its client, which may not look
# at the answer before it has sent everything, gets the 413 instead of a broken connection.
_PATIENCE_BYTES = 2**26


# What this service asks of waitress; `waitress-serve` takes the same names as options.
ADJUSTMENTS: dict[str, Any] = {
    "threads": 8,
    # A body of 512 rows is 2 MB and more: read in 8 KiB pieces, the default, and from 512 KiB on through a
    # temporary file, it takes twice the time of everything that follows.
    "recv_bytes": 2**18,
    "inbuf_overflow": 2**22,
    # An answer goes out in one piece, from the main thread, instead of two, head and body, from a task's thread:
    # each of them gives up the GIL. waitress warns that the option may go one day; then so will this line.
    "send_bytes": 18000,
    # An answer stays in memory, for a full disk is to spoil none; so a client that reads slowly has little of it
    # prepared, and the rest waits.
    "outbuf_overflow": 2**25,
    "outbuf_high_watermark": 2**18,
    "max_request_header_size": MAX_HEADER_BYTES,
    "backlog": BACKLOG,
    "channel_timeout": 60,  # seconds without a byte until a connection is closed
    "cleanup_interval": 5,
    "clear_untrusted_proxy_headers": True,
}


# At most so many connections, and fewer where there are fewer descriptors.
CONNECTIONS = 1000

# How long requests in flight may take once the server is to end, while runs are saved.
DRAIN_SECONDS = 10.0
# When it ends whatever keeps it, with room to the 15 seconds that are promised.
EXIT_SECONDS = 14.0
# How long its last line may take.
_WORD_SECONDS = 0.3


def make_server(service: Service, sockets: list[socket.socket], balance: Balance | None = None) -> Listeners:
    """A server behind these listening sockets; with `balance`, other processes are behind them too."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "send_bytes will be removed", DeprecationWarning)
        return Listeners(
            build_app(service),
            sockets,
            admits=service.tokens.admits,
            max_body_bytes=service.settings.max_body_bytes,
            may_be_quick=lambda head, length: may_be_quick(head, length) and not logs.is_behind(),
            answer_at_once=AtOnce(service),
            adjustments=ADJUSTMENTS
            | {
                "max_request_body_size": service.settings.max_body_bytes + _PATIENCE_BYTES,
                "connection_limit": connection_limit(CONNECTIONS),
                "ident": None,
            },
            balance=balance,
        )


def run_until_signalled(
    server: Listeners,
    service: Service,
    signals: list[int],
    *,
    drain_seconds: float = DRAIN_SECONDS,
    exit_seconds: float = EXIT_SECONDS,
) -> None:
    """Serve until one of the `signals` is noted, then let requests and runs come to a good end.

    Readiness turns false, requests in flight are answered, running runs are saved for the next server.
    """
    service.executor.start()
    with _in_thread(server, service, drain_seconds) as thread:
        while not signals:
            time.sleep(0.1)
            if not thread.is_alive():
                raise RuntimeError("the server's thread ended by itself; its log says why")
        # First of all: a log that nobody reads keeps whoever writes to it.
        threading.Thread(target=_end_anyway, args=[exit_seconds], name="last resort", daemon=True).start()
        log.info("ending: requests are answered and runs are saved")


def _end_anyway(seconds: float) -> None:
    """End the server although something keeps it: a stopped worker, say, or a log that nobody reads."""
    time.sleep(seconds)
    word = threading.Thread(target=_say_so, name="last word", daemon=True)
    word.start()
    word.join(_WORD_SECONDS)
    os._exit(1)


def _say_so() -> None:
    log.error("ending at once: not all is saved, but what was answered and recorded stays")


@contextmanager
def running(service: Service, host: str = "127.0.0.1") -> Iterator[str]:
    """A server in a thread of this process, on a free port; gives its URL."""
    server = make_server(service, listen(host, 0))
    with _in_thread(server, service, DRAIN_SECONDS):
        yield server.addresses[0]


@contextmanager
def _in_thread(server: Listeners, service: Service, drain_seconds: float) -> Iterator[threading.Thread]:
    """Serve while the block runs, then drain."""
    thread = threading.Thread(target=server.run, name="server", daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        end = time.monotonic() + drain_seconds
        service.draining.set()
        service.executor.stop()
        _wait(end, lambda: not any(channel.busy for channel in server.channels))
        server.task_dispatcher.shutdown(timeout=1)
        for channel in server.channels:
            channel.will_close = True
        server.pull_trigger()
        _wait(time.monotonic() + 1, lambda: not server.channels)
        server.close()
        service.close()


def _wait(end: float, reached: Callable[[], bool]) -> None:
    while time.monotonic() < end and not reached():
        time.sleep(0.02)
