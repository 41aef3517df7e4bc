"""The head of a request is read as waitress reads it, and what waitress refuses is refused."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from cases import for_each
from hypothesis import given
from hypothesis import strategies as st
from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser

from falcon_mnist.server import plain_head
from falcon_mnist.server.parser import RequestParser

ADJUSTMENTS = Adjustments()
READ = (
    "command", "request_uri", "path", "query", "fragment", "version", "url_scheme", "proxy_scheme", "proxy_netloc",
    "headers", "content_length", "connection_close", "chunked", "expect_continue",
)  # fmt: skip


class Connection:
    """Whom a parser works for."""

    unread = b""
    request: Any = None

    def keeps_body(self, headers: dict[str, str], length: int) -> bool:
        return True

    def body_memory(self, length: int) -> int:
        return length


_READER = Connection()


def _received(parser: HTTPRequestParser, head: bytes) -> HTTPRequestParser:
    parser.received(head)
    return parser


def _ours(head: bytes) -> Any:
    return _received(RequestParser(ADJUSTMENTS, _READER), head)


def test_what_has_come_of_a_body_goes_with_its_connection() -> None:
    """At once, not when the garbage is collected: 4 MB each."""
    reader = Connection()
    reader.request = _received(
        RequestParser(ADJUSTMENTS, reader), b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\n"
    )
    reader.request.received(b"half")
    gone = weakref.ref(reader.request)
    gc.disable()
    try:
        del reader
        assert gone() is None
    finally:
        gc.enable()


PLAIN = [
    b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n",
    b"POST /api/infer?a=%20:/?y HTTP/1.1\r\nHost:here\r\nContent-Length: 12\r\nX-Empty:\r\nA:   b c  \r\n\r\n",
    b"GET /a~b/..//c? HTTP/1.1\r\nHost: [::1]:8000\r\nConnection: CLOSE\r\nContent-Length: 007\r\n\r\n",
]
# Each is either refused or read by waitress's own parser: without a host, and with one.
UNNAMED = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.2\r\n\r\n",
    b"GET /\r\n\r\n",
    b"get / HTTP/1.1\r\n\r\n",
    b"GET  / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1 \r\n\r\n",
    b"GET //here/x HTTP/1.1\r\n\r\n",
    b"GET http://here/x HTTP/1.1\r\n\r\n",
    b"GET /%41 HTTP/1.1\r\n\r\n",
    b"GET /#x HTTP/1.1\r\n\r\n",
    b"GET /?x#y HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nName : value\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\n folded: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\nB: c\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\rB: c\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: \xe9\r\n\r\n",
    b"GET / HTTP/1.1\r\nA_B: c\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\r\na: c\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
]
OTHERS = [
    *UNNAMED,
    *(head.replace(b"\r\n", b"\r\nHost: here\r\n", 1) for head in UNNAMED[1:]),
    b"GET / HTTP/1.1\r\nHost: here\r\nHost: here\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: not here\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: here\r\nConnection: foo, close\r\n\r\n",
]


@for_each("head", PLAIN)
def test_a_plain_head_is_read_at_once(head: bytes) -> None:
    assert plain_head.parse(head) is not None


def test_what_was_read_before_is_read_anew_but_for_the_length() -> None:
    def head(length: str, value: str, more: str = "") -> bytes:
        return f"POST / HTTP/1.1\r\nHost: here\r\nA: {value}\r\nContent-Length: {length}\r\n{more}\r\n".encode()

    for length, value in [("5", "b"), ("007", "b"), ("5", "c"), ("12", "b")]:
        ours = _ours(head(length, value))
        ours.headers["MINE"] = "alone"
        assert (ours.headers["A"], ours.headers["CONTENT_LENGTH"], ours.content_length) == (value, length, int(length))
        assert "MINE" not in _ours(head(length, value)).headers
    assert plain_head.parse(head("5", "b", "content-length: 6\r\n")) is None
    assert plain_head.parse(head("5", "b", "Transfer-Encoding: chunked\r\n")) is None


@for_each("head", OTHERS)
def test_any_other_head_is_left_to_waitress(head: bytes) -> None:
    assert plain_head.parse(head) is None


def _assert_read_alike(head: bytes) -> None:
    """What is taken for plain is what waitress makes of it."""
    for body in (b"", b"\n\n", b"a body of 17 ones"):
        _assert_taken_whole_alike(head + body)
    if plain_head.parse(head) is None:
        return
    ours, theirs = _ours(head), _received(HTTPRequestParser(ADJUSTMENTS), head)
    assert ours.error is theirs.error is None
    assert {name: getattr(ours, name) for name in READ} == {name: getattr(theirs, name) for name in READ}
    assert (ours.body_rcv is None) == (theirs.body_rcv is None)
    assert ours.completed == theirs.completed


def _assert_taken_whole_alike(request: bytes) -> None:
    """What is taken as a whole request is one that waitress has read to its end with the last of these bytes."""
    if (whole := plain_head.whole(request)) is None:
        return
    head, body = whole
    theirs = HTTPRequestParser(ADJUSTMENTS)
    taken = theirs.received(request)
    if body:
        assert not theirs.completed
        taken += theirs.received(request[taken:])
    assert taken == len(request)
    assert theirs.completed
    assert theirs.error is None
    assert (head.method, head.uri, head.path, head.query) == (
        theirs.command, theirs.request_uri, theirs.path, theirs.query,
    )  # fmt: skip
    assert head.headers | {"CONTENT_LENGTH": theirs.headers["CONTENT_LENGTH"]} == theirs.headers
    assert body == theirs.get_body_stream().read()


def test_only_what_is_all_of_one_request_is_taken_whole() -> None:
    head = b"POST /a?b HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\nA: b\r\n\r\n"
    whole = plain_head.whole(head + b"body")
    assert whole is not None
    assert (whole[0].path, whole[0].headers, whole[1]) == ("/a", {"HOST": "here", "A": "b"}, b"body")
    for request in (head + b"bod", head + b"body\r\n", head, head[:-2], b"\r\n" + head + b"body", b""):
        assert plain_head.whole(request) is None
    assert plain_head.whole(head.replace(b"Content-Length: 4\r\n", b"")) is None
    assert plain_head.whole(head.replace(b"A: b", b"Content-Length: 4") + b"body") is None
    assert plain_head.whole(head.replace(b"A: b", b"Expect: 100-continue") + b"body") is None
    lines = b"".join(b"%x:\r\n" % number for number in range(plain_head.MAX_LINES))
    assert len(lines) < 1000
    assert plain_head.whole(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\n" + lines + b"\r\nx") is None


_NAMES = st.sampled_from(["Host", "Content-Length", "Connection", "Transfer-Encoding", "Expect", "x-1"])
_TEXT = st.text("aZ09 \t:,;=?/%#_-+~.\"'\r\n\0\x7f\xe9", max_size=12) | st.sampled_from(["close", "chunked"])
_LINES = st.lists(st.tuples(_NAMES | _TEXT, st.sampled_from([":", ": ", " :", ""]), _TEXT | st.just("17")), max_size=4)
_FIRST = st.tuples(
    st.sampled_from(["GET", "POST", "get", ""]), st.sampled_from([" ", "  "]), _TEXT | st.just("/api/infer?a=b"),
    st.sampled_from([" HTTP/1.1", " HTTP/1.0", "", " HTTP/1.1 "]),
)  # fmt: skip


@given(_FIRST, _LINES)
def test_generated_heads_are_read_alike(first: tuple[str, ...], lines: list[tuple[str, ...]]) -> None:
    _assert_read_alike("\r\n".join(map("".join, [first, *lines, (), ()])).encode("latin-1"))


@for_each("head", PLAIN + OTHERS[len(UNNAMED) :])
def test_each_head_with_one_byte_changed_is_read_alike(head: bytes) -> None:
    for at in range(min(len(head) - 4, 200)):
        for byte in b"\r\n \t:_#%/a0\0\x80":
            _assert_read_alike(head[:at] + bytes([byte]) + head[at + 1 :])
