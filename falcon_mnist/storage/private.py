"""Folders and files for their owner alone, whatever the umask is."""

from __future__ import annotations

import stat
from pathlib import Path

FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class NotPrivateError(Exception):
    """A folder or file that others may open and that is not ours to close; the message is one sentence."""


def open_to_others(path: Path) -> bool:
    """Whether other users may read, write or enter it."""
    return bool(path.stat().st_mode & FOR_OTHERS)


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner alone; one that is there stays as it is."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(exist_ok=True, mode=0o700)


def tighten(path: Path) -> None:
    """Take a file's or folder's modes away from others, if it is there. Raises `NotPrivateError`."""
    try:
        if open_to_others(path):
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~FOR_OTHERS)
    except FileNotFoundError:
        pass
    except PermissionError as error:
        raise NotPrivateError(
            f"{path} belongs to another user and others may open it: "
            "have its owner take that away (chmod go=), or name a place of your own"
        ) from error
