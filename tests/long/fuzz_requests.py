"""A structure-aware fuzzer of raw HTTP: requests that are nearly right, against a real server, for a minute.

    python -m tests.long fuzz_requests [SECONDS]

Each example sends some requests over one connection, in pieces. Whatever they are: what comes back is a chain of HTTP
answers, none is a 5xx but 503, no operation under /api answers 2xx without a token, and `/healthz` answers afterwards.
An example that breaks this is printed, made as small as hypothesis can.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

from asking import READ
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from raw_http import HEALTH, Raw
from server_process import Server, environment
from small_networks import write_digits

METHODS = st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS", "get", "G ET", "\0", "X" * 300])
PATHS = st.sampled_from([
    "/healthz", "/readyz", "/api/openapi.json", "api/openapi.json", "//api/models", "x:api/models", "/api/models",
    "/api/runs/r_1", "/api/infer", "/api/infer?param_id=p&dtype=uint8", "http://[::1/", "http://here/api/models",
    "/api%2Fmodels", "/API/models", "/..;/api/models", "*", "/" + "a" * 9000,
])  # fmt: skip
VALUES = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=40)
HEADERS = st.one_of(
    st.sampled_from([
        "Host: here", "Connection: close", "Connection: keep-alive", "Expect: 100-continue", "Content-Length: 5",
        "Content-Length: -1", "Content-Length: 5, 5", "Content-Length: " + "9" * 5000, "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked", "Transfer-Encoding:\tchunked", "Content-Type: application/json",
        "Content-Type: application/octet-stream", "a:", ": a", " folded", "Accept: */*;q=x", "If-None-Match: *",
        "Authorization: Basic eDp5", "X-Request-ID: " + "a" * 100,
    ]),
    st.builds("{}: {}".format, st.sampled_from(["Accept", "Host", "Authorization", "Content-Type", "X"]), VALUES),
)  # fmt: skip
CHUNKS = st.sampled_from([
    b'5\r\n{"a":\r\n', b"1;x=y\r\n1\r\n", b"1\r\n}\r\n", b"0\r\n\r\n", b"0\r\nT: x\r\n\r\n", b"g\r\n",
    b"ffffffffffffffff\r\n", b"1;" + b"a" * 2000, b"-1\r\n\r\n", b"\r\n",
])  # fmt: skip
BODIES = st.one_of(st.just(b""), st.binary(max_size=60), st.lists(CHUNKS, max_size=8).map(b"".join))
ENDS = st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r"])

LAST = b"GET /healthz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"


@st.composite
def request(draw: st.DrawFn) -> tuple[bytes, bool]:
    """The bytes of a request, and whether it carries a token."""
    lines = [f"{draw(METHODS)} {draw(PATHS)} HTTP/{draw(st.sampled_from(['1.1', '1.1', '1.0', '2', '']))}"]
    lines += draw(st.lists(HEADERS, max_size=6))
    if token := draw(st.booleans()):
        lines.append(f"Authorization: Bearer {READ}")
    end = draw(ENDS)
    return (end.join(lines) + end + end).encode("latin-1") + draw(BODIES), token


def check(url: str, requests: list[tuple[bytes, bool]], piece: int) -> None:
    """Send the requests in pieces of so many bytes, and look at all that comes back."""
    data = b"".join(each for each, _ in requests) + LAST
    with Raw(url) as connection:
        for at in range(0, len(data), piece):
            connection.send(data[at : at + piece])
        answers = connection.rest()
    assert not answers or answers.startswith(b"HTTP/1."), answers[:200]
    for status in re.findall(rb"^HTTP/1\.[01] (\d{3}) ", answers, re.MULTILINE):
        assert int(status) < 500 or status == b"503", answers[:500]
    if not any(token for _, token in requests):
        assert b'"openapi"' not in answers
        assert b'"model_id"' not in answers
    with Raw(url) as connection:
        connection.send(HEALTH)
        assert connection.status() == 200


def main(seconds: float) -> None:
    """Fuzz for so long."""
    end = time.monotonic() + seconds
    examples = 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        digits = write_digits(Path(folder) / "digits")
        server = Server(environment(Path(folder) / "home", dataset=digits, workers=1, tokens=f"{READ},unused-token-x"))
        url = server.url()

        @settings(
            max_examples=200,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(request(), min_size=1, max_size=4), st.sampled_from([1, 7, 100, 10**6]))
        def fuzz(requests: list[tuple[bytes, bool]], piece: int) -> None:
            nonlocal examples
            examples += 1
            check(url, requests, piece if sum(len(each) for each, _ in requests) < 3000 else 10**6)

        try:
            while time.monotonic() < end:
                fuzz()
        finally:
            assert server.stop() == 0
    print(f"{examples} examples, nothing found")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
