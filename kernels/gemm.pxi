# C = alpha * A @ B + beta * C, float32, any strides. The five loops around a micro-kernel of Goto and van de
# Geijn (2008), named as in BLIS (Van Zee and van de Geijn 2015, section 3).
#
#   jc  columns of B and C by NC
#   pc  the sum over k by KC         B block (KC, NC) is packed once for all rows of A
#   ic  rows of A and C by MC        A block (MC, KC) is packed to stay in the second-level cache
#   jr  micro-panels of B by NR
#   ir  micro-panels of A by MR      one register tile: micro_kernel
#
#            p →                                      NR = 2 vectors
#         ┌────────┐                               p ┌───────┐
#      MR │ A panel│   a(0,p) … a(MR-1,p) |        ↓ │B panel│   b(p,0) … b(p,NR-1) |
#         └────────┘   a(0,p+1) …                    └───────┘   b(p+1,0) …
#
# A panel at the edge is as narrow as it has rows; one of B has one or two whole vectors, zeros in the surplus.
#
# Packing moves every element once more, which only pays if enough tiles read it. Where they are few, a panel is
# read where the matrix lies: the micro-kernel takes any stride between two steps of p. And a product of few
# columns, such as ten digits, is turned round, C.T = B.T @ A.T, so that its vectors lie along the many rows. Of ten
# columns, that needs A.T so briefly that it is not packed but transposed a few steps of p ahead, between the fmas.
#
# Every element of C is summed over k from first to last, one fma at a time, whatever the tile it falls into:
# the first block of k starts from beta * C, each later one from where the last one stopped. So the bits of
# a row do not depend on how many rows there are, and a sum over rows may be cut anywhere and continued.

cdef extern from "simd.h":
    ctypedef float vfloat  # a vector; Cython needs to know only that it can be copied
    vfloat vload(const float* source) noexcept nogil
    void vstore(float* to, vfloat x) noexcept nogil
    vfloat vload_part(const float* source, Py_ssize_t count) noexcept nogil
    void vstore_part(float* to, vfloat x, Py_ssize_t count) noexcept nogil
    vfloat vbroadcast(float x) noexcept nogil
    vfloat vfma(vfloat a, vfloat b, vfloat c) noexcept nogil
    void transpose_4x4(const float* source, Py_ssize_t rs, float* to, Py_ssize_t rs_to) noexcept nogil
    void transpose_8x4(const float* source, Py_ssize_t rs, float* to, Py_ssize_t rs_to) noexcept nogil
    enum:
        LANES
        MR

cdef extern from * nogil:
    void prefetch "__builtin_prefetch"(const void* at, int for_writing, int level)

cdef enum:
    KC = 400  # 784 in two passes over C; a micro-panel of B is read ahead from the second-level cache
    NC = 2048
    NARROW = 12  # columns of C up to which a product is turned round
    DIGITS = 10  # columns for which A is transposed on the way, where so many rows fit a register tile
    AHEAD = 16  # steps of p that A is transposed ahead
    FEW_SETS = 512  # floats: NR rows that lie a multiple apart have too few sets of the cache for a line of each
    FEW_ROWS = 3  # rows that are computed one by one
    WIDE = 8  # vectors of one row that hide the latency of fma where there is no second row
    A_IN_PLACE = 256  # columns of B up to which packing A would cost more than it saves
    B_NEAR = 512  # floats from row to row of a B that is read in place; farther apart, its lines share too few sets
    BAND = 128  # columns that are transposed at once: few enough to stay in the first-level cache

# So many micro-panels of A make a block; up to so many, packing B would cost more than it saves. A whose columns lie
# apart is packed where its depth takes so many pages that they are forgotten before the next micro-panel.
cdef extern from *:
    """
    #define NR (2 * LANES)
    #define MC (24 * MR)
    #define B_IN_PLACE (12 * MR)
    #define A_PAGES (24 * MR)
    """
    enum:
        NR
        MC
        B_IN_PLACE
        A_PAGES


cdef Py_ssize_t packing_floats(Py_ssize_t n, Py_ssize_t k) noexcept nogil:
    """Room that `sgemm` needs to pack its operands: a block of A, then one of B and a panel at its edge."""
    return min(k, <Py_ssize_t>KC) * (MC + min(n, <Py_ssize_t>NC) + NR)


