"""Forward passes in this process: the kernels beside others, and `Predictor`, which answers `/infer`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from configurations import CONFIGURATIONS
from contenders import offering
from contenders.ours import initial

from falcon_mnist import kernels
from falcon_mnist.data.dataset import Dataset
from falcon_mnist.inference import predictors as inference
from falcon_mnist.kernels import reference

pytestmark = pytest.mark.benchmark(disable_gc=True, max_time=0.3, min_rounds=5)

CONFIGURATION = CONFIGURATIONS["784-128-10"]
FLOP = 2 * (784 * 128 + 128 * 10)
CASES = {
    "1 row": (1, True),
    "512 rows": (512, True),
    "1 row without zeros": (1, False),
    "512 rows without zeros": (512, False),
}


@pytest.fixture(params=CASES)
def rows(request: pytest.FixtureRequest, data: Dataset) -> np.ndarray:
    """Float32, as JSON bodies give them."""
    count, zeros = CASES[request.param]
    pixels = data.test_images[:count] if zeros else np.maximum(data.test_images[:count], 1)
    return pixels / np.float32(255)


@pytest.fixture
def group(request: pytest.FixtureRequest, rows: np.ndarray) -> str:
    return f"forward, {request.node.callspec.params['rows']}"


@pytest.fixture
def check(rows: np.ndarray) -> Callable[[np.ndarray], None]:
    expected = reference.forward(CONFIGURATION.layers, initial(CONFIGURATION), rows)
    return lambda logits: np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("contender", offering("forward"), ids=lambda each: each.name)
def bench_forward(
    compare: Callable[..., None], contender: Any, rows: np.ndarray, group: str, check: Callable[..., None]
) -> None:
    parameters = initial(CONFIGURATION)
    make = lambda each: each.forward(CONFIGURATION, parameters, rows)  # noqa: E731
    compare(contender, make, check, group=group, flop=FLOP * len(rows))


def bench_predictor(benchmark: Any, rows: np.ndarray, group: str, check: Callable[..., None]) -> None:
    predictor = inference.Predictor(kernels.Network(CONFIGURATION.layers), initial(CONFIGURATION))
    check(predictor(rows).logits)
    benchmark.group = group
    benchmark(predictor, rows)
    benchmark.extra_info |= {"contender": "falcon-mnist, Predictor", "isa": kernels.isa(), "threads": 1}
