"""The link to the page that `serve` prints: with the token on a terminal, and nowhere else."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import forking
import httpx
from asking import PATIENCE, PLAIN, WRITE, until
from commands import Command
from server_process import Server, environment

from falcon_mnist.api.auth import token_to_enter_with
from falcon_mnist.settings import Settings


def test_on_a_terminal_the_link_carries_the_token(tmp_path: Path, digits: Path) -> None:
    variables = environment(tmp_path / "home", dataset=digits, workers=1, tokens=None)
    terminal, inside = os.openpty()
    log = tmp_path / "stderr.txt"
    with log.open("wb") as stderr:
        files = (None, inside, stderr.fileno())
        process = forking.Program(forking.COMMAND, "serve", "--port", 0, env=variables, files=files)
    os.close(inside)
    printed = b""
    while not (found := re.search(rb"Page: (http://[\d.]+:\d+/)#token=(\S+)\r\n", printed)):
        printed += os.read(terminal, 1000)
    try:
        url, token = found[1].decode(), found[2].decode()
        assert token == (tmp_path / "home" / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{url}api/version", headers=headers, **PLAIN).status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=PATIENCE)
        os.close(terminal)
    assert token not in log.read_text()


def test_elsewhere_it_does_not(serve: Callable[..., Server]) -> None:
    server = serve()
    server.url()
    until(lambda: re.search(r"^Page: http://[\d.]+:\d+/$", server.output(), re.MULTILINE), "the page is named")
    assert WRITE not in server.output()


def test_a_port_that_is_taken_is_told_with_what_to_do(tmp_path: Path, digits: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        variables = environment(tmp_path / "home", dataset=digits)
        refused = forking.run("serve", "--port", taken.getsockname()[1], env=variables, timeout=PATIENCE)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "another program listens there (--port" in refused.stderr


def test_a_token_that_may_write_goes_before_one_that_may_not(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    settings = Settings(home=tmp_path, tokens_file=file)
    file.write_text("looks read\nwrites\nothers\n")
    assert token_to_enter_with(settings) == "writes"
    file.write_text("looks read\n")
    assert token_to_enter_with(settings) == "looks"
    assert token_to_enter_with(Settings(home=tmp_path, tokens=("given", "more"))) == "given"


def test_a_server_needs_no_output(tmp_path: Path, digits: Path) -> None:
    variables = environment(tmp_path / "home", dataset=digits, tokens=None, processes=2)
    ended = Command(env=variables, main="closed_output:serve").end()
    assert (ended.returncode, ended.stderr) == (0, "")
