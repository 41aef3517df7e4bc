from __future__ import annotations

import errno
import gzip
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from falcon_mnist.data import dataset, download, idx, sources
from falcon_mnist.data.dataset import DataError
from falcon_mnist.data.digits import Drawing

Files = dict[str, bytes]
Start = Callable[..., "Mirror"]  # noqa: F821

TRAIN = "train-images-idx3-ubyte"
SMALL = "t10k-labels-idx1-ubyte"
# Of a gzipped file of random pixels, more than any other file has.
CUT = 20_000


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def assert_fetched(home: Path, source: sources.Source, files: Files) -> None:
    data = dataset.fetch(home, source=source)
    assert data.name == "mnist"
    assert data.train_images.tobytes() == files[TRAIN][16:]
    assert data.test_labels.tobytes() == files[SMALL][8:]
    assert {path.name for path in home.glob("data/*") if path.suffix != ".lock"} == {"mnist"}


def ranges(mirror, name: str = TRAIN) -> list[str | None]:
    return [wanted for file, wanted in mirror.requests if file == f"{name}.gz"]


def test_mnist_is_downloaded_once_with_progress(home: Path, files: Files, start_mirror: Start):
    mirror = start_mirror(files)
    steps: dict[str, list[tuple[int, int]]] = {}
    data = dataset.load(
        "auto",
        home,
        progress=lambda task, done, total: steps.setdefault(task, []).append((done, total)),
        source=mirror.source(),
    )
    assert data.reason == "Downloaded just now."
    assert list(steps) == [f"downloading {name}" for name in idx.FILES]
    for name, shown in zip(idx.FILES, steps.values(), strict=True):
        size = len(mirror.files[f"{name}.gz"])
        assert shown == sorted(shown)
        assert shown[-1] == (size, size)
    before = len(mirror.requests)
    for choice in ("auto", "mnist"):
        again = dataset.load(choice, home, source=mirror.source())
        assert again.reason == "Downloaded earlier."
        assert again.checksum == data.checksum
    assert len(mirror.requests) == before
    assert_fetched(home, mirror.source(), files)


def test_download_that_is_cut_goes_on_where_it_was(home: Path, files: Files, start_mirror: Start):
    mirror = start_mirror(files, cut_after=CUT, cuts_left=1)
    assert_fetched(home, mirror.source(), files)
    assert ranges(mirror) == [None, f"bytes={CUT}-"]


def test_download_that_stalls_goes_on_where_it_was(home: Path, files: Files, start_mirror: Start):
    mirror = start_mirror(files, cut_after=CUT, cuts_left=1, stall=True)
    assert_fetched(home, mirror.source(read_seconds=1.0), files)
    assert ranges(mirror) == [None, f"bytes={CUT}-"]


def test_next_call_goes_on_where_the_last_gave_up(home: Path, files: Files, start_mirror: Start):
    mirror = start_mirror(files, cut_after=2000)
    with pytest.raises(DataError, match=r"^MNIST cannot be downloaded here \("):
        dataset.fetch(home, source=mirror.source())
    assert ranges(mirror) == [None, "bytes=2000-", "bytes=4000-"]
    assert (home / "data" / "download" / f"{TRAIN}.gz.part").stat().st_size == 6000
    mirror.cut_after = None
    assert_fetched(home, mirror.source(), files)
    assert ranges(mirror)[3] == "bytes=6000-"


def test_server_that_cannot_resume_is_asked_for_the_whole(home: Path, files: Files, start_mirror: Start):
    mirror = start_mirror(files, cut_after=CUT, cuts_left=1, ranges=False)
    assert_fetched(home, mirror.source(), files)
    # Its answer to the second request was used, not thrown away.
    assert ranges(mirror) == [None, f"bytes={CUT}-"]


def test_other_part_than_the_one_asked_for_is_thrown_away(home: Path, files: Files, start_mirror: Start):
    mirror = start_mirror(files, cut_after=CUT, cuts_left=1, wrong_range=True)
    assert_fetched(home, mirror.source(), files)
    assert ranges(mirror) == [None, f"bytes={CUT}-", None]


def test_part_of_something_else_is_thrown_away(home: Path, files: Files, start_mirror: Start):
    mirror = start_mirror(files)
    part = home / "data" / "download" / f"{TRAIN}.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(100))
    assert_fetched(home, mirror.source(), files)
    assert ranges(mirror) == ["bytes=100-", None]


