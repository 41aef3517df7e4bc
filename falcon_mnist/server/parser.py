"""A request as it comes in: waitress's parser with bounds on everything that a client may send without end.

A body that the application will refuse anyway, for want of a token or for its length, is read and not kept.
"""

from __future__ import annotations

import contextlib
import io
import re
import weakref
from typing import Any, Protocol

from waitress.buffers import OverflowableBuffer
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import FixedStreamReceiver
from waitress.utilities import Error, RequestHeaderFieldsTooLarge

from falcon_mnist.server import plain_head
from falcon_mnist.server.chunked import MANY_BLANKS, ChunkedBody

MAX_HEADER_BYTES = 2**15  # waitress's `max_request_header_size`
MAX_HEADER_LINES = plain_head.MAX_LINES
# Whatever does not match is refused by waitress too, whose own expression takes minutes for some lines of 32 KB.
_START_LINE = re.compile(rb"[^ ]+ [^ ]+(?: HTTP/[0-9]\.[0-9])?")
_TRANSFER_ENCODING = re.compile(rb"^transfer-encoding:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


class StorageFull(Error):  # type: ignore[misc]
    """There was no room for the body in the temporary folder."""

    code = 503
    reason = "Service Unavailable"


class Discarded:
    """A buffer that keeps nothing of what it is given."""

    fits = True

    def append(self, data: bytes) -> None:
        """Forget `data`."""

    def getfile(self) -> io.BytesIO:
        """An empty body."""
        return io.BytesIO()

    def close(self) -> None:
        """Nothing to close."""

    def __len__(self) -> int:
        return 0


class Kept(OverflowableBuffer):  # type: ignore[misc]
    """A buffer that keeps a body as long as the temporary folder has room; of one that does not fit it keeps nothing.

    The rest is read all the same: closing a connection on what has come loses the answer (RFC 9112, section 9.6).
    """

    fits = True

    def append(self, data: bytes) -> None:
        """Keep `data`."""
        if not self.fits:
            return
        try:
            super().append(data)
        except OSError:
            self.fits = False
            with contextlib.suppress(OSError):
                self.close()
            self.buf, self.strbuf = None, b""


class Reader(Protocol):
    """Whom the parser works for: a connection."""

    unread: bytes  # what came after the end of the request

    def keeps_body(self, headers: dict[str, str], length: int) -> bool:
        """Whether a body that is `length` bytes long (0: not known) is to be kept for the application."""

    def body_memory(self, length: int) -> int:
        """How many bytes of a body of this length (0: not known) may stay in memory; a longer one goes to a file."""


class RequestParser(HTTPRequestParser):  # type: ignore[misc]
    """One request; what comes after it is left to the connection, which parses it when this one is answered."""

    path = ""  # waitress wants to name it also where it could not be read
    body_rcv: Any = None
    body_kept = True
    body_memory = 0  # bytes that it may take
    head: plain_head.Head | None = None  # if it is plain
    _too_many_headers = False

    def __init__(self, adjustments: Any, reader: Reader) -> None:
        super().__init__(adjustments)
        # Not in a circle: the body of a connection that is closed half-way would stay until the garbage is collected.
        self._reader: Reader = weakref.proxy(reader)

    def received(self, data: bytes) -> int:
        """Take bytes in; returns how many. `completed` and `error` tell what came of them."""
        in_headers = not self.headers_finished
        taken = int(super().received(data))
        if self._too_many_headers:
            self._fail(RequestHeaderFieldsTooLarge(f"more than {MAX_HEADER_LINES} header lines"))
        if in_headers and self.headers_finished and self.body_rcv is not None:
            self._choose_buffer()
        if not self.completed:
            return taken
        if self.error is None and self.body_rcv is not None and not self.body_rcv.getbuf().fits:
            self._fail(StorageFull("There is no room for the body: try again later."))
        if self.empty:
            return len(data) - len(data[taken:].lstrip(b"\r\n"))  # blank lines between requests, all at once
        self._reader.unread = data[taken:]
        return len(data)

    def parse_header(self, header_plus: bytes) -> None:
        """As waitress does, and strictly where it is lax. Raises `ParsingError`."""
        if header_plus.count(b"\n") > MAX_HEADER_LINES:
            self._too_many_headers = True
            raise ParsingError("Too many header lines")
        if head := plain_head.parse(header_plus):
            self._take(head)
            return
        if not _START_LINE.fullmatch(header_plus.partition(b"\r\n")[0].rstrip()):
            raise ParsingError("Start line is invalid")
        if b"\r\n " in header_plus or b"\r\n\t" in header_plus or MANY_BLANKS.search(header_plus):
            raise ParsingError("Header lines may not be folded, nor have 100 blanks in a row")
        codings = [coding.strip(b" \t").lower() for coding in _TRANSFER_ENCODING.findall(header_plus)]
        if codings not in ([], [b"chunked"]):
            raise ParsingError("Transfer-Encoding may only be chunked, once")
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # a length of thousands of digits, an address that is none
            raise ParsingError("Start line or Content-Length is invalid") from error
        except ParsingError as error:
            raise ParsingError(str(error).partition(' "')[0]) from None  # without the line: it may hold a token
        host = self.headers.get("HOST")  # several are joined by a comma and a space, which no host has
        if (host is None and self.version == "1.1") or (host is not None and not plain_head.HOST.fullmatch(host)):
            raise ParsingError("There has to be one Host, with a port or without")  # RFC 9112, section 3.2
        if "close" in re.split(r"[ \t]*,[ \t]*", self.headers.get("CONNECTION", "").lower()):
            self.headers["CONNECTION"] = "close"  # of several options waitress sees none
            self.connection_close = True
        encoded = self.chunked or "TRANSFER_ENCODING" in self.headers
        if encoded and (self.version != "1.1" or "CONTENT_LENGTH" in self.headers):
            # RFC 9112, section 6.1: this is how requests are smuggled past a proxy.
            raise ParsingError("Transfer-Encoding goes neither with Content-Length nor with HTTP/1.0")
        if self.chunked:
            self.body_rcv = ChunkedBody(self.body_rcv.getbuf())

    def _take(self, head: plain_head.Head) -> None:
        """Set what `parse_header` sets."""
        self.head = head
        self.command, self.request_uri, self.path, self.query = head.method, head.uri, head.path, head.query
        self.headers, self.content_length = head.headers, head.content_length
        self.version = "1.1"
        self.url_scheme = self.adj.url_scheme
        self.proxy_scheme = self.proxy_netloc = self.fragment = ""
        self.connection_close = self.headers.get("CONNECTION", "").lower() == "close"
        if self.content_length:
            buffer = OverflowableBuffer(self.adj.inbuf_overflow)
            self.body_rcv = FixedStreamReceiver(self.content_length, buffer)

    def close(self) -> None:
        """Forget the body; that it cannot be written to a full disk changes nothing."""
        with contextlib.suppress(OSError):
            super().close()

    def _choose_buffer(self) -> None:
        if self._reader.keeps_body(self.headers, self.content_length):
            self.body_memory = self._reader.body_memory(self.content_length)
            self._put_body_in(Kept(self.body_memory + 1))
            return
        self.body_kept = False
        if self.expect_continue:  # its client waits, and is refused instead
            self.body_rcv = None
            self.completed = True
        else:
            self._put_body_in(Discarded())

    def _put_body_in(self, buffer: Kept | Discarded) -> None:
        """Choose where a body goes of which nothing has been taken yet."""
        self.body_rcv = ChunkedBody(buffer) if self.chunked else FixedStreamReceiver(self.content_length, buffer)

    def _fail(self, error: Error) -> None:
        self.error = error
        self.completed = True
