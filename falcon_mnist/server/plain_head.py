"""The head of a request as nearly all clients send it: read at once, where waitress matches line by line.

A client sends the same head again and again, but for the length of its body; so what was read is kept for a while.

Whatever is not plain here (other versions, escaped paths, names twice, no host, `Expect`, encodings, several options of
a connection, folded lines, bytes beyond printable ASCII) is left to `parser.py`; what is plain waitress reads the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_BYTES = bytes(range(0x20, 0x7F)) + b"\r\n"
# RFC 9112, section 3.2, and RFC 3986, section 3.2: a host, and its port.
HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
_METHOD = re.compile("[A-Z]{1,20}")
_URI = re.compile(r"(/(?!/)[A-Za-z0-9/_.~-]*)(?:\?([^#]*))?")
_NAME = re.compile("[A-Za-z0-9-]{1,60}")
_LENGTH = re.compile("[0-9]{1,15}")
_LENGTH_LINE = re.compile(rb"\r\nContent-Length: ([0-9]{1,15})(?=\r\n)", re.IGNORECASE)
_MAX_KEPT_BYTES = 1000
_NOT_PLAIN = frozenset({"TRANSFER_ENCODING", "EXPECT"})
MAX_LINES = 200  # of headers


@dataclass(slots=True)
class Head:
    """What stands in it; the names of headers as in WSGI, without their prefix."""

    method: str
    uri: str
    path: str
    query: str
    headers: dict[str, str]
    content_length: int


def parse(head: bytes) -> Head | None:
    """The head up to the empty line that ends it; None if it is not plain."""
    line = _LENGTH_LINE.search(head)
    if line is None or len(head) > _MAX_KEPT_BYTES:
        return _parse(head)
    rest = _parse_but(line, len(head))
    if rest is None:
        return None
    headers = rest.headers | {"CONTENT_LENGTH": line[1].decode("ascii")}
    return Head(rest.method, rest.uri, rest.path, rest.query, headers, int(line[1]))


def whole(request: bytes) -> tuple[Head, bytes] | None:
    """The head, but for its length, and the body, where `request` is all of a plain one, and nothing more."""
    end = request.find(b"\r\n\r\n") + 4
    line = _LENGTH_LINE.search(request, 0, end)
    if line is None or end > _MAX_KEPT_BYTES or int(line[1]) != len(request) - end:
        return None
    rest = _parse_but(line, end)
    return None if rest is None else (rest, request[end:])


def _parse_but(length: re.Match[bytes], end: int) -> Head | None:
    """The head that ends at `end`, without the line that tells the length of its body."""
    rest = _parse_and_keep(length.string[: length.start()] + length.string[length.end() : end])
    return None if rest is None or "CONTENT_LENGTH" in rest.headers else rest


def _parse(head: bytes) -> Head | None:
    if head.translate(None, _BYTES):
        return None
    first, *lines = head.decode("ascii").split("\r\n")
    if (
        len(lines) > MAX_LINES
        or head.count(b"\n") != len(lines)
        or head.count(b"\r") != len(lines)
        or lines[-2:] != ["", ""]
    ):
        return None
    method, _, rest = first.partition(" ")
    uri, _, version = rest.partition(" ")
    place = _URI.fullmatch(uri)
    headers = _headers(lines[:-2])
    if headers is None or place is None or version != "HTTP/1.1" or not _METHOD.fullmatch(method):
        return None
    length = headers.get("CONTENT_LENGTH", "0")
    if not _LENGTH.fullmatch(length):
        return None
    return Head(method, uri, place[1], place[2] or "", headers, int(length))


_parse_and_keep = lru_cache(256)(_parse)


def _headers(lines: list[str]) -> dict[str, str] | None:
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or (key := _key(name)) is None:
            return None
        headers[key] = value.strip(" ")
    if len(headers) != len(lines) or not _NOT_PLAIN.isdisjoint(headers) or "," in headers.get("CONNECTION", ""):
        return None
    return headers if "HOST" in headers and HOST.fullmatch(headers["HOST"]) else None


@lru_cache(256)
def _key(name: str) -> str | None:
    return name.upper().replace("-", "_") if _NAME.fullmatch(name) else None
