"""No spelling of a path passes the token: not under any WSGI server, and not over a socket."""

from __future__ import annotations

import io
import itertools
from typing import Any, ClassVar

import falcon
import pytest
from asking import READ, WRITE, Document
from cases import for_each
from checking_client import Client
from falcon import testing

from falcon_mnist.api.app import App, build_app
from falcon_mnist.api.service import Service

OPERATIONS = [
    ("GET", "api/openapi.json"),
    ("HEAD", "api/openapi.json"),
    ("POST", "api/models"),
    ("POST", "api/models/{model_id}/train"),
    ("GET", "api/models/{model_id}/runs"),
    ("GET", "api/models/{model_id}"),
    ("GET", "api/runs"),
    ("GET", "api/status"),
    ("GET", "api/digits/test"),
    ("GET", "api/runs/{run_id}/snapshot"),
    ("GET", "api/version"),
    ("GET", "api/runs/{run_id}"),
    ("POST", "api/runs/{run_id}/cancel"),
    ("POST", "api/runs/{run_id}/finish"),
    ("GET", "api/params/{param_id}"),
    ("POST", "api/infer"),
    ("POST", "api/infer_adhoc"),
    ("GET", "api/nothing"),
]
PREFIXES = ["/", "", "//", "///", "/m//", "/./", "/x/../", "/%2F", "%2F", "/;/", "/\\", "/api/../"]


@pytest.fixture(scope="module")
def app(service: tuple[Service, str]) -> App:
    return build_app(service[0])


def environ(method: str, path: str, token: str | None = None, script_name: str = "") -> dict[str, Any]:
    """As a WSGI server hands it over: PATH_INFO is what the server made of the path, whatever that is."""
    made = testing.create_environ("/", method=method)
    made |= {
        "PATH_INFO": path,
        "SCRIPT_NAME": script_name,
        "wsgi.input": io.BytesIO(),
        "CONTENT_TYPE": "application/json",
    }
    return made if token is None else made | {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def status(app: App, made: dict[str, Any]) -> int:
    found: list[int] = []
    b"".join(app(made, lambda status, headers, error=None: found.append(int(status[:3])) or (lambda data: None)))
    return found[0]


@for_each("script_name", ["", "/m", "/api"])
@for_each("method, path", OPERATIONS)
def test_no_spelling_of_a_path_passes_without_a_token(
    app: App, trained: Document, method: str, path: str, script_name: str
) -> None:
    path = path.format(**trained)
    for prefix, suffix in itertools.product(PREFIXES, ["", "/", "//", "?", "%00"]):
        for wrong in (None, "wrong"):
            assert status(app, environ(method, prefix + path + suffix, wrong, script_name)) in (401, 404)


@for_each("method, path", [(m, p) for m, p in OPERATIONS if m == "POST" and "infer" not in p])
def test_no_spelling_of_a_path_lets_a_read_only_token_write(
    app: App, trained: Document, method: str, path: str
) -> None:
    path = path.format(**trained)
    for prefix in PREFIXES:
        assert status(app, environ(method, prefix + path, READ)) in (403, 404)


def test_what_the_router_takes_is_judged_as_what_it_is(app: App) -> None:
    for path in ("/api/openapi.json", "api/openapi.json", "//api/openapi.json"):
        assert status(app, environ("GET", path)) == 401
        assert status(app, environ("GET", path, READ)) == 200
    for path in ("/api/nothing", "api/nothing", "//v2/nothing", "/api", "/v2/models"):
        assert status(app, environ("GET", path)) == 401
        assert status(app, environ("GET", path, READ)) == 404
    for path in ("/nothing", "/apiary", "/page", "/page/nothing.js", "/page/../app.py"):
        assert status(app, environ("GET", path)) == 404
    assert status(app, environ("POST", "/healthz")) == 405


def test_an_operation_that_declares_nothing_is_closed(service: tuple[Service, str]) -> None:
    class Undeclared:
        access: ClassVar = {"GET": "read"}

        def on_get(self, req: falcon.Request, resp: falcon.Response) -> None: ...

        def on_post(self, req: falcon.Request, resp: falcon.Response) -> None: ...

    class Bare:
        def on_get(self, req: falcon.Request, resp: falcon.Response) -> None: ...

    app = build_app(service[0])
    app.add_route("/half", Undeclared())
    app.add_route("/bare", Bare())
    assert status(app, environ("GET", "/half", READ)) == 200
    for method, path in (("POST", "/half"), ("GET", "/bare")):
        assert status(app, environ(method, path)) == 401
        assert status(app, environ(method, path, WRITE)) == 403


def test_every_operation_declares_its_access(app: App, client: Client) -> None:
    """And what the description says of tokens is what the operations declare."""
    for path, operations in client.description.document["paths"].items():
        for method, operation in operations.items():
            without = status(app, environ(method.upper(), path))
            assert (without == 401) == bool(operation["security"])
            assert status(app, environ(method.upper(), path, WRITE)) not in (401, 403)


RAW = [
    "api/{}",
    "x:api/{}",
    "/%61pi/{}",
    "//api/{}",
    "/api%2F{}",
    "http://x/api/{}",
    "http:api/{}",
    "///api/{}",
    "x://y//api/{}",
]


@for_each("target", RAW)
def test_no_request_line_passes_without_a_token(client: Client, target: str) -> None:
    for method, path in (("GET", "openapi.json"), ("POST", "models")):
        request = (
            f"{method} {target.format(path)} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        with client.connect() as connection:
            connection.sendall(request.encode())
            answer = connection.makefile("rb").read()
        assert int(answer.split()[1]) in (400, 401, 404), answer
