"""Copies of stored files: right or not served, and no more of them than there may be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from falcon_mnist.storage.cache import Cache, CachedStorage
from falcon_mnist.storage.files import DamagedFileError, LocalFolder, Written


@pytest.fixture
def storage(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path / "files")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_is_fetched_once(storage: LocalFolder, folder: Path) -> None:
    written = storage.put("a", b"whole")
    cached = CachedStorage(storage, Cache(folder))
    assert cached.get("a", written) == b"whole"
    storage.delete("a")
    assert cached.get("a", written) == b"whole"


def test_what_is_put_here_need_not_be_fetched(storage: LocalFolder, folder: Path) -> None:
    cached = CachedStorage(storage, Cache(folder))
    written = cached.put("a", b"whole")
    assert storage.get("a", written) == b"whole"
    storage.delete("a")
    assert cached.get("a", written) == b"whole"


@pytest.mark.parametrize("damage", [b"", b"whol", b"whole and more", b"Whole"], ids=["empty", "cut", "more", "other"])
def test_a_damaged_copy_is_never_served(storage: LocalFolder, folder: Path, damage: bytes) -> None:
    cached = CachedStorage(storage, Cache(folder))
    written = cached.put("a", b"whole")
    (folder / "a").write_bytes(damage)
    assert cached.get("a", written) == b"whole"
    assert (folder / "a").read_bytes() == b"whole"


def test_a_copy_does_not_hide_that_the_row_names_another_file(storage: LocalFolder, folder: Path) -> None:
    cached = CachedStorage(storage, Cache(folder))
    cached.put("a", b"whole")
    with pytest.raises(DamagedFileError):
        cached.get("a", Written.of(b"other"))


def test_a_deleted_file_leaves_no_copy(storage: LocalFolder, folder: Path) -> None:
    cached = CachedStorage(storage, Cache(folder))
    written = cached.put("a", b"whole")
    cached.delete("a")
    assert names(folder) == set()
    assert cached.list() == []
    with pytest.raises(DamagedFileError):
        cached.get("a", written)


def used(folder: Path, *order: str) -> None:
    """As if these were used last in this order, long ago."""
    for second, name in enumerate(order):
        os.utime(folder / name, (second, second))


def test_the_copies_that_were_not_used_for_longest_go_first(folder: Path) -> None:
    cache = Cache(folder, limit=35)
    written = Written.of(bytes(10))
    for name in ("a", "b", "c"):
        cache.put(name, bytes(10))
    used(folder, "a", "b", "c")
    assert cache.get("a", written)
    cache.put("d", bytes(10))
    assert names(folder) == {"a", "c", "d"}
    used(folder, "c", "d", "a")
    cache.put("e", bytes(25))
    assert names(folder) == {"a", "e"}


def test_what_a_killed_process_left_goes_too(folder: Path) -> None:
    cache = Cache(folder, limit=35)
    cache.put("a", bytes(10))
    (folder / ".tmp_1").write_bytes(bytes(20))
    used(folder, ".tmp_1")
    cache.put("b", bytes(10))
    assert names(folder) == {"a", "b"}


def test_a_file_larger_than_the_cache_is_not_copied(folder: Path) -> None:
    cache = Cache(folder, limit=35)
    cache.put("a", bytes(10))
    cache.put("b", bytes(36))
    assert names(folder) == {"a"}


def test_a_cache_that_cannot_be_written_or_read_costs_no_file(storage: LocalFolder, folder: Path) -> None:
    folder.write_bytes(b"no folder")
    cached = CachedStorage(storage, Cache(folder))
    written = cached.put("a", b"whole")
    assert cached.get("a", written) == b"whole"
    cached.delete("a")
    assert storage.list() == []


def test_copies_are_for_their_owner_alone(folder: Path) -> None:
    Cache(folder).put("a", b"")
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / "a")] == [0o700, 0o600]
