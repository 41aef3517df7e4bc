"""Connections to PostgreSQL: a bounded number for the threads of a process, replaced when the server restarts."""

from __future__ import annotations

import queue
import select
import time
import weakref
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.types.string import StrDumperUnknown

# Connections of one process: its threads hold one for a statement or a transaction, and wait for one otherwise.
# A server takes up to 100 in all, unless its `max_connections` says more.
POOL_SIZE = 6
# Between two attempts to reach a server that does not answer, in seconds.
RETRY_SECONDS = 0.1

# Of each session. One that is stopped or cut off in a transaction loses its locks after ten seconds.
_SESSION = {"idle_in_transaction_session_timeout": "10s", "tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5"}
# Of each socket here: what is sent into a network that is cut fails after 20 seconds (in milliseconds).
_SOCKET = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 2, "tcp_user_timeout": 20_000}


class Connections:
    """Up to `POOL_SIZE` connections, each with one thread at a time. Raises psycopg's errors.

    psycopg's own pool connects in threads of its own and pauses longer and longer while the server is away: it finds
    it minutes after it is back, and does not say why a connection cannot be had. This one connects where it is needed.
    """

    def __init__(self, url: str, session: dict[str, str], *, wait: float) -> None:
        """`session` are settings of each session; `wait` is how many seconds `take` waits for a connection."""
        self._parameters = _parameters(url, _SESSION | session)
        self._wait = wait
        self._was_there = False
        # Connections that no thread uses, the one used last on top; None stands for one that is still to be made.
        self._unused: queue.LifoQueue[psycopg.Connection | None] = queue.LifoQueue()
        for _ in range(POOL_SIZE):
            self._unused.put(None)
        weakref.finalize(self, _close_all, self._unused)

    def take(self) -> psycopg.Connection:
        """A connection that works as far as is known here: one whose server has gone is replaced."""
        end = time.monotonic() + self._wait
        try:
            connection = self._unused.get(timeout=self._wait)
        except queue.Empty:
            raise psycopg.errors.TooManyConnections(f"all {POOL_SIZE} connections are in use") from None
        if connection is not None and _is_silent(connection):
            return connection
        try:
            if connection is not None:
                connection.close()
            return self._connect(end)
        except BaseException:
            self._unused.put(None)
            raise

    def give_back(self, connection: psycopg.Connection) -> None:
        """Keep it for the next thread, unless it is broken."""
        whole = connection.info.transaction_status == TransactionStatus.IDLE
        if not whole:
            connection.close()
        self._unused.put(connection if whole else None)

    def close(self) -> None:
        """Close those that no thread uses."""
        _close_all(self._unused)

    def _connect(self, end: float) -> psycopg.Connection:
        """Tries until `end` where the server was there the last time: it may restart.

        One that was never there may be another than is meant, and one that was waited for in vain keeps no more
        threads waiting.
        """
        while True:
            try:
                connection = psycopg.connect(**self._parameters)
                connection.adapters.register_dumper(str, _Text)
                self._was_there = True
                return connection
            except psycopg.OperationalError:
                if not self._was_there or time.monotonic() + RETRY_SECONDS > end:
                    self._was_there = False
                    raise
                time.sleep(RETRY_SECONDS)


class _Text(StrDumperUnknown):
    """Text for PostgreSQL, which keeps neither NUL nor half a surrogate pair: an id with one is not found."""

    def dump(self, obj: str) -> bytes:
        """With a question mark instead of each."""
        return obj.encode(errors="replace").replace(b"\0", b"?")


def _parameters(url: str, session: dict[str, str]) -> dict[str, Any]:
    """What to connect with: what the URL says goes before what is set here."""
    given = conninfo_to_dict(url)
    options = " ".join(f"-c {name}={value}" for name, value in session.items())
    given["options"] = f"{options} {given.get('options') or ''}".strip()
    ours = {"application_name": "falcon-mnist", "client_encoding": "utf8", "connect_timeout": 2, **_SOCKET}
    return ours | given | {"autocommit": True}


def _is_silent(connection: psycopg.Connection) -> bool:
    """Whether nothing has arrived on a connection that was not used: what arrives is the server's goodbye."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


def _close_all(unused: queue.LifoQueue[psycopg.Connection | None]) -> None:
    taken = []
    while not unused.empty():
        try:
            taken.append(unused.get_nowait())
        except queue.Empty:
            break
    for connection in taken:
        if connection is not None:
            connection.close()
        unused.put(None)
