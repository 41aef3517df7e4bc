# The limits of one thread on this machine with these vectors, which benchmarks compare the other kernels with. Callers
# measure the time. Both apply x -> x/2 + 1/2 to zeros, which after n times is 1 - 2^-n: nothing overflows or becomes
# subnormal, and the result shows that all of it was computed.

cdef extern from *:
    """
    /* Without this, gcc could make the loop over iterations the inner one and keep x in registers. */
    static inline void finish_stores(void) { __asm__ volatile("" ::: "memory"); }
    """
    void finish_stores() noexcept nogil

cdef enum:
    CHAINS = 2 * MR  # independent sums, as many as in a register tile


cdef float fma_chains(Py_ssize_t iterations, Py_ssize_t* flop) noexcept nogil:
    """The mean of all sums; `flop` is what one iteration computes."""
    cdef vfloat acc[CHAINS]
    cdef vfloat half = vbroadcast(0.5)
    cdef float lanes[CHAINS * LANES]
    cdef float total = 0
    cdef Py_ssize_t p
    cdef int i, j
    flop[0] = 2 * CHAINS * LANES
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
    """The mean of x (ROOFLINE_FLOATS,) after `iterations` reads and writes of all of it."""
    cdef vfloat half = vbroadcast(0.5)
    cdef float total = 0
    cdef Py_ssize_t p, i
    memset(x, 0, ROOFLINE_FLOATS * sizeof(float))
    for p in range(iterations):
        for i from 0 <= i < ROOFLINE_FLOATS by 4 * LANES:
            vstore(x + i, vfma(vload(x + i), half, half))
            vstore(x + i + LANES, vfma(vload(x + i + LANES), half, half))
            vstore(x + i + 2 * LANES, vfma(vload(x + i + 2 * LANES), half, half))
            vstore(x + i + 3 * LANES, vfma(vload(x + i + 3 * LANES), half, half))
        finish_stores()
    for i in range(ROOFLINE_FLOATS):
        total += x[i]
    return total / <float>ROOFLINE_FLOATS
