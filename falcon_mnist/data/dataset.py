"""The digits to train and test on: MNIST, a folder of IDX files, or digits drawn here.

Whatever has to be made once (downloaded, unpacked, drawn) is kept under `home/data/` as plain IDX files, so
that every process maps the same pages:

    mnist/            the four files, and record.json with the SHA-256 of each
    synthetic-1/      the same, by version of the drawing
    folder-<sha>/     the files of a folder that had to be unpacked, by the SHA-256 of what was packed
    download/         downloads under way or cut off
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from falcon_mnist.data import digits, idx, sources
from falcon_mnist.data.idx import Bytes, DataError, Opened
from falcon_mnist.data.made_once import NotMadeError, made_once, opened
from falcon_mnist.data.sources import Progress

__all__ = ["DataError", "Dataset", "NotMadeError", "Progress", "describe", "fetch", "load"]

log = logging.getLogger(__name__)

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = idx.FILES


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images as uint8 (rows, 784) and labels as uint8 (rows,), read-only and shared between processes.

    `checksum` is the same wherever the data is the same, gzipped or not. `reason` says for a person which
    data this is, and why.
    """

    name: str
    checksum: str
    train_images: Bytes
    train_labels: Bytes
    test_images: Bytes
    test_labels: Bytes
    reason: str


def load(
    choice: str,
    home: Path,
    *,
    progress: Progress | None = None,
    source: sources.Source = sources.MNIST,
    drawing: digits.Drawing = digits.DRAWING,
    make: bool = True,
) -> Dataset:
    """The data set of the setting: `auto`, `mnist`, `synthetic`, or a folder with the four IDX files.

    `auto` is MNIST if it is there or can be downloaded, else synthetic digits. Raises `DataError`, and
    `OSError` if the disk is full. With `make=False` nothing is written, and `NotMadeError` raised instead.
    """
    if choice == "mnist":
        return fetch(home, progress=progress, source=source, make=make)
    if choice == "synthetic":
        return _synthetic(home, progress, "Drawn by this program, as FALCON_MNIST_DATASET says.", drawing, make)
    if choice != "auto":
        return _folder(choice, home, source, make)
    try:
        return fetch(home, progress=progress, source=source, make=make)
    except NotMadeError:
        reason = "Drawn by this program: MNIST could not be downloaded."
        return _synthetic(home, progress, reason, drawing, make)
    except DataError as error:
        reason = f"{str(error).rstrip('.')}; using synthetic digits."
        log.warning("%s", reason)
        return _synthetic(home, progress, reason, drawing, make)


def fetch(
    home: Path, *, progress: Progress | None = None, source: sources.Source = sources.MNIST, make: bool = True
) -> Dataset:
    """MNIST, downloaded unless it is there already. Raises `DataError`, and `OSError` if the disk is full."""
    data = home / "data"
    files = opened(data / "mnist", idx.FILES)
    if files is not None:
        return _dataset("mnist", files, "Downloaded earlier.")
    if not make:
        raise NotMadeError("MNIST has not been downloaded yet.")
    from falcon_mnist.data import download  # imports an HTTP client, which nobody else needs

    # Asked before the lock is taken, so that processes without a network wait side by side, not in turn.
    mirrors = download.answering(source)
    fetch_into = partial(download.fetch, source, mirrors, data / "download", progress=progress)
    files = made_once(data / "mnist", idx.FILES, fetch_into)
    return _dataset("mnist", files, "Downloaded just now.")


def describe(dataset: Dataset) -> list[tuple[str, str]]:
    """What there is to say about a data set, as rows of a table."""
    rows = [("data set", dataset.name), ("why", dataset.reason), ("checksum", dataset.checksum)]
    for part, images, labels in (
        ("training", dataset.train_images, dataset.train_labels),
        ("test", dataset.test_images, dataset.test_labels),
    ):
        each = ", ".join(f"{digit}: {count}" for digit, count in enumerate(np.bincount(labels, minlength=10)))
        rows.append((f"{part} digits", f"{len(labels):,} ({each})"))
        ink = np.count_nonzero(images) / images.size
        rows.append((f"{part} ink", f"{ink:.1%} of the pixels are not zero"))
    return rows


