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
# An edge panel of A has only the rows that are left. An edge panel of B has one or two whole vectors, padded with zeros.
#
# Packing copies every element, which pays only if enough tiles read the copy. Otherwise a panel is read in place: the
# micro-kernel takes any stride between two steps of p.
# A product of few columns, such as 10 classes, is computed transposed, C.T = B.T @ A.T: its vectors then lie along the
# many rows. For exactly 10 columns, `small_n` transposes A a few steps of p ahead, between the fmas, instead of packing it.
#
# Every element of C is summed over k from first to last, one fma at a time, whatever the tile it falls into:
# the first block of k starts from beta * C, each later one from where the last one stopped. So the bits of
# a row do not depend on how many rows there are, and a sum over rows may be cut anywhere and continued.

cdef enum:
    NC = 2048
    SMALL_N = 12  # columns of C up to which the product is computed transposed
    A_IN_PLACE = 256  # columns of B up to which packing A would cost more than it saves
    B_NEAR = 512  # leading dimension up to which B is read in place; beyond, its rows fall into too few cache sets

# MC: rows of a block of A. B_IN_PLACE: rows of C up to which packing B would cost more than it saves. A_PAGES: a
# column-major A is packed if k exceeds this, as each column may lie on a page of its own, and the TLB would miss.
cdef extern from *:
    """
    #define MC (24 * MR)
    #define B_IN_PLACE (12 * MR)
    #define A_PAGES (24 * MR)
    """
    enum:
        MC
        B_IN_PLACE
        A_PAGES


cdef Py_ssize_t packing_floats(Py_ssize_t n, Py_ssize_t k) noexcept nogil:
    """Room that `sgemm` needs to pack its operands: a block of A, then one of B and a panel at its edge."""
    return min(k, <Py_ssize_t>KC) * (MC + min(n, <Py_ssize_t>NC) + NR)


cdef void scale_matrix(
    Py_ssize_t m, Py_ssize_t n, float beta, float* c, Py_ssize_t rs_c, Py_ssize_t cs_c
) noexcept nogil:
    cdef Py_ssize_t i, j
    for i in range(m):
        for j in range(n):
            c[i * rs_c + j * cs_c] = 0 if beta == 0 else beta * c[i * rs_c + j * cs_c]


cdef struct Plan:
    # How the operands of one product are read.
    const Matrix* a
    const Matrix* b
    const Matrix* c
    float beta
    Py_ssize_t depth  # k is cut into blocks of one size, KC at most
    bint a_in_place
    bint b_by_rows
    bint b_in_place
    float* packed_a
    float* packed_b


cdef inline Plan plan_of(
    const Matrix* a, const Matrix* b, const Matrix* c, float alpha, float beta, float* packing
) noexcept nogil:
    cdef Plan p
    cdef Py_ssize_t m = c.rows, n = c.columns, k = a.columns, blocks = (k + KC - 1) // KC
    p.a, p.b, p.c, p.beta = a, b, c, beta
    p.depth = (k + blocks - 1) // blocks
    p.a_in_place = alpha == 1 and (a.cs == 1 or (a.rs == 1 and k <= A_PAGES)) and (n <= A_IN_PLACE or m <= MR)
    p.b_by_rows = b.cs == 1
    p.b_in_place = p.b_by_rows and (m <= SMALL_N or (m <= B_IN_PLACE and b.rs <= B_NEAR))
    p.packed_a = packing
    p.packed_b = packing + p.depth * MC
    return p


cdef const float* panel_of_b(
    const Plan* p, Py_ssize_t pc, Py_ssize_t kc, Py_ssize_t jc, Py_ssize_t jr, Py_ssize_t columns, bint pack,
    Py_ssize_t* rs
) noexcept nogil:
    """A micro-panel of B: in place, or packed before by `pack_rows_of_b`, or packed here if `pack`."""
    cdef float* packed = p.packed_b + jr * kc
    if p.b_in_place and columns == NR:
        rs[0] = p.b.rs
        return p.b.data + pc * p.b.rs + jc + jr
    rs[0] = NR if columns > LANES else LANES
    if not p.b_by_rows or columns < NR:
        if p.c.rows <= MC:
            packed = p.packed_b  # no other block of A needs it
        if pack:
            pack_panel_of_b(columns, kc, p.b.data + pc * p.b.rs + (jc + jr) * p.b.cs, p.b.rs, p.b.cs, packed)
    return packed


