# Products in which one side is short: a few rows (gemv), and ten columns.

cdef enum:
    GEMV_ROWS = 3  # up to so many rows are computed one by one
    DIGITS = 10  # columns of a small-n product: so many rows of C.T fit a register tile
    AHEAD = 16  # steps of p that A is transposed ahead
    FEW_SETS = 512  # floats: rows that lie a multiple apart have too few sets of the cache for a line of each


cdef void gemv(const Matrix* a, const Matrix* b, const Matrix* c, float beta, float* packing) noexcept nogil:
    """A matrix-vector product for each row of A: B (unit column stride) is read in place."""
    cdef Py_ssize_t i, j, p, n = c.columns
    cdef Py_ssize_t whole = n - n % LANES
    cdef Tile t = Tile(1, n, a.columns, Operands(NULL, 1, a.cs, NULL, b.rs), beta, NULL, 0)
    for i in range(c.rows):
        t.ab.a = a.data + i * a.rs
        j = 0
        while j + GEMV_VECTORS * LANES <= n:
            t.ab.b, t.c = b.data + j, c.data + i * c.rs + j
            micro_kernel(1, GEMV_VECTORS, True, &t, LANES)
            j += GEMV_VECTORS * LANES
        while j + LANES <= n:
            t.ab.b, t.c = b.data + j, c.data + i * c.rs + j
            micro_kernel(1, 1, True, &t, LANES)
            j += LANES
    if whole == n:
        return
    for p from 0 <= p < a.columns by KC:  # the columns that fill no vector
        t.k = min(a.columns - p, <Py_ssize_t>KC)
        pack_panel_of_b(n - whole, t.k, b.data + p * b.rs + whole, b.rs, 1, packing)
        t.ab.b, t.ab.rs_b, t.beta = packing, LANES, beta if p == 0 else 1
        for i in range(c.rows):
            t.ab.a, t.c = a.data + i * a.rs + p * a.cs, c.data + i * c.rs + whole
            micro_kernel(1, 1, True, &t, n - whole)


cdef inline void transpose_block(const float* a, Py_ssize_t rs_a, int number, float* to) noexcept nogil:
    """to (AHEAD, NR) = A (NR, AHEAD).T, one of its blocks of 8 rows and 4 columns: there are AHEAD, if LANES is 16."""
    cdef int row = number % (NR // 8) * 8, column = number // (NR // 8) * 4
    transpose_8x4(a + row * rs_a + column, rs_a, to + column * NR + row, NR)


cdef void small_n(
    Py_ssize_t m, const Matrix* a_matrix, const Matrix* b_matrix, const Matrix* c_matrix, float beta
) noexcept nogil:
    """The first m rows of C (m, DIGITS) = A @ B + beta * C, A and B by rows; m is a multiple of NR, k at least AHEAD.

    Beside each step of p one block of A is transposed for the steps that follow: the shuffles cost little while fmas
    are the limit. What the next round will transpose is prefetched.
    """
    cdef const float* a = a_matrix.data
    cdef const float* b = b_matrix.data
    cdef float* c = c_matrix.data
    cdef Py_ssize_t k = a_matrix.columns, rs_a = a_matrix.rs, rs_b = b_matrix.rs, rs_c = c_matrix.rs, cs_c = c_matrix.cs
    cdef float near[2][AHEAD * NR]
    cdef float turned[DIGITS * NR]
    cdef vfloat acc[DIGITS * 2]
    cdef const float* following
    cdef Py_ssize_t i, p, whole = k - k % AHEAD
    cdef int j, step, turn = 0
    for step in range(AHEAD):
        transpose_block(a, rs_a, step, near[0])
    for i from 0 <= i < m by NR:
        if beta != 0:
            copy(DIGITS, NR, c + i * rs_c, cs_c, rs_c, turned, NR, 1)
        for j in range(DIGITS * 2):
            acc[j] = vbroadcast(beta) * vload(turned + j * LANES) if beta != 0 else vbroadcast(0)
        for p from 0 <= p < whole by AHEAD:
            following = a + i * rs_a + p + AHEAD
            if p + AHEAD == whole:
                following = a + (i + NR if i + NR < m else 0) * rs_a
            for step in range(AHEAD):
                accumulate(
                    DIGITS, 2, True, 1, Operands(b + (p + step) * rs_b, 1, rs_b, &near[turn][step * NR], NR), acc
                )
                prefetch(following + 2 * step * rs_a + AHEAD, 0, 3)
                prefetch(following + (2 * step + 1) * rs_a + AHEAD, 0, 3)
                transpose_block(following, rs_a, step, near[1 - turn])
            turn = 1 - turn
        if whole < k:
            copy(NR, k - whole, a + i * rs_a + whole, rs_a, 1, near[1 - turn], 1, NR)
            accumulate(DIGITS, 2, True, k - whole, Operands(b + whole * rs_b, 1, rs_b, &near[1 - turn][0], NR), acc)
        for j in range(DIGITS * 2):
            vstore(turned + j * LANES, acc[j])
        copy(DIGITS, NR, turned, NR, 1, c + i * rs_c, cs_c, rs_c)
