"""The pages for people: files that browsers read as they are, each with a tag by which they know it again.

`/` is our own; `/docs` shows the OpenAPI document with Swagger UI, whose files another package brings.
"""

from __future__ import annotations

import hashlib
import io
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePath
from typing import ClassVar, NamedTuple

import falcon

from falcon_mnist.api.auth import PUBLIC
from falcon_mnist.api.errors import Problem
from falcon_mnist.api.resources.base import Resource, client_has

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# The page loads its own files, asks its own server, shows pictures that it has drawn itself, and nothing else.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_START, _DOCS = "index.html", "docs.html"
_VIEWER = "mkdocs_swagger_ui_tag"  # an MkDocs plugin, of which nothing but these files is used
_VIEWER_FILES = ("swagger-ui/javascripts/swagger-ui-bundle.js", "swagger-ui/stylesheets/swagger-ui.css")


class File(NamedTuple):
    """A file of the page, as it is answered."""

    content: bytes
    media_type: str
    etag: str


@cache
def page_files() -> dict[str, File]:
    """Name to file: all that the page consists of."""
    entries = files("falcon_mnist").joinpath("page").iterdir()
    return {entry.name: _file(entry) for entry in entries if PurePath(entry.name).suffix in MEDIA_TYPES}


@cache
def viewer_files() -> dict[str, File]:
    """Name to file: what Swagger UI consists of."""
    entries = [files(_VIEWER).joinpath(path) for path in _VIEWER_FILES]
    return {entry.name: _file(entry) for entry in entries}


def _file(entry: Traversable) -> File:
    content = entry.read_bytes()
    return File(content, MEDIA_TYPES[PurePath(entry.name).suffix], hashlib.sha256(content).hexdigest())


class Page(Resource):
    """`/`."""

    access: ClassVar = {"GET": PUBLIC}

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer the document that names all other files."""
        _answer(req, resp, page_files()[_START])


class PageFile(Resource):
    """`/page/{name}`."""

    access: ClassVar = {"GET": PUBLIC}

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Answer a file of the page."""
        file = page_files().get(name)
        _answer(req, resp, None if name in (_START, _DOCS) else file)  # whose links lead from their own paths only


class Docs(Resource):
    """`/docs`."""

    access: ClassVar = {"GET": PUBLIC}

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer the document that fetches the OpenAPI document, once it has the token."""
        _answer(req, resp, page_files()[_DOCS])


class DocsFile(Resource):
    """`/docs/{name}`."""

    access: ClassVar = {"GET": PUBLIC}

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Answer a file of Swagger UI."""
        _answer(req, resp, viewer_files().get(name))


def _answer(req: falcon.Request, resp: falcon.Response, file: File | None) -> None:
    if file is None:
        raise Problem("unknown-path", "There is nothing at this path.")
    resp.set_header("Content-Security-Policy", POLICY)
    resp.content_type = file.media_type
    if not client_has(req, resp, file.etag):
        resp.set_stream(io.BytesIO(file.content), len(file.content))  # read as it goes out: no copy
