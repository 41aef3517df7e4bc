# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The kernels for avx2. All variants are made of the same .pxi sources; only the register tile differs."""

cdef extern from *:
    """
    #define LANES 8  /* float32 in a vector */
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
