"""The WSGI application under waitress, with limits that fit it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import BaseWSGIServer, create_server
from waitress.task import ErrorTask, Task, WSGITask
from waitress.utilities import BadRequest, RequestEntityTooLarge, ServerNotImplemented

from falcon_mnist.api.app import SECURITY_HEADERS, access, build_app, new_request_id
from falcon_mnist.api.service import Service
from falcon_mnist.server import dispatcher

log = logging.getLogger(__name__)

# How far a body may be over the limit and still be read to its end, so that its client, which may not look
# at the answer before it has sent everything, gets the 413 instead of a broken connection.
_PATIENCE_BYTES = 2**26


# What this service asks of waitress; `waitress-serve` takes the same names as options.
ADJUSTMENTS: dict[str, int | bool] = {
    "threads": 8,
    # A body of 512 rows is 2 MB and more: read in 8 KiB pieces, the default, and from 512 KiB on through a
    # temporary file, it takes twice the time of everything that follows.
    "recv_bytes": 2**18,
    "inbuf_overflow": 2**22,
    # An answer goes out in one piece, from the main thread, instead of two, head and body, from a task's thread:
    # each of them gives up the GIL. waitress warns that the option may go one day; then so will this line.
    "send_bytes": 18000,
    "connection_limit": 1000,
    "backlog": 1024,
    "channel_timeout": 60,  # seconds without a byte until a connection is closed
    "cleanup_interval": 10,
    "asyncore_use_poll": True,  # select() knows no descriptors beyond 1023
    "clear_untrusted_proxy_headers": True,
}


# How long requests in flight may take once the server is to end, while runs are saved.
DRAIN_SECONDS = 10.0
# When it ends whatever keeps it, with room to the 15 seconds that are promised.
EXIT_SECONDS = 14.0


class Refusal(ErrorTask):  # type: ignore[misc]
    """waitress's own answer to what is no HTTP, with the headers and the line in the log that every answer has."""

    def execute(self) -> None:
        """Write it."""
        request_id = new_request_id()
        self.response_headers += [("X-Request-ID", request_id), ("Cache-Control", "no-store"), *SECURITY_HEADERS]
        super().execute()
        access.info("request", extra={"request_id": request_id, "status": self.request.error.code})


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection on which bodies that waitress does not read on are refused by the application.

    So they too get 401, 404 or 405 before 413, and a problem document.
    """

    def send_continue(self) -> None:
        """Ask for the body, unless there is none or it is refused: waitress would wait for it all the same."""
        if not self.request.completed:
            super().send_continue()

    @staticmethod
    def error_task_class(channel: HTTPChannel, request: HTTPRequestParser) -> Task:
        """The task that answers a request which waitress could not or would not read."""
        if isinstance(request.error, ServerNotImplemented):  # an encoding of the client's: no fault of the server
            request.error = BadRequest(request.error.body)
        if not isinstance(request.error, RequestEntityTooLarge):
            vars(request).setdefault("path", "")  # waitress wants to name it if the client has gone
            return Refusal(channel, request)
        request.error = None
        request.headers["CONTENT_LENGTH"] = str(max(request.content_length, request.body_bytes_received))
        task = WSGITask(channel, request)
        task.close_on_finish = True  # the rest of the body may still be on its way
        return task


def make_server(service: Service, host: str, port: int) -> BaseWSGIServer:
    """A server that listens at `host` and `port` (0: any free one). Raises `OSError` if it cannot."""
    dispatcher.use()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "send_bytes will be removed", DeprecationWarning)
        server = create_server(
            build_app(service),
            host=host,
            port=port,
            max_request_body_size=service.settings.max_body_bytes + _PATIENCE_BYTES,
            ident=None,
            **ADJUSTMENTS,
        )
    server.channel_class = Channel
    return server


def address(server: Any) -> str:
    """The URL that the server is at."""
    host = server.effective_host
    return f"http://{f'[{host}]' if ':' in host else host}:{server.effective_port}"


def run_until_signalled(server: BaseWSGIServer, service: Service) -> None:
    """Serve until SIGINT or SIGTERM, then let requests and runs come to a good end.

    Readiness turns false, requests in flight are answered, running runs are saved for the next server. A
    second signal ends the process at once.
    """
    signals: list[int] = []  # an Event takes a lock, which a handler must not wait for

    def leave(number: int, frame: object) -> None:
        if signals:
            os._exit(1)
        signals.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    service.executor.start()
    with _in_thread(server, service) as thread:
        while not signals:
            time.sleep(0.1)
            if not thread.is_alive():
                raise RuntimeError("the server's thread ended by itself; its log says why")
        log.info("ending: requests are answered and runs are saved")
        threading.Thread(target=_end_anyway, name="last resort", daemon=True).start()


def _end_anyway() -> None:
    """A worker that somebody stopped, say, or a database that does not answer, keeps the server no longer."""
    time.sleep(EXIT_SECONDS)
    log.error("ending at once: not all is saved, but what was answered and recorded stays")
    os._exit(1)


@contextmanager
def running(service: Service, host: str = "127.0.0.1") -> Iterator[str]:
    """A server in a thread of this process, on a free port; gives its URL."""
    server = make_server(service, host, 0)
    with _in_thread(server, service):
        yield address(server)


@contextmanager
def _in_thread(server: BaseWSGIServer, service: Service) -> Iterator[threading.Thread]:
    """Serve while the block runs, then drain."""
    thread = threading.Thread(target=server.run, name="server", daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        end = time.monotonic() + DRAIN_SECONDS
        service.draining.set()
        service.executor.stop()
        _wait(end, lambda: not any(_busy(channel) for channel in list(server.active_channels.values())))
        server.task_dispatcher.shutdown(timeout=1)
        for channel in list(server.active_channels.values()):
            channel.will_close = True
        server.pull_trigger()
        _wait(time.monotonic() + 1, lambda: not server.active_channels)
        server.close()  # the loop ends when it has nothing to watch any more
        thread.join(timeout=1)
        service.close()


def _wait(end: float, reached: Callable[[], bool]) -> None:
    while time.monotonic() < end and not reached():
        time.sleep(0.02)


def _busy(channel: Any) -> bool:
    """Whether a connection has a request that has begun to come in and is not answered to its last byte."""
    return bool(channel.request is not None or channel.requests or channel.total_outbufs_len)
