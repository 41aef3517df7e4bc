"""Clients that never read, never stop sending, send what is malformed, or take all descriptors."""

from __future__ import annotations

import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from asking import READ, WRITE, Document, until
from cases import for_each
from checking_client import Client
from raw_http import HEALTH, Gauge, Raw, request
from server_process import Server, environment
from small_networks import ENDLESS, architecture

# As many clients as would hold all threads if each held one, and then so many more.
ATTACKERS = (8, 56)


def test_clients_that_read_nothing_hold_no_thread(target: Server, client: Client) -> None:
    description = request("GET", "/api/openapi.json", token=READ)
    with ExitStack() as stack, Gauge(target, str(client.url)) as gauge:
        for count in ATTACKERS:
            for _ in range(count):
                connection = stack.enter_context(Raw(str(client.url)))
                connection.send_while_taken(description * 600, seconds=0.2)
            gauge.wait_for(10)
            assert client.get("/api/openapi.json").status_code == 200
    assert gauge.peak_bytes < 900e6


@pytest.fixture(scope="module")
def wide(client: Client) -> Document:
    """A run whose parameters are answered in several pieces."""
    return client.trained({"architecture": architecture(1024), "hyperparams": {"epochs": 1}})


def test_clients_that_do_not_read_an_answer_of_several_pieces_hold_few_threads(
    target: Server, client: Client, wide: Document
) -> None:
    with ExitStack() as stack, Gauge(target, str(client.url)) as gauge:
        for count in ATTACKERS:
            for _ in range(count):
                connection = stack.enter_context(Raw(str(client.url), receive_bytes=4096))
                connection.send(request("GET", f"/api/params/{wide['param_id']}", token=READ))
            gauge.wait_for(50)


def test_clients_that_do_not_read_a_snapshot_hold_few_threads_and_little_memory(target: Server, client: Client) -> None:
    with client.endless_run(ENDLESS) as run:
        path = f"/api/runs/{run['run_id']}/snapshot"
        until(lambda: client.request("HEAD", path).status_code == 200, "there is a checkpoint")
        for form in ("json", "safetensors"):
            with ExitStack() as stack, Gauge(target, str(client.url)) as gauge:
                for _ in range(64):
                    connection = stack.enter_context(Raw(str(client.url), receive_bytes=4096))
                    connection.send(request("GET", f"{path}?format={form}", token=READ))
                gauge.wait_for(50)
            assert gauge.peak_bytes < 450e6, form


def test_many_requests_at_once_are_answered_one_after_the_other_and_in_their_order(client: Client) -> None:
    paths = ["/healthz", "/nowhere", "/readyz", "/api/runs/none"] * 50
    with Raw(str(client.url)) as connection:
        connection.send(b"\r\n" + b"\r\n".join(request("GET", path, token=READ) for path in paths))
        assert [connection.status() for _ in paths] == [200, 404, 200, 404] * 50


def test_requests_that_arrive_in_pieces_are_answered(client: Client) -> None:
    data = HEALTH + request("GET", "/readyz") + HEALTH
    with Raw(str(client.url)) as connection:
        for at in range(0, len(data), 7):
            connection.send(data[at : at + 7])
        assert [connection.status() for _ in range(3)] == [200, 200, 200]


@pytest.mark.parametrize(
    "endless",
    [
        b"1;" + b"a" * 1500,
        b"a" * 1500,
        b"0\r\n" + b"name: value\r\n" * 1500,
        b"0\r\nname: " + b"a" * 17_000,
        b"0\r\nname:" + b" \t" * 50 + b"\r\n",
        b"1\r\na\r\n" * 1500,
    ],
    ids=["extension", "size", "trailers", "trailer", "blanks", "tiny chunks"],
)
def test_what_stands_between_chunks_is_bounded(client: Client, endless: bytes) -> None:
    head = request("POST", "/api/infer", "Content-Type: application/json", "Transfer-Encoding: chunked", token=WRITE)
    with Raw(str(client.url)) as connection:
        connection.send(head + endless)
        assert connection.status() == 400
        assert connection.closed()


