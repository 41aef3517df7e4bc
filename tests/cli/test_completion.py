"""Shells complete commands, options and the names of recipes, and `--help` imports nothing large."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import forking
import pytest
from asking import PATIENCE
from server_process import COMMANDS, environment


def asking_for(typed: str, home: Path) -> dict[str, str]:
    """The environment in which bash asks what could come next."""
    words = f"falcon-mnist {typed}"
    asked = {"_FALCON_MNIST_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    return environment(home) | asked


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("tra", "train"), ("train --recipe lecun-", "lecun-300"), ("train --warm", "--warmup-epochs")],
)
def test_bash_completes(tmp_path: Path, typed: str, completed: str) -> None:
    ended = forking.run(env=asking_for(typed, tmp_path), timeout=PATIENCE)
    assert completed in ended.stdout.split()
    assert list(tmp_path.iterdir()) == []


def test_bash_asks_the_command_that_is_installed(tmp_path: Path) -> None:
    command = str(COMMANDS / "falcon-mnist")
    completed = subprocess.check_output([command], env=asking_for("tra", tmp_path), text=True, timeout=PATIENCE)
    assert completed.split() == ["train"]


@pytest.mark.parametrize("command", ["infer", "prune", "train"])
def test_help_shows_no_type_beside_a_flag(tmp_path: Path, command: str) -> None:
    shown = forking.run(command, "--help", env=environment(tmp_path), timeout=PATIENCE).stdout
    flags = [line for line in shown.splitlines() if any(flag in line for flag in ("--json", "--yes", "--shuffle"))]
    assert flags
    assert not any("bool" in line for line in flags)


def test_help_imports_nothing_large() -> None:
    code = "import sys; import falcon_mnist.cli.main; print({'numpy', 'falcon', 'peewee', 'httpx'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert ended.stdout == "set()\n"
