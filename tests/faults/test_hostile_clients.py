"""Clients that hold connections, send too much, or look for what is not theirs; and what the log says of all."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import pytest
from asking import JSON, PLAIN, WRITE, Document, until
from checking_client import Client, kind
from faulty_servers import HOLD, RUN, Faulty, kill
from server_process import command_line
from small_networks import SMALL, linear, pixels

Start = Callable[..., Faulty]

HEAD = f"POST /api/infer HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {WRITE}\r\nContent-Type: {JSON}\r\n"

# Bounds what others wait for; in itself it takes milliseconds.
SOON = 10.0


def still_answers(client: Client, finished: Document) -> None:
    rows = (pixels(2) / 255).tolist()
    with httpx.Client(
        base_url=client.url, timeout=SOON, headers={"Authorization": f"Bearer {WRITE}"}, **PLAIN
    ) as other:
        for _ in range(3):
            response = other.post("/api/infer", json={"param_id": finished["param_id"], "inputs": rows})
            assert response.status_code == 200
            assert other.get("/healthz").status_code == 200


def test_clients_that_send_half_and_wait_do_not_keep_others_waiting(client: Client, finished: Document) -> None:
    body = json.dumps({"param_id": finished["param_id"], "inputs": (pixels(1) / 255).tolist()}).encode()
    head = f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode()
    with ExitStack() as stack:
        half_heads, half_bodies, idle = (
            [stack.enter_context(client.connect()) for _ in range(count)] for count in (30, 30, 200)
        )
        for connection in half_heads:
            connection.sendall(head[:40])
        for connection in half_bodies:
            connection.sendall(head + body[:1000])
        still_answers(client, finished)
        # A byte now and then from each, and others come through in between.
        for at in range(1000, 1010):
            for connection in half_bodies:
                connection.sendall(body[at : at + 1])
        still_answers(client, finished)
        for connection in half_bodies:
            connection.sendall(body[1010:])
        for connection in half_heads:
            connection.sendall(head[40:] + body)
        for connection in (*half_heads, *half_bodies):
            assert client.received(connection, head).status_code == 200
        for connection in idle[::50]:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
            assert client.received(connection, b"GET /healthz HTTP/1.1").status_code == 200


def test_oversized_requests_leave_no_memory_behind(client: Client, shared: Faulty, finished: Document) -> None:
    def memory() -> int:
        status = Path(f"/proc/{shared.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    body = b'{"inputs": [' + b"[0.5, 0.25]," * 60_000
    headers = {"Content-Type": JSON, "Authorization": f"Bearer {WRITE}"}
    with httpx.Client(base_url=client.url, timeout=SOON, headers=headers, **PLAIN) as other:
        refuse = lambda: other.post("/api/infer", content=body).status_code == 413  # noqa: E731
        assert all(refuse() for _ in range(20))
        before = memory()
        assert all(refuse() for _ in range(200))
    assert memory() - before < 50 * 1024
    still_answers(client, finished)


def test_a_full_queue_asks_for_patience_and_loses_nothing(client: Client, shared: Faulty) -> None:
    model_id = client.model(RUN)
    shared.switch(HOLD)
    try:
        runs = [client.train(model_id)]
        shared.wait_held(runs[0])
        runs += [client.train(model_id) for _ in range(3)]
        with shared.on_disk.unchanged():
            response = client.post(f"/api/models/{model_id}/train", {})
        assert response.status_code == 503
        assert kind(response) == "queue-full"
        assert int(response.headers["Retry-After"]) > 0
    finally:
        shared.switch(HOLD, on=False)
    assert {client.wait(run_id)["state"] for run_id in runs} == {"succeeded"}


def test_every_answer_keeps_browsers_from_guessing(client: Client, finished: Document) -> None:
    param_id = finished["param_id"]
    etag = client.get(f"/api/params/{param_id}").headers["ETag"]
    answers = [
        client.get("/healthz", token=None),
        client.get("/readyz", token=None),
        client.get("/nowhere", token=None),
        client.get("/api/openapi.json"),
        client.get("/api/openapi.json", token="wrong"),
        client.get("/api/nowhere"),
        client.get("/api/runs/none"),
        client.get(f"/api/runs/{finished['run_id']}"),
        client.request("HEAD", f"/api/runs/{finished['run_id']}"),
        client.request("DELETE", "/api/models"),
        client.post("/api/models", {"architecture": SMALL}),
        client.post("/api/models", content=b"{"),
        client.post("/api/models", {"architecture": SMALL, "x": 1}),
        client.post("/api/models", content=b" " * 300_000),
        client.post("/api/infer", content=b"x", headers={"Content-Type": "text/plain"}),
        client.get(f"/api/params/{param_id}"),
        client.get(f"/api/params/{param_id}?format=safetensors"),
        client.get(f"/api/params/{param_id}", headers={"If-None-Match": etag}),
    ]
    assert {answer.status_code for answer in answers} == {200, 304, 400, 401, 404, 405, 413, 415, 422}
    for answer in answers:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        kept = "/params/" in answer.request.url.path
        assert answer.headers["Cache-Control"] == ("private, no-cache" if kept else "no-store")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 300_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 300_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_no_http_is_refused_with_the_same_headers_and_logged(
    client: Client, shared: Faulty, request_bytes: bytes, status: int
) -> None:
    with client.connect() as connection:
        connection.sendall(request_bytes)
        answer = HTTPResponse(connection)
        answer.begin()
        answer.read()
    assert answer.status == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    request_id = answer.headers["X-Request-ID"]
    (line,) = until(lambda: [line for line in shared.events() if line.get("request_id") == request_id], "it is logged")
    assert (line["event"], line["status"]) == ("request", status)


def test_a_client_that_waits_to_be_told_to_continue_is_not_left_waiting(client: Client) -> None:
    """Where it has nothing to send, or is refused whatever it sends."""
    for request, status in (
        ("GET /healthz", 200),
        ("POST /api/runs/none/cancel", 404),
        ("POST /api/models\r\nContent-Length: 99999999999", 413),
        ("POST /api/nowhere\r\nContent-Length: 99999999999", 404),
    ):
        line, *length = request.split("\r\n")
        fields = ["Host: x", f"Authorization: Bearer {WRITE}", "Expect: 100-continue", *length]
        assert client.raw("\r\n".join([f"{line} HTTP/1.1", *fields, "", ""]).encode()).status_code == status
    body = json.dumps({"architecture": SMALL}).encode()
    head = f"{HEAD.replace('infer', 'models')}Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with client.connect() as connection:
        connection.sendall(head)
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert client.received(connection, head).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "..", "../../token", "..%2f..%2ftoken", "%2e%2e%2f%2e%2e%2ftoken", "%2e%2e/%2e%2e/token", "..%5c..%5ctoken",
        "%00", "p_%00.safetensors", "%ff%fe", "%2e", "*", "%25%32%65", "p_" + "a" * 5000, "%0d%0aX-Injected:%201",
        "falcon-mnist.db", ".%00./", "p_0'%20OR%20'1'='1",
    ],
)  # fmt: skip
def test_ids_that_are_paths_name_nothing(client: Client, shared: Faulty, name: str) -> None:
    bait = shared.home / "token.safetensors"
    bait.write_text("not yours")
    with shared.on_disk.unchanged():
        for request in (
            f"GET /api/params/{name}", f"GET /api/params/{name}?format=safetensors", f"GET /api/runs/{name}",
            f"GET /api/models/{name}/runs", f"POST /api/runs/{name}/cancel", f"POST /api/models/{name}/train",
        ):  # fmt: skip
            # Over a socket: clients would tidy such a path up.
            lines = f"{request} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {WRITE}\r\nContent-Length: 0\r\n\r\n"
            with client.connect() as connection:
                connection.sendall(lines.encode())
                answer = connection.recv(65536)
            status = answer.split(maxsplit=2)[1]
            assert status == b"404" or (status == b"405" and ".." in name), answer
            assert b"not yours" not in answer
            assert b"X-Injected" not in answer
    assert bait.read_text() == "not yours"


def test_ids_in_bodies_are_no_paths_either(client: Client, finished: Document) -> None:
    for name in ("../../token", "\0", "p_" + "a" * 100_000, "", "\N{PILE OF POO}", finished["param_id"] + "\0"):
        response = client.post("/api/infer", {"param_id": name, "inputs": [[0] * 784]})
        assert response.status_code in (404, 422), response.text
    surrogate = b'{"param_id": "\\ud800", "inputs": [' + json.dumps([0] * 784).encode() + b"]}"
    assert client.post("/api/infer", content=surrogate).status_code in (400, 404, 422)


def test_no_token_is_seen_in_command_lines_or_logs(client: Client, shared: Faulty, finished: Document) -> None:
    for token in ("wrong-token-5d2e", "x" * 5000):
        response = client.get("/api/runs/none", token=token)
        assert response.status_code == 401
        assert token not in response.text + shared.log()
    workers = shared.workers()
    assert workers
    for pid in (shared.process.pid, *workers):
        assert WRITE.encode() not in command_line(pid)
    assert WRITE not in shared.log()


def test_each_request_and_each_event_of_a_run_is_one_line_of_json(
    client: Client, shared: Faulty, finished: Document
) -> None:
    sent = {
        "one-of-mine-1": client.get("/api/version", headers={"X-Request-ID": "one-of-mine-1"}),
        "one-of-mine-2": client.get("/api/runs/none", headers={"X-Request-ID": "one-of-mine-2"}),
        "one-of-mine-3": client.post("/api/models", content=b"{", headers={"X-Request-ID": "one-of-mine-3"}),
        "one-of-mine-4": client.get("/api/runs/%0a%22%7b", token=None, headers={"X-Request-ID": "one-of-mine-4"}),
    }

    def lines() -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {name: [] for name in sent}
        for line in shared.events():
            if line.get("request_id") in found:
                found[line["request_id"]].append(line)
        return found

    found = until(lambda: all((logged := lines()).values()) and logged, "the requests are logged")
    for name, response in sent.items():
        (line,) = found[name]
        assert line["status"] == response.status_code
        assert line["method"] == response.request.method
        assert line["path"] == httpx.URL(response.request.url).path
        assert line["ms"] >= 0
        assert {"time", "level", "logger", "event"} <= set(line)
    until(lambda: shared.logged("run succeeded", finished["run_id"]), "the end of the run is logged")
    assert events_of(shared, finished["run_id"]) == [
        "run queued", "run claimed", "run trains on folder",
        "epoch 1 finished", "epoch 2 finished", "epoch 3 finished", "epoch 4 finished", "run succeeded",
    ]  # fmt: skip
    (request,) = [line for line in shared.events() if line.get("run_id") == finished["run_id"] and "path" in line]
    assert request["path"] == f"/api/models/{finished['model_id']}/train"
    assert request["request_id"]


def events_of(server: Faulty, run_id: str) -> list[str]:
    """What the log says of a run, in its order; requests are not events.

    That it is queued comes first here: its request says so once it is recorded, when a worker may have it already.
    """
    lines = [line for line in server.events() if line.get("run_id") == run_id and "request_id" not in line]
    lines.sort(key=lambda line: line["event"] != "run queued")
    return [line["event"].partition(". ")[0].partition(":")[0] for line in lines]


def test_a_run_that_comes_to_another_end_is_in_the_log_too(client: Client, shared: Faulty) -> None:
    shared.switch(HOLD)
    try:
        cancelled = shared.held(client)
        kill(*shared.workers())
        until(lambda: shared.logged("resuming run", cancelled), "the run is resumed")
        shared.wait_held(cancelled)
        client.post(f"/api/runs/{cancelled}/cancel")
    finally:
        shared.switch(HOLD, on=False)
    until(lambda: shared.logged("run stopped", cancelled), "the worker gives up")
    begin = ["run claimed", "run trains on folder"]
    assert events_of(shared, cancelled) == [
        "run queued", *begin, "epoch 1 finished", "epoch 2 finished", "worker lost",
        "run requeued, after 1 lost workers", *begin, "resuming run at epoch 3", "run cancelled", "run stopped",
    ]  # fmt: skip
    layers = [linear(784, 32), linear(32, 32), linear(32, 10)]  # nothing holds the weights back
    body = {"architecture": {"input_size": 784, "layers": layers}, "hyperparams": {"optimizer": {"lr": 100}}}
    diverged = client.train(client.model(body))
    assert client.wait(diverged)["state"] == "failed"
    until(lambda: shared.logged("run failed", diverged), "the failure is logged")
    assert events_of(shared, diverged) == ["run queued", *begin, "run failed"]


def test_all_that_a_server_says_in_its_life_is_json(start: Start, digits: Path) -> None:
    server = start()
    with Client(server.url()) as client, ExitStack() as stack:
        client.trained(RUN)
        client.wait(client.train(client.model({**RUN, "hyperparams": {"optimizer": {"lr": 100.0}}})))
        client.raw(b"GET /healthz HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer x\r\n\r\n")
        with client.connect() as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.")
        with client.connect() as connection:  # goes away while it is answered
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(b"GET /api/openapi.json HTTP/1.1\r\nHost: here\r\n\r\n" * 50)
        # Connections that say nothing are not waited for.
        for _ in range(20):
            stack.enter_context(client.connect())
        client.get("/healthz", token=None)
        assert server.stop() == 0
    log = server.log()
    assert log.endswith("\n")
    for line in log.splitlines():
        assert isinstance(json.loads(line), dict), line
    assert "Traceback" not in log
