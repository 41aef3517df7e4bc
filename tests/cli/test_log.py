"""The log of `serve`: for people on a terminal, JSON elsewhere, and nothing of probes."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import forked_workers
import forking
import httpx
import pytest
from asking import PATIENCE, PLAIN, WRITE, until
from server_process import Server, environment

from falcon_mnist import logs
from falcon_mnist.app import open_service
from falcon_mnist.server.serve import running
from falcon_mnist.settings import Settings

PROBES = ("/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready")


def asking(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {WRITE}"}, timeout=PATIENCE, **PLAIN)


def probe_and_ask(url: str) -> None:
    with asking(url) as client:
        for path in PROBES:
            assert client.get(path).status_code == 200
        assert client.get("/api/runs/none").status_code == 404


def test_elsewhere_than_on_a_terminal_it_is_json_without_probes(serve: Callable[..., Server]) -> None:
    server = serve()
    probe_and_ask(server.url())
    assert server.stop() == 0
    requests = [line for line in map(json.loads, server.log().splitlines()) if line["event"] == "request"]
    assert [(line["path"], line["status"]) for line in requests] == [("/api/runs/none", 404)]


def test_text_when_it_is_asked_for(serve: Callable[..., Server]) -> None:
    server = serve(log="text")
    probe_and_ask(server.url())
    assert server.stop() == 0
    lines = [line for line in server.log().splitlines() if "/" in line]
    assert len(lines) == 1
    assert re.fullmatch(r"\d\d:\d\d:\d\d 404 GET /api/runs/none [\d.]+ ms request_id=\w+", lines[0])


@pytest.mark.parametrize(
    ("processes", "program"), [(1, (forking.COMMAND, "serve", "--port=0")), (2, ("forked_workers:serve",))], ids=[1, 2]
)
def test_on_a_terminal_it_is_text(tmp_path: Path, digits: Path, processes: int, program: tuple[str, ...]) -> None:
    variables = environment(tmp_path / "home", dataset=digits, workers=1, processes=processes)
    terminal, inside = os.openpty()
    output = tmp_path / "stdout.txt"
    with output.open("wb") as stdout:
        files = (None, stdout.fileno(), inside)
        process = forking.Program(*program, env=variables, files=files)
    os.close(inside)
    try:
        found = until(lambda: re.search(r"Serving at (\S+)/api ", output.read_text()), "it serves")
        probe_and_ask(found[1])
        printed = b""
        while b" ms" not in printed:
            printed += os.read(terminal, 1000)
        assert b"404\033[0m GET /api/runs/none" in printed
        assert b'"event"' not in printed
        assert b"health" not in printed
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=PATIENCE)
        os.close(terminal)


@pytest.fixture
def access(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """The paths of the requests that were logged."""
    with caplog.at_level(logging.INFO, "falcon_mnist.access"):
        yield lambda: [record.__dict__["path"] for record in caplog.records if record.name == "falcon_mnist.access"]


def test_a_probe_that_is_refused_is_a_line(tmp_path: Path, digits: Path, access: Callable[[], list[str]]) -> None:
    settings = Settings(home=tmp_path, tokens=(WRITE,), dataset=str(digits), workers=1)
    service = open_service(settings, make_executor=forked_workers.make_executor)
    with running(service) as url, asking(url) as client:
        assert client.get("/metrics", headers={"Authorization": "Bearer another"}).status_code == 401
        service.draining.set()
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
    assert access() == ["/metrics", "/readyz"]


def written(message: str, *, level: int = logging.INFO, coloured: bool = False, **facts: object) -> str:
    record = logging.makeLogRecord({"msg": message, "levelno": level, "levelname": logging.getLevelName(level)} | facts)
    return logs.TextFormatter(coloured=coloured).format(record)[len("12:34:56 ") :]


def test_what_clients_choose_cannot_reach_the_terminal() -> None:
    line = written("request", method="GET", path="/\033[2J\r\n/é\u202e", status=200, ms=0.1)
    assert line == r"200 GET /\x1b[2J\r\n/é\u202e 0.1 ms"
    assert "\n" not in written("failed: \n", run_id="r_\n")


def test_an_event_has_its_facts() -> None:
    line = written("epoch 1 finished", run_id="r_1", train_loss=0.38968993, val_loss=None)
    assert line == "epoch 1 finished run_id=r_1 train_loss=0.3897"
    assert written("worker lost", level=logging.ERROR) == "ERROR worker lost"


def test_a_traceback_stands_below_its_line() -> None:
    try:
        raise ValueError("\033[2J")
    except ValueError as error:
        lines = written("request failed", level=logging.ERROR, exc_info=(ValueError, error, error.__traceback__))
    first, *_, last = lines.splitlines()
    assert first == "ERROR request failed"
    assert last == r"ValueError: \x1b[2J"


@pytest.mark.parametrize(("setting", "style"), [("text", "text"), ("json", "json"), ("auto", "json")])
def test_the_setting_decides(setting: str, style: str) -> None:
    assert logs.style(setting) == style  # pytest's standard error is no terminal
