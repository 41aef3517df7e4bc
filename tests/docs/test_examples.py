"""The examples of docs/api.md, run as they stand there: the answers have the form that is shown.

`pytest tests/docs/test_examples.py --write-examples` puts the answers of a server with MNIST there instead.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transcripts
from asking import WRITE
from checking_client import Client
from drawn import write_drawn_digits
from server_process import COMMANDS, Server, environment

from falcon_mnist.api.operations import OPERATIONS

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"
HEADING = "\n## Examples\n"
CUT = "…"
SECONDS = 600.0

pytestmark = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("jq")) and "CI" not in os.environ,
    reason="curl or jq is not installed (on Debian: apt install curl jq)",
)


def examples() -> str:
    return DOCUMENT.read_text().split(HEADING)[1]


def test_the_answers_have_the_form_that_is_shown(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    serve: Callable[..., Server],
    drawn_digits: tuple[np.ndarray, np.ndarray],
) -> None:
    writes = request.config.getoption("--write-examples")
    data = {"dataset": os.environ.get("FALCON_MNIST_DATASET", "mnist")} if writes else {}
    server = serve(tokens=None, workers=2, **data)
    url = server.url()
    # What the command reads has to look like digits: the answers would have warnings that are not shown.
    digits = data or {"dataset": write_drawn_digits(tmp_path / "drawn", drawn_digits)}
    variables = environment(server.home, tokens=None, **digits)
    variables |= {"PATH": f"{COMMANDS}:{os.environ['PATH']}", "FALCON_MNIST_URL": url}
    shown = transcripts.of(examples())
    commands = [each.command.replace("http://127.0.0.1:8000", url) for each in shown]
    printed = transcripts.run(commands, folder=tmp_path, variables=variables, seconds=SECONDS)
    if writes:
        write([each.command for each in shown], printed)
        return
    for each, output in zip(shown, printed, strict=True):
        wanted, found = lines(each.output), lines(output)
        assert len(wanted) == len(found), f"{each.command}\nprinted\n{output}"
        for line, other in zip(wanted, found, strict=True):
            assert alike(line, other), f"{each.command}\nprinted\n{other}"


def lines(output: str) -> list[Any]:
    """What each line holds: JSON, or text."""
    return [json.loads(line) if line[:1] in "{[" else line for line in output.splitlines()]


def alike(shown: Any, found: Any) -> bool:
    """Whether two answers have the same members and kinds of values, as far as is shown."""
    if isinstance(shown, dict) and isinstance(found, dict):
        return shown.keys() == found.keys() and all(alike(shown[name], found[name]) for name in shown)
    if isinstance(shown, list) and isinstance(found, list):
        return all(alike(one, other) for one, other in zip(shown, found, strict=False) if CUT not in (one, other))
    numbers = (int, float, type(None))  # what is null today may be a number tomorrow
    return type(shown) is type(found) or (isinstance(shown, numbers) and isinstance(found, numbers))


def write(commands: list[str], printed: list[str]) -> None:
    """Put these answers behind their commands."""
    before, after = DOCUMENT.read_text().split(HEADING)
    waiting = list(zip(commands, printed, strict=True))

    def filled(block: re.Match[str]) -> str:
        text = ""
        for _ in transcripts.of(block[0]):
            command, output = waiting.pop(0)
            text += f"$ {command}\n{output.rstrip()}\n" if output.strip() else f"$ {command}\n"
        return f"```\n{text}```\n"

    DOCUMENT.write_text(before + HEADING + re.sub(r"^```\n\$ .*?^```\n", filled, after, flags=re.M | re.S))


def test_every_operation_has_an_example(client: Client) -> None:
    asked = set()
    for command in [each.command for each in transcripts.of(examples())]:
        for piece in command.split("|"):
            method = "DELETE" if "gone" in piece else "POST" if re.search(r"\bsend\b|-X POST", piece) else "GET"
            for path in re.findall(r"\$AT(/[^\s\"]*)", piece):
                found = client.description.operation(method, re.sub(r"\$\([^)]*\)?|\$\w+", "x", path).partition("?")[0])
                assert found, command
                asked.add((found[0], method.lower()))
    assert {(op.path, op.method) for op in OPERATIONS} - asked == set()


def test_the_python_example_runs(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    section = DOCUMENT.read_text().split("\n## From Python\n")[1]
    (code,) = re.findall(r"^```python\n(.*?)^```", section.split("\n## ")[0], flags=re.M | re.S)
    exec(code.replace("http://127.0.0.1:8000", str(client.url)), {"token": WRITE})
    *_, share = capsys.readouterr().out.splitlines()
    assert 0 <= float(share) <= 1
