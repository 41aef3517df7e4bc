# C = alpha * A @ B + beta * C, float32, any strides. The five loops around a micro-kernel of Goto and van de
# Geijn (2008), named as in BLIS (Van Zee and van de Geijn 2015, section 3).
#
#   jc  columns of B and C by NC     B block (KC, NC) is packed once for all rows of A
#   pc  the sum over k by KC
#   ic  rows of A and C by MC        A block (MC, KC) is packed to stay in the second-level cache
#   jr  micro-panels of B by NR      (KC, NR) stays in the first-level cache
#   ir  micro-panels of A by MR      one register tile: micro_kernel
#
# Packed micro-panels, p running over k (a panel at the edge is as narrow as it has rows, or whole vectors):
#   A: a(0,p) a(1,p) … a(MR-1,p) | a(0,p+1) …        B: b(p,0) b(p,1) … b(p,NR-1) | b(p+1,0) …
#
# Every element of C is summed over k from first to last, one fma at a time, whatever the tile it falls into:
# the first block of k starts from beta * C, each later one from where the last one stopped. So the bits of
# a row do not depend on how many rows there are, and a sum over rows may be cut anywhere and continued.

cdef extern from "simd.h":
    ctypedef float vfloat  # a vector; Cython needs to know only that it can be copied
    vfloat vload(const float* source) noexcept nogil
    void vstore(float* to, vfloat x) noexcept nogil
    vfloat vbroadcast(float x) noexcept nogil
    vfloat vfma(vfloat a, vfloat b, vfloat c) noexcept nogil
    enum:
        LANES
        MR

cdef enum:
    KC = 256  # a micro-panel of B, KC * NR * 4 bytes, takes half of a 32 KiB first-level cache or less
    NC = 2048
    A_IN_PLACE = 256  # columns of B up to which A is read once or twice where it lies: packing would cost more
    FEW_ROWS = 3  # with so few rows, packing B costs more than it saves
    WIDE = 8  # vectors of one row that hide the latency of fma where there is no second row

# One tile is MR rows by two vectors.
cdef extern from *:
    """
    #define NR (2 * LANES)
    #define MC (24 * MR)
    """
    enum:
        NR
        MC


cdef Py_ssize_t packing_floats(Py_ssize_t n, Py_ssize_t k) noexcept nogil:
    """Room that `sgemm` needs to pack its operands."""
    cdef Py_ssize_t depth = min(k, <Py_ssize_t>KC)
    return depth * (MC + min(n + LANES, <Py_ssize_t>NC + NR))


cdef inline void micro_kernel(
    const int rows, const int vectors, Py_ssize_t k,
    const float* a, Py_ssize_t rs_a, Py_ssize_t cs_a,
    const float* b, Py_ssize_t rs_b,
    float beta, float* c, Py_ssize_t rs_c,
) noexcept nogil:
    """c[:rows, :vectors*LANES] = a @ b + beta * c, the accumulators in registers.

    `rows` and `vectors` are literals where this is called, so that the compiler unrolls the loops over them.
    """
    cdef vfloat acc[MR * WIDE]
    cdef vfloat x, scale
    cdef Py_ssize_t p
    cdef int i, j
    if beta == 0:
        x = vbroadcast(0)
        for i in range(rows):
            for j in range(vectors):
                acc[i * vectors + j] = x
    else:
        scale = vbroadcast(beta)
        for i in range(rows):
            for j in range(vectors):
                acc[i * vectors + j] = scale * vload(c + i * rs_c + j * LANES)
    for p in range(k):
        for i in range(rows):
            x = vbroadcast(a[i * rs_a])
            for j in range(vectors):
                acc[i * vectors + j] = vfma(x, vload(b + j * LANES), acc[i * vectors + j])
        a += cs_a
        b += rs_b
    for i in range(rows):
        for j in range(vectors):
            vstore(c + i * rs_c + j * LANES, acc[i * vectors + j])


cdef void full_tile(
    Py_ssize_t k, const float* a, Py_ssize_t rs_a, Py_ssize_t cs_a, const float* b, float beta,
    float* c, Py_ssize_t rs_c,
) noexcept nogil:
    if rs_a == 1:
        micro_kernel(MR, 2, k, a, 1, cs_a, b, NR, beta, c, rs_c)
    else:
        micro_kernel(MR, 2, k, a, rs_a, 1, b, NR, beta, c, rs_c)


