"""Where a server listens, and what it says if it cannot."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import forking
import pytest
from asking import PATIENCE, until
from in_process import answer_path, served
from raw_http import Raw
from server_process import Server, environment


@pytest.mark.parametrize("host", ["*", "localhost", "127.0.0.1"])
def test_it_serves_on_every_address_of_its_host(tmp_path: Path, digits: Path, host: str) -> None:
    variables = environment(tmp_path / "home", dataset=digits, workers=1)
    server = Server(variables, main=forking.COMMAND, arguments=("serve", "--port", "0", "--host", host))
    try:
        output = until(lambda: re.search(r":(\d+)/api", server.output()), "the server prints its address")
        with Raw(f"http://127.0.0.1:{output[1]}") as connection:
            connection.send(b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n")
            assert connection.status() == 400
    finally:
        assert server.stop() == 0


def test_a_host_that_is_none_is_one_sentence(tmp_path: Path, digits: Path) -> None:
    variables = environment(tmp_path / "home", dataset=digits)
    ran = forking.run("serve", "--port", "0", "--host", "no such host", env=variables, timeout=PATIENCE)
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "Traceback" not in ran.stderr


def test_a_port_that_is_taken_is_said_in_one_sentence(serve: Callable[..., Server], tmp_path: Path) -> None:
    port = serve().url().rpartition(":")[2]
    variables = environment(tmp_path / "other")
    ran = forking.run("serve", "--port", port, env=variables, timeout=PATIENCE)
    assert ran.returncode == 1
    assert ran.stderr.startswith("falcon-mnist: ")
    assert ran.stderr.count("\n") == 1


def test_a_server_that_waits_for_its_sockets_ends_when_it_is_closed() -> None:
    """One of eight ended only when it looked again, up to a second later."""
    for _ in range(30):
        with served(answer_path, wait_seconds=1000):
            pass