def _dataset(name: str, files: Mapping[str, Opened], reason: str) -> Dataset:
    """Check that the four files belong together. Raises `DataError`."""
    for images, labels in ((TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS)):
        here, there = len(files[images].rows), len(files[labels].rows)
        if here != there:
            raise DataError(f"{images} has {here} rows and {labels} has {there}: they must be as many.")
    # What `sha256sum` prints of the four plain files, hashed again.
    listing = "".join(f"{files[file].sha256}  {file}\n" for file in idx.FILES)
    checksum = f"sha256:{hashlib.sha256(listing.encode()).hexdigest()}"
    rows = {file: each.rows for file, each in files.items()}
    return Dataset(name, checksum, rows[TRAIN_IMAGES], rows[TRAIN_LABELS], rows[TEST_IMAGES], rows[TEST_LABELS], reason)


def _synthetic(home: Path, progress: Progress | None, reason: str, drawing: digits.Drawing, make: bool) -> Dataset:
    def draw(folder: Path) -> None:
        first = 0
        for images, labels, count in (
            (TRAIN_IMAGES, TRAIN_LABELS, drawing.training),
            (TEST_IMAGES, TEST_LABELS, drawing.test),
        ):
            drawn: list[bytes] = []
            idx.write(folder / images, _drawn(drawing, first, count, drawn, progress))
            idx.write(folder / labels, [idx.header(idx.LABELS, count), *drawn])
            first += count

    files = made_once(home / "data" / f"synthetic-{drawing.version}", idx.FILES, draw if make else None)
    return _dataset("synthetic", files, reason)


def _drawn(
    drawing: digits.Drawing, first: int, count: int, labels: list[bytes], progress: Progress | None
) -> Iterator[bytes]:
    """An IDX file of digits, drawn piece by piece; their labels are added to `labels`."""
    yield idx.header(idx.IMAGES, count)
    for start in range(first, first + count, drawing.batch):
        images, these = drawing.draw(start // drawing.batch)
        labels.append(these.tobytes())
        yield images.tobytes()
        if progress:
            progress("drawing digits", start + drawing.batch, drawing.training + drawing.test)


def _folder(choice: str, home: Path, source: sources.Source, make: bool) -> Dataset:
    try:
        folder = Path(choice).expanduser()
        if not choice or not folder.is_dir():
            raise ValueError
    except (OSError, RuntimeError, ValueError):
        raise DataError(
            "The data set must be auto, mnist, synthetic, or an existing folder with the four IDX files: "
            f"{Path(choice).name!r} is none of these."
        ) from None
    found = {name: _found(folder, name) for name in idx.FILES}
    packed = {name: path for name, path in found.items() if path.suffix == ".gz"}
    files = {name: idx.open_file(found[name], kind) for name, kind in idx.FILES.items() if name not in packed}
    if packed:
        files |= _unpacked(packed, home / "data", make)
    # What the files hold, not where they lie, is what a run's record must tell.
    is_mnist = {name: file.sha256 for name, file in files.items()} == source.sha256
    return _dataset("mnist" if is_mnist else "folder", files, "Read from the folder in FALCON_MNIST_DATASET.")


def _found(folder: Path, name: str) -> Path:
    """The file of that name, in either spelling, plain before gzipped. Raises `DataError`."""
    for suffix in ("", ".gz"):
        for spelling in (name, name.replace("-idx", ".idx")):
            path = folder / f"{spelling}{suffix}"
            try:
                if path.is_file():
                    return path
            except OSError as error:
                raise DataError(f"{path.name} cannot be read ({error.strerror}).") from error
    raise DataError(
        f"The folder has no {name} (or {name.replace('-idx', '.idx')}, or either with .gz): "
        f"it must hold {', '.join(idx.FILES)}."
    )


def _unpacked(packed: Mapping[str, Path], data: Path, make: bool) -> dict[str, Opened]:
    """Gzipped files, unpacked once under a name that says what was in them."""
    sha256 = hashlib.sha256()
    for name, path in packed.items():
        try:
            with path.open("rb") as file:
                sha256.update(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n".encode())
        except OSError as error:
            raise DataError(f"{path.name} cannot be read ({error.strerror}).") from error

    def unpack(folder: Path) -> None:
        for name, path in packed.items():
            with path.open("rb") as file:
                idx.write(folder / name, idx.unpacked(file, idx.FILES[name], path.name))

    return made_once(data / f"folder-{sha256.hexdigest()[:16]}", packed, unpack if make else None)
