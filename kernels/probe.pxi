# What one thread can do at most on this machine with these vectors: the limits that benchmarks hold the other
# kernels against. Callers do the timing. Both apply x -> x/2 + 1/2 to zeros, whose value after n times is
# 1 - 2^-n: nothing overflows or becomes subnormal, and that it was all computed can be checked.

cdef extern from *:
    """
    /* Without this, a loop over passes could move inside and keep what it passes over in registers. */
    static inline void finish_stores(void) { __asm__ volatile("" ::: "memory"); }
    """
    void finish_stores() noexcept nogil

cdef enum:
    CHAINS = 2 * MR  # sums that do not wait for one another, as many as in a register tile
    PROBED = 4096  # floats: 16 KiB, half of a small first-level cache


cdef float fma_chains(Py_ssize_t iterations) noexcept nogil:
    """The mean of all sums."""
    cdef vfloat acc[CHAINS]
    cdef vfloat half = vbroadcast(0.5)
    cdef float lanes[CHAINS * LANES]
    cdef float total = 0
    cdef Py_ssize_t p
    cdef int i, j
    for i in range(MR):  # as in micro_kernel: gcc unrolls no single loop of 24
        for j in range(2):
            acc[2 * i + j] = vbroadcast(0)
    for p in range(iterations):
        for i in range(MR):
            for j in range(2):
                acc[2 * i + j] = vfma(acc[2 * i + j], half, half)
    for i in range(MR):
        for j in range(2):
            vstore(lanes + (2 * i + j) * LANES, acc[2 * i + j])
    for i in range(CHAINS * LANES):
        total += lanes[i]
    return total / <float>(CHAINS * LANES)


cdef float cache_passes(Py_ssize_t iterations, float* x) noexcept nogil:
    """The mean of x (PROBED,) after so many passes over it."""
    cdef vfloat half = vbroadcast(0.5)
    cdef float total = 0
    cdef Py_ssize_t p, i
    memset(x, 0, PROBED * sizeof(float))
    for p in range(iterations):
        for i from 0 <= i < PROBED by 4 * LANES:
            vstore(x + i, vfma(vload(x + i), half, half))
            vstore(x + i + LANES, vfma(vload(x + i + LANES), half, half))
            vstore(x + i + 2 * LANES, vfma(vload(x + i + 2 * LANES), half, half))
            vstore(x + i + 3 * LANES, vfma(vload(x + i + 3 * LANES), half, half))
        finish_stores()
    for i in range(PROBED):
        total += x[i]
    return total / <float>PROBED


cdef _iterations(Py_ssize_t iterations):
    if not 0 < iterations <= LARGEST_SIDE:
        raise ValueError(f"iterations must be from 1 to {LARGEST_SIDE}, not {iterations}")


def fma_peak(Py_ssize_t iterations):
    """Fused multiply-adds in registers, enough at a time to hide their latency: (flop done, 1 - 2^-iterations).

    Raises `ValueError` unless iterations are from 1 to 2^31 - 1.
    """
    _iterations(iterations)
    cdef float mean
    with nogil:
        mean = fma_chains(iterations)
    return 2 * CHAINS * LANES * int(iterations), mean


def cache_bandwidth(Py_ssize_t iterations):
    """Passes over 16 KiB, each value read, changed and written: (bytes moved, 1 - 2^-iterations).

    Raises `ValueError` unless iterations are from 1 to 2^31 - 1.
    """
    _iterations(iterations)
    cdef Buffer buffer = Buffer(PROBED)
    cdef float* x = buffer.data
    cdef float mean
    with nogil:
        mean = cache_passes(iterations, x)
    return 2 * PROBED * sizeof(float) * int(iterations), mean
