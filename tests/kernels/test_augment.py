"""Distorted images: the draws, the maths beside the twin, and the same bytes on any instruction set and threads."""

import numpy as np
import pytest
from cases import for_each

from falcon_mnist.kernels import reference, supported, variant

ALL = {"shift": 1.5, "rotation": 15, "scale": 0.15, "shear": 0.15, "elastic": 36}
SETTINGS = [
    {"shift": 10},
    {"rotation": 180},
    {"scale": 0.5},
    {"shear": 1},
    {"elastic": 36},
    {"elastic": 34, "smoothness": 4},
    {"elastic": 8, "smoothness": 0.5},
    {"elastic": 200, "smoothness": 20},
    ALL,
]
# The known answers that the authors of the generator publish: counter, key, words.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.fixture
def images(random):
    """40 soft blots, each on a background of zeros."""
    ink = np.zeros((40, 30, 30))
    ink[:, 6:24, 8:22] = random.integers(0, 256, (40, 18, 14)) * (random.random((40, 18, 14)) < 0.5)
    soft = sum(ink[:, i : i + 28, j : j + 28] for i in range(3) for j in range(3)) / 9
    return soft.astype(np.uint8).reshape(-1, 784)


def augmented(kernels, images, order=None, *, seed=2**40 + 7, epoch=3, **settings):
    out = np.full((len(images) if order is None else len(order), 784), 99, dtype=np.uint8)
    assert kernels.augment(images, order, out, seed=seed, epoch=epoch, **settings) is out
    return out


@for_each("counter, key, words", KNOWN)
def test_the_generator_gives_the_known_answers(kernels, counter, key, words):
    assert kernels.random_words(key, counter, 1).tolist() == [list(words)]
    assert reference.random_words(key, np.array(counter)).tolist() == list(words)


@for_each("count", [0, 1, 4, 15, 16, 17, 100])
def test_blocks_follow_one_another_in_the_first_word_of_the_counter(kernels, count):
    first = 2**32 - 50  # which goes back to 0
    counters = [[(first + i) % 2**32, 5, 2**31, 7] for i in range(count)]
    words = reference.random_words((11, 2**32 - 1), np.array(counters).reshape(-1, 4))
    assert kernels.random_words((11, 2**32 - 1), (first, 5, 2**31, 7), count).tolist() == words.tolist()


def test_without_settings_nothing_changes(kernels, images):
    order = np.array([3, 3, 0, 39])
    assert augmented(kernels, images).tobytes() == images.tobytes()
    assert augmented(kernels, images, order).tobytes() == images[order].tobytes()
    full = np.full((1, 784), 255, dtype=np.uint8)
    assert augmented(kernels, full).tobytes() == full.tobytes()


@for_each("settings", SETTINGS)
def test_images_are_those_of_the_twin(kernels, images, settings):
    order = np.arange(39, -1, -1)
    drawn = {"seed": 2**63 - 1, "epoch": 2**32 - 1}
    expected = reference.augment(images, order, reference.Distortion(**settings), **drawn)
    difference = abs(augmented(kernels, images, order, **drawn, **settings) - expected)
    assert difference.max() < 3
    assert (difference > 1).mean() < 0.005


@for_each("settings", SETTINGS)
def test_bytes_depend_on_neither_instruction_set_nor_threads(images, settings):
    first, *others = [
        augmented(variant(name), images, threads=threads, **settings)
        for name in supported()
        for threads in (1, 2, 3, 16)
    ]
    assert all(other.tobytes() == first.tobytes() for other in others)


def test_an_image_depends_on_seed_epoch_and_its_number_alone(kernels, images):
    whole = augmented(kernels, images, **ALL)
    order = np.array([7, 39, 7, 0])
    assert augmented(kernels, images, order, **ALL).tobytes() == whole[order].tobytes()
    same = np.repeat(images[:1], 3, axis=0)
    draws = [{"seed": 1, "epoch": 0}, {"seed": 1 + 2**32, "epoch": 0}, {"seed": 1, "epoch": 1}]
    variants = [augmented(kernels, same, **draw, **ALL) for draw in draws]
    assert len({image.tobytes() for images in variants for image in images}) == 9


def test_what_is_drawn_is_even(random):
    six, noise = reference.augmentation_draws(np.arange(2000), 5, 1)
    for drawn, count in ((six, 2000), (noise.reshape(2000, -1), 2000)):
        assert abs(drawn).max() <= 1
        assert abs(drawn.mean(axis=0)).max() < 5 / np.sqrt(3 * count)
        assert abs(drawn.var(axis=0) - 1 / 3).max() < 5 * np.sqrt(4 / 45 / count)
    correlations = np.corrcoef(np.hstack([six, noise.reshape(2000, -1)[:, ::31]]).T) - np.eye(6 + 51)
    assert abs(correlations).max() < 5 / np.sqrt(2000)


