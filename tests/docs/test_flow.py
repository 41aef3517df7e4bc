"""The README's requests, run as they stand there against a server with another home and data set."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import transcripts
from serving import COMMANDS, PATIENCE, Server, environment

README = (Path(__file__).parents[2] / "README.md").read_text()
FLOW = README.split("\n## The flow\n")[1].split("\n## ")[0]

pytestmark = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("jq")) and "CI" not in os.environ,
    reason="curl or jq is not installed (on Debian: apt install curl jq)",
)


def test_the_flow_of_the_readme_works_as_pasted(serve: Callable[..., Server], tmp_path: Path, digits: Path) -> None:
    shown = transcripts.of(FLOW)
    assert len(shown) > 5
    url = serve(tokens=None).url()
    commands = [each.command.replace("http://127.0.0.1:8000", url) for each in shown]
    variables = environment(tmp_path / "home", dataset=digits, tokens=None)
    variables |= {"PATH": f"{COMMANDS}:{os.environ['PATH']}", "COLUMNS": "100"}
    printed = transcripts.run(commands, folder=tmp_path, variables=variables, seconds=PATIENCE)
    for each, output in zip(shown, printed, strict=True):
        assert "null" not in output
        assert transcripts.words(each.output) <= transcripts.words(output), each.command
