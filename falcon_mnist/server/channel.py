"""A connection: its requests one after the other, each only when its client has read the answer before.

A client that sends many requests at once, or reads nothing, costs its own connection and no thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.task import Task
from waitress.utilities import BadRequest, RequestEntityTooLarge, ServerNotImplemented

from falcon_mnist.server import plain_head
from falcon_mnist.server.parser import RequestParser
from falcon_mnist.server.task import AnswerTask, Refusal, head

if TYPE_CHECKING:
    from falcon_mnist.server.listener import Listener

# So long, unless a server is told otherwise, may pass without a byte of an answer being read; then its connection is
# closed.
READ_SECONDS = 10.0
# The thread that reads from all connections answers at once for so long in a round; the rest of the round's requests
# go to others. So where many connections ask, or each for much, none waits for all: some 100 answers of one row.
AT_ONCE_SECONDS = 0.02
# So much of the bodies of all requests, unless a server is told otherwise, may be in memory, and so little of each
# that comes when they take that: the rest is in files.
BODIES_MEMORY = 2**28
LITTLE_MEMORY = 2**16


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection. A body that is not wanted is not kept, and the application answers its request, not waitress.

    So its client gets 401, 404 or 405 before 413, in a problem document.
    """

    server: Listener
    unread = b""  # bytes that came after the request that is being answered: not parsed yet
    _waits_for_reader = False  # whether the next request is kept back until the answer before it has left
    _reader = 0  # the thread that is in `handle_read`
    _due_at_once = False  # that thread is to answer the request that it has read

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self._when_read: list[Callable[[], None]] = []
        self._parsing = threading.Lock()  # held while a thread of the dispatcher parses `unread`
        super().__init__(*arguments, **more)

    # What comes in

    def parser_class(self, adjustments: Any) -> RequestParser:
        """A parser for the next request."""
        return RequestParser(adjustments, self)

    def keeps_body(self, headers: dict[str, str], length: int) -> bool:
        """Whether the application may want the body: not without a token, nor beyond its limit."""
        return length <= self.server.max_body_bytes and self.server.admits(headers.get("AUTHORIZATION", ""))

    def body_memory(self, length: int) -> int:
        """How much of a body may stay in memory: little, once the bodies of unanswered requests may take much."""
        most = int(self.adj.inbuf_overflow)
        wanted = min(length or most, most)
        if wanted <= LITTLE_MEMORY:
            return wanted
        channels = [each for each in list(self.server._map.values()) if isinstance(each, Channel)]  # of all addresses
        taken = sum(request.body_memory for channel in channels for request in channel.unanswered())
        return wanted if taken + wanted <= self.server.bodies_memory else LITTLE_MEMORY

    def unanswered(self) -> list[RequestParser]:
        """The requests that have begun to come in."""
        return [request for request in (*self.requests, self.request) if request is not None]

    def readable(self) -> bool:
        """Whether the I/O thread is to read on: not while there are bytes to be parsed first."""
        if not self._parsing.acquire(blocking=False):
            return False
        parsed = not self.unread
        self._parsing.release()
        return parsed and bool(super().readable())

    def handle_read(self) -> None:
        """Read, in the I/O thread; a request that may be quick is answered here and its answer sent."""
        self._reader = threading.get_ident()
        super().handle_read()
        self._reader = 0
        if self._due_at_once:
            self._due_at_once = False
            self._answer_at_once()

    def received(self, data: bytes) -> bool:
        """Take bytes in; with no parser between where they are a whole request that is answered at once."""
        if self._reader == threading.get_ident() and self._is_idle() and (whole := plain_head.whole(data)):
            head, body = whole
            if self._may_be_quick(head, len(body)):
                if self._answered_at_once(head, body):
                    return True
                self._reader = 0  # not to be tried again
        return bool(super().received(data))

    def _is_idle(self) -> bool:
        """Whether what comes next is a request that is to be answered next."""
        waits = self.request is None and not self.requests and not self.total_outbufs_len
        return waits and not self.will_close and not self.close_when_flushed

    def send_continue(self) -> None:
        """Have the I/O thread ask for the body, unless there is none, it is refused, or its client has left.

        waitress asks for it all the same, at once, and closes the connection, in whatever thread, if that fails.
        """
        if not self.request.completed:
            self.request.expect_continue, self.sent_continue = False, True
            with suppress(ClientDisconnected):
                super().write_soon(b"HTTP/1.1 100 Continue\r\n\r\n")

    # Tasks

    def takes_at_once(self) -> bool:
        """Whether the request that has just come in is answered by this thread, the one that reads."""
        request, reads = self.requests[0], self._reader == threading.get_ident()
        if reads and not self.unread and request.error is None and request.head is not None and request.body_kept:
            self._due_at_once = self._may_be_quick(request.head, request.content_length)
        return self._due_at_once

    def _may_be_quick(self, head: plain_head.Head, length: int) -> bool:
        server = self.server
        fits = length <= server.max_body_bytes and server.answered_seconds < AT_ONCE_SECONDS
        return fits and server.may_be_quick(head, length)

    def _answer_at_once(self) -> None:
        """Without a task; what is not answered so is a task for another thread, which also meets each failure."""
        request = self.requests[0]
        body = request.get_body_stream()
        if self._answered_at_once(request.head, body.read()):
            request.close()
            with self.requests_lock:
                self.requests.clear()
        else:
            body.seek(0)
            self.server.task_dispatcher.add_task(self)

    def _answered_at_once(self, request: plain_head.Head, body: bytes) -> bool:
        """Whether it is answered and its answer sent, or left for later as far as its client does not take it yet."""
        start = time.perf_counter()
        try:
            answer = self.server.answer_at_once(request, body)
        except Exception:
            answer = None
        if answer is not None:
            self._send_at_once(head("200 OK", answer.headers, time.time()) + answer.data)
        self.server.answered_seconds += time.perf_counter() - start
        return answer is not None

    @staticmethod
    def task_class(channel: Channel, request: RequestParser) -> Task:
        """The task that answers a request."""
        task = AnswerTask(channel, request)
        if not request.body_kept and request.expect_continue:
            task.close_on_finish = True  # its client may send the body all the same
        return task

    @staticmethod
    def error_task_class(channel: HTTPChannel, request: RequestParser) -> Task:
        """The task that answers a request which waitress could not or would not read."""
        if isinstance(request.error, ServerNotImplemented):  # an encoding of the client's: no fault of the server
            request.error = BadRequest(request.error.body)
        if not isinstance(request.error, RequestEntityTooLarge):
            return Refusal(channel, request)
        request.error = None
        request.headers["CONTENT_LENGTH"] = str(max(request.content_length, request.body_bytes_received))
        task = AnswerTask(channel, request)
        task.close_on_finish = True  # the rest of the body may still be on its way
        return task

    def service(self) -> None:
        """Answer a request, in a thread of the dispatcher; then parse what has come after it."""
        super().service()
        if not self.unread:
            return
        with self._parsing:  # `received` may add a task, which another thread services while this one is still here
            unread, self.unread = self.unread, b""
            self.received(unread)
        self.server.pull_trigger()

    def add_when_read(self) -> bool:
        """Whether the next request is kept back until the answer before it has left; the I/O thread adds it then."""
        with self.outbuf_lock:
            waits = bool(self.total_outbufs_len and self.connected)
            self._waits_for_reader = waits
        return waits  # not the attribute: the I/O thread may have added the request, and cleared it, by now

    # What goes out

    def write_soon(self, data: bytes) -> int:
        """Buffer a part of an answer once the buffer is below its high watermark. Raises `ClientDisconnected`."""
        self._wait_for_reader()
        return int(super().write_soon(data))

    def _send_at_once(self, data: bytes) -> None:
        """Send, in the I/O thread, and leave for later what the client does not take yet."""
        try:
            sent = self.send(data, do_close=False)
        except OSError:
            self.will_close = True
            return
        if sent < len(data):
            super().write_soon(data[sent:])

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Nothing. waitress would wait here without a limit; `write_soon` and `add_when_read` wait instead."""

    def _wait_for_reader(self) -> None:
        if self.total_outbufs_len <= self.adj.outbuf_high_watermark:
            return
        with self.outbuf_lock:
            while self.connected and self.total_outbufs_len > self.adj.outbuf_high_watermark:
                self.server.pull_trigger()
                self.outbuf_lock.wait(1)

    def when_read(self, then: Callable[[], None]) -> None:
        """Call `then` when the system has taken all that is buffered, or the client is gone."""
        with self.outbuf_lock:
            self._when_read.append(then)
        self._let_go()

    def _flush_some(self, do_close: bool = True) -> bool:
        flushed = bool(super()._flush_some(do_close=do_close))
        self._let_go()
        return flushed

    def _let_go(self) -> None:
        """If all has left, keep nothing of it: waitress keeps an answer's bytes until the connection's next one."""
        with self.outbuf_lock:
            if self.connected:
                if self.total_outbufs_len:
                    return
                self.outbufs[-1].prune()
            told, self._when_read = self._when_read, []
        for then in told:
            then()

    def stalled(self) -> bool:
        """Whether there is an answer of which nothing has been read for too long."""
        return bool(self.total_outbufs_len) and time.time() > self.last_activity + self.server.read_seconds

    def writable(self) -> bool:
        """Whether to be asked to write."""
        return self._waits_for_reader or bool(super().writable())

    def handle_write(self) -> None:
        """Send, in the I/O thread."""
        if not self._waits_for_reader:
            super().handle_write()
            return
        self._flush_exception(self._flush_some)
        if self.will_close:
            self.handle_close()
        elif not self.total_outbufs_len:
            self._waits_for_reader = False
            self.server.add_task(self)

    def handle_close(self) -> None:
        """Close; what was not read never will be."""
        super().handle_close()
        self._let_go()

    @property
    def busy(self) -> bool:
        """Whether it has a request that has begun to come in and is not answered to its last byte."""
        return bool(self.request is not None or self.requests or self.total_outbufs_len)
