"""Photos of digits become images like those of MNIST."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from photos import photo
from PIL import Image

from falcon_mnist import kernels
from falcon_mnist.client.pictures import PictureError, prepare, read
from falcon_mnist.training import network, trainer
from falcon_mnist.training.hyperparams import Hyperparams

SEVEN = np.zeros((28, 28), np.uint8)
SEVEN[4:7, 6:22] = 255
SEVEN[6:24, 18:21] = 255


def large(image: np.ndarray, side: int = 280) -> np.ndarray:
    return np.kron(image.reshape(28, 28), np.ones((side // 28, side // 28)))


def save(folder: Path, brightness: np.ndarray, name: str = "digit.png", mode: str = "L") -> Path:
    path = folder / name
    Image.fromarray(np.round(brightness * 255).astype(np.uint8)).convert(mode).save(path)
    return path


def test_photos_are_read_as_well_as_what_was_photographed(drawn_digits: tuple[np.ndarray, np.ndarray]) -> None:
    """Of 100 drawn digits this network reads 74, and of the photos of them 77, whose strokes are a little wider."""
    (images, shown), (labels, shown_labels) = ((part[100:], part[:100]) for part in drawn_digits)
    layers = [{"type": "linear", "in": 784, "out": 128}, {"type": "relu"}, {"type": "linear", "in": 128, "out": 10}]
    net, hyperparams = network.build({"input_size": 784, "layers": layers}), Hyperparams(epochs=10)
    state = trainer.initial_state(net, hyperparams)
    for _ in trainer.train(net, state, images, labels, hyperparams):
        pass

    def read_right(rows: np.ndarray) -> int:
        logits = np.empty((len(rows), 10), np.float32)
        net.forward(state.parameters, rows, logits, kernels.Workspace(net, net.micro_batch_rows))
        return int((logits.argmax(axis=1) == shown_labels).sum())

    random = np.random.default_rng(7)
    photos = np.array([prepare(photo(image, random)) for image in shown])
    assert read_right(shown) >= 70
    assert read_right(photos) >= read_right(shown)


def test_a_picture_is_fitted_into_20_by_20_and_centred_by_mass() -> None:
    paper = np.full((300, 500), 0.8)
    paper[200:260, 30:60] = 0.2  # a bar of ink: 60 high, 30 wide
    image = prepare(paper).reshape(28, 28) / 255
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    assert (len(rows), len(columns)) == (20, 10)
    assert image.max() == 1
    index = np.arange(28)
    for mass in (image.sum(axis=1), image.sum(axis=0)):
        assert abs((mass * index).sum() / mass.sum() - 14) <= 0.5


def test_ink_may_be_dark_on_paper_or_bright_on_a_board() -> None:
    digit = large(SEVEN) / 255
    fall = np.linspace(0, 0.3, 280)
    on_paper, on_board = prepare(0.9 - fall - 0.4 * digit), prepare(0.1 + fall + 0.5 * digit)
    assert np.abs(on_paper.astype(int) - on_board).mean() < 2
    assert np.abs(on_paper.astype(int) - prepare(1 - digit)).mean() < 4


def test_a_picture_of_mnist_stays_as_it_is(tmp_path: Path, drawn_digits: tuple[np.ndarray, np.ndarray]) -> None:
    for image in drawn_digits[0][:20]:
        assert np.array_equal(read(save(tmp_path, image.reshape(28, 28) / 255)), image)


def test_dirt_and_noise_are_no_ink() -> None:
    clean = 0.8 - 0.6 * large(SEVEN) / 255
    dirty = clean.copy()
    dirty[2:6, 3:8] = dirty[260:264, 10:14] = dirty[5:9, 270:274] = 0.2
    dirty += np.random.default_rng(1).normal(0, 0.03, dirty.shape)
    assert np.abs(prepare(dirty).astype(int) - prepare(clean)).mean() < 4


@pytest.mark.parametrize("brightness", [0.0, 0.5, 1.0])
def test_an_empty_picture_is_refused(brightness: float) -> None:
    noise = np.random.default_rng(1).normal(0, 0.01, (200, 300))
    for picture in (np.full((200, 300), brightness), np.clip(brightness + noise, 0, 1), np.full((1, 1), brightness)):
        with pytest.raises(PictureError, match="no digit can be seen"):
            prepare(picture)


def test_files_of_many_kinds_are_read_alike(tmp_path: Path) -> None:
    shown = 0.9 - 0.7 * large(SEVEN) / 255
    wanted = read(save(tmp_path, shown))
    for name, mode in (("a.png", "RGB"), ("a.jpg", "L"), ("b.jpg", "RGB"), ("b.png", "P")):
        assert np.abs(read(save(tmp_path, shown, name, mode)).astype(int) - wanted).mean() < 4, (name, mode)
    ink = np.zeros((280, 280, 4), np.uint8)  # black on nothing at all
    ink[..., 3] = large(SEVEN)
    Image.fromarray(ink).save(tmp_path / "clear.png")
    assert np.abs(read(tmp_path / "clear.png").astype(int) - wanted).mean() < 4
    turned = Image.fromarray(np.round(shown * 255).astype(np.uint8)).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert np.abs(read(tmp_path / "turned.jpg").astype(int) - wanted).mean() < 4


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_a_file_that_is_no_picture_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "digit.png"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=r"digit\.png is no picture"):
        read(path)


def test_a_picture_that_ends_too_soon_is_a_sentence(tmp_path: Path) -> None:
    whole = save(tmp_path, large(SEVEN) / 255).read_bytes()
    path = tmp_path / "half.png"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PictureError, match=r"half\.png cannot be read as a picture"):
        read(path)


@pytest.mark.parametrize(
    ("dtype", "white"), [(np.uint16, 65535), (np.uint16, 4095), (np.int32, 2**24), (np.float32, 1)]
)
def test_a_picture_of_more_than_8_bits_a_pixel_is_read_like_one_of_8(tmp_path: Path, dtype: type, white: int) -> None:
    paper = 1 - 0.8 * large(SEVEN / 255)  # ink is grey: cut off at 255, it would be as white as its paper
    deep = tmp_path / "deep.tiff"
    Image.fromarray((paper * white).astype(dtype)).save(deep)
    assert np.allclose(read(deep), read(save(tmp_path, paper)), atol=1)


def test_a_picture_with_numbers_that_are_none_is_refused_or_read(tmp_path: Path) -> None:
    deep = tmp_path / "deep.tiff"
    Image.fromarray(np.full((40, 40), np.nan, np.float32)).save(deep)
    with pytest.raises(PictureError, match="no digit"):
        read(deep)


def test_a_large_picture_of_few_bytes_takes_little_memory(tmp_path: Path) -> None:
    """Its pixels are counted as bytes, not as the floats of 4 bytes and more that they would become."""
    large = tmp_path / "large.png"
    Image.new("L", (4000, 4000), 255).save(large)
    tracemalloc.start()
    with pytest.raises(PictureError, match="no digit"):
        read(large)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4000 * 4000
