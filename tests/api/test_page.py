"""The page's files, as any client gets them; tests/page has what a browser makes of them."""

from __future__ import annotations

import re

import pytest
from serving import Client

from falcon_mnist.api.resources.page import POLICY, page_files

FILES = page_files()
NAMES = sorted(set(FILES) - {"index.html"})


@pytest.mark.parametrize("path", ["/", *(f"/page/{name}" for name in NAMES)])
def test_everyone_gets_the_page_and_its_files(client: Client, path: str) -> None:
    response = client.get(path, token=None)
    assert response.status_code == 200
    assert response.content == FILES[path.rpartition("/")[2] or "index.html"].content
    assert response.headers["Content-Security-Policy"] == POLICY
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "private, no-cache"
    again = client.get(path, token=None, headers={"If-None-Match": response.headers["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("name", ["index.html", "nothing.js", "__init__.py", "%2e%2e%2fapp.py", "a%00.js"])
def test_nothing_else_is_there(client: Client, name: str) -> None:
    response = client.get(f"/page/{name}", token=None)
    assert response.status_code == 404
    assert "script-src" not in response.headers["Content-Security-Policy"]


def test_the_policy_is_the_page_s_alone(client: Client) -> None:
    for path in ("/healthz", "/api/openapi.json", "/nothing"):
        assert client.get(path).headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_the_page_is_small_and_each_file_readable() -> None:
    assert sum(len(file.content) for file in FILES.values()) <= 150_000
    for name, file in FILES.items():
        assert file.content.count(b"\n") <= 200, name


@pytest.mark.parametrize("name", sorted(FILES))
def test_each_file_names_only_files_that_are_there(name: str) -> None:
    """And none of another server, nor anything that the policy would refuse."""
    text = FILES[name].content.decode()
    named = re.findall(r'(?:from|import) "\./([^"]+)"', text) + re.findall(r'(?:src|href)="page/([^"]+)"', text)
    assert set(named) <= set(FILES)
    assert re.findall(r"https?://[^\"\s]+", text) in ([], ["http://www.w3.org/2000/svg"])
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\son\w+=\"| style=", text)
