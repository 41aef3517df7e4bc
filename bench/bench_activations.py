"""Activations forward and backward: of one batch, which the first-level cache holds, and of many."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from contenders import offering

from falcon_mnist.kernels import reference

pytestmark = pytest.mark.benchmark(disable_gc=True, max_time=0.2, min_rounds=5)

SHAPES = [(64, 128), (4096, 128)]


def close_to(expected: np.ndarray) -> Callable[[np.ndarray], None]:
    """A few units in the last place."""
    return lambda result: np.testing.assert_allclose(result, expected, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("contender", offering("activation"), ids=lambda each: each.name)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "{}x{}".format(*shape))
@pytest.mark.parametrize("kind", ["relu", "sigmoid", "tanh"])
def bench_forward(compare: Callable[..., None], kind: str, shape: tuple[int, int], contender: Any) -> None:
    x = 2 * np.random.default_rng(1).standard_normal(shape, np.float32)
    check = close_to(getattr(reference, kind)(x))
    group = "{} {}x{}".format(kind, *shape)
    compare(contender, lambda each: each.activation(kind, x), check, group=group, moved=8 * x.size)


@pytest.mark.parametrize("contender", offering("activation_backward"), ids=lambda each: each.name)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "{}x{}".format(*shape))
@pytest.mark.parametrize("kind", ["relu", "sigmoid", "tanh"])
def bench_backward(compare: Callable[..., None], kind: str, shape: tuple[int, int], contender: Any) -> None:
    random = np.random.default_rng(1)
    y = getattr(reference, kind)(random.standard_normal(shape)).astype(np.float32)
    d_y = random.standard_normal(shape, np.float32)
    check = close_to(getattr(reference, f"{kind}_backward")(y, d_y))
    group = "{} backward {}x{}".format(kind, *shape)
    compare(contender, lambda each: each.activation_backward(kind, y, d_y), check, group=group, moved=12 * y.size)