cdef inline void accumulate(
    const int rows, const int vectors, Py_ssize_t k, const float* a, Py_ssize_t rs_a, Py_ssize_t cs_a,
    const float* b, Py_ssize_t rs_b, vfloat* acc,
) noexcept nogil:
    """acc (rows, vectors) += A @ B, in registers: `rows` and `vectors` are literals where this is called."""
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


cdef inline void micro_kernel(
    const int rows, const int vectors, Py_ssize_t k,
    const float* a, Py_ssize_t rs_a, Py_ssize_t cs_a,
    const float* b, Py_ssize_t rs_b,
    float beta, float* c, Py_ssize_t rs_c, Py_ssize_t last,
) noexcept nogil:
    """c = a @ b + beta * c, the accumulators in registers.

    c has `rows` rows of `vectors` vectors, the last of which counts `last` columns; b has whole vectors. `rows` and
    `vectors` are literals where this is called, so that the compiler unrolls the loops over them.
    """
    cdef vfloat acc[MR * WIDE]
    cdef vfloat x, scale
    cdef int i, j, end = (vectors - 1) * LANES
    if beta == 0:
        x = vbroadcast(0)
        for i in range(rows):
            for j in range(vectors):
                acc[i * vectors + j] = x
    else:
        scale = vbroadcast(beta)
        for i in range(rows):
            for j in range(vectors - 1):
                acc[i * vectors + j] = scale * vload(c + i * rs_c + j * LANES)
            acc[i * vectors + vectors - 1] = scale * vload_part(c + i * rs_c + end, last)
    accumulate(rows, vectors, k, a, rs_a, cs_a, b, rs_b, acc)
    for i in range(rows):
        for j in range(vectors - 1):
            vstore(c + i * rs_c + j * LANES, acc[i * vectors + j])
        vstore_part(c + i * rs_c + end, acc[i * vectors + vectors - 1], last)


cdef inline Py_ssize_t first_rows(
    Py_ssize_t rows, const int vectors, Py_ssize_t k, const float* a, Py_ssize_t rs_a, Py_ssize_t cs_a,
    const float* b, Py_ssize_t rs_b, float beta, float* c, Py_ssize_t rs_c, Py_ssize_t last,
) noexcept nogil:
    """Compute the first rows of a tile, in one whose height the compiler knows; how many is the answer."""
    if rows >= MR:
        micro_kernel(MR, vectors, k, a, rs_a, cs_a, b, rs_b, beta, c, rs_c, last)
        return MR
    if MR > 10 and rows >= 10:  # the ten digits
        micro_kernel(10, vectors, k, a, rs_a, cs_a, b, rs_b, beta, c, rs_c, last)
        return 10
    if MR > 8 and rows >= 8:
        micro_kernel(8, vectors, k, a, rs_a, cs_a, b, rs_b, beta, c, rs_c, last)
        return 8
    if rows >= 4:
        micro_kernel(4, vectors, k, a, rs_a, cs_a, b, rs_b, beta, c, rs_c, last)
        return 4
    if rows >= 2:
        micro_kernel(2, vectors, k, a, rs_a, cs_a, b, rs_b, beta, c, rs_c, last)
        return 2
    micro_kernel(1, vectors, k, a, rs_a, cs_a, b, rs_b, beta, c, rs_c, last)
    return 1


cdef void gemm_tile(
    Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t k, const float* a, Py_ssize_t rs_a, Py_ssize_t cs_a,
    const float* b, Py_ssize_t rs_b, float beta, float* c, Py_ssize_t rs_c,
) noexcept nogil:
    """c (rows, columns) = a @ b + beta * c, at most MR by NR; the rows or the columns of a lie side by side."""
    cdef Py_ssize_t done, last = columns - LANES if columns > LANES else columns
    while rows > 0:
        if columns > LANES and rs_a == 1:
            done = first_rows(rows, 2, k, a, 1, cs_a, b, rs_b, beta, c, rs_c, last)
        elif columns > LANES:
            done = first_rows(rows, 2, k, a, rs_a, 1, b, rs_b, beta, c, rs_c, last)
        elif rs_a == 1:
            done = first_rows(rows, 1, k, a, 1, cs_a, b, rs_b, beta, c, rs_c, last)
        else:
            done = first_rows(rows, 1, k, a, rs_a, 1, b, rs_b, beta, c, rs_c, last)
        rows -= done
        a += done * rs_a
        c += done * rs_c


