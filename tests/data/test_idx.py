from __future__ import annotations

import gzip
import io
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_mnist.data import idx
from falcon_mnist.data.idx import IMAGES, LABELS, DataError, Kind

NAME = "train-images-idx3-ubyte"
KINDS = [pytest.param(IMAGES, id="images"), pytest.param(LABELS, id="labels")]


def whole(kind: Kind, rows: int) -> bytes:
    return idx.header(kind, rows) + bytes(rows * kind.row_length)


def opened(data: bytes, kind: Kind) -> idx.Opened:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, NAME)
        path.write_bytes(data)
        return idx.open_file(path, kind)


def unpacked(packed: bytes, kind: Kind) -> bytes:
    return b"".join(idx.unpacked(io.BytesIO(packed), kind, NAME))


def test_header_of_mnist():
    assert idx.header(IMAGES, 60_000).hex(" ", 4) == "00000803 0000ea60 0000001c 0000001c"
    assert idx.header(LABELS, 10_000).hex(" ", 4) == "00000801 00002710"


def test_images_are_rows_of_784_mapped_read_only():
    pixels = np.arange(3 * 784).astype(np.uint8)
    images = opened(idx.header(IMAGES, 3) + pixels.tobytes(), IMAGES).rows
    assert isinstance(images, np.memmap)
    assert images.dtype == np.uint8
    assert images.shape == (3, 784)
    assert not images.flags.writeable
    np.testing.assert_array_equal(images.ravel(), pixels)


def test_labels_are_a_vector():
    labels = opened(idx.header(LABELS, 10) + bytes(range(10)), LABELS).rows
    assert labels.shape == (10,)
    assert labels.tolist() == list(range(10))


@pytest.mark.parametrize(
    ("data", "kind", "says"),
    [
        (b"", IMAGES, "ends within its header"),
        (idx.header(IMAGES, 1)[:15], IMAGES, "ends within its header"),
        (whole(LABELS, 784), IMAGES, "begins with 0x00000801"),
        (whole(IMAGES, 1), LABELS, "begins with 0x00000803"),
        # The third byte is the type: 0x0d is float32.
        (b"\0\0\x0d\x03" + whole(IMAGES, 1)[4:], IMAGES, "begins with 0x00000d03"),
        (idx.header(IMAGES, 1)[:8] + bytes([0, 0, 0, 14, 0, 0, 0, 56]) + bytes(784), IMAGES, "14x56"),
        (whole(IMAGES, 0), IMAGES, "holds no images"),
        (whole(LABELS, 0), LABELS, "holds no labels"),
        (whole(IMAGES, 2)[:-1], IMAGES, "is 1583 bytes long, but its header promises 2 images"),
        (whole(IMAGES, 2) + b"\0", IMAGES, "is 1585 bytes long"),
        (idx.header(IMAGES, 2**32 - 1), IMAGES, "is 16 bytes long"),
        (idx.header(LABELS, 3) + b"\0\x0a\x09", LABELS, "holds the label 10"),
    ],
)
def test_what_breaks_a_rule_is_refused_in_one_line_without_a_path(data: bytes, kind: Kind, says: str):
    with pytest.raises(DataError) as caught:
        opened(data, kind)
    message = str(caught.value)
    assert message.startswith(f"{NAME} ")
    assert says in message
    assert "/" not in message
    assert "\n" not in message


@pytest.mark.parametrize("kind", KINDS)
def test_gzip_gives_the_plain_bytes(kind: Kind):
    data = whole(kind, 3000)
    assert unpacked(gzip.compress(data), kind) == data
    # What `cat a.gz b.gz` makes is gzip, too.
    assert unpacked(gzip.compress(data[:100]) + gzip.compress(data[100:]), kind) == data


@pytest.mark.parametrize("kind", KINDS)
def test_gzip_cut_anywhere_is_refused(kind: Kind):
    packed = gzip.compress(whole(kind, 3))
    for length in range(len(packed)):
        with pytest.raises(DataError):
            unpacked(packed[:length], kind)


@pytest.mark.parametrize(("surplus", "says"), [(1, "unpacks to more"), (-1, "1 bytes less")])
def test_gzip_of_another_length_than_promised_is_refused(surplus: int, says: str):
    data = idx.header(LABELS, 5) + bytes(5 + surplus)
    with pytest.raises(DataError, match=says):
        unpacked(gzip.compress(data), LABELS)


def test_gzip_that_swells_is_left_at_what_its_header_promises():
    bomb = gzip.compress(idx.header(LABELS, 1000) + bytes(1 << 24))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="unpacks to more"):
            unpacked(bomb, LABELS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_gzip_that_promises_too_much_is_not_unpacked():
    packed = gzip.compress(idx.header(IMAGES, 2**31))
    with pytest.raises(DataError, match="more than 1 GiB"):
        unpacked(packed, IMAGES)


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    """`data` with a slice replaced by anything."""
    places = st.tuples(st.integers(0, len(data)), st.integers(0, 8), st.binary(max_size=8))
    return places.map(lambda p: data[: p[0]] + p[2] + data[p[0] + p[1] :])


ANYTHING = st.binary(max_size=64) | mutated(whole(IMAGES, 1)) | mutated(whole(LABELS, 20))


@given(data=ANYTHING, kind=st.sampled_from([IMAGES, LABELS]))
def test_any_bytes_are_data_or_refused(data: bytes, kind: Kind):
    try:
        rows = opened(data, kind).rows
    except DataError:
        return
    assert idx.header(kind, len(rows)) + rows.tobytes() == data


@given(
    packed=ANYTHING.map(gzip.compress) | mutated(gzip.compress(whole(LABELS, 20))) | ANYTHING,
    kind=st.sampled_from([IMAGES, LABELS]),
)
def test_any_packed_bytes_are_data_or_refused(packed: bytes, kind: Kind):
    try:
        data = unpacked(packed, kind)
    except DataError:
        return
    rows = idx.rows_in(data, kind, NAME)
    assert len(data) == kind.header_length + rows * kind.row_length
