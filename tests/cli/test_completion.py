"""Shells complete commands, options and the names of recipes, and `--help` imports nothing large."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from asking import PATIENCE
from server_process import COMMANDS, environment


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("tra", "train"), ("train --recipe lecun-", "lecun-300"), ("train --warm", "--warmup-epochs")],
)
def test_bash_completes(tmp_path: Path, typed: str, completed: str) -> None:
    words = f"falcon-mnist {typed}"
    asked = {
        "_FALCON_MNIST_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    ended = subprocess.run(
        [str(COMMANDS / "falcon-mnist")],
        env=environment(tmp_path) | asked,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert completed in ended.stdout.split()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["infer", "prune", "train"])
def test_help_shows_no_type_beside_a_flag(tmp_path: Path, command: str) -> None:
    asked = [str(COMMANDS / "falcon-mnist"), command, "--help"]
    shown = subprocess.run(
        asked, env=environment(tmp_path), capture_output=True, text=True, timeout=PATIENCE, check=True
    ).stdout
    flags = [line for line in shown.splitlines() if any(flag in line for flag in ("--json", "--yes", "--shuffle"))]
    assert flags
    assert not any("bool" in line for line in flags)


def test_help_imports_nothing_large() -> None:
    code = "import sys; import falcon_mnist.cli.main; print({'numpy', 'falcon', 'peewee', 'httpx'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert ended.stdout == "set()\n"
