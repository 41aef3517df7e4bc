# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The kernels for baseline. All variants are made of the same .pxi sources; only the register tile differs."""

cdef extern from *:
    """
    #define LANES 4  /* float32 in a vector */
    #define MR 6  /* rows of the register tile; with 2 vectors a row, accumulators fill 12 of 16 registers */
    #include "simd.h"
    """

include "edge.pxi"
include "gemm.pxi"
include "elementwise.pxi"
include "loss.pxi"
include "layers.pxi"
include "dense.pxi"
include "team.pxi"
include "narrow.pxi"
include "masks.pxi"
include "sparse.pxi"
include "slices.pxi"
include "forward.pxi"
include "backward.pxi"
include "passes.pxi"
include "network.pxi"
include "probe.pxi"

cdef extern from "simd.h":
    int cpu_has_avx2()
    int cpu_has_avx512()


def cpu_variants():
    """Names of the variants that this CPU can run, best first."""
    has = {"avx512": cpu_has_avx512(), "avx2": cpu_has_avx2(), "baseline": True}
    return tuple(name for name, there in has.items() if there)
