"""Which refusal comes first when a request deserves several, and that none leaves anything behind."""

from __future__ import annotations

import select
from contextlib import suppress

import pytest
from asking import JSON, LIMITED_BODY, READ, WRITE, Document
from cases import for_each
from checking_client import Client, kind
from on_disk import OnDisk
from small_networks import SMALL, architecture

MIB = b"x" * 2**20


def head(method: str, path: str, *headers: str, token: str | None = WRITE) -> bytes:
    authorization = [f"Authorization: Bearer {token}"] if token else []
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: here", *authorization, *headers, "", ""]).encode()


@for_each(
    "method, path, content, media_type",
    [
        ("GET", "/api/nothing", b"", None),
        ("GET", "/api/models", b"", None),
        ("GET", "/api/runs/r_0", b"", None),
        ("POST", "/api/models", b"x" * (LIMITED_BODY + 1), JSON),
        ("POST", "/api/models", b"{}", "text/plain"),
        ("POST", "/api/models", b"{", JSON),
        ("POST", "/api/models", b"{}", JSON),
        ("POST", "/api/models/m_0/train", b"", None),
        ("OPTIONS", "/api/models", b"", None),
        ("HEAD", "/api/runs/r_0", b"", None),
    ],
)
@for_each("token", [None, "wrong"])
def test_the_token_comes_before_everything(
    limited_server: tuple[Client, OnDisk],
    token: str | None,
    method: str,
    path: str,
    content: bytes,
    media_type: str | None,
) -> None:
    client, on_disk = limited_server
    with on_disk.unchanged():
        headers = {"Content-Type": media_type} if media_type else {}
        response = client.request(method, path, token=token, content=content, headers=headers)
    assert response.status_code == 401


def test_the_token_comes_before_a_size_that_is_only_declared(limited_server: tuple[Client, OnDisk]) -> None:
    response = limited_server[0].raw(head("POST", "/api/models", "Content-Length: 99999999999", token=None))
    assert response.status_code == 401


@for_each("method, path, status", [("POST", "/api/nothing", 404), ("PUT", "/api/models", 405)])
@for_each("length", [LIMITED_BODY + 1, 99_999_999_999])
def test_the_route_comes_before_the_size(
    limited_server: tuple[Client, OnDisk], method: str, path: str, status: int, length: int
) -> None:
    body = b"x" * length if length < 2**20 else b""
    response = limited_server[0].raw(head(method, path, f"Content-Length: {length}") + body)
    assert response.status_code == status


@pytest.mark.parametrize("media_type", [JSON, "text/plain"])
def test_the_size_comes_before_the_media_type(limited_server: tuple[Client, OnDisk], media_type: str) -> None:
    client, on_disk = limited_server
    with on_disk.unchanged():
        response = client.post("/api/models", content=b"x" * (LIMITED_BODY + 1), headers={"Content-Type": media_type})
    assert response.status_code == 413
    assert response.json()["limit_bytes"] == LIMITED_BODY


def test_a_body_of_exactly_the_limit_is_read(limited_server: tuple[Client, OnDisk]) -> None:
    response = limited_server[0].post("/api/models", content=b" " * LIMITED_BODY)
    assert response.status_code == 400


@for_each("path", ["/api/models", "/api/models/m_0/train", "/api/infer", "/api/infer_adhoc"])
def test_a_declared_size_is_refused_before_the_body_is_sent(limited_server: tuple[Client, OnDisk], path: str) -> None:
    response = limited_server[0].raw(head("POST", path, f"Content-Type: {JSON}", "Content-Length: 99999999999"))
    assert response.status_code == 413
    assert response.json()["limit_bytes"] == LIMITED_BODY


