from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from falcon_mnist.data import dataset, idx, sources
from falcon_mnist.data.dataset import DataError, Dataset
from falcon_mnist.data.digits import Drawing
from falcon_mnist.data.made_once import made_once

Files = dict[str, bytes]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def assert_holds(data: Dataset, files: Files) -> None:
    for name, array in (
        ("train-images-idx3-ubyte", data.train_images),
        ("train-labels-idx1-ubyte", data.train_labels),
        ("t10k-images-idx3-ubyte", data.test_images),
        ("t10k-labels-idx1-ubyte", data.test_labels),
    ):
        assert files[name].endswith(array.tobytes())
        assert array.dtype == np.uint8
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
    assert data.train_images.shape == (len(data.train_labels), 784)
    assert data.test_images.shape == (len(data.test_labels), 784)


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"dotted": True},
        {"packed": True},
        {"packed": True, "dotted": True},
        {"packed": True, "only": "images"},
        {"dotted": True, "only": "t10k"},
    ],
    ids=str,
)
def test_folder_in_every_form_is_the_same_data(form: dict, files: Files, write_folder: Callable[..., Path], home: Path):
    data = dataset.load(str(write_folder(files, **form)), home)
    assert_holds(data, files)
    assert data.name == "folder"
    # What `sha256sum` prints of the four plain files, hashed again.
    listing = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in idx.FILES)
    assert data.checksum == "sha256:" + hashlib.sha256(listing.encode()).hexdigest()


def test_a_folder_that_holds_mnist_is_called_so(files: Files, write_folder: Callable[..., Path], home: Path):
    sha256 = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    data = dataset.load(str(write_folder(files, packed=True)), home, source=sources.Source(sha256=sha256))
    assert data.name == "mnist"


def test_other_data_has_another_checksum(files: Files, write_folder: Callable[..., Path], home: Path):
    before = dataset.load(str(write_folder(files)), home).checksum
    labels = bytearray(files["t10k-labels-idx1-ubyte"])
    labels[-1] = (labels[-1] + 1) % 10
    changed = files | {"t10k-labels-idx1-ubyte": bytes(labels)}
    assert dataset.load(str(write_folder(changed)), home).checksum != before


def test_packed_folder_is_unpacked_once(files: Files, write_folder: Callable[..., Path], home: Path):
    folder = write_folder(files, packed=True)

    def identities() -> dict[str, tuple[int, int]]:
        return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in home.glob("data/folder-*/*")}

    first = dataset.load(str(folder), home)
    before = identities()
    again = dataset.load(str(folder), home)
    assert identities() == before
    assert len(before) == 5
    assert again.checksum == first.checksum
    assert_holds(again, files)


def test_changed_packed_file_is_unpacked_again(
    files: Files, other_files: Files, write_folder: Callable[..., Path], home: Path
):
    dataset.load(str(write_folder(files, packed=True)), home)
    assert_holds(dataset.load(str(write_folder(other_files, packed=True)), home), other_files)


