"""A body in chunks (RFC 9112, section 7.1), received in time and memory that are bounded by its bytes."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Any

from waitress.rfc7230 import CHUNK_EXT_RE, HEADER_FIELD_RE, ONLY_HEXDIG_RE
from waitress.utilities import BadRequest

MAX_LINE_BYTES = 1000
MAX_TRAILER_BYTES = 16_000
# waitress's expression for a header line takes a time that grows with the square of the blanks before its value.
MANY_BLANKS = re.compile(rb"[ \t]{100}")
# So many chunks may come whatever their size; from then on each must carry some bytes, on average.
FREE_CHUNKS = 1000
LEAST_CHUNK_BYTES = 64


class _Part(Enum):
    SIZE = auto()
    DATA = auto()
    END = auto()
    TRAILER = auto()


class ChunkedBody:
    """What waitress's `ChunkedReceiver` is, which copies all that is left of a packet at each chunk."""

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer
        self._part = _Part.SIZE
        self._line = b""  # the beginning of a line whose end has not come yet
        self._left = 0  # bytes of the chunk
        self._chunks = 0
        self._bytes = 0
        self._trailer_bytes = 0
        self.completed = False
        self.error: BadRequest | None = None

    def __len__(self) -> int:
        return len(self._buffer)

    def getfile(self) -> Any:
        """The body as a file."""
        return self._buffer.getfile()

    def getbuf(self) -> Any:
        """The buffer that holds the body."""
        return self._buffer

    def received(self, data: bytes) -> int:
        """Take bytes in; returns how many."""
        at = 0
        pieces = []
        while at < len(data) and not self.completed and self.error is None:
            if self._part is _Part.DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._part = _Part.END
            else:
                at = self._take_line(data, at)
        if pieces:
            self._buffer.append(b"".join(pieces))
        return at

    def _take_line(self, data: bytes, at: int) -> int:
        """Take what there is of a line; returns where it ends."""
        end = data.find(b"\n", at) + 1
        line = self._line + data[at : end or None]
        most = MAX_TRAILER_BYTES if self._part is _Part.TRAILER else MAX_LINE_BYTES
        if len(line) > most:
            self.error = BadRequest(f"A line between chunks may have at most {most} bytes")
        elif not end:
            self._line = line
        elif not line.endswith(b"\r\n"):
            self.error = BadRequest("A line between chunks must end in CR LF")
        else:
            self._line = b""
            self._read_line(line[:-2])
        return end or len(data)

    def _read_line(self, line: bytes) -> None:
        if self._part is _Part.SIZE:
            self._begin_chunk(line)
        elif self._part is _Part.END:
            if line:
                self.error = BadRequest("Chunk not properly terminated")
            self._part = _Part.SIZE
        elif line:
            self._trailer_bytes += len(line) + 2
            if self._trailer_bytes > MAX_TRAILER_BYTES or MANY_BLANKS.search(line) or not HEADER_FIELD_RE.match(line):
                self.error = BadRequest(f"Trailers must be header lines of at most {MAX_TRAILER_BYTES} bytes")
        else:
            self.completed = True

    def _begin_chunk(self, line: bytes) -> None:
        digits, semicolon, extension = line.partition(b";")
        if not ONLY_HEXDIG_RE.match(digits) or (semicolon and not CHUNK_EXT_RE.match(semicolon + extension)):
            self.error = BadRequest("Invalid chunk size or extension")
            return
        self._left = int(digits, 16)
        self._chunks += 1
        self._bytes += self._left
        if self._chunks > FREE_CHUNKS and self._bytes < self._chunks * LEAST_CHUNK_BYTES:
            self.error = BadRequest(f"Chunks must have at least {LEAST_CHUNK_BYTES} bytes on average")
        self._part = _Part.DATA if self._left else _Part.TRAILER