def test_wrong_data_of_one_mirror_is_had_right_from_the_next(
    tmp_path: Path, files: Files, other_files: Files, start_mirror: Start
):
    wrong, right = start_mirror(files | {TRAIN: other_files[TRAIN]}), start_mirror(files)
    folder = tmp_path / "folder"
    folder.mkdir()
    download.fetch(wrong.source(right), [wrong.url, right.url], tmp_path / "parts", folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert ranges(wrong) == [None]
    assert ranges(right) == [None]


def test_wrong_data_of_every_mirror_is_not_used(home: Path, files: Files, other_files: Files, start_mirror: Start):
    mirror = start_mirror(files | {TRAIN: other_files[TRAIN]})
    with pytest.raises(DataError, match=r"\(a mirror sent other data, by its SHA-256\)"):
        dataset.fetch(home, source=mirror.source(files=files))
    assert not (home / "data" / "mnist").exists()


def send_a_log_in_page(mirror) -> None:
    mirror.files |= dict.fromkeys(mirror.files, b"<!doctype html><title>Log in</title>")


def send_status(mirror) -> None:
    mirror.status = 503


def send_nothing(mirror) -> None:
    mirror.silent = True


def send_a_byte_now_and_then(mirror) -> None:
    """No timeout of the HTTP client sees that; as little as it sees a name whose look-up hangs in the system."""
    mirror.trickles = True


def send_bomb(mirror) -> None:
    mirror.files[f"{SMALL}.gz"] = gzip.compress(idx.header(idx.LABELS, 20) + bytes(1 << 24))


@pytest.mark.parametrize(
    ("behave", "says"),
    [
        (send_a_log_in_page, "a mirror sent something else"),
        (send_status, "a mirror answered 503"),
        (send_nothing, "no answer"),
        (send_a_byte_now_and_then, "no answer"),
        (send_bomb, "a mirror sent something else"),
    ],
)
def test_without_mnist_auto_draws_digits_and_says_so(
    behave: Callable,
    says: str,
    home: Path,
    files: Files,
    drawing: Drawing,
    start_mirror: Start,
    caplog: pytest.LogCaptureFixture,
):
    mirror = start_mirror(files)
    source = mirror.source(first_seconds=30 if says.startswith("a mirror") else 0.2)
    behave(mirror)
    data = dataset.load("auto", home, source=source, drawing=drawing)
    assert data.name == "synthetic"
    assert says in data.reason
    assert data.reason.startswith("MNIST cannot be downloaded here (")
    assert data.reason.endswith("); using synthetic digits.")
    assert (logging.WARNING, data.reason) in [(record.levelno, record.message) for record in caplog.records]
    for ask in (dataset.fetch, lambda home, source: dataset.load("mnist", home, source=source)):
        with pytest.raises(DataError, match=says):
            ask(home, source=source)
    # Nothing but the smallest file was asked for, to find out.
    assert {file for file, _ in mirror.requests} <= {f"{SMALL}.gz"}


def test_refused_connection_is_called_that(home: Path, files: Files, start_mirror: Start):
    source = start_mirror(files).source()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    with pytest.raises(DataError, match=r"^MNIST cannot be downloaded here \(connection refused\)\.$"):
        dataset.fetch(home, source=sources.Source([closed], source.sha256))


def test_mirror_that_answers_is_not_kept_waiting_by_one_that_does_not(home: Path, files: Files, start_mirror: Start):
    silent, quick = start_mirror(files, silent=True), start_mirror(files)
    assert_fetched(home, silent.source(quick), files)
    assert ranges(silent) == []


def test_more_than_any_file_has_is_not_taken(home: Path, files: Files, start_mirror: Start):
    mirror = start_mirror(files)
    with pytest.raises(DataError, match="a mirror sent too much"):
        dataset.fetch(home, source=mirror.source(max_packed_bytes=5000))


def test_download_that_never_ends_is_ended(home: Path, files: Files, start_mirror: Start):
    mirror = start_mirror(files)
    with pytest.raises(DataError, match="it took longer than 0 seconds"):
        dataset.fetch(home, source=mirror.source(total_seconds=0))


def test_full_disk_is_told_as_such_and_gets_its_room_back(home: Path, files: Files, start_mirror: Start):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    mirror = start_mirror(files)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        dataset.fetch(home, source=mirror.source(), progress=full)  # called once the first piece is written
    assert mirror.requests
    assert [path for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_downloaded_pixels_are_shared(home: Path, files: Files, start_mirror: Start):
    data = dataset.fetch(home, source=start_mirror(files).source())
    assert isinstance(data.train_images, np.memmap)
    assert data.train_images.mode == "r"
