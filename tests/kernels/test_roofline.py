"""The probes do the arithmetic that they are said to do; how long it takes is for bench/ to say."""

import pytest
from cases import for_each

ITERATIONS = [1, 2, 7, 24, 1000]


@for_each("iterations", ITERATIONS)
def test_fma_peak_computes_every_sum(kernels, iterations):
    flop, mean = kernels.fma_peak(iterations)
    once, _ = kernels.fma_peak(1)
    assert flop == once * iterations
    assert once % (2 * 4) == 0  # a multiply and an add in each lane
    assert mean == pytest.approx(1 - 2.0**-iterations, rel=1e-6)


@for_each("iterations", ITERATIONS)
def test_cache_bandwidth_changes_every_value(kernels, iterations):
    moved, mean = kernels.cache_bandwidth(iterations)
    assert moved == 2 * 16 * 1024 * iterations
    assert mean == pytest.approx(1 - 2.0**-iterations, rel=1e-6)


@for_each("probe", ["fma_peak", "cache_bandwidth"])
@for_each("iterations", [0, -1, 2**31])
def test_iterations_are_checked(kernels, probe, iterations):
    with pytest.raises(ValueError, match=f"iterations must be from 1 to 2147483647, not {iterations}"):
        getattr(kernels, probe)(iterations)
