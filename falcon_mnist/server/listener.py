"""A listening socket, and the sockets of one server: all with the same connections, threads and limits."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from falcon_mnist.api.at_once import Answer
from falcon_mnist.server.balance import GIVE_WAY_SECONDS, Balance
from falcon_mnist.server.channel import BODIES_MEMORY, READ_SECONDS, Channel
from falcon_mnist.server.dispatcher import Dispatcher
from falcon_mnist.server.plain_head import Head
from falcon_mnist.server.sockets import addresses
from falcon_mnist.server.watch import Watch

log = logging.getLogger(__name__)

# So long nothing is accepted after descriptors have run out.
PAUSE_SECONDS = 1.0
# Where there is room for no other connection, one that has sent nothing for this long is closed.
CROWDED_SECONDS = 2.0
# In which the thread that reads notices that it is to end.
CLOSE_SECONDS = 1.0


class Listener(TcpWSGIServer):  # type: ignore[misc]
    """One listening socket."""

    channel_class = Channel
    admits: Callable[[str], bool]
    max_body_bytes: int
    read_seconds: float
    bodies_memory: int
    may_be_quick: Callable[[Head, int], bool]
    answer_at_once: Callable[[Head, bytes], Answer | None]
    io_thread = 0  # which reads and writes
    answered_seconds = 0.0  # that this thread has spent on answers since it last waited
    balance: Balance | None = None  # with other processes that listen at the same socket
    accepts_from = 0.0  # by the monotonic clock
    _told = False

    def add_task(self, task: Channel) -> None:
        """Have a thread answer the connection's next request, as soon as its client has read the answer before."""
        if not task.add_when_read() and not task.takes_at_once():
            super().add_task(task)

    def pull_trigger(self) -> None:
        """Wake the I/O thread; it has no need to wake itself."""
        if threading.get_ident() != self.io_thread:
            super().pull_trigger()

    def handle_accept(self) -> None:
        """Accept all connections that wait: one in each round would keep the last of many waiting for all answers."""
        for _ in range(max(1, self.adj.connection_limit - len(self._map))):
            before = len(self._map)
            super().handle_accept()
            if len(self._map) == before or time.monotonic() < self.accepts_from:
                break

    def accept(self) -> Any:
        """The next connection; none for a while when there is no descriptor for it."""
        try:
            accepted = super().accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self.accepts_from = time.monotonic() + PAUSE_SECONDS
            if not self._told:
                self._told = True
                log.error("no descriptor is left for another connection: raise the limit (ulimit -n)")
            return None
        if accepted is not None and self.balance is not None:
            self.balance.has(len(self._map) + 1)
            if self.balance.ahead():
                self.accepts_from = time.monotonic() + GIVE_WAY_SECONDS
        return accepted

    def readable(self) -> bool:
        """Whether to accept; asked before each wait."""
        if self.balance is not None:
            self.balance.has(len(self._map))  # with what else is watched, which is the same in each process
        return bool(super().readable()) and time.monotonic() >= self.accepts_from

    def maintenance(self, now: float) -> None:
        """Close what is idle, and what does not read its answer."""
        super().maintenance(now)
        if self.in_connection_overflow:
            for channel in list(self.active_channels.values()):
                if not channel.requests and channel.last_activity < now - CROWDED_SECONDS:
                    channel.will_close = True
        for channel in list(self.active_channels.values()):
            if channel.stalled():
                channel.handle_close()  # at once: a socket that takes nothing is never asked to write


class Listeners:
    """The server: a listener for each of its listening sockets."""

    def __init__(
        self,
        application: Any,
        sockets: Iterable[socket.socket],
        *,
        admits: Callable[[str], bool],
        max_body_bytes: int,
        adjustments: dict[str, Any],
        may_be_quick: Callable[[Head, int], bool] = lambda _, __: False,
        answer_at_once: Callable[[Head, bytes], Answer | None] = lambda _, __: None,
        balance: Balance | None = None,
        read_seconds: float = READ_SECONDS,
        bodies_memory: int = BODIES_MEMORY,
    ) -> None:
        """`sockets` become the server's own; with `balance`, other processes listen at them too.

        What `may_be_quick`, by its head and its body's length, is given to `answer_at_once`, in the thread that reads;
        None leaves it to the application.
        """
        self._map: dict[int, Any] = {}
        self._closed = False
        self._idle = threading.Event()  # nothing runs
        self._idle.set()
        self._watch = Watch(self._map, self._wait_seconds)
        self._adjustments = Adjustments(**adjustments)
        self.task_dispatcher = Dispatcher()
        self.listeners: list[Listener] = []
        for listening in sockets:
            listener = Listener(
                application,
                self._map,
                _sock=listening,
                dispatcher=self.task_dispatcher,
                adj=self._adjustments,
                bind_socket=False,
                sockinfo=(listening.family, listening.type, listening.proto, listening.getsockname()),
            )
            listener.admits, listener.max_body_bytes, listener.balance = admits, max_body_bytes, balance
            listener.may_be_quick, listener.answer_at_once = may_be_quick, answer_at_once
            listener.read_seconds, listener.bodies_memory = read_seconds, bodies_memory
            self.listeners.append(listener)
        self.task_dispatcher.set_thread_count(self._adjustments.threads)

    @property
    def addresses(self) -> list[str]:
        """The URL of each listening socket."""
        return addresses(listener.socket for listener in self.listeners)

    @property
    def channels(self) -> list[Channel]:
        """The open connections."""
        return [channel for listener in self.listeners for channel in list(listener.active_channels.values())]

    def run(self) -> None:
        """Read and write until another thread closes this."""
        self._idle.clear()
        try:
            for listener in self.listeners:
                listener.io_thread = threading.get_ident()
            while not self._closed:
                self.turn()
        finally:
            self._idle.set()

    def turn(self) -> None:
        """Wait until there is something to read or write, and do it."""
        for listener in self.listeners:
            listener.answered_seconds = 0.0
        self._watch.turn()

    def _wait_seconds(self) -> float:
        """Not longer than until a listener accepts again."""
        most, now = float(self._adjustments.asyncore_loop_timeout), time.monotonic()
        return min([most, *(each.accepts_from - now for each in self.listeners if each.accepts_from > now)])

    def pull_trigger(self) -> None:
        """Wake the thread that runs."""
        for listener in self.listeners[:1]:
            listener.pull_trigger()

    def close(self) -> None:
        """End `run`, and close what listens; connections stay."""
        self._closed = True
        self.pull_trigger()  # which is closed with its listener: not before `run` has heard it
        self._idle.wait(CLOSE_SECONDS)
        for listener in self.listeners:
            listener.close()
