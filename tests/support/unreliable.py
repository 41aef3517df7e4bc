"""A proxy of HTTP on loopback that does to requests what networks and servers do: one request a connection."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

FAULTS = ("refused", "error", "silent", "cut-request", "cut-answer", "lost-answer")
ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxy:
    """Passes requests on to a port, but for those that get one of `FAULTS`."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._faults: Iterator[str | None] = iter(())
        self._over = threading.Event()  # what is silent so far need not be any longer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.requests = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def do(self, faults: Iterable[str | None] = ()) -> None:
        """What the next requests get, in turn; those after them are passed on. Counts anew, and ends silences."""
        self.requests = 0
        self._faults = iter(faults)
        over, self._over = self._over, threading.Event()
        over.set()

    def end(self) -> None:
        self.do()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.settimeout(30)
            request = self._read(client)
            if not request:  # a connection that was opened and not used
                return
            self.requests += 1
            fault = next(self._faults, None)
            if fault == "silent":
                self._over.wait()
            elif fault == "error":
                client.sendall(ERROR)
            elif fault != "refused":
                self._pass_on(client, request, fault)

    @staticmethod
    def _read(client: socket.socket) -> bytes:
        """A whole request, which asks for the connection to be closed after it."""
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := client.recv(2**16)):
                return b""
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        if re.search(rb"(?i)\r\nexpect: *100-continue", head):
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = re.sub(rb"(?i)\r\n(expect|connection):[^\r]*", b"", head)
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        while length and len(body) < int(length[1]) and (more := client.recv(2**16)):
            body += more
        return head + b"\r\nConnection: close\r\n\r\n" + body

    def _pass_on(self, client: socket.socket, request: bytes, fault: str | None) -> None:
        with socket.create_connection(("127.0.0.1", self._upstream), timeout=30) as server:
            if fault == "cut-request":
                server.sendall(request[: -max(1, len(request.partition(b"\r\n\r\n")[2]) // 2)])
                return
            server.sendall(request)
            answer = b""
            while more := server.recv(2**16):
                answer += more
        if fault == "lost-answer":
            return
        body = len(answer.partition(b"\r\n\r\n")[2])
        client.sendall(answer[: -max(1, body // 2)] if fault == "cut-answer" else answer)


@contextmanager
def proxy(port: int) -> Iterator[Proxy]:
    running = Proxy(port)
    try:
        yield running
    finally:
        running.end()