cdef void macro_kernel(
    const Plan* p, Py_ssize_t jc, Py_ssize_t nc, Py_ssize_t pc, Py_ssize_t kc, Py_ssize_t ic, Py_ssize_t mc
) noexcept nogil:
    """Block (mc, nc) of C, from (ic, jc) on: += block of A @ block of B."""
    cdef Py_ssize_t jr, ir
    cdef float* c
    cdef Tile t
    t.k, t.beta = kc, p.beta if pc == 0 else 1
    for jr from 0 <= jr < nc by NR:
        t.columns = min(nc - jr, <Py_ssize_t>NR)
        t.ab.b = panel_of_b(p, pc, kc, jc, jr, t.columns, ic == 0, &t.ab.rs_b)
        for ir from 0 <= ir < mc by MR:
            t.rows = min(mc - ir, <Py_ssize_t>MR)
            if p.a_in_place:
                t.ab.a, t.ab.rs_a, t.ab.cs_a = p.a.data + (ic + ir) * p.a.rs + pc * p.a.cs, p.a.rs, p.a.cs
            else:
                t.ab.a, t.ab.rs_a, t.ab.cs_a = p.packed_a + ir * kc, 1, t.rows
            t.c, t.rs_c = p.c.data + (ic + ir) * p.c.rs + (jc + jr) * p.c.cs, p.c.rs
            if p.c.cs == 1:
                gemm_tile(&t)
            else:
                gemm_tile_strided(&t, p.c.cs)


cdef inline Matrix rows_from(const Matrix* x, Py_ssize_t first) noexcept nogil:
    return Matrix(x.data + first * x.rs, x.rows - first, x.columns, x.rs, x.cs)


cdef inline Matrix transposed(const Matrix* x) noexcept nogil:
    return Matrix(x.data, x.columns, x.rows, x.cs, x.rs)


cdef void sgemm(
    const Matrix* a, const Matrix* b, const Matrix* c, float alpha, float beta, float* packing
) noexcept nogil:
    """C (m, n) = alpha * A (m, k) @ B (k, n) + beta * C.

    `packing` has room for `packing_floats(n, k)`, at least 64-byte aligned. With beta 0, C is not read; with
    alpha 0, A and B are not.
    """
    cdef Py_ssize_t m = c.rows, n = c.columns, k = a.columns, rows
    cdef Matrix a_part, b_part, c_part
    if m <= 0 or n <= 0:
        return
    if k <= 0 or alpha == 0:
        if beta != 1:
            scale_matrix(m, n, beta, c.data, c.rs, c.cs)
    elif m <= GEMV_ROWS and alpha == 1 and b.cs == 1 and c.cs == 1:
        gemv(a, b, c, beta, packing)
    elif (
        LANES == 16 and MR >= DIGITS == n and m >= NR and k >= 4 * AHEAD
        and alpha == 1 and a.cs == 1 and b.cs == 1 and a.rs % FEW_SETS != 0
    ):
        rows = m - m % NR
        small_n(rows, a, b, c, beta)
        a_part, c_part = rows_from(a, rows), rows_from(c, rows)
        sgemm(&a_part, b, &c_part, 1, beta, packing)
    elif n <= SMALL_N and m > SMALL_N and alpha == 1:
        a_part, b_part, c_part = transposed(b), transposed(a), transposed(c)
        sgemm(&a_part, &b_part, &c_part, 1, beta, packing)
    else:
        blocked_gemm(a, b, c, alpha, beta, packing)


cdef void blocked_gemm(
    const Matrix* a, const Matrix* b, const Matrix* c, float alpha, float beta, float* packing
) noexcept nogil:
    """The three outer loops; the inner two are `macro_kernel`."""
    cdef Plan p = plan_of(a, b, c, alpha, beta, packing)
    cdef Py_ssize_t jc, pc, ic, nc, kc, mc
    for jc from 0 <= jc < c.columns by NC:
        nc = min(c.columns - jc, <Py_ssize_t>NC)
        for pc from 0 <= pc < a.columns by p.depth:
            kc = min(a.columns - pc, p.depth)
            if p.b_by_rows and not p.b_in_place:
                pack_rows_of_b(nc - nc % NR, kc, b.data + pc * b.rs + jc, b.rs, p.packed_b)
            for ic from 0 <= ic < c.rows by MC:
                mc = min(c.rows - ic, <Py_ssize_t>MC)
                if not p.a_in_place:
                    pack_a(mc, kc, alpha, a.data + ic * a.rs + pc * a.cs, a.rs, a.cs, p.packed_a)
                macro_kernel(&p, jc, nc, pc, kc, ic, mc)
