"""Commands against a running server, as a shell runs them."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

from serving import COMMANDS, PATIENCE, WRITE, Client, environment

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def against(client: Client, home: Path, **more: str) -> dict[str, str]:
    """The environment of a command that asks that server."""
    named = {"FALCON_MNIST_URL": str(client.url), "FALCON_MNIST_TOKEN": WRITE}
    return environment(home, tokens=None) | named | more


def run(client: Client, home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command whose output goes to a pipe."""
    command = [str(COMMANDS / "falcon-mnist"), *map(str, arguments)]
    variables = against(client, home)
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE, check=False)


def run_on_terminal(client: Client, home: Path, *arguments: object) -> tuple[int, str]:
    """A command on a terminal of 120 columns: its status, and all that it has shown, without what moves the cursor."""
    ours, its = pty.openpty()
    command = [str(COMMANDS / "falcon-mnist"), *map(str, arguments)]
    variables = against(client, home, COLUMNS="120", LINES="40", TERM="xterm-256color")
    process = subprocess.Popen(command, env=variables, stdin=its, stdout=its, stderr=its)
    os.close(its)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # nobody writes there any more
        pass
    os.close(ours)
    return process.wait(timeout=PATIENCE), ESCAPES.sub("", shown.decode()).replace("\r\n", "\n")
