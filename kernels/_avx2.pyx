# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The kernels for avx2, as a table of C functions. Variants differ in their register tile only."""

cdef extern from *:
    """
    #define LANES 8  /* float32 in a vector */
    #define MR 6  /* rows of the register tile; with 2 vectors a row, accumulators fill 12 of 16 registers */
    #include "isa/simd.h"
    """

include "isa/variant.pxi"
