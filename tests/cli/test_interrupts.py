"""Ctrl-C at any moment of a command ends it, and its workers, in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from serving import PATIENCE, environment, until

BEGIN = "import os; from falcon_mnist.cli.entry import main; os.write(2, b'.'); main()"


@pytest.mark.parametrize("milliseconds", [60, 400, 700, 1000, 2000])
@pytest.mark.parametrize(
    "command", [["train", "--epochs", "1000"], ["demo", "--epochs", "1000"], ["serve", "--port=0"]]
)
def test_ctrl_c_ends_a_command_in_one_line(tmp_path: Path, digits: Path, command: list[str], milliseconds: int) -> None:
    variables = environment(tmp_path / "home", dataset=digits, workers=2, tokens=None)
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN, *command], env=variables, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stderr is not None
    assert process.stderr.read(1) == b"."
    time.sleep(milliseconds / 1000)  # whatever it does then, it must end well
    os.killpg(process.pid, signal.SIGINT)
    lines = process.communicate(timeout=PATIENCE)[1].decode().splitlines()
    if command[0] == "serve" and process.returncode == 0:  # it was serving already, and logs
        assert all(line.startswith("{") for line in lines), lines
    else:
        assert process.returncode == 130
        assert len(lines) == 1, lines
        assert lines[0].startswith("falcon-mnist: interrupted")
    until(lambda: not in_group(process.pid), "nothing of it is left")


def in_group(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True
