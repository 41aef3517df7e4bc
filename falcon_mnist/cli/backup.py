"""`falcon-mnist backup`: copies what servers keep into a folder that is a home itself, while they serve.

The rows are copied first, at one moment, and then the files that they name: a file is whole before a row names it, and
never changes. Each is verified on the way.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from falcon_mnist.data.sources import Progress
from falcon_mnist.settings import Settings
from falcon_mnist.storage.files import DamagedFileError, LocalFolder, Storage, StorageUnavailableError, Written
from falcon_mnist.storage.opening import WORKER_WAIT, checkpoint_storage, open_read_only, parameter_storage
from falcon_mnist.storage.parameter_files import file_name
from falcon_mnist.storage.private import make_private
from falcon_mnist.storage.sqlite import SQLite
from falcon_mnist.storage.store import Store


class BackupError(Exception):
    """A backup that cannot be made; the message is one sentence."""


class Copied(NamedTuple):
    """What a backup holds, and which parameter files it lacks because they were not as they had been written."""

    parameter_sets: int
    damaged: list[str]


def back_up(settings: Settings, folder: Path, *, progress: Progress) -> Copied:
    """Make `folder` a copy of the home. Raises `BackupError`, and as `open_read_only`."""
    place = settings.database
    if not isinstance(place, Path):
        raise BackupError(
            f"the rows are in PostgreSQL: copy them with pg_dump, and then the files in {settings.storage}"
        )
    source = open_read_only(settings)
    if source is None:
        raise BackupError(f"there is nothing to copy yet: {place} is not there")
    source.close()
    if folder.exists() and any(folder.iterdir()):
        raise BackupError(f"{folder} must be a new or an empty folder")
    make_private(folder)
    home = replace(settings, home=folder, database_url=None, storage_url=None)
    # Under another name until all is there: a folder with a database is a whole backup.
    unfinished = folder / "unfinished.db"
    with closing(SQLite(place, wait=WORKER_WAIT, read_only=True)) as database:
        database.copy_to(unfinished)
    damaged, count = _copy_files(settings, unfinished, home, progress)
    _copy_token(settings, home)
    os.replace(unfinished, home.home_database)
    return Copied(count - len(damaged), damaged)


def _copy_files(settings: Settings, rows: Path, home: Settings, progress: Progress) -> tuple[list[str], int]:
    """The files that the copied rows name; says which parameter files are damaged, of how many."""
    with closing(Store(SQLite(rows, wait=WORKER_WAIT, read_only=True))) as store:
        parameters, checkpoints = store.all_parameters(), store.recorded_checkpoints()
    damaged = []
    source, target = parameter_storage(settings, cached=False), parameter_storage(home)
    for number, row in enumerate(parameters, 1):
        damaged += _copy(source, target, file_name(row.id), row.written)
        progress("copying parameter files", number, len(parameters))
    source, target = checkpoint_storage(settings), checkpoint_storage(home)
    for checkpoint in checkpoints:  # one that was replaced since costs a run its progress, and no bit of its result
        written = Written(checkpoint["size_bytes"], checkpoint["sha256"])
        _copy(source, target, checkpoint["file"], written)
    return damaged, len(parameters)


def _copy(source: Storage, target: Storage, name: str, written: Written) -> list[str]:
    """One file, verified; what is wrong with it, if anything is."""
    try:
        target.put(name, source.get(name, written))
    except DamagedFileError as error:
        return [str(error)]
    except StorageUnavailableError as error:
        reason = error.strerror
        raise BackupError(
            f"the storage failed ({reason}), the backup is not whole: begin again in a new folder"
        ) from error
    return []


def _copy_token(settings: Settings, home: Settings) -> None:
    """The token that the first start made, if there is one."""
    if settings.made_token.exists():
        LocalFolder(home.home).put(home.made_token.name, settings.made_token.read_bytes())
