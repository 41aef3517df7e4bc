"""Distortions of images, as training needs them in each epoch.

    pytest bench/bench_augment.py --benchmark-columns=median,iqr

The others draw the same distortions, of other random numbers, from and to bytes, vectorised over all images of a call:
NumPy with matrix products and gathers, PyTorch with matrix products and grid_sample.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from contenders import offering

from falcon_mnist.data.dataset import Dataset

pytestmark = pytest.mark.benchmark(disable_gc=True, max_time=0.5, min_rounds=5)

AFFINE = {"shift": 1.5, "rotation": 15.0, "scale": 0.15, "shear": 0.15}
ELASTIC = {"elastic": 36.0, "smoothness": 5.0}
SETTINGS = {"affine": AFFINE, "elastic": ELASTIC, "both": AFFINE | ELASTIC}


@pytest.mark.parametrize("contender", offering("augmentation"), ids=lambda each: each.name)
@pytest.mark.parametrize("images", [256, 4096])
@pytest.mark.parametrize("setting", SETTINGS)
def bench_augmentation(compare: Callable[..., None], data: Dataset, setting: str, images: int, contender: Any) -> None:
    digits = np.array(data.train_images[:images])

    def check(result: np.ndarray) -> None:
        assert (result.shape, result.dtype) == (digits.shape, np.uint8)
        assert not (result == digits).all()
        assert 0.9 < result.mean() / digits.mean() < 1.1  # the same ink, elsewhere

    group = f"augmentation, {setting}, {images} images"
    compare(contender, lambda each: each.augmentation(digits, SETTINGS[setting]), check, group=group, images=images)
