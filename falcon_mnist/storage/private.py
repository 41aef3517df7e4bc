"""Folders and files for their owner alone, whatever the umask is."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from falcon_mnist.storage.disk import SYSTEM_DISK, Disk

FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class NotPrivateError(Exception):
    """A folder or file that others may open and that is not ours to close; the message is one sentence."""


def open_to_others(path: Path) -> bool:
    """Whether other users may read, write or enter it."""
    return bool(path.stat().st_mode & FOR_OTHERS)


def make_private(folder: Path, disk: Disk = SYSTEM_DISK) -> None:
    """Make a folder, and those above it that are missing, for its owner alone; one that is there stays as it is.

    What is put into a new folder is not lost with it when the power fails: its name is on the disk before.
    """
    if not disk.is_folder(folder):
        make_private(folder.parent, disk)
        sync_name(folder.parent, disk)  # the process that made it may have been killed before it did this
        disk.make_folder(folder)
        sync_name(folder, disk)


def obstacle(folder: Path) -> str:
    """Why this user cannot keep files in the folder, or make it if it is missing; empty if that is possible."""
    existing = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not os.path.isdir(existing):
        return f"{existing} is not a folder"
    needed = os.W_OK | os.X_OK | (os.R_OK if existing == folder else 0)  # what is beside it is not listed
    return "" if os.access(existing, needed) else f"{existing} cannot be written"


def sync_name(folder: Path, disk: Disk) -> None:
    """Have the disk keep the name of a folder; of one in a folder that is not ours to read, its owner has to."""
    with contextlib.suppress(PermissionError):
        disk.sync_folder(folder.parent)


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