@pytest.mark.parametrize("choice", ["MNIST", "", "nowhere", "folder/train-images-idx3-ubyte", "~nobody-\0"])
def test_choice_that_is_nothing_says_what_is_accepted(
    choice: str, files: Files, write_folder: Callable[..., Path], home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(write_folder(files).parent)
    with pytest.raises(DataError, match="must be auto, mnist, synthetic, or an existing folder with the four"):
        dataset.load(choice, home)


@pytest.mark.parametrize("missing", list(idx.FILES))
def test_missing_file_is_named(missing: str, files: Files, write_folder: Callable[..., Path], home: Path):
    del files[missing]
    with pytest.raises(DataError, match=f"^The folder has no {missing} ") as caught:
        dataset.load(str(write_folder(files)), home)
    assert "/" not in str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("part", ["train", "t10k"])
def test_as_many_labels_as_images(part: str, packed: bool, files: Files, write_folder: Callable[..., Path], home: Path):
    files[f"{part}-labels-idx1-ubyte"] = idx.header(idx.LABELS, 3) + bytes(3)
    with pytest.raises(DataError, match=f"{part}-labels-idx1-ubyte has 3: they must be as many"):
        dataset.load(str(write_folder(files, packed=packed)), home)


@pytest.mark.parametrize("packed", [False, True])
def test_labels_are_digits(packed: bool, files: Files, write_folder: Callable[..., Path], home: Path):
    files["train-labels-idx1-ubyte"] = files["train-labels-idx1-ubyte"][:-1] + b"\x0a"
    with pytest.raises(DataError, match="label 10: labels must be digits from 0 to 9"):
        dataset.load(str(write_folder(files, packed=packed)), home)
    assert made_in(home) == []


def test_pipe_in_place_of_a_file_is_not_waited_for(files: Files, write_folder: Callable[..., Path], home: Path):
    folder = write_folder(files)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    os.mkfifo(folder / "t10k-labels-idx1-ubyte")
    with pytest.raises(DataError, match="has no t10k-labels"):
        dataset.load(str(folder), home)


def made_in(home: Path) -> list[str]:
    """What lies in the data folder, lock files aside."""
    return sorted(path.name for path in home.glob("data/*") if path.suffix != ".lock")


def test_synthetic_is_drawn_once_and_kept(home: Path, drawing: Drawing, drawn: list[int]):
    steps: list[tuple[str, int, int]] = []
    first = dataset.load("synthetic", home, drawing=drawing, progress=lambda *step: steps.append(step))
    assert steps == [("drawing digits", done, 600) for done in (200, 400, 600)]
    assert first.name == "synthetic"
    assert [len(first.train_labels), len(first.test_labels)] == [400, 200]
    assert made_in(home) == [f"synthetic-{drawing.version}"]
    assert dataset.load("synthetic", home, drawing=drawing).checksum == first.checksum
    assert drawn == [0, 1, 2]
    images, labels = drawing.draw(2)
    np.testing.assert_array_equal(first.test_images, images)
    np.testing.assert_array_equal(first.test_labels, labels)


def test_what_is_made_is_for_its_owner_alone(home: Path, drawing: Drawing):
    dataset.load("synthetic", home, drawing=drawing)
    made = list((home / "data").rglob("*"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600, 0o700}
    assert all(path.is_dir() == (stat.S_IMODE(path.stat().st_mode) == 0o700) for path in made)


def test_another_drawing_is_not_taken_from_what_is_kept(home: Path, drawing: Drawing):
    dataset.load("synthetic", home, drawing=drawing)
    newer = replace(drawing, version=drawing.version + 1, training=200)
    assert len(dataset.load("synthetic", home, drawing=newer).train_labels) == 200


def flip_last_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def cut_one_byte(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize("damage", [flip_last_bit, cut_one_byte, Path.unlink])
@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte", "record.json"])
def test_damaged_data_is_made_again(
    file: str, damage: Callable[[Path], None], home: Path, drawing: Drawing, drawn: list[int]
):
    name = f"synthetic-{drawing.version}"
    checksum = dataset.load("synthetic", home, drawing=drawing).checksum
    damage(home / "data" / name / file)
    assert dataset.load("synthetic", home, drawing=drawing).checksum == checksum
    assert made_in(home) == [name]
    # Once more, and then it is as it was recorded.
    assert dataset.load("synthetic", home, drawing=drawing).checksum == checksum
    assert drawn == [0, 1, 2] * 2


@pytest.mark.parametrize("record", ["[]", "{}", "null", '"text"', "\xff"])
def test_record_that_is_no_record_is_damage(record: str, home: Path, drawing: Drawing):
    checksum = dataset.load("synthetic", home, drawing=drawing).checksum
    (home / "data" / f"synthetic-{drawing.version}" / "record.json").write_text(record, "latin-1")
    assert dataset.load("synthetic", home, drawing=drawing).checksum == checksum


def test_of_several_at_once_one_draws_and_all_get_the_same(home: Path, drawing: Drawing, drawn: list[int]):
    start, checksums = threading.Barrier(4), []

    def load() -> None:
        start.wait()
        checksums.append(dataset.load("synthetic", home, drawing=drawing).checksum)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(checksums) == 4
    assert len(set(checksums)) == 1
    assert drawn == [0, 1, 2]


def test_what_a_killed_process_left_is_neither_used_nor_kept(home: Path, drawing: Drawing):
    left = home / "data" / f".synthetic-{drawing.version}.killed.tmp" / "new"
    left.mkdir(parents=True)
    (left / "train-images-idx3-ubyte").write_bytes(b"half")
    dataset.load("synthetic", home, drawing=drawing)
    assert made_in(home) == [f"synthetic-{drawing.version}"]


def test_lock_that_is_never_given_back_is_not_waited_for_without_end(home: Path):
    (home / "data").mkdir(parents=True)
    with (home / "data" / ".some.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DataError, match=r"Another process has been at work on the data for 0\.01 seconds: end it"):
            made_once(home / "data" / "some", idx.FILES, pytest.fail, lock_seconds=0.01)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_told_as_such_and_nothing_is_left_on_it(number: int, home: Path, drawing: Drawing):
    def full(batch: int) -> tuple[np.ndarray, np.ndarray]:
        if batch == 2:  # the training images are on the disk
            raise OSError(number, os.strerror(number))
        return drawing.draw(batch)

    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        dataset.load("synthetic", home, drawing=replace(drawing, draw=full))
    assert caught.value.errno == number
    assert made_in(home) == []
    dataset.load("synthetic", home, drawing=drawing)


def test_home_that_cannot_be_written_is_told_without_its_path(home: Path, drawing: Drawing):
    home.write_text("a file")
    with pytest.raises(DataError, match=r"FALCON_MNIST_HOME cannot be written \((Not a directory|File exists)\)\.$"):
        dataset.load("synthetic", home, drawing=drawing)


def test_description_counts_each_digit(files: Files, write_folder: Callable[..., Path], home: Path):
    data = dataset.load(str(write_folder(files)), home)
    rows = dict(dataset.describe(data))
    assert rows["data set"] == "folder"
    assert rows["checksum"] == data.checksum
    assert rows["why"] == data.reason
    assert rows["training digits"] == "50 (" + ", ".join(f"{digit}: 5" for digit in range(10)) + ")"
    assert rows["test digits"] == "20 (" + ", ".join(f"{digit}: 2" for digit in range(10)) + ")"
    ink = sum(byte > 0 for byte in files["t10k-images-idx3-ubyte"][16:]) / (20 * 784)
    assert rows["test ink"] == f"{ink:.1%} of the pixels are not zero"


def test_real_sources_are_the_ones_of_mnist():
    # The one figure that everybody publishes; the other three were computed from the same files.
    assert sources.MNIST.sha256["train-images-idx3-ubyte"] == (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    )
    assert list(sources.MNIST.sha256) == list(idx.FILES)
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in sources.MNIST.mirrors)
    # Two more seconds for everything else still make five.
    assert sources.MNIST.first_seconds <= 4
