"""The container: its health check against a server, and what its Dockerfile takes from the checkout."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from server_process import Server

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()


def check(port: int) -> int:
    """The status that the health check ends with."""
    return subprocess.run([sys.executable, ROOT / "deploy/ready.py", str(port)], timeout=30, check=False).returncode


def test_the_health_check_follows_the_server(serve: Callable[..., Server]) -> None:
    server = serve()
    port = httpx.URL(server.url()).port
    assert port
    assert check(port) == 0
    server.stop()
    assert check(port) == 1


@pytest.mark.parametrize("name", (ROOT / ".dockerignore").read_text().split("!")[1:])
def test_the_build_sees_what_is_there(name: str) -> None:
    assert (ROOT / name.split()[0]).exists()


def test_the_server_is_not_root() -> None:
    before, _, after = DOCKERFILE.partition("\nUSER falcon-mnist\n")
    assert "useradd --uid 10001" in before
    assert "\nCMD " in after
    assert "\nRUN " not in after
