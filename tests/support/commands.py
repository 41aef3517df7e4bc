"""Commands against a running server, as a shell runs them."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import forking
from asking import PATIENCE, WRITE
from checking_client import Client
from server_process import environment

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def against(client: Client, home: Path, **more: str) -> dict[str, str]:
    """The environment of a command that asks that server."""
    named = {"FALCON_MNIST_URL": str(client.url), "FALCON_MNIST_TOKEN": WRITE}
    return environment(home, tokens=None) | named | more


Process = subprocess.Popen[bytes] | forking.Program
SUPPORT = str(Path(__file__).parent)


class Command:
    """`falcon-mnist` while it runs; or what `main` names, which does something before it becomes that."""

    def __init__(self, *arguments: object, env: Mapping[str, str], main: str = forking.COMMAND) -> None:
        self._streams = os.memfd_create("stdout"), os.memfd_create("stderr")
        self.process = self._start([main, *map(str, arguments)], env, (None, *self._streams))

    def _start(self, command: list[str], env: Mapping[str, str], files: tuple[None, int, int]) -> Process:
        return forking.Program(*command, env=env, files=files)

    def end(self) -> subprocess.CompletedProcess[str]:
        """Its exit code and output, once it has ended; it is killed if it does not."""
        try:
            code = self.process.wait(PATIENCE)
        finally:
            self.process.kill()
        printed = []
        for stream in self._streams:
            with open(stream) as file:
                file.seek(0)
                printed.append(file.read())
        return subprocess.CompletedProcess(self.process.args, code, *printed)


class Fresh(Command):
    """The same in an interpreter that has imported nothing."""

    def _start(self, command: list[str], env: Mapping[str, str], files: tuple[None, int, int]) -> Process:
        main, *arguments = command
        module, _, function = main.partition(":")
        code = f"import sys; sys.path.append({SUPPORT!r}); from {module} import {function}; {function}()"
        stdin, stdout, stderr = files
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env=env, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True,
        )  # fmt: skip


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
