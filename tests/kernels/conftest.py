"""Every test here that asks for `kernels` runs once for each instruction set that this machine has."""

from types import ModuleType

import numpy as np
import pytest

from falcon_mnist.kernels import supported, variant


@pytest.fixture(params=supported())
def kernels(request: pytest.FixtureRequest) -> ModuleType:
    return variant(request.param)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(20240607)
