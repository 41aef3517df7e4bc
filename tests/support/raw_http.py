"""Raw HTTP against a server process, and a gauge of what the server takes meanwhile."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from asking import PATIENCE, PLAIN, until
from server_process import Server, cpu_seconds

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"


def request(method: str, path: str, *headers: str, token: str | None = None, body: bytes = b"") -> bytes:
    """The bytes of a request; `headers` are whole lines. A body brings its Content-Length."""
    lines = [f"{method} {path} HTTP/1.1", "Host: here", *headers]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Raw:
    """One connection that sends bytes as they are."""

    def __init__(self, url: str, *, receive_bytes: int | None = None) -> None:
        """`receive_bytes` is the size of the system's buffer for what is not read, its own choice unless given."""
        place = httpx.URL(url)
        self.socket = socket.socket(socket.AF_INET)
        self.socket.settimeout(PATIENCE)
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect((place.host, place.port))
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send what the server still takes: it may have closed."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def send_while_taken(self, data: bytes, seconds: float) -> int:
        """Send without reading, for as long as the server takes it; returns how many bytes it took."""
        self.socket.settimeout(seconds)
        sent = 0
        with suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
            while sent < len(data):
                sent += self.socket.send(data[sent : sent + 2**16])
        self.socket.settimeout(PATIENCE)
        return sent

    def widen(self) -> None:
        """Let the system keep more from now on: to read many megabytes by 4 KB takes twice as long."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)

    def status(self) -> int | None:
        """The status of the next answer, None if the server has closed the connection without one."""
        head = self.head()
        return int(head.split(b" ", 2)[1]) if head else None

    def head(self) -> bytes:
        """The next answer's status line and headers; the body is read and dropped."""
        received, self._unread = self._unread, b""
        with suppress(ConnectionResetError):
            while b"\r\n\r\n" not in received and (data := self.socket.recv(2**16)):
                received += data
        head, _, body = received.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                left = int(line.partition(b":")[2])
                # Counted, not collected: megabytes in small pieces would be copied with each piece.
                while len(body) < left and (data := self.socket.recv(2**16)):
                    left, body = left - len(body), data
                self._unread = body[left:]
        return head

    def rest(self) -> bytes:
        """All that is still answered, until the server closes, or waits for more than it was sent."""
        self.socket.settimeout(0.3)
        received = self._unread
        with suppress(ConnectionResetError, TimeoutError):
            while data := self.socket.recv(2**16):
                received += data
        return received

    def receive(self, seconds: float) -> bytes:
        """What comes next; nothing if the server has closed, or sends nothing for so long."""
        self.socket.settimeout(seconds)
        with suppress(ConnectionResetError, TimeoutError):
            return self.socket.recv(2**16)
        return b""

    def closed(self) -> bool:
        """Whether the server closes the connection, after whatever it still sends."""
        try:
            while self.socket.recv(2**16):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return False
        return True


class Gauge:
    """Asks `/healthz` every 5 ms while a block runs, and measures the server: memory, descriptors, temporary files."""

    def __init__(self, server: Server, url: str) -> None:
        self._process = Path(f"/proc/{server.process.pid}")
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.answers = 0
        self.failures: list[str] = []
        self.descriptors = 0  # most at a time
        self.temporary_bytes = 0  # most at a time, of files that are open and have no name any more

    def __enter__(self) -> Self:
        (self._process / "clear_refs").write_text("5")  # the peak counts from here on
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(PATIENCE)

    def wait_for(self, count: int) -> None:
        """Until so many have been answered from now on: whoever attacks has to go on meanwhile."""
        most = self.answers + count
        until(lambda: self.answers >= most, "others are answered")

    @property
    def peak_bytes(self) -> int:
        """The most memory that the server has had since the block began."""
        return self._status("VmHWM")

    @property
    def resident_bytes(self) -> int:
        """The memory that the server has now."""
        return self._status("VmRSS")

    def _status(self, name: str) -> int:
        lines = (self._process / "status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))

    @property
    def cpu_seconds(self) -> float:
        """What the server, without its workers, has computed since it started."""
        return cpu_seconds(int(self._process.name))

    def _watch(self) -> None:
        with httpx.Client(timeout=PATIENCE, **PLAIN) as client:
            while not self._over.is_set():
                try:
                    client.get(self._url + "/healthz").raise_for_status()
                    self.answers += 1
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                self._look_at_files()
                self._over.wait(0.005)

    def _look_at_files(self) -> None:
        sizes = []
        for link in (self._process / "fd").iterdir():
            with suppress(OSError):
                deleted = os.readlink(link).endswith(" (deleted)")
                sizes.append(link.stat().st_size if deleted else 0)
        self.descriptors = max(self.descriptors, len(sizes))
        self.temporary_bytes = max(self.temporary_bytes, sum(sizes))