def sources(kernels, count, **settings):
    """The place in x from which each pixel (count, 28, 28) was taken, read from images of a slope."""
    slope = np.tile(9 * np.arange(28) + 5, (count, 28, 1)).astype(np.uint8).reshape(-1, 784)
    return (augmented(kernels, slope, **settings).reshape(-1, 28, 28) - 5.0) / 9


def test_shifts_are_even_and_stay_within_their_range(kernels):
    shifts = 14 - sources(kernels, 3000, shift=4)[:, 14, 14]
    assert abs(shifts).max() <= 4.1
    assert abs(shifts.mean()) < 0.15
    assert shifts.var() == pytest.approx(16 / 3, rel=0.05)


def test_the_elastic_field_is_smooth_noise(kernels):
    """Its variance is 1/3 times the squares of alpha and of the Gaussian; correlation is exp(-d²/4σ²)."""
    alpha, sigma = 30.0, 4.0
    field = sources(kernels, 3000, elastic=alpha, smoothness=sigma)[:, :, 10:18] - np.arange(10, 18)
    centre = field[:, 14, 4]
    assert abs(centre.mean()) < 0.1
    assert centre.var() == pytest.approx(alpha**2 / 3 / (4 * np.pi * sigma**2), rel=0.08)
    for beside, distance in ((field[:, 14, 6], 2), (field[:, 18, 4], 4)):
        assert np.corrcoef(centre, beside)[0, 1] == pytest.approx(np.exp(-(distance**2) / (4 * sigma**2)), abs=0.04)


def test_background_stays_zero(kernels):
    image = np.zeros((50, 784), dtype=np.uint8)
    assert not augmented(kernels, image, **ALL).any()
    image[:, 14 * 28 + 14] = 255
    assert (augmented(kernels, image, shift=3, rotation=90) != 0).sum(
        axis=1
    ).max() <= 5  # points in a turned square of side 2
    corners = np.zeros((1, 784), dtype=np.uint8)
    corners[0, [0, 27, 756, 783]] = 255
    assert augmented(kernels, corners).tobytes() == corners.tobytes()


@for_each("rows", [0, 1, 5])
def test_nothing_is_written_around_the_output(kernels, images, rows):
    memory = np.full(rows * 784 + 200, 77, dtype=np.uint8)
    out = memory[100 : 100 + rows * 784].reshape(rows, 784)
    kernels.augment(images, np.arange(rows), out, seed=1, epoch=0, threads=3, **ALL)
    assert (memory[:100] == 77).all()
    assert (memory[100 + rows * 784 :] == 77).all()


@for_each(
    "name, value",
    [
        ("images", np.zeros((40, 783), dtype=np.uint8)),
        ("images", np.zeros((40, 784), dtype=np.float32)),
        ("images", np.zeros((40, 28, 28), dtype=np.uint8)),
        ("order", np.array([0, 40])),
        ("order", np.array([0, -1])),
        ("order", np.array([0, 1], dtype=np.int32)),
        ("out", np.zeros((3, 784), dtype=np.uint8)),
        ("out", np.zeros((2, 785), dtype=np.uint8)),
        ("out", np.zeros((2, 1568), dtype=np.uint8)[:, ::2]),
        ("out", np.frombuffer(bytes(2 * 784), dtype=np.uint8).reshape(2, 784)),
        ("seed", -1),
        ("seed", 2**63),
        ("epoch", -1),
        ("epoch", 2**32),
        ("shift", 10.1),
        ("shift", -1),
        ("shift", float("nan")),
        ("rotation", 181),
        ("scale", 0.91),
        ("shear", 1.1),
        ("elastic", 201),
        ("elastic", float("inf")),
        ("smoothness", 0.49),
        ("smoothness", 21),
        ("threads", 0),
        ("threads", 17),
    ],
)
def test_arguments_that_do_not_fit_are_named(kernels, images, name, value):
    arguments = {
        "images": images,
        "order": np.array([0, 1]),
        "out": np.zeros((2, 784), dtype=np.uint8),
        "seed": 1,
        "epoch": 0,
        name: value,
    }
    before = arguments["out"].tobytes()
    with pytest.raises((TypeError, ValueError), match=f"^{name} "):
        kernels.augment(**arguments)
    assert arguments["out"].tobytes() == before


def test_output_must_have_memory_of_its_own(kernels, images):
    with pytest.raises(ValueError, match=r"^out shares memory with images"):
        kernels.augment(images, np.array([1, 2]), images[:2], seed=1, epoch=0)
    order = np.zeros(98, dtype=np.int64)
    with pytest.raises(ValueError, match=r"^out shares memory with order"):
        kernels.augment(images, order[:1], order.view(np.uint8).reshape(1, 784), seed=1, epoch=0)