cdef void edge_tile(
    Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t k, const float* a, Py_ssize_t rs_a, Py_ssize_t cs_a,
    const float* b, float beta, float* c, Py_ssize_t rs_c, Py_ssize_t cs_c,
) noexcept nogil:
    """A tile with fewer rows or columns than the register tile, or whose columns lie apart in memory."""
    cdef float tile[MR * 2 * LANES]
    cdef Py_ssize_t i, j
    cdef Py_ssize_t vectors = (columns + LANES - 1) // LANES, width = vectors * LANES
    if beta != 0:
        for i in range(rows):
            for j in range(columns):
                tile[i * width + j] = c[i * rs_c + j * cs_c]
            for j in range(columns, width):
                tile[i * width + j] = 0
    # Each step computes as many rows as are left, in tiles whose height the compiler knows.
    i = 0
    while i < rows:
        if vectors == 2:
            i += edge_rows(rows - i, 2, k, a + i * rs_a, rs_a, cs_a, b, beta, tile + i * width)
        else:
            i += edge_rows(rows - i, 1, k, a + i * rs_a, rs_a, cs_a, b, beta, tile + i * width)
    for i in range(rows):
        for j in range(columns):
            c[i * rs_c + j * cs_c] = tile[i * width + j]


cdef inline Py_ssize_t edge_rows(
    Py_ssize_t rows, const int vectors, Py_ssize_t k, const float* a, Py_ssize_t rs_a, Py_ssize_t cs_a,
    const float* b, float beta, float* c,
) noexcept nogil:
    """Compute the first rows of a tile; how many is the answer."""
    if rows >= MR:
        micro_kernel(MR, vectors, k, a, rs_a, cs_a, b, vectors * LANES, beta, c, vectors * LANES)
        return MR
    if rows >= 4:
        micro_kernel(4, vectors, k, a, rs_a, cs_a, b, vectors * LANES, beta, c, vectors * LANES)
        return 4
    if rows >= 2:
        micro_kernel(2, vectors, k, a, rs_a, cs_a, b, vectors * LANES, beta, c, vectors * LANES)
        return 2
    micro_kernel(1, vectors, k, a, rs_a, cs_a, b, vectors * LANES, beta, c, vectors * LANES)
    return 1


cdef void pack_a(
    Py_ssize_t m, Py_ssize_t k, float alpha, const float* a, Py_ssize_t rs_a, Py_ssize_t cs_a, float* to
) noexcept nogil:
    """alpha * A block (m, k) into micro-panels of MR rows; the last one has the rows that are left."""
    cdef Py_ssize_t i, p, r, rows
    for i from 0 <= i < m by MR:
        rows = min(m - i, <Py_ssize_t>MR)
        if rs_a == 1:
            for p in range(k):
                for r in range(rows):
                    to[p * rows + r] = alpha * a[i + r + p * cs_a]
        else:
            for r in range(rows):
                for p in range(k):
                    to[p * rows + r] = alpha * a[(i + r) * rs_a + p * cs_a]
        to += rows * k


cdef void pack_b(
    Py_ssize_t n, Py_ssize_t k, const float* b, Py_ssize_t rs_b, Py_ssize_t cs_b, float* to
) noexcept nogil:
    """B block (k, n) into micro-panels of NR columns; the last one has whole vectors, zeros in the surplus."""
    cdef Py_ssize_t j, p, s, columns, width
    for j from 0 <= j < n by NR:
        columns = min(n - j, <Py_ssize_t>NR)
        width = (columns + LANES - 1) // LANES * LANES
        if columns < width:
            memset(to, 0, width * k * sizeof(float))
        if cs_b == 1 and columns == NR:
            for p in range(k):
                vstore(to + p * NR, vload(b + p * rs_b + j))
                vstore(to + p * NR + LANES, vload(b + p * rs_b + j + LANES))
        elif cs_b == 1:
            for p in range(k):
                for s in range(columns):
                    to[p * width + s] = b[p * rs_b + j + s]
        else:
            for s in range(columns):
                for p in range(k):
                    to[p * width + s] = b[p * rs_b + (j + s) * cs_b]
        to += width * k


cdef void scale_matrix(
    Py_ssize_t m, Py_ssize_t n, float beta, float* c, Py_ssize_t rs_c, Py_ssize_t cs_c
) noexcept nogil:
    cdef Py_ssize_t i, j
    for i in range(m):
        for j in range(n):
            c[i * rs_c + j * cs_c] = 0 if beta == 0 else beta * c[i * rs_c + j * cs_c]


