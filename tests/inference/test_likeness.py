"""Rows that look like digits, and rows that do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from falcon_mnist.data import dataset
from falcon_mnist.inference.likeness import MOST_WARNED, warnings

MNIST = Path(__file__).parents[2].parent / "shared" / "data" / "mnist"


@pytest.fixture(scope="module", params=["drawn", "MNIST"])
def images(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    drawn_digits: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Digits as bytes; of MNIST all that a network is tested on."""
    if request.param == "drawn":
        return drawn_digits[0]
    if not MNIST.is_dir():
        pytest.skip("MNIST is not beside the repository")
    return dataset.load(str(MNIST), tmp_path_factory.mktemp("mnist")).test_images


def shifted(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """What moves out of the picture is lost."""
    padded = np.pad(images.reshape(-1, 28, 28), ((0, 0), (5, 5), (5, 5)))
    return padded[:, 5 - down : 33 - down, 5 - right : 33 - right].reshape(-1, 784)


def floats(images: np.ndarray) -> np.ndarray:
    return images / np.float32(255)


def codes(rows: np.ndarray) -> list[str]:
    return [warning["code"] for warning in warnings(rows)]


def test_no_digit_gives_a_warning(images: np.ndarray) -> None:
    assert warnings(images) == []
    assert warnings(floats(images)) == []


@pytest.mark.parametrize("move", [(5, 0), (-5, 0), (0, 5), (0, -5), (5, 5)], ids=str)
def test_a_shifted_digit_is_not_in_the_centre(images: np.ndarray, move: tuple[int, int]) -> None:
    found = [codes(row[np.newaxis]) for row in shifted(images[:500], *move)]
    assert found == [["centre"]] * len(found)


def test_an_inverted_digit_has_the_wrong_polarity(images: np.ndarray) -> None:
    for rows in (255 - images[:500], 1 - floats(images[:500])):
        assert [codes(row[np.newaxis]) for row in rows] == [["polarity"]] * len(rows)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda rows: 255 * rows, id="bytes as they are"),
        pytest.param(lambda rows: rows / 255, id="scaled twice"),
        pytest.param(lambda rows: (rows - np.float32(0.1307)) / np.float32(0.3081), id="standardised"),
        pytest.param(lambda rows: 0 * rows, id="blank"),
    ],
)
def test_a_digit_of_another_range(images: np.ndarray, change: object) -> None:
    assert callable(change)
    found = [codes(row[np.newaxis]) for row in change(floats(images[:500]))]
    assert found == [["range"]] * len(found)


def test_all_faults_of_a_row_are_told_at_once(images: np.ndarray) -> None:
    rows = np.concatenate([floats(images[:2]), 255 * (1 - floats(shifted(images[2:3], 0, 5)))])
    assert [(warning["code"], warning["rows"]) for warning in warnings(rows)] == [("range", [2]), ("polarity", [2])]


def test_of_many_rows_the_first_ten_are_named(images: np.ndarray) -> None:
    rows = images[:40].copy()
    rows[1::2] = 255 - rows[1::2]
    (warning,) = warnings(rows)
    assert warning["rows"] == list(range(1, 2 * MOST_WARNED, 2))
    assert warning["detail"].startswith("Row 1 ")


def test_the_detail_says_what_the_row_has(images: np.ndarray) -> None:
    (warning,) = warnings(shifted(images[:1], 4, -5))
    assert "pixels left of" in warning["detail"]
    assert "below the middle" in warning["detail"]
    (warning,) = warnings(255 * floats(images[:1]))
    assert "from 0 to 255" in warning["detail"]


@pytest.mark.parametrize("value", [3.4e38, -3.4e38, 1e-45, -1e-45, -0.0])
def test_no_number_is_too_large_or_too_small(value: float) -> None:
    assert "range" in codes(np.full((3, 784), value, np.float32))


def test_noise_is_no_digit() -> None:
    assert codes(np.random.default_rng(1).random((1, 784), dtype=np.float32)) == ["polarity"]
