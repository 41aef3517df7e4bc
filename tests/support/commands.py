"""Commands against a running server, as a shell runs them."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import forking
from serving import PATIENCE, WRITE, Client, environment

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def against(client: Client, home: Path, **more: str) -> dict[str, str]:
    """The environment of a command that asks that server."""
    named = {"FALCON_MNIST_URL": str(client.url), "FALCON_MNIST_TOKEN": WRITE}
    return environment(home, tokens=None) | named | more


def run(client: Client, home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command whose output goes to a pipe."""
    return forking.run(*arguments, env=against(client, home), timeout=PATIENCE)


def run_on_terminal(client: Client, home: Path, *arguments: object, columns: int = 120) -> tuple[int, str]:
    """A command on a terminal: its status, and all that it has shown, without what moves the cursor."""
    ours, its = pty.openpty()
    variables = against(client, home, COLUMNS=str(columns), LINES="40", TERM="xterm-256color")
    process = forking.Program(forking.COMMAND, *arguments, env=variables, files=(its, its, its))
    os.close(its)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # nobody writes there any more
        pass
    os.close(ours)
    return process.wait(timeout=PATIENCE), ESCAPES.sub("", shown.decode()).replace("\r\n", "\n")
