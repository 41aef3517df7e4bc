"""`falcon-mnist data show`: digits in the terminal, and the same ones in a picture."""

from __future__ import annotations

import struct
import subprocess
import zlib
from pathlib import Path

import forking
import numpy as np
import pytest
from asking import PATIENCE
from server_process import environment

from falcon_mnist import kernels
from falcon_mnist.cli.show import ENLARGED, encode_png
from falcon_mnist.data import dataset


def data_show(home: Path, digits: Path, *options: str) -> subprocess.CompletedProcess[str]:
    variables = environment(home, dataset=digits, workers=1, tokens=None) | {"COLUMNS": "80"}
    return forking.run("data", "show", *options, env=variables, timeout=PATIENCE)


def decoded(png: bytes) -> np.ndarray:
    """The pixels (height, width) of a grey PNG file of unfiltered lines, all checksums being right."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        content = png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length) == (zlib.crc32(kind + content),)
        chunks[kind] = content
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *form = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert form == [8, 0, 0, 0, 0]
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), dtype=np.uint8).reshape(height, width + 1)
    assert not lines[:, 0].any()
    return lines[:, 1:]


def sheet(digits: np.ndarray) -> np.ndarray:
    """Digits (rows, columns, 784) as one picture."""
    return np.kron(np.block([[d.reshape(28, 28) for d in row] for row in digits]), np.ones((ENLARGED, ENLARGED)))


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (28, 56)])
def test_pictures_are_png_files(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    assert decoded(encode_png(pixels)).tobytes() == pixels.tobytes()


def test_it_draws_digits_with_their_labels(tmp_path: Path, digits: Path) -> None:
    result = data_show(tmp_path, digits, "--count", "2", "--png", str(tmp_path / "two.png"))
    assert (result.returncode, result.stderr) == (0, "")
    data = dataset.load(str(digits), tmp_path)
    picked = np.random.default_rng(42).choice(len(data.train_images), size=2, replace=False)
    for image in picked:
        assert f"{data.train_labels[image]} (image {image})" in result.stdout
    assert "epoch" not in result.stdout
    assert (decoded((tmp_path / "two.png").read_bytes()) == sheet(data.train_images[picked][None])).all()


def test_with_augment_it_draws_what_training_makes_of_them(tmp_path: Path, digits: Path) -> None:
    picture = tmp_path / "augmented.png"
    options = ["--augment", "--count", "3", "--variants", "2", "--seed", "7", "--rotation", "20", "--elastic", "30"]
    result = data_show(tmp_path, digits, *options, "--png", str(picture))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == f"Picture: {picture}"
    data = dataset.load(str(digits), tmp_path)
    picked = np.random.default_rng(7).choice(len(data.train_images), size=3, replace=False)
    given = {"shift": 1.5, "rotation": 20, "scale": 0.15, "shear": 0.15, "elastic": 30, "smoothness": 5}
    columns = [data.train_images[picked]]
    for epoch in range(2):
        out = np.empty((3, 784), dtype=np.uint8)
        columns.append(kernels.augment(data.train_images, picked, out, seed=7, epoch=epoch, **given))
        assert f"{data.train_labels[picked[0]]} (image {picked[0]}), epoch {epoch}" in result.stdout
    assert (decoded(picture.read_bytes()) == sheet(np.stack(columns, axis=1))).all()


@pytest.mark.parametrize(
    ("option", "value"), [("--shift", "11"), ("--smoothness", "0.4"), ("--count", "0"), ("--seed", "-1")]
)
def test_values_out_of_range_are_named(tmp_path: Path, digits: Path, option: str, value: str) -> None:
    result = data_show(tmp_path, digits, "--augment", option, value)
    assert result.returncode == 2
    assert option in result.stderr


def test_a_picture_that_cannot_be_written_is_one_sentence(tmp_path: Path, digits: Path) -> None:
    result = data_show(tmp_path, digits, "--png", str(tmp_path / "nowhere" / "a.png"))
    assert result.returncode == 1
    assert result.stderr == f"falcon-mnist: No such file or directory ({tmp_path / 'nowhere' / 'a.png'})\n"
