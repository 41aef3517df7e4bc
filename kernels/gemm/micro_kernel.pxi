# The micro-kernel: one register tile of C, summed over k in registers.

cdef enum:
    KC = 400  # 784 in two blocks; a micro-panel of B is prefetched from the second-level cache
    GEMV_VECTORS = 8  # vectors of one row that hide the latency of fma where there is no second row


cdef struct Operands:
    # a(i, p) = a[i * rs_a + p * cs_a]; b(p, j) = b[p * rs_b + j], in whole vectors.
    const float* a
    Py_ssize_t rs_a
    Py_ssize_t cs_a
    const float* b
    Py_ssize_t rs_b


cdef inline void accumulate(
    const int rows, const int vectors, const bint by_columns, Py_ssize_t k, Operands ab, vfloat* acc
) noexcept nogil:
    """acc (rows, vectors) += A @ B, in registers: `rows` and `vectors` are literals where this is called.

    So is `by_columns`: one of A's strides is then 1, and gcc keeps no register for it that sums need.
    """
    cdef Py_ssize_t rs_a = 1 if by_columns else ab.rs_a, cs_a = ab.cs_a if by_columns else 1
    cdef const float* a = ab.a
    cdef const float* b = ab.b
    cdef Py_ssize_t rs_b = ab.rs_b
    cdef vfloat x
    cdef Py_ssize_t p
    cdef int i, j
    for p in range(k):
        for i in range(rows):
            x = vbroadcast(a[i * rs_a])
            for j in range(vectors):
                acc[i * vectors + j] = vfma(x, vload(b + j * LANES), acc[i * vectors + j])
        a += cs_a
        b += rs_b


cdef struct Tile:
    # C (rows, columns) = A (rows, k) @ B (k, columns) + beta * C, up to MR by NR; C's columns lie side by side.
    # So do A's rows or its columns. Beyond `columns`, B has zeros up to a whole vector.
    Py_ssize_t rows
    Py_ssize_t columns
    Py_ssize_t k
    Operands ab
    float beta
    float* c
    Py_ssize_t rs_c


cdef inline void micro_kernel(
    const int rows, const int vectors, const bint by_columns, const Tile* t, Py_ssize_t last
) noexcept nogil:
    """The first `rows` rows of a tile of so many vectors, the last of which has `last` columns.

    `rows`, `vectors` and whether A's rows lie side by side (`by_columns`) are literals where this is called, so that
    the compiler unrolls the loops over them.
    """
    cdef vfloat acc[MR * GEMV_VECTORS]
    cdef vfloat x, scale
    cdef float* c = t.c
    cdef Py_ssize_t rs_c = t.rs_c
    cdef int i, j, end = (vectors - 1) * LANES
    if t.beta == 0:
        x = vbroadcast(0)
        for i in range(rows):
            for j in range(vectors):
                acc[i * vectors + j] = x
    else:
        scale = vbroadcast(t.beta)
        for i in range(rows):
            for j in range(vectors - 1):
                acc[i * vectors + j] = scale * vload(c + i * rs_c + j * LANES)
            acc[i * vectors + vectors - 1] = scale * vload_part(c + i * rs_c + end, last)
    accumulate(rows, vectors, by_columns, t.k, t.ab, acc)
    for i in range(rows):
        for j in range(vectors - 1):
            vstore(c + i * rs_c + j * LANES, acc[i * vectors + j])
        vstore_part(c + i * rs_c + end, acc[i * vectors + vectors - 1], last)


cdef inline Py_ssize_t first_rows(
    const int vectors, const bint by_columns, const Tile* t, Py_ssize_t last
) noexcept nogil:
    """Compute the first rows of a tile, as many as there is a micro-kernel for; returns how many."""
    if t.rows >= MR:
        micro_kernel(MR, vectors, by_columns, t, last)
        return MR
    if MR > 10 and t.rows >= 10:  # the ten digits
        micro_kernel(10, vectors, by_columns, t, last)
        return 10
    if MR > 8 and t.rows >= 8:
        micro_kernel(8, vectors, by_columns, t, last)
        return 8
    if t.rows >= 4:
        micro_kernel(4, vectors, by_columns, t, last)
        return 4
    if t.rows >= 2:
        micro_kernel(2, vectors, by_columns, t, last)
        return 2
    micro_kernel(1, vectors, by_columns, t, last)
    return 1


cdef void gemm_tile(Tile* t) noexcept nogil:
    """Compute the tile. On return `t.rows` is 0, and `t.ab.a` and `t.c` point past the last row."""
    cdef Py_ssize_t done, last = t.columns - LANES if t.columns > LANES else t.columns
    while t.rows > 0:
        if t.columns > LANES and t.ab.rs_a == 1:
            done = first_rows(2, True, t, last)
        elif t.columns > LANES:
            done = first_rows(2, False, t, last)
        elif t.ab.rs_a == 1:
            done = first_rows(1, True, t, last)
        else:
            done = first_rows(1, False, t, last)
        t.rows -= done
        t.ab.a += done * t.ab.rs_a
        t.c += done * t.rs_c


cdef void gemm_tile_strided(Tile* t, Py_ssize_t cs_c) noexcept nogil:
    """The same for a C whose columns lie `cs_c` floats apart."""
    cdef float near[MR * NR]
    cdef float* c = t.c
    cdef Py_ssize_t rs_c = t.rs_c, rows = t.rows
    t.c, t.rs_c = near, NR
    if t.beta != 0:
        copy(rows, t.columns, c, rs_c, cs_c, near, NR, 1)
    gemm_tile(t)
    copy(rows, t.columns, near, NR, 1, c, rs_c, cs_c)
