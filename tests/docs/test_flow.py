"""The commands of the README and the tutorial, run as they stand there with another home, data set and address, and
with a small network where it would be large.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import transcripts
from server_process import COMMANDS, Server, environment
from transcripts import Shown

ROOT = Path(__file__).parents[2]
SERVE = "falcon-mnist serve"
RECIPE = "--recipe quick"
SECONDS = 300.0

pytestmark = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("jq")) and "CI" not in os.environ,
    reason="curl or jq is not installed (on Debian: apt install curl jq)",
)


@pytest.fixture
def run(tmp_path: Path, digits: Path) -> Callable[..., None]:
    """Runs commands, in a folder of their own, and holds what they print against what is shown."""
    variables = environment(tmp_path / "home", dataset=digits, tokens=None, workers=1)
    variables |= {"PATH": f"{COMMANDS}:{os.environ['PATH']}", "COLUMNS": "90"}

    def run(shown: Sequence[Shown], url: str = "") -> None:
        commands = [each.command.replace("http://127.0.0.1:8000", url) for each in shown]
        commands = [command.replace(RECIPE, f"{RECIPE} --hidden 128") for command in commands]
        there = variables | {"FALCON_MNIST_URL": url}
        printed = transcripts.run(commands, folder=tmp_path, variables=there, seconds=SECONDS)
        for each, output in zip(shown, printed, strict=True):
            assert "null" not in output
            assert transcripts.words(each.output) <= transcripts.words(output), each.command

    return run


def test_the_flow_of_the_readme(run: Callable[..., None], serve: Callable[..., Server]) -> None:
    flow = (ROOT / "README.md").read_text().split("\n## The flow\n")[1].split("\n## ")[0]
    shown = transcripts.of(flow)
    assert len(shown) > 5
    run(shown, serve(tokens=None).url())


def test_the_tutorial(run: Callable[..., None], serve: Callable[..., Server]) -> None:
    after_install = (ROOT / "docs" / "tutorial.md").read_text().split("\n## The digits\n")[1]
    shown = transcripts.of(after_install)
    at = [each.command for each in shown].index(SERVE)
    run(shown[:at])
    server = serve(tokens=None)
    url = server.url()
    run(shown[at + 1 :], url)
    assert transcripts.words(shown[at].output) <= transcripts.words(server.output())
