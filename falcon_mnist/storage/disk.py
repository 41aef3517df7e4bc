"""The operating system's files, as `LocalFolder` uses them. A simulation hands in a disk of its own."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO


class Disk:
    """Raises `OSError`. A file's bytes survive a power failure from `sync` on, its name from `sync_folder` on."""

    def is_folder(self, path: Path) -> bool:
        """Whether there is a folder of this name."""
        return path.is_dir()

    def make_folder(self, path: Path) -> None:
        """Make one for its owner alone, in a folder that is there; another process may make it meanwhile."""
        path.mkdir(exist_ok=True, mode=0o700)

    def create(self, path: Path) -> AbstractContextManager[BinaryIO]:
        """A new empty file for its owner alone, to be written."""
        return open(path, "wb", opener=_private)

    def sync(self, file: BinaryIO) -> None:
        """Have the disk keep what was written."""
        file.flush()
        os.fsync(file.fileno())

    def sync_folder(self, path: Path) -> None:
        """Have the disk keep which names are in the folder, and of which files."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """In one step, over a file that had the new name."""
        os.replace(old, new)

    def delete(self, path: Path) -> None:
        """Delete a file, if it is there."""
        path.unlink(missing_ok=True)

    def read(self, path: Path, limit: int) -> bytes:
        """The first `limit` bytes of a file, in one read."""
        with path.open("rb") as file:
            return file.read(limit)

    def files(self, folder: Path) -> list[tuple[str, float]]:
        """The names of a folder's files, and when they were last written, in seconds since 1970."""
        with os.scandir(folder) as entries:
            return [(entry.name, entry.stat().st_mtime) for entry in entries if entry.is_file(follow_symlinks=False)]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


SYSTEM_DISK = Disk()
