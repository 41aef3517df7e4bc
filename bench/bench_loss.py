"""Softmax with cross-entropy and its gradient, from logits."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from contenders import offering

from falcon_mnist.constants import CLASSES
from falcon_mnist.kernels import reference

pytestmark = pytest.mark.benchmark(disable_gc=True, max_time=0.3, min_rounds=5)


@pytest.mark.parametrize("contender", offering("loss"), ids=lambda each: each.name)
@pytest.mark.parametrize("rows", [64, 4096])
def bench_loss(compare: Callable[..., None], rows: int, contender: Any) -> None:
    random = np.random.default_rng(1)
    logits = 3 * random.standard_normal((rows, CLASSES), np.float32)
    labels = random.integers(0, CLASSES, rows).astype(np.uint8)
    expected, _, gradient = reference.softmax_cross_entropy(logits, labels)

    def check(result: tuple[Any, Any]) -> None:
        loss, d_logits = result
        np.testing.assert_allclose(float(loss), expected, rtol=1e-5)
        np.testing.assert_allclose(np.asarray(d_logits), gradient, rtol=1e-4, atol=1e-6)

    compare(contender, lambda each: each.loss(logits, labels), check, group=f"loss, {rows} rows", moved=8 * logits.size)
