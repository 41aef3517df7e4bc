"""A disk that fails as real ones do, and forgets in a power failure whatever was not synced."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from falcon_mnist.clock import Clock
from falcon_mnist.storage.disk import Disk

from .world import Crashed, Interrupts, Process, World


@dataclass
class File:
    """Its bytes as processes read them, and as they were last synced."""

    data: bytes = b""
    synced: bytes = b""
    written: float = 0.0  # by the wall clock of the machine that wrote it

    def lose_unsynced(self, world: World) -> None:
        """What was not synced is there, or cut somewhere, or zeros, or not there."""
        if self.data != self.synced:
            cut = self.data[: world.random.randrange(len(self.data) + 1)]
            self.data = self.synced = world.random.choice([self.data, cut, bytes(len(self.data)), self.synced])


@dataclass
class Folder:
    """Its entries as processes see them, and as they were last synced."""

    entries: dict[str, Node] = field(default_factory=dict)
    synced: dict[str, Node] = field(default_factory=dict)

    def lose_unsynced(self, world: World) -> None:
        """Each change of an entry since the last sync is there or not, whatever became of the others."""
        for name in sorted(self.entries.keys() | self.synced.keys()):
            new, old = self.entries.get(name), self.synced.get(name)
            if new is not old and world.chance(0.5):
                new = old
            if new is None:
                self.entries.pop(name, None)
            else:
                self.entries[name] = new
        self.synced = dict(self.entries)
        for node in self.entries.values():
            node.lose_unsynced(world)


Node: TypeAlias = "File | Folder"


@dataclass
class SharedDisk:
    """What all processes read and write."""

    root: Folder = field(default_factory=Folder)
    full: bool = False
    changes: int = 0

    def lose_unsynced(self, world: World) -> None:
        """The power fails."""
        self.root.lose_unsynced(world)
        self.changes += 1

    def file(self, path: Path, *, lasting: bool) -> bytes | None:
        """What is read there, or with `lasting` what a power failure leaves at the least; None for no file."""
        node: Node | None = self.root
        for name in path.parts[1:]:
            node = (node.synced if lasting else node.entries).get(name) if isinstance(node, Folder) else None
        return (node.synced if lasting else node.data) if isinstance(node, File) else None

    def folder(self, path: Path) -> Folder:
        """Raises `FileNotFoundError`."""
        node: Node | None = self.root
        for name in path.parts[1:]:
            node = node.entries.get(name) if isinstance(node, Folder) else None
        if not isinstance(node, Folder):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return node


class ProcessDisk(Disk):
    """The disk as one process uses it, which may end before any of its operations."""

    def __init__(self, shared: SharedDisk, process: Process, clock: Clock, interrupts: Interrupts) -> None:
        self._shared = shared
        self._process = process
        self._clock = clock
        self._interrupts = interrupts

    def is_folder(self, path: Path) -> bool:
        """As the system's."""
        try:
            self._shared.folder(path)
        except FileNotFoundError:
            return False
        return True

    def make_folder(self, path: Path) -> None:
        """As the system's."""
        self._begin(path.parent)
        self._shared.folder(path.parent).entries.setdefault(path.name, Folder())

    @contextmanager
    def create(self, path: Path) -> Iterator[Any]:
        """As the system's; it is used for one call of `write`."""
        self._begin(path.parent)
        file = self._shared.folder(path.parent).entries[path.name] = File()
        yield OpenFile(path, file, self)

    def write(self, to: OpenFile, data: bytes) -> None:
        """A process that ends leaves a part, and so does a full disk."""
        part = data[: self._process.world.random.randrange(len(data))]
        to.file.data, to.file.written = part, self._clock.wall()
        self._begin(to.path.parent)
        self._find_room()
        to.file.data = data

    def sync(self, file: Any) -> None:
        """A full disk may be found out only here."""
        self._begin(file.path.parent)
        self._find_room()
        file.file.synced = file.file.data

    def sync_folder(self, path: Path) -> None:
        """As the system's."""
        self._begin(path)
        folder = self._shared.folder(path)
        folder.synced = dict(folder.entries)

    def rename(self, old: Path, new: Path) -> None:
        """As the system's."""
        self._begin(new.parent)
        self._shared.folder(new.parent).entries[new.name] = self._shared.folder(old.parent).entries.pop(old.name)

    def delete(self, path: Path) -> None:
        """As the system's."""
        self._begin(path.parent)
        with suppress(FileNotFoundError):
            self._shared.folder(path.parent).entries.pop(path.name, None)

    def read(self, path: Path, limit: int) -> bytes:
        """As the system's."""
        data = self._shared.file(path, lasting=False)
        if data is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return data[:limit]

    def files(self, folder: Path) -> list[tuple[str, float]]:
        """As the system's."""
        nodes = self._shared.folder(folder).entries.items()
        return [(name, node.written) for name, node in nodes if isinstance(node, File)]

    def _begin(self, folder: Path) -> None:
        """A process that has ended changes nothing any more."""
        self._interrupts.strike(folder)
        if not self._process.alive:
            raise Crashed
        self._shared.changes += 1

    def _find_room(self) -> None:
        if self._shared.full and self._process.world.chance(0.5):
            raise OSError(errno.ENOSPC, "No space left on device")


@dataclass
class OpenFile:
    """A file that a process writes."""

    path: Path
    file: File
    disk: ProcessDisk

    def write(self, data: bytes) -> None:
        """Write it all."""
        self.disk.write(self, data)
