"""Answers are held against the contract, and against the server's own description."""

from __future__ import annotations

import re
from functools import cache
from itertools import chain
from typing import Any

import httpx
import orjson
from asking import JSON, LASTING, PROBLEM, READ, WRITE, Document
from jsonschema_rs import Draft202012Validator


class Description:
    """The OpenAPI document of a server, against which its answers are held."""

    def __init__(self, content: bytes) -> None:
        self.seen: set[tuple[str, str, str]] = set()  # (path, method, status)
        self.document, self._components, self._paths = _parts(content)

    def operation(self, method: str, path: str) -> tuple[str, Document] | None:
        for pattern, template in self._paths:
            if pattern.fullmatch(path) and method.lower() in self.document["paths"][template]:
                return template, self.document["paths"][template][method.lower()]
        return None

    def validator(self, schema: Document) -> Draft202012Validator:
        return _validator(orjson.dumps(schema), self._components)

    def check(self, response: httpx.Response) -> None:
        """The status must be one that the operation can answer with, and the body as its schema says."""
        request = response.request
        method = "GET" if request.method == "HEAD" else request.method
        found = self.operation(method, request.url.path)
        if found is None:
            known = method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE")
            assert response.status_code in (401, 404, 405) or not known, response.text
            return
        template, operation = found
        status = str(response.status_code)
        assert status in operation["responses"], f"{method} {template} must not answer {status}: {response.text}"
        self.seen.add((template, method.lower(), status))
        described = operation["responses"][status]
        for name, header in described.get("headers", {}).items():
            assert name in response.headers
            self.validator(header["schema"]).validate(response.headers[name])
        if "content" not in described:
            assert not response.content
            return
        content = described["content"][response.headers["Content-Type"]]
        if request.method != "HEAD" and response.headers["Content-Type"] in (JSON, PROBLEM):
            self.validator(content["schema"]).validate(shortened(orjson.loads(response.content)))

    def accepts(self, method: str, path: str, body: Any) -> bool:
        """Whether the document says that this body is valid."""
        found = self.operation(method, path)
        assert found
        schema = found[1]["requestBody"]["content"][JSON]["schema"]
        return self.validator(schema).is_valid(body)


@cache
def _parts(content: bytes) -> tuple[Document, bytes, list[tuple[re.Pattern[str], str]]]:
    """The document, its components, a pattern for each path: once for all servers that describe themselves alike."""
    document = orjson.loads(content)
    paths = [
        (re.compile(re.sub(r"\{\w+\}", "[^/]+", re.escape(path).replace(r"\{", "{").replace(r"\}", "}"))), path)
        for path in document["paths"]
    ]
    return document, orjson.dumps(document["components"]), paths


@cache
def _validator(schema: bytes, components: bytes) -> Draft202012Validator:
    """Made once for them, too: it takes more than a millisecond."""
    # The references of a schema begin at the root of the document that it stands in.
    rooted = orjson.loads(schema) | {"components": orjson.loads(components)}
    return Draft202012Validator(rooted, validate_formats=True)


def shortened(value: Any) -> Any:
    """The document without the middle of its long arrays: the weights of a layer, or epochs of a run, are of one kind.

    To check a run of 100 epochs against its schema takes 7 ms, and a test that waits for one asks ten times a second.
    """
    if isinstance(value, dict):
        return {name: shortened(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shortened(entry) for entry in (value if len(value) <= 20 else value[:3] + value[-3:])]
    return value


def check_every_answer(response: httpx.Response) -> None:
    """What holds for every answer, whatever was asked."""
    sent = response.request.headers.get("Authorization", "").partition(" ")[2]
    answered = b"\n".join([*chain(*response.headers.raw), response.content])  # as text it takes 0.1 ms more
    for secret in (WRITE, READ, sent):
        assert not secret or secret.encode() not in answered
    request_id = response.headers["X-Request-ID"]
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", request_id)
    if response.status_code < 400 or response.request.method == "HEAD":
        return
    assert not re.search(r"Traceback|\.py\b|/tmp/|/home/|SELECT|INSERT|sqlite", response.text)
    if response.request.url.path.lstrip("/").startswith("v2"):  # the Open Inference Protocol's own form
        assert response.headers["Content-Type"] == JSON
        assert list(response.json()) == ["error"]
        return
    assert response.headers["Content-Type"] == PROBLEM
    problem = response.json()
    assert {"type", "title", "status", "detail", "instance"} <= set(problem) <= {
        "type", "title", "status", "detail", "instance", "errors", "limit_bytes"
    }  # fmt: skip
    assert problem["status"] == response.status_code
    assert problem["instance"] == request_id
    assert ("limit_bytes" in problem) == (response.status_code == 413)
    assert ("WWW-Authenticate" in response.headers) == (response.status_code == 401)
    assert ("Allow" in response.headers) == (response.status_code == 405)
    assert ("Retry-After" in response.headers) == (response.status_code == 503)


class Checking(httpx.HTTPTransport):
    """The network, with every answer held against the contract and against a description."""

    def __init__(self, description: Description) -> None:
        super().__init__(**LASTING)
        self._description = description

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        response.request = request
        response.read()
        check_every_answer(response)
        self._description.check(response)
        return response