def test_chunks_are_put_together(client: Client) -> None:
    head = request("POST", "/api/models", "Content-Type: application/json", "Transfer-Encoding: chunked", token=WRITE)
    chunks = b'7;name=value\r\n{"archi\r\n0b\r\ntecture": 1\r\n1\r\n}\r\n0\r\nTrailer: yes\r\n\r\n'
    for size in (1, 5, len(chunks)):
        with Raw(str(client.url)) as connection:
            connection.send(head)
            for at in range(0, len(chunks), size):
                connection.send(chunks[at : at + size])
            connection.send(HEALTH)
            assert connection.status() == 400  # the architecture is wrong: the body was read as JSON
            assert connection.status() == 200


@pytest.mark.parametrize("token", [READ, None], ids=["token", "no token"])
def test_chunks_cost_as_much_as_they_weigh(target: Server, client: Client, token: str | None) -> None:
    head = request("POST", "/api/infer", "Content-Type: application/json", "Transfer-Encoding: chunked", token=token)
    chunk = b"40\r\n" + b"a" * 64 + b"\r\n"

    def cost(times: int) -> float:
        with Raw(str(client.url)) as connection, Gauge(target, str(client.url)) as gauge:
            before = gauge.cpu_seconds
            connection.send_while_taken(head + chunk * 20_000 * times + b"0\r\n\r\n", seconds=5)
            connection.status()
            return gauge.cpu_seconds - before

    assert any(cost(2) <= 2.5 * max(cost(1), 0.05) for _ in range(3))


@pytest.mark.parametrize(
    "headers",
    [
        [f"Accept: {'a' * 40_000}"],
        [f"X-{number}: {'a' * 1000}" for number in range(40)],
        ["a:"] * 20_000,
        ["a:"] * 300,
    ],
    ids=["one long", "many", "many tiny", "few tiny"],
)
def test_headers_are_bounded(client: Client, headers: list[str]) -> None:
    with Raw(str(client.url)) as connection:
        connection.send(request("GET", "/healthz", *headers))
        assert connection.status() == 431


def test_headers_that_fit_leave_no_memory_behind(target: Server, client: Client) -> None:
    for _ in range(2):
        with Gauge(target, str(client.url)) as gauge:
            before = gauge.peak_bytes
            for number in range(60):
                with Raw(str(client.url)) as connection:
                    accept = ", ".join(f"a/{number}-{entry}" for entry in range(2000))[:30_000]
                    connection.send(request("GET", "/api/runs/none", f"Accept: {accept}", token=READ))
                    assert connection.status() in (404, 400)
    assert gauge.peak_bytes - before < 40e6


@pytest.mark.parametrize("encoding", [["Transfer-Encoding: chunked"], []], ids=["chunked", "length"])
def test_a_body_without_a_token_is_not_kept(target: Server, client: Client, encoding: list[str]) -> None:
    size = 40 * 2**20
    body = b"%x\r\n" % size + b"a" * size + b"\r\n0\r\n\r\n" if encoding else b"a" * size
    length = [] if encoding else [f"Content-Length: {size}"]
    head = request("POST", "/api/infer", "Content-Type: application/json", *encoding, *length)
    with Gauge(target, str(client.url)) as gauge, ExitStack() as stack:
        before = gauge.peak_bytes
        for _ in range(4):
            connection = stack.enter_context(Raw(str(client.url)))
            connection.send(head + body)
            assert connection.status() == 401
            connection.send(HEALTH)
            assert connection.status() == 200
    assert gauge.temporary_bytes < 2**20
    assert gauge.peak_bytes - before < 20e6


def test_a_client_that_waits_to_send_its_body_is_refused_at_once_without_a_token(client: Client) -> None:
    head = request("POST", "/api/infer", "Content-Type: application/json", "Expect: 100-continue", "Content-Length: 9")
    with Raw(str(client.url)) as connection:
        connection.send(head)
        assert connection.status() == 401
        assert connection.closed()