cdef void few_rows(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, const float* a, Py_ssize_t rs_a, Py_ssize_t cs_a,
    const float* b, Py_ssize_t rs_b, float beta, float* c, Py_ssize_t rs_c, float* packed,
) noexcept nogil:
    """A matrix-vector product for each row: B (unit column stride) is read where it lies."""
    cdef Py_ssize_t i, j
    cdef Py_ssize_t whole = n - n % LANES
    cdef float tail[LANES]
    for i in range(m):
        j = 0
        while j + WIDE * LANES <= n:
            micro_kernel(1, WIDE, k, a + i * rs_a, 0, cs_a, b + j, rs_b, beta, c + i * rs_c + j, 0)
            j += WIDE * LANES
        while j + LANES <= n:
            micro_kernel(1, 1, k, a + i * rs_a, 0, cs_a, b + j, rs_b, beta, c + i * rs_c + j, 0)
            j += LANES
    if whole == n:
        return
    for j from 0 <= j < k by KC:  # the columns that fill no vector, in the packing buffer
        pack_b(n - whole, min(k - j, <Py_ssize_t>KC), b + j * rs_b + whole, rs_b, 1, packed)
        for i in range(m):
            memset(tail, 0, sizeof(tail))
            memcpy(tail, c + i * rs_c + whole, (n - whole) * sizeof(float))
            micro_kernel(
                1, 1, min(k - j, <Py_ssize_t>KC), a + i * rs_a + j * cs_a, 0, cs_a, packed, LANES,
                beta if j == 0 else 1, tail, 0,
            )
            memcpy(c + i * rs_c + whole, tail, (n - whole) * sizeof(float))


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
    cdef Py_ssize_t jc, pc, ic, jr, ir, nc, kc, mc, rows, columns
    cdef Py_ssize_t rs_panel, cs_panel
    cdef bint in_place = alpha == 1 and (rs_a == 1 or cs_a == 1) and n <= A_IN_PLACE
    cdef float start
    cdef float* packed_a
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
    packed_a = packing + min(k, <Py_ssize_t>KC) * min(n + LANES, <Py_ssize_t>NC + NR)
    for jc from 0 <= jc < n by NC:
        nc = min(n - jc, <Py_ssize_t>NC)
        for pc from 0 <= pc < k by KC:
            kc = min(k - pc, <Py_ssize_t>KC)
            start = beta if pc == 0 else 1
            pack_b(nc, kc, b + pc * rs_b + jc * cs_b, rs_b, cs_b, packing)
            for ic from 0 <= ic < m by MC:
                mc = min(m - ic, <Py_ssize_t>MC)
                if not in_place:
                    pack_a(mc, kc, alpha, a + ic * rs_a + pc * cs_a, rs_a, cs_a, packed_a)
                for jr from 0 <= jr < nc by NR:
                    columns = min(nc - jr, <Py_ssize_t>NR)
                    panel_b = packing + jr * kc
                    for ir from 0 <= ir < mc by MR:
                        rows = min(mc - ir, <Py_ssize_t>MR)
                        if in_place:
                            panel_a = a + (ic + ir) * rs_a + pc * cs_a
                            rs_panel, cs_panel = rs_a, cs_a
                        else:
                            panel_a = packed_a + ir * kc
                            rs_panel, cs_panel = 1, rows
                        if rows == MR and columns == NR and cs_c == 1:
                            full_tile(
                                kc, panel_a, rs_panel, cs_panel, panel_b, start,
                                c + (ic + ir) * rs_c + jc + jr, rs_c,
                            )
                        else:
                            edge_tile(
                                rows, columns, kc, panel_a, rs_panel, cs_panel, panel_b, start,
                                c + (ic + ir) * rs_c + (jc + jr) * cs_c, rs_c, cs_c,
                            )


cdef list _idle = []  # packing buffers that no call is using; a call takes one and gives it back


cdef Buffer _packing(Py_ssize_t floats):
    """Fresh memory costs as much as a small product: its pages are cleared by the kernel."""
    cdef Buffer buffer
    if _idle:
        buffer = _idle.pop()
        if buffer.nbytes >= 4 * floats:
            return buffer
    return Buffer(floats)


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
    cdef Buffer packing = _packing(packing_floats(y.columns, x.columns))
    with nogil:
        sgemm(
            x.rows, y.columns, x.columns, <float>alpha, x.data, x.rs, x.cs, y.data, y.rs, y.cs,
            <float>beta, z.data, z.rs, z.cs, packing.data,
        )
    _idle.append(packing)
    return out
