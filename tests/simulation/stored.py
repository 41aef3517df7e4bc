"""What must be true of the stored files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from falcon_mnist.constants import ACTIVE
from falcon_mnist.storage.parameter_files import file_name
from falcon_mnist.storage.removal import Removed

from .files import CHECKPOINTS, PARAMETERS
from .rows import Rows
from .shared import Shared


class BrokenPromiseError(AssertionError):
    """What was promised and is not so."""


def check(kept: object, promise: str) -> None:
    """Raise if a promise is not kept."""
    if not kept:
        raise BrokenPromiseError(promise)


class StoredFiles:
    """Compares the files with the rows that name them."""

    def __init__(self, shared: Shared) -> None:
        self.contents: dict[str, bytes] = {}  # of all parameter sets, also of removed ones
        self._shared = shared

    def check(self, rows: Rows) -> None:
        """Each file that a row names is there, whole, and stays so if the power fails now."""
        for run in rows.runs.values():
            if run.checkpoint and run.state in ACTIVE:
                checkpoint = json.loads(run.checkpoint)
                self._check_file(CHECKPOINTS / checkpoint["file"], checkpoint["size_bytes"], checkpoint["sha256"])
        for each in rows.sets.values():
            data = self._check_file(PARAMETERS / file_name(each.id), each.size_bytes, each.sha256)
            self.contents[each.id] = data

    def check_removed(self, removed: Removed) -> None:
        """The files of what was removed are not there, unless the bucket has failed: then a sweep deletes them."""
        if self._shared.bucket.failed:
            return
        paths = [PARAMETERS / file_name(param_id) for param_id in removed.param_ids]
        for path in paths + [CHECKPOINTS / name for name in removed.checkpoints]:
            check(self._shared.file(path, lasting=False) is None, f"{path} is there after its removal")

    def _check_file(self, path: Path, size_bytes: int, sha256: str) -> bytes:
        data = self._shared.file(path, lasting=False)
        check(data is not None, f"{path} is gone")
        assert data is not None
        check(len(data) == size_bytes, f"{path} has {len(data)} bytes of {size_bytes}")
        check(hashlib.sha256(data).hexdigest() == sha256, f"{path} is damaged")
        check(self._shared.file(path, lasting=True) == data, f"{path} would not survive a power failure")
        return data