@pytest.mark.parametrize(
    "malformed",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\nHost: here\r\n\r\n",
        b"POST /api/infer HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/infer HTTP/1.0\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/infer HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /api/infer HTTP/1.1\r\nHost: here\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n",
        b"POST /api/infer HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: ,\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /api/infer HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/infer HTTP/1.1\r\nHost: here\r\n" + 2 * b"Transfer-Encoding: chunked\r\n" + b"\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: here\r\nHost: here\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: not here\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: here\r\nA: b\r\n folded\r\n\r\n",
        b"GET /%68ealthz HTTP/1.1\r\nHost: here\r\nA:" + b" \t" * 50 + b"b\r\n\r\n",
        b"GET a://" + b"1" * 32_000 + b" HTTP/1\r\nHost: here\r\n\r\n",  # took waitress's expression two minutes
        b"nonsense\r\n\r\n",
        b"\0\r\n\r\n",
    ],
)
def test_malformed_requests_are_refused(client: Client, malformed: bytes) -> None:
    with Raw(str(client.url)) as connection:
        connection.send(malformed)
        head = connection.head()
        assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
        assert b"x-content-type-options: nosniff" in head.lower()
        assert b"x-request-id: " in head.lower()
        assert connection.closed()


@for_each(
    "lines",
    [
        f"GET / HTTP/1.1\r\nHost: x\nAuthorization: Bearer {WRITE}",
        f"GET / HTTP/1.1\r\nAuthorization: Bearer {WRITE}\rA: b",
        f"GET / HTTP/1.1\r\n Authorization: Bearer {WRITE}",
        f"get{WRITE} / HTTP/1.1",
    ],
)
def test_what_is_malformed_is_not_repeated_for_it_may_hold_a_token(client: Client, lines: str) -> None:
    with Raw(str(client.url)) as connection:
        connection.send(f"{lines}\r\n\r\n".encode())
        answer = connection.socket.makefile("rb").read()
    assert answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    assert WRITE.encode() not in answer


@for_each("options", ["close", "foo, close", "Close , foo", "foo\r\nConnection: close"])
def test_close_among_other_options_ends_the_connection(client: Client, options: str) -> None:
    with Raw(str(client.url)) as connection:
        connection.send(request("GET", "/healthz", f"Connection: {options}") + request("GET", "/healthz"))
        assert connection.head().startswith(b"HTTP/1.1 200")
        assert connection.closed()


def test_urgent_data_is_not_heeded(client: Client, target: Server) -> None:
    """A byte of it kept the thread that reads busy, and filled the log, until the connection was closed."""
    with Raw(str(client.url)) as connection:
        connection.socket.send(b"!", socket.MSG_OOB)
        connection.send(HEALTH)
        assert connection.status() == 200
        assert "priority event" not in target.log()


def test_a_get_that_expects_to_be_told_to_continue_is_answered(client: Client) -> None:
    with Raw(str(client.url)) as connection:
        connection.send(request("GET", "/healthz", "Expect: 100-continue"))
        assert connection.status() == 200


def test_a_full_temporary_folder_is_a_503(client: Client, target: Server, trained: Document) -> None:
    """And others' answers are not spoilt: here by a bound on the size of the server's files, which it sees as full."""
    pid = target.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        with Raw(str(client.url)) as connection:
            body = b" " * (40 * 2**20)
            sent = request("POST", "/api/infer", "Content-Type: application/json", token=READ, body=body)
            connection.socket.sendall(sent)  # its client may send all before it reads: the connection stays until then
            head = connection.head()
            assert head.split(b" ")[1] == b"503"
            assert b"retry-after" in head.lower()
        assert client.get(f"/api/params/{trained['param_id']}").status_code == 200
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("limit", [64, 256])
def test_a_server_without_descriptors_to_spare_stays_well(tmp_path: Path, digits: Path, limit: int) -> None:
    variables = environment(tmp_path / "home", dataset=digits, workers=1)
    server = Server(variables, main="forked_workers:serve_with_descriptors", arguments=[str(limit)])
    try:
        url = server.url()
        with ExitStack() as stack:
            for _ in range(limit + 40):
                connection = stack.enter_context(Raw(url))
                connection.send(HEALTH[:10])
            gauge = Gauge(server, url)
            before = gauge.cpu_seconds
            time.sleep(0.5)
            assert gauge.cpu_seconds - before < 0.4  # it does not spin meanwhile
        with Client(url) as client:
            assert client.trained(epochs=1)["state"] == "succeeded"
        assert len(server.log()) < 100_000
    finally:
        assert server.stop() == 0
