"""What documents show of a terminal: commands after `$ `, each with what it prints. They can be run again."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import forked_command
import forking

# Which digits there are, and why, differs too.
_OF_THE_DATA_SET = {"mnist", "folder", "Downloaded", "earlier"}

_END = "@ end of a command @"
# A command is forked, not started, and what it waits for is looked at ten times as often.
_BEGIN = f"""set -euo pipefail
falcon-mnist() {{ {shlex.quote(sys.executable)} -S {shlex.quote(forked_command.__file__)} "$@"; }}
sleep() {{ command sleep "0.$1"; }}"""


class Shown(NamedTuple):
    """A command, which may take several lines, and what the document shows of its output."""

    command: str
    output: str


@cache
def of(text: str) -> list[Shown]:
    """All commands in the blocks of a document, in their order."""
    shown = []
    for block in re.findall(r"^```\n(.*?)^```$", text, flags=re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            shown.append(_split(part.rstrip("\n").split("\n")))
    return shown


def _split(lines: Sequence[str]) -> Shown:
    """The command ends with the first line that nothing carries on."""
    for count in range(1, len(lines) + 1):
        command = "\n".join(lines[:count])
        if not command.endswith(("\\", "|")) and _quotes_are_closed(command):
            return Shown(command, "\n".join(lines[count:]))
    raise AssertionError(f"this command has no end: {lines[0]}")


def _quotes_are_closed(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return True


def run(commands: Sequence[str], *, folder: Path, variables: Mapping[str, str], seconds: float) -> list[str]:
    """What each prints, on either stream, all in one bash. Fails where a command does."""
    script = "\n".join([_BEGIN, *(f"{command}\necho '{_END}'" for command in commands)])
    forker = forking.descriptor()
    ended = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=dict(variables) | {"FORKER": str(forker)}, timeout=seconds, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, pass_fds=[forker],
    )  # fmt: skip
    printed = ended.stdout.split(f"{_END}\n")
    assert ended.returncode == 0, f"{commands[len(printed) - 1]}\nprinted\n{printed[-1]}"
    return printed[:-1]


def words(text: str) -> set[str]:
    """The words of what is printed, without numbers, ids and pictures: what does not differ from run to run."""
    return set(re.findall(r"(?<![\w/.#])[A-Za-z_]{3,}(?![\w/])", text)) - _OF_THE_DATA_SET
