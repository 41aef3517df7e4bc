"""The contract of stored files, for every backend, and what a folder promises beyond it."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import time as system_time
from collections.abc import Callable
from pathlib import Path

import pytest
from buckets import KINDS
from manual_time import ManualTime

from falcon_mnist.storage.cache import Cache, CachedStorage
from falcon_mnist.storage.files import ABANDONED_SECONDS, MARK, DamagedFileError, LocalFolder, Storage, Sweeper, Written
from falcon_mnist.storage.object_store import ObjectStore


@pytest.fixture(params=["folder", *KINDS, "cached"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, time: ManualTime) -> Storage:
    """An empty one of each kind."""
    if request.param == "folder":
        return LocalFolder(tmp_path / "files", clock=time.clock)
    bucket = request.getfixturevalue("s3" if request.param == "cached" else request.param)()
    store = ObjectStore(bucket.place, bucket.connect(), clock=time.clock)
    return CachedStorage(store, Cache(tmp_path / "cache")) if request.param == "cached" else store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


def names(storage: Storage) -> set[str]:
    return {entry.name for entry in storage.list()}


# Every backend


@pytest.mark.parametrize("data", [b"", b"whole", bytes(2**20)], ids=len)
def test_a_file_is_read_as_it_was_put(storage: Storage, data: bytes) -> None:
    written = storage.put("a", data)
    assert written.size_bytes == len(data)
    assert storage.get("a", written) == data
    assert names(storage) == {"a"}


def test_a_storage_that_nothing_was_put_into_is_empty(storage: Storage) -> None:
    assert storage.list() == []
    storage.delete("a")
    with pytest.raises(DamagedFileError):
        storage.get("a", Written(0, ""))


def test_a_deleted_file_is_gone_and_the_others_stay(storage: Storage) -> None:
    storage.put("a", b"1")
    kept = storage.put("b", b"2")
    storage.delete("a")
    storage.delete("a")
    assert names(storage) == {"b"}
    assert storage.get("b", kept) == b"2"


def test_a_file_that_is_not_what_was_recorded_is_damaged(storage: Storage) -> None:
    one, other = storage.put("a", b"one"), storage.put("b", b"other")
    for wrong in (other, Written(one.size_bytes, other.sha256), Written(one.size_bytes - 1, one.sha256)):
        with pytest.raises(DamagedFileError, match="a: "):
            storage.get("a", wrong)


def test_a_file_that_is_young_is_listed_with_its_age(storage: Storage, time: ManualTime) -> None:
    before = system_time.time()
    storage.put("a", b"")
    after = system_time.time()
    time.wall = after + 1000
    (entry,) = storage.list()
    assert 998 <= entry.age <= 1002 + (after - before)  # some stores count whole seconds


def test_old_files_that_no_row_records_are_swept_and_no_others(storage: Storage, time: ManualTime) -> None:
    sweeper = Sweeper(storage)
    time.wall = os.stat("/").st_ctime + 2**31  # long after what is put now
    storage.put("recorded", b"")
    storage.put("abandoned", b"")
    sweeper.sweep({"recorded"})
    assert names(storage) == {"recorded", "abandoned"}  # a clock may have jumped, and it be recorded soon
    sweeper.sweep({"recorded"})
    assert names(storage) == {"recorded"}


def test_what_two_databases_use_is_not_swept(storage: Storage, time: ManualTime) -> None:
    """Each would delete the other's files: it knows none of them."""
    mine, other = Sweeper(storage), Sweeper(storage)
    time.wall = os.stat("/").st_ctime + 2**31
    for name in ("mine", "other's", "abandoned"):
        storage.put(name, b"")
    mine.sweep({"mine", "other's"}, database="1")
    for _ in range(3):
        other.sweep({"other's"}, database="2")
        mine.sweep({"mine"}, database="1")
    marks = {MARK + "1", MARK + "2"}
    assert names(storage) == {"mine", "other's", "abandoned"} | marks
    storage.delete(MARK + "2")
    for _ in range(3):
        mine.sweep({"mine", "other's"}, database="1")
    assert names(storage) == {"mine", "other's", MARK + "1"}


def test_a_file_that_was_recorded_since_the_last_sweep_stays(storage: Storage, time: ManualTime) -> None:
    sweeper = Sweeper(storage)
    time.wall = os.stat("/").st_ctime + 2**31
    storage.put("a", b"")
    for recorded in (set[str](), {"a"}, set[str]()):
        sweeper.sweep(recorded)
    assert names(storage) == {"a"}


# A folder


def test_young_files_are_not_swept(folder: Path, time: ManualTime) -> None:
    storage = LocalFolder(folder, clock=time.clock)
    storage.put("a", b"")
    for age, left in ((ABANDONED_SECONDS - 1, {"a"}), (-3600, {"a"}), (ABANDONED_SECONDS + 1, set())):
        time.wall = (folder / "a").stat().st_mtime + age
        sweeper = Sweeper(storage)
        sweeper.sweep(())
        sweeper.sweep(())
        assert names(storage) == left


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_are_for_their_owner_alone_whatever_the_umask(folder: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        LocalFolder(folder / "deep").put("a", b"")
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "deep", folder / "deep" / "a")] == [
        0o700, 0o700, 0o600,
    ]  # fmt: skip


def test_a_put_that_finds_no_room_raises_and_leaves_nothing(folder: Path) -> None:
    storage = LocalFolder(folder)
    small = storage.put("small", b"1")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            storage.put("large", bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert names(storage) == {"small"}
    assert storage.get("small", small) == b"1"


def test_what_a_killed_process_leaves_is_listed_under_another_name_and_swept(folder: Path, time: ManualTime) -> None:
    """It is killed by the size limit while it writes."""
    code = f"""if True:
        import resource, signal
        from pathlib import Path
        from falcon_mnist.storage.files import LocalFolder

        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and raises instead
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        LocalFolder(Path({str(folder)!r})).put("a", bytes(100_000))
    """
    ran = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert ran.returncode == -signal.SIGXFSZ
    storage = LocalFolder(folder, clock=time.clock)
    (left,) = names(storage)
    assert left != "a"
    time.wall = (folder / left).stat().st_mtime + ABANDONED_SECONDS + 1
    sweeper = Sweeper(storage)
    for _ in range(2):
        sweeper.sweep({"a"})
    assert names(storage) == set()
    storage.put("a", b"whole")
    assert names(storage) == {"a"}


def test_a_file_that_has_grown_is_not_read_whole(folder: Path) -> None:
    storage = LocalFolder(folder)
    written = storage.put("a", b"small")
    with (folder / "a").open("r+b") as file:
        file.truncate(2**40)  # more than there is memory
    with pytest.raises(DamagedFileError):
        storage.get("a", written)


@pytest.mark.parametrize("replace", [Path.mkdir, lambda path: path.symlink_to(path)], ids=["folder", "loop"])
def test_what_is_no_file_is_damaged_and_not_listed(folder: Path, replace: Callable[[Path], None]) -> None:
    storage = LocalFolder(folder)
    written = storage.put("a", b"1")
    (folder / "a").unlink()
    replace(folder / "a")
    with pytest.raises(DamagedFileError):
        storage.get("a", written)
    assert "a" not in names(storage)
