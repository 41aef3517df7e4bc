"""The forms that operations share: what is sent, and what is made of the answer."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from falcon_mnist.client.errors import read_json
from falcon_mnist.client.steps import Request, Steps
from falcon_mnist.constants import MAX_PAGE_SIZE

Document = Mapping[str, Any]


def json_of(
    method: str, path: str, *, body: Document | None = None, key: str | None = None, **query: Any
) -> Steps[Any]:
    """A request with a JSON document, and the document that is answered."""
    headers = {} if body is None else {"Content-Type": "application/json"}
    if key is not None:
        headers["Idempotency-Key"] = key
    content = None if body is None else json.dumps(body).encode()
    response = yield Request(method, path, query_of(**query), content, headers)
    return read_json(response)


def all_pages(path: str, **query: Any) -> Steps[Any]:
    """The items of all pages."""
    items: list[Any] = []
    cursor: str | None = None
    while True:
        page = yield from json_of("GET", path, limit=MAX_PAGE_SIZE, cursor=cursor, **query)
        items += page["items"]
        if (cursor := page["next_cursor"]) is None:
            return items


def nothing(method: str, path: str) -> Steps[None]:
    """A request that is answered by nothing."""
    yield Request(method, path)


def holds(path: str) -> Steps[bool]:
    """Whether it is answered by 200; 503 is an answer too."""
    response = yield Request("GET", path, fine=(503,))
    return response.is_success


def query_of(**members: Any) -> dict[str, str]:
    """The members that are there, as text."""
    return {name: str(value) for name, value in members.items() if value is not None}


def in_path(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")


def new_key() -> str:
    """An Idempotency-Key of one request and its second tries."""
    return uuid.uuid4().hex
