# Packing: operands copied into micro-panels, in the order in which the micro-kernel reads them.

cdef enum:
    COPY_COLUMNS = 128  # columns that are transposed at once: few enough to stay in the first-level cache


cdef void copy(
    Py_ssize_t m, Py_ssize_t n, const float* x, Py_ssize_t rs_x, Py_ssize_t cs_x,
    float* to, Py_ssize_t rs_to, Py_ssize_t cs_to,
) noexcept nogil:
    """to (m, n) = x. Fast if each of them is contiguous by rows or by columns."""
    cdef Py_ssize_t i, j
    if rs_x == 1 and cs_x != 1:
        copy(n, m, x, cs_x, 1, to, cs_to, rs_to)
    elif cs_x == 1 and cs_to == 1 and n == MR:
        for i in range(m):
            memcpy(to + i * rs_to, x + i * rs_x, MR * sizeof(float))
    elif cs_x == 1 and cs_to == 1:
        for i in range(m):
            for j from 0 <= j <= n - LANES by LANES:
                vstore(to + i * rs_to + j, vload(x + i * rs_x + j))
            if n % LANES:
                j = n - n % LANES
                vstore_part(to + i * rs_to + j, vload_part(x + i * rs_x + j, n - j), n - j)
    elif cs_x == 1 and rs_to == 1 and m >= 4 and n >= 4:
        for j from 0 <= j < n - n % 4 by COPY_COLUMNS:
            copy_transposed(m, min(n - n % 4 - j, <Py_ssize_t>COPY_COLUMNS), x + j, rs_x, to + j * cs_to, cs_to)
        if n % 4:  # the last four columns, overlapping those before
            copy_transposed(m, 4, x + n - 4, rs_x, to + (n - 4) * cs_to, cs_to)
    else:
        for i in range(m):
            for j in range(n):
                to[i * rs_to + j * cs_to] = x[i * rs_x + j * cs_x]


cdef void copy_transposed(
    Py_ssize_t m, Py_ssize_t n, const float* x, Py_ssize_t rs_x, float* to, Py_ssize_t cs_to
) noexcept nogil:
    """to (m, n) by columns = x by rows, m >= 4, n a multiple of 4, in registers."""
    cdef Py_ssize_t i = 0, j, row
    while i < m:
        if i + 8 <= m:
            for j from 0 <= j < n by 4:
                transpose_8x4(x + i * rs_x + j, rs_x, to + i + j * cs_to, cs_to)
            i += 8
        else:  # the last four rows, overlapping those before
            row = min(i, m - 4)
            for j from 0 <= j < n by 4:
                transpose_4x4(x + row * rs_x + j, rs_x, to + row + j * cs_to, cs_to)
            i += 4


cdef void pack_a(
    Py_ssize_t m, Py_ssize_t k, float alpha, const float* a, Py_ssize_t rs_a, Py_ssize_t cs_a, float* to
) noexcept nogil:
    """alpha * A block (m, k) into micro-panels of MR rows; the last one is as narrow as the rows that are left."""
    cdef Py_ssize_t i, p, rows
    for i from 0 <= i < m by MR:
        rows = min(m - i, <Py_ssize_t>MR)
        copy(rows, k, a + i * rs_a, rs_a, cs_a, to + i * k, 1, rows)
    if alpha != 1:
        for p in range(m * k):
            to[p] *= alpha


cdef void pack_rows_of_b(Py_ssize_t n, Py_ssize_t k, const float* b, Py_ssize_t rs_b, float* to) noexcept nogil:
    """B block (k, n), n a multiple of NR, into micro-panels, row by row: as it lies in memory."""
    cdef Py_ssize_t p, j
    for p in range(k):
        for j from 0 <= j < n by NR:
            vstore(to + p * NR + j * k, vload(b + p * rs_b + j))
            vstore(to + p * NR + j * k + LANES, vload(b + p * rs_b + j + LANES))


cdef void pack_panel_of_b(
    Py_ssize_t columns, Py_ssize_t k, const float* b, Py_ssize_t rs_b, Py_ssize_t cs_b, float* to
) noexcept nogil:
    """One micro-panel of B (k, columns)."""
    cdef Py_ssize_t p, width = LANES if columns <= LANES else NR
    if cs_b == 1:
        for p in range(k):
            if width == NR:
                vstore(to + p * width, vload(b + p * rs_b))
            vstore(to + (p + 1) * width - LANES, vload_part(b + p * rs_b + width - LANES, columns + LANES - width))
    else:
        if columns < width:
            memset(to, 0, width * k * sizeof(float))
        copy(k, columns, b, rs_b, cs_b, to, width, 1)
