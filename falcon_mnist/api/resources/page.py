"""The page for people: files that browsers read as they are, each with a tag by which they know it again."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
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
_START = "index.html"


class File(NamedTuple):
    """A file of the page, as it is answered."""

    content: bytes
    media_type: str
    etag: str


@cache
def page_files() -> dict[str, File]:
    """Name to file: all that the page consists of."""
    found = {}
    for entry in files("falcon_mnist").joinpath("page").iterdir():
        if media_type := MEDIA_TYPES.get(PurePath(entry.name).suffix):
            content = entry.read_bytes()
            found[entry.name] = File(content, media_type, hashlib.sha256(content).hexdigest())
    return found


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
        if file is None or name == _START:  # whose links lead from `/` only
            raise Problem("unknown-path", "There is nothing at this path.")
        _answer(req, resp, file)


def _answer(req: falcon.Request, resp: falcon.Response, file: File) -> None:
    resp.set_header("Content-Security-Policy", POLICY)
    resp.content_type = file.media_type
    if not client_has(req, resp, file.etag):
        resp.data = file.content
