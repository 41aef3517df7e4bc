"""The page's files, as any client gets them; tests/page has what a browser makes of them."""

from __future__ import annotations

import re
import socket
import tracemalloc
from contextlib import ExitStack

from cases import for_each
from checking_client import Client
from in_process import served
from raw_http import Raw, request

from falcon_mnist.api.app import build_app
from falcon_mnist.api.resources.page import POLICY, page_files, viewer_files
from falcon_mnist.api.service import Service

FILES = page_files()
DOCUMENTS = {"/": "index.html", "/docs": "docs.html"}
PATHS = {path: FILES[name] for path, name in DOCUMENTS.items()}
PATHS |= {f"/page/{name}": file for name, file in sorted(FILES.items()) if name not in DOCUMENTS.values()}
PATHS |= {f"/docs/{name}": file for name, file in viewer_files().items()}


@for_each("path", PATHS)
def test_everyone_gets_the_page_and_its_files(client: Client, path: str) -> None:
    response = client.get(path, token=None)
    assert response.status_code == 200
    assert response.content == PATHS[path].content
    assert response.headers["Content-Security-Policy"] == POLICY
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "private, no-cache"
    again = client.get(path, token=None, headers={"If-None-Match": response.headers["ETag"]})
    assert again.status_code == 304


def test_clients_that_do_not_read_a_file_share_it(service: tuple[Service, str]) -> None:
    """Without a token they could take a gigabyte: of the largest file, each connection had a copy."""
    path, file = max(PATHS.items(), key=lambda item: len(item[1].content))
    with ExitStack() as stack:
        server = stack.enter_context(served(build_app(service[0])))
        server.listeners[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # its connections' too
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        for _ in range(8):
            connection = stack.enter_context(Raw(server.addresses[0], receive_bytes=4096))
            connection.send(request("GET", path))
            connection.socket.recv(1, socket.MSG_PEEK)
        assert tracemalloc.get_traced_memory()[0] < 2 * len(file.content)


@for_each("name", [*DOCUMENTS.values(), "nothing.js", "__init__.py", "%2e%2e%2fapp.py", "a%00.js"])
@for_each("folder", ["page", "docs"])
def test_nothing_else_is_there(client: Client, folder: str, name: str) -> None:
    response = client.get(f"/{folder}/{name}", token=None)
    assert response.status_code == 404
    assert "script-src" not in response.headers["Content-Security-Policy"]


def test_the_viewer_shows_documents_of_our_version() -> None:
    """OpenAPI 3.1 needs Swagger UI 5; its files are those that the document names."""
    viewer = viewer_files()
    assert re.search(rb'PACKAGE_VERSION:"([5-9]|\d\d)\.', viewer["swagger-ui-bundle.js"].content)
    named = re.findall(rb'(?:src|href)="docs/([^"]+)"', FILES["docs.html"].content)
    assert {name.decode() for name in named} == set(viewer)


def test_the_policy_is_the_page_s_alone(client: Client) -> None:
    for path in ("/healthz", "/api/openapi.json", "/nothing"):
        assert client.get(path).headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_the_page_is_small_and_each_file_readable() -> None:
    assert sum(len(file.content) for file in FILES.values()) <= 150_000
    for name, file in FILES.items():
        assert file.content.count(b"\n") <= 200, name


@for_each("name", sorted(FILES))
def test_each_file_names_only_files_that_are_there(name: str) -> None:
    """And none of another server, nor anything that the policy would refuse."""
    text = FILES[name].content.decode()
    named = re.findall(r'(?:from|import) "\./([^"]+)"', text) + re.findall(r'(?:src|href)="page/([^"]+)"', text)
    assert set(named) <= set(FILES)
    assert re.findall(r"https?://[^\"\s]+", text) in ([], ["http://www.w3.org/2000/svg"])
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\son\w+=\"| style=", text)