cdef void gemm_tile_apart(
    Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t k, const float* a, Py_ssize_t rs_a, Py_ssize_t cs_a,
    const float* b, Py_ssize_t rs_b, float beta, float* c, Py_ssize_t rs_c, Py_ssize_t cs_c,
) noexcept nogil:
    """The same for a C whose columns lie apart in memory."""
    cdef float near[MR * 2 * LANES]
    if beta != 0:
        copy(rows, columns, c, rs_c, cs_c, near, NR, 1)
    gemm_tile(rows, columns, k, a, rs_a, cs_a, b, rs_b, beta, near, NR)
    copy(rows, columns, near, NR, 1, c, rs_c, cs_c)


cdef void copy(
    Py_ssize_t m, Py_ssize_t n, const float* x, Py_ssize_t rs_x, Py_ssize_t cs_x,
    float* to, Py_ssize_t rs_to, Py_ssize_t cs_to,
) noexcept nogil:
    """to (m, n) = x. Quick where both lie by rows, or both by columns, or one so and the other so."""
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
        for j from 0 <= j < n - n % 4 by BAND:
            copy_transposed(m, min(n - n % 4 - j, <Py_ssize_t>BAND), x + j, rs_x, to + j * cs_to, cs_to)
        if n % 4:  # the last four columns, some of them for the second time
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
        else:  # the last four rows, some of them for the second time
            row = min(i, m - 4)
            for j from 0 <= j < n by 4:
                transpose_4x4(x + row * rs_x + j, rs_x, to + row + j * cs_to, cs_to)
            i += 4


cdef void pack_a(
    Py_ssize_t m, Py_ssize_t k, float alpha, const float* a, Py_ssize_t rs_a, Py_ssize_t cs_a, float* to
) noexcept nogil:
    """alpha * A block (m, k) into micro-panels of MR rows; the last one has the rows that are left."""
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


cdef void scale_matrix(
    Py_ssize_t m, Py_ssize_t n, float beta, float* c, Py_ssize_t rs_c, Py_ssize_t cs_c
) noexcept nogil:
    cdef Py_ssize_t i, j
    for i in range(m):
        for j in range(n):
            c[i * rs_c + j * cs_c] = 0 if beta == 0 else beta * c[i * rs_c + j * cs_c]


cdef void few_rows(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, const float* a, Py_ssize_t rs_a, Py_ssize_t cs_a,
    const float* b, Py_ssize_t rs_b, float beta, float* c, Py_ssize_t rs_c, float* packing,
) noexcept nogil:
    """A matrix-vector product for each row: B (unit column stride) is read where it lies."""
    cdef Py_ssize_t i, j, p, kc
    cdef Py_ssize_t whole = n - n % LANES
    for i in range(m):
        j = 0
        while j + WIDE * LANES <= n:
            micro_kernel(1, WIDE, k, a + i * rs_a, 0, cs_a, b + j, rs_b, beta, c + i * rs_c + j, 0, LANES)
            j += WIDE * LANES
        while j + LANES <= n:
            micro_kernel(1, 1, k, a + i * rs_a, 0, cs_a, b + j, rs_b, beta, c + i * rs_c + j, 0, LANES)
            j += LANES
    if whole == n:
        return
    for p from 0 <= p < k by KC:  # the columns that fill no vector
        kc = min(k - p, <Py_ssize_t>KC)
        pack_panel_of_b(n - whole, kc, b + p * rs_b + whole, rs_b, 1, packing)
        for i in range(m):
            micro_kernel(
                1, 1, kc, a + i * rs_a + p * cs_a, 0, cs_a, packing, LANES, beta if p == 0 else 1,
                c + i * rs_c + whole, 0, n - whole,
            )


