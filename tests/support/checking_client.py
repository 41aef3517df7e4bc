"""A client that checks every answer."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import Any, Self

import httpx
import orjson
from asking import JSON, LASTING, PATIENCE, TERMINAL, WRITE, Document, until
from described import Checking, Description, check_every_answer
from small_networks import RESTING, SMALL

from falcon_mnist.client import Client as ApiClient


class Client:
    """Asks a server, and holds every answer against the contract and against the server's own description.

    `api` is the client that others use, without a second try: nothing that a server refuses stays unseen.
    """

    def __init__(self, url: str, token: str = WRITE) -> None:
        self.url = httpx.URL(url)
        self.token = token
        self._http = httpx.Client(base_url=url, timeout=PATIENCE, **LASTING)
        self.description = Description(self._ask("GET", "/api/openapi.json").content)
        self.api = ApiClient(url, token, timeout=PATIENCE, retries=0, transport=Checking(self.description))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()
        self.api.close()

    def request(self, method: str, path: str, *, token: str | None = "", **options: Any) -> httpx.Response:
        """Ask with the client's token, another one, or (None) without."""
        response = self._ask(method, path, token=token, **options)
        check_every_answer(response)
        self.description.check(response)
        return response

    def _ask(self, method: str, path: str, *, token: str | None = "", **options: Any) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers.setdefault("Authorization", f"Bearer {token or self.token}")
        return self._http.request(method, path, headers=headers, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """Post `body` as JSON, or `content=` as it is."""
        if body is not None:
            options["content"] = json.dumps(body)
        if "content" in options:
            options["headers"] = {"Content-Type": JSON} | dict(options.get("headers", {}))
        return self.request("POST", path, **options)

    def raw(self, request: bytes) -> httpx.Response:
        """Send bytes over a connection of its own, and check what comes back."""
        with self.connect() as connection:
            connection.sendall(request)
            return self.received(connection, request)

    def connect(self) -> socket.socket:
        return socket.create_connection((self.url.host, self.url.port), timeout=PATIENCE)

    def received(self, connection: socket.socket, request: bytes) -> httpx.Response:
        method, path, _ = request.split(b"\r\n")[0].decode("latin-1").split(" ")
        answer = HTTPResponse(connection, method=method)
        answer.begin()
        headers = dict(answer.getheaders())
        asked = httpx.Request(method, self.url.join(path))
        response = httpx.Response(answer.status, headers=headers, content=answer.read(), request=asked)
        check_every_answer(response)
        self.description.check(response)
        return response

    # Models, runs and inference

    def model(self, body: Document | None = None, **hyperparams: Any) -> str:
        """The id of a new model; a small one unless `body` says otherwise."""
        wanted = body or {"architecture": SMALL, "hyperparams": hyperparams}
        return self.api.create_model(wanted["architecture"], wanted.get("hyperparams"))["model_id"]

    def train(self, model_id: str, **hyperparams: Any) -> str:
        """The id of a new run."""
        return self.api.train(model_id, hyperparams)["run_id"]

    def run(self, run_id: str) -> Document:
        return dict(self.api.run(run_id))

    def wait(self, run_id: str, *states: str) -> Document:
        """The run as soon as it is in one of these states, all terminal ones unless given."""
        wanted = states or TERMINAL

        def arrived() -> Document | None:
            run = self.run(run_id)
            assert run["state"] in wanted or run["state"] not in TERMINAL, run
            return run if run["state"] in wanted else None

        found: Document = until(arrived, f"the run is {' or '.join(wanted)}")
        return found

    def trained(self, body: Document | None = None, **hyperparams: Any) -> Document:
        """A run that has succeeded."""
        hyperparams = {"epochs": 1} | hyperparams
        return self.wait(self.train(self.model(body, **({} if body else hyperparams))), "succeeded")

    @contextmanager
    def endless_run(self, body: Document = RESTING, *, running: bool = True) -> Iterator[Document]:
        """A run that does not end before this block does."""
        run_id = self.train(self.model(body))
        try:
            yield self.wait(run_id, "running" if running else "queued")
        finally:
            self.post(f"/api/runs/{run_id}/cancel")

    def digest_of_parameters(self, run: Document) -> str:
        """The SHA-256 of what a run has learned, as a file: how two files differ would take pytest minutes to say."""
        content = self.get(f"/api/params/{run['param_id']}?format=safetensors").content
        return hashlib.sha256(content).hexdigest()

    def infer(self, param_id: str, rows: Any, **returns: bool) -> Document:
        body = {"param_id": param_id, "inputs": rows} | ({"return": returns} if returns else {})
        content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)  # `json` takes ten times as long
        response = self.post("/api/infer", content=content)
        assert response.status_code == 200, response.text
        document: Document = response.json()
        return document


def pointers(response: httpx.Response) -> list[str]:
    """Where the problem says that the faults are, sorted."""
    return sorted(fault["pointer"] for fault in response.json()["errors"])


def until_there_is_room(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """The answer to `ask`, asked again while too much is being done at the same time (503), as clients do."""
    answer: httpx.Response = until(
        lambda: answer if (answer := ask()).status_code != 503 else None, "there is room for a request"
    )
    return answer


def kind(response: httpx.Response) -> str:
    """The last part of the problem's type."""
    prefix, _, name = response.json()["type"].rpartition(":")
    assert prefix == "urn:falcon-mnist:problem"
    return str(name)
