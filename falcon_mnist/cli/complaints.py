"""What a command that went wrong says: one sentence, with what to do."""

from __future__ import annotations

import errno
import os
from http import HTTPStatus
from pathlib import Path

from peewee import DatabaseError

from falcon_mnist.api.errors import Problem
from falcon_mnist.client import ClientError
from falcon_mnist.client.errors import UNREACHABLE
from falcon_mnist.settings import Settings, variable


def sentence_of(error: Exception) -> str | None:
    """What to tell a person, for the errors that are made for people; None for a bug."""
    if isinstance(error, Problem):
        return " ".join([error.detail, *(f"{fault.pointer}: {fault.detail}." for fault in error.faults[1:])])
    if isinstance(error, ClientError):
        return _of_server(error)
    if isinstance(error, DatabaseError):
        return f"the database cannot be used: {error}"
    if isinstance(error, OSError):
        return _of_system(error)
    if type(error).__module__.startswith("falcon_mnist."):
        return str(error)
    return None


def _of_system(error: OSError) -> str:
    """What the system refused, and what to do about a full disk or a home that cannot be written."""
    name = variable("home")
    home = Settings.from_env({name: os.environ.get(name, "")}).home  # whatever else may be wrong there
    where = f" ({error.filename})" if error.filename else ""
    sentence = f"{error.strerror or error}{where}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        if error.filename and not _concerns(error, home):
            return f"{sentence}: free some space"
        return f"{sentence}: free some space, or name a home on another disk with {name}; it is {home}"
    if _concerns(error, home) and not (home.is_dir() and os.access(home, os.W_OK)):
        return f"{sentence}: name a home that can be written with {name}; it is {home}"
    return sentence


def _concerns(error: OSError, home: Path) -> bool:
    """Whether the error is about the home, a folder that it lies in, or a file in it."""
    if not isinstance(error.filename, str | bytes | os.PathLike):
        return False
    path = Path(os.fsdecode(error.filename))
    return path.is_relative_to(home) or home.is_relative_to(path)


def _of_server(error: ClientError) -> str:
    """What a server has refused, or that there is none, with the options that help."""
    if error.code == UNREACHABLE:
        return f"{error}: start `falcon-mnist serve`, or name a server with --url"
    if error.status == HTTPStatus.UNAUTHORIZED:
        return "the server does not know this token: name the file of another with --token-file"
    return str(error)