cdef inline void transpose_block(const float* a, Py_ssize_t rs_a, int number, float* to) noexcept nogil:
    """to (AHEAD, NR) = A (NR, AHEAD).T, one of its blocks of 8 rows and 4 columns: there are AHEAD, if LANES is 16."""
    cdef int row = number % (NR // 8) * 8, column = number // (NR // 8) * 4
    transpose_8x4(a + row * rs_a + column, rs_a, to + column * NR + row, NR)


cdef void ten_columns(
    Py_ssize_t m, Py_ssize_t k, const float* a, Py_ssize_t rs_a, const float* b, Py_ssize_t rs_b,
    float beta, float* c, Py_ssize_t rs_c, Py_ssize_t cs_c,
) noexcept nogil:
    """C (m, DIGITS) = A @ B + beta * C, A and B by rows; m is a multiple of NR, k at least AHEAD.

    Beside each step of p one block of A is transposed for the steps that follow: the shuffles cost little while fmas
    are the limit. What the next round will transpose is prefetched.
    """
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
                accumulate(DIGITS, 2, 1, b + (p + step) * rs_b, 1, rs_b, near[turn] + step * NR, NR, acc)
                prefetch(following + 2 * step * rs_a + AHEAD, 0, 3)
                prefetch(following + (2 * step + 1) * rs_a + AHEAD, 0, 3)
                transpose_block(following, rs_a, step, near[1 - turn])
            turn = 1 - turn
        if whole < k:
            copy(NR, k - whole, a + i * rs_a + whole, rs_a, 1, near[1 - turn], 1, NR)
            accumulate(DIGITS, 2, k - whole, b + whole * rs_b, 1, rs_b, near[1 - turn], NR, acc)
        for j in range(DIGITS * 2):
            vstore(turned + j * LANES, acc[j])
        copy(DIGITS, NR, turned, NR, 1, c + i * rs_c, cs_c, rs_c)


cdef void sgemm(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, float alpha,
    const float* a, Py_ssize_t rs_a, Py_ssize_t cs_a,
    const float* b, Py_ssize_t rs_b, Py_ssize_t cs_b,
    float beta, float* c, Py_ssize_t rs_c, Py_ssize_t cs_c,
    float* packing,
) noexcept nogil:
    """C (m, n) = alpha * A (m, k) @ B (k, n) + beta * C, element (i, j) at `i * rs + j * cs` floats.

    `packing` has room for `packing_floats(n, k)`, at least 64-byte aligned. With beta 0, C is not read; with
    alpha 0, A and B are not.
    """
    cdef Py_ssize_t jc, pc, ic, jr, ir, nc, kc, mc, rows, columns, depth
    cdef Py_ssize_t rs_panel_a, cs_panel_a, rs_panel_b
    cdef bint a_in_place, b_by_rows, b_in_place
    cdef float start
    cdef float* packed_a
    cdef float* packed_b
    cdef const float* panel_a
    cdef const float* panel_b
    if m <= 0 or n <= 0:
        return
    if k <= 0 or alpha == 0:
        if beta != 1:
            scale_matrix(m, n, beta, c, rs_c, cs_c)
        return
    if m <= FEW_ROWS and alpha == 1 and cs_b == 1 and cs_c == 1:
        few_rows(m, n, k, a, rs_a, cs_a, b, rs_b, beta, c, rs_c, packing)
        return
    if (
        LANES == 16 and MR >= DIGITS == n and m >= NR and k >= 4 * AHEAD
        and alpha == 1 and cs_a == 1 and cs_b == 1 and rs_a % FEW_SETS != 0
    ):
        rows = m - m % NR
        ten_columns(rows, k, a, rs_a, b, rs_b, beta, c, rs_c, cs_c)
        sgemm(m - rows, n, k, 1, a + rows * rs_a, rs_a, 1, b, rs_b, 1, beta, c + rows * rs_c, rs_c, cs_c, packing)
        return
    if n <= NARROW and m > NARROW and alpha == 1:
        sgemm(n, m, k, 1, b, cs_b, rs_b, a, cs_a, rs_a, beta, c, cs_c, rs_c, packing)
        return
    a_in_place = alpha == 1 and (cs_a == 1 or (rs_a == 1 and k <= A_PAGES)) and (n <= A_IN_PLACE or m <= MR)
    b_by_rows = cs_b == 1
    b_in_place = b_by_rows and (m <= NARROW or (m <= B_IN_PLACE and rs_b <= B_NEAR))
    depth = (k + KC - 1) // KC  # as many blocks, of one size
    depth = (k + depth - 1) // depth
    packed_a, packed_b = packing, packing + depth * MC
    for jc from 0 <= jc < n by NC:
        nc = min(n - jc, <Py_ssize_t>NC)
        for pc from 0 <= pc < k by depth:
            kc = min(k - pc, depth)
            start = beta if pc == 0 else 1
            if b_by_rows and not b_in_place:
                pack_rows_of_b(nc - nc % NR, kc, b + pc * rs_b + jc, rs_b, packed_b)
            for ic from 0 <= ic < m by MC:
                mc = min(m - ic, <Py_ssize_t>MC)
                if not a_in_place:
                    pack_a(mc, kc, alpha, a + ic * rs_a + pc * cs_a, rs_a, cs_a, packed_a)
                for jr from 0 <= jr < nc by NR:
                    columns = min(nc - jr, <Py_ssize_t>NR)
                    panel_b, rs_panel_b = packed_b + jr * kc, NR if columns > LANES else LANES
                    if b_in_place and columns == NR:
                        panel_b, rs_panel_b = b + pc * rs_b + jc + jr, rs_b
                    elif not b_by_rows or columns < NR:
                        if m <= MC:
                            panel_b = packed_b  # no other block of A will ask for it
                        if ic == 0:
                            pack_panel_of_b(
                                columns, kc, b + pc * rs_b + (jc + jr) * cs_b, rs_b, cs_b, <float*>panel_b
                            )
                    for ir from 0 <= ir < mc by MR:
                        rows = min(mc - ir, <Py_ssize_t>MR)
                        if a_in_place:
                            panel_a = a + (ic + ir) * rs_a + pc * cs_a
                            rs_panel_a, cs_panel_a = rs_a, cs_a
                        else:
                            panel_a = packed_a + ir * kc
                            rs_panel_a, cs_panel_a = 1, rows
                        if cs_c == 1:
                            gemm_tile(
                                rows, columns, kc, panel_a, rs_panel_a, cs_panel_a, panel_b, rs_panel_b, start,
                                c + (ic + ir) * rs_c + jc + jr, rs_c,
                            )
                        else:
                            gemm_tile_apart(
                                rows, columns, kc, panel_a, rs_panel_a, cs_panel_a, panel_b, rs_panel_b, start,
                                c + (ic + ir) * rs_c + (jc + jr) * cs_c, rs_c, cs_c,
                            )


cdef void multiply(
    const Matrix* a, const Matrix* b, Matrix* c, float alpha, float beta, float* packing
) noexcept nogil:
    sgemm(
        c.rows, c.columns, a.columns, alpha, a.data, a.rs, a.cs, b.data, b.rs, b.cs, beta, c.data, c.rs, c.cs, packing
    )


cdef Buffer _idle = None  # packing buffers that no call is using; a call takes the first and gives it back


cdef Buffer _take_packing(Py_ssize_t floats):
    """Fresh memory would cost as much as a small product: the system clears its pages."""
    global _idle
    cdef Buffer buffer = _idle
    if buffer is not None:
        _idle = buffer.next
        buffer.next = None
        if buffer.nbytes >= 4 * floats:
            return buffer
    return Buffer(floats)


cdef void _give_back(Buffer buffer):
    global _idle
    buffer.next = _idle
    _idle = buffer


def gemm(a, b, out=None, *, double alpha=1, double beta=0):
    """`alpha * a @ b + beta * out`, written to `out` (m, n) and returned.

    `a` (m, k), `b` (k, n) and `out` are float32 with any strides, so `gemm(a.T, b)` copies nothing. Without
    `out` a new array is made, and beta must be 0. With beta 0 the values in `out` are not read, be they NaN;
    with alpha 0 those of `a` and `b` are not. Each element is summed over k in order, with fused
    multiply-adds where the instruction set has them.

    Raises `TypeError` for another dtype or number of dimensions, `ValueError` for shapes that do not fit,
    memory that cannot be written, or an `out` that overlaps an operand.
    """
    cdef Matrix x = _strided_matrix("a", a), y = _strided_matrix("b", b), z
    if y.rows != x.columns:
        raise ValueError(f"a has shape {a.shape} and b {b.shape}: a's columns must be as many as b's rows")
    if out is None:
        if beta != 0:
            raise ValueError("beta is not 0, but there is no out to scale: give out, or beta=0")
        out = np.empty((x.rows, y.columns), dtype=np.float32)
        z = _strided_matrix("out", out)
    else:
        z = _strided_matrix("out", out, True)
        if z.rows != x.rows or z.columns != y.columns:
            _same_shape("out", out, "the product", (x.rows, y.columns))
        if (z.rows > 1 and z.rs == 0 and z.columns) or (z.columns > 1 and z.cs == 0 and z.rows):
            raise ValueError("out has elements that share memory (a stride of 0)")
        _apart("out", out, "a", a)
        _apart("out", out, "b", b)
    cdef Buffer packing = _take_packing(packing_floats(y.columns, x.columns))
    if <double>x.rows * x.columns * y.columns < WORTH_A_SWITCH:
        multiply(&x, &y, &z, <float>alpha, <float>beta, packing.data)
    else:
        with nogil:
            multiply(&x, &y, &z, <float>alpha, <float>beta, packing.data)
    _give_back(packing)
    return out