def test_a_chunked_body_over_the_limit_is_refused(limited_server: tuple[Client, OnDisk]) -> None:
    chunk = b"%x\r\n%s\r\n" % (LIMITED_BODY // 2 + 1, b"x" * (LIMITED_BODY // 2 + 1))
    request = head("POST", "/api/models", f"Content-Type: {JSON}", "Transfer-Encoding: chunked")
    response = limited_server[0].raw(request + chunk + chunk + b"0\r\n\r\n")
    assert response.status_code == 413
    assert response.json()["limit_bytes"] == LIMITED_BODY


def test_a_chunked_body_without_an_end_is_refused(limited_server: tuple[Client, OnDisk]) -> None:
    client, on_disk = limited_server
    request = head("POST", "/api/models", f"Content-Type: {JSON}", "Transfer-Encoding: chunked")
    with client.connect() as connection, on_disk.unchanged():
        connection.sendall(request)
        # The server may close as soon as it has answered: the answer is there to be read all the same.
        with suppress(ConnectionError):
            while not select.select([connection], [], [], 0)[0]:
                connection.sendall(b"%x\r\n%s\r\n" % (len(MIB), MIB))
        response = client.received(connection, request)
    assert response.status_code == 413
    assert response.json()["limit_bytes"] == LIMITED_BODY


def test_a_chunked_body_within_the_limit_is_read(client: Client) -> None:
    body = b'{"architecture": %s}' % str(SMALL).replace("'", '"').encode()
    halves = (body[:50], body[50:])
    request = head("POST", "/api/models", f"Content-Type: {JSON}", "Transfer-Encoding: chunked")
    for half in halves:
        request += b"%x\r\n%s\r\n" % (len(half), half)
    assert client.raw(request + b"0\r\n\r\n").status_code == 200


@for_each("media_type", [None, "", "text/plain", "application/jsonl", "application/x-www-form-urlencoded"])
@for_each("path", ["/api/models", "/api/models/m_0/train", "/api/runs/r_0/cancel", "/api/infer_adhoc"])
def test_the_media_type_comes_before_the_syntax(
    client: Client, on_disk: OnDisk, path: str, media_type: str | None
) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    with on_disk.unchanged():
        response = client.request("POST", path, content=b"{", headers=headers)
    assert response.status_code == 415


def test_a_compressed_body_is_an_unsupported_media_type(client: Client) -> None:
    headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    assert client.request("POST", "/api/models", content=b"x", headers=headers).status_code == 415


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_a_media_type_may_have_parameters_and_any_case(client: Client, media_type: str) -> None:
    response = client.post("/api/models", {"architecture": SMALL}, headers={"Content-Type": media_type})
    assert response.status_code == 200


@pytest.mark.parametrize("path", ["/api/models/m_0/train", "/api/runs/r_0/cancel"])
def test_the_syntax_comes_before_the_ids_in_the_path(client: Client, path: str) -> None:
    assert client.post(path, content=b"{").status_code == 400
    assert client.post(path, content=b"[]").status_code == 400


@pytest.mark.parametrize(
    ("path", "body"),
    [("/api/models/m_0/train", {"hyperparams": {"epochs": 0}}), ("/api/runs/r_0/cancel", {"why": "so"})],
)
def test_the_ids_in_the_path_come_before_the_fields(client: Client, path: str, body: Document) -> None:
    assert client.post(path, body).status_code == 404
    assert client.get("/api/models/m_0/runs?limit=0&page=2").status_code == 404
    assert client.get("/api/runs/r_0?page=2").status_code == 404
    assert client.get("/api/params/p_0?format=pickle").status_code == 404


def test_the_fields_come_before_the_ids_in_the_body(client: Client) -> None:
    response = client.post("/api/infer", {"param_id": "p_0", "inputs": []})
    assert response.status_code == 422
    headers = {"Content-Type": "application/octet-stream"}
    assert client.post("/api/infer?param_id=p_0&dtype=float32", content=b"x", headers=headers).status_code == 422
    assert client.post("/api/infer?param_id=p_0&dtype=float32", content=b"x" * 3136, headers=headers).status_code == 404


def test_the_fields_come_before_conflicts_and_those_before_the_capacity(limited_server: tuple[Client, OnDisk]) -> None:
    client, on_disk = limited_server
    with client.endless_run() as running, client.endless_run(running=False):
        path = f"/api/models/{running['model_id']}/train"
        with on_disk.unchanged():
            assert client.post(path, {"hyperparams": {"epochs": 0}}).status_code == 422
            assert client.post(path, {"hyperparams": {"epochs": 3}}).status_code == 409
            full = client.post(path)
            assert full.status_code == 503
            assert kind(full) == "queue-full"
            assert int(full.headers["Retry-After"]) > 0
            assert client.post(f"/api/models/{client_model(on_disk)}/train").status_code == 503
    assert client.post("/api/models", {"architecture": architecture(8)}).status_code == 200


def client_model(on_disk: OnDisk) -> str:
    """A model without a run: the first that the server has made, if none of its runs is active."""
    (model_id,) = on_disk.query("SELECT id FROM models ORDER BY number LIMIT 1")[0]
    return str(model_id)


def test_a_request_that_names_no_method_of_http_still_gets_a_problem(client: Client) -> None:
    for method in ("FROBNICATE", "WEBSOCKET"):
        assert client.raw(head(method, "/api/models")).status_code == 400


@pytest.mark.parametrize("path", ["/api/models", "/api/models/m_0/train", "/api/runs/r_0/cancel"])
def test_a_read_only_token_is_refused_before_the_body_is_looked_at(client: Client, on_disk: OnDisk, path: str) -> None:
    with on_disk.unchanged():
        response = client.post(path, content=b"{", token=READ)
    assert response.status_code == 403
    assert kind(response) == "read-only-token"


def test_a_read_only_token_does_not_hide_what_is_not_there(client: Client) -> None:
    assert client.post("/api/nothing", token=READ).status_code == 404
    assert client.request("PUT", "/api/models", token=READ).status_code == 405


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/api/openapi.json"])
def test_head_answers_as_get_does_but_without_the_body(client: Client, path: str) -> None:
    got, headed = client.get(path), client.request("HEAD", path)
    assert headed.status_code == got.status_code == 200
    assert headed.content == b""
    for name in ("Content-Type", "Content-Length"):
        assert headed.headers[name] == got.headers[name]
    assert client.request("HEAD", "/api/runs/r_0").status_code == 404


def test_a_method_that_is_not_allowed_is_told_which_are(client: Client) -> None:
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE"):
        response = client.request(method, "/api/models/m_0/train")
        assert response.status_code == 405
        assert set(response.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    response = client.request("POST", "/api/runs/r_0")
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == {"DELETE", "GET", "HEAD", "OPTIONS"}


def test_options_says_what_is_allowed_and_asks_for_a_token(client: Client) -> None:
    response = client.request("OPTIONS", "/api/models")
    assert response.status_code == 200
    assert "POST" in response.headers["Allow"]
    assert client.request("OPTIONS", "/api/models", token=None).status_code == 401


def test_an_id_of_the_client_is_the_id_of_the_request(client: Client) -> None:
    response = client.get("/api/runs/r_0", headers={"X-Request-ID": "my-own.id_7"})
    assert response.headers["X-Request-ID"] == response.json()["instance"] == "my-own.id_7"
    for unfit in ("", "a b", "x" * 65, "<script>", "é".encode()):
        response = client.request("GET", "/api/runs/r_0", headers={"X-Request-ID": unfit})
        assert response.headers["X-Request-ID"] not in ("", unfit)
