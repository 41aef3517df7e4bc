# The three matrix products of a linear layer, on weights that lie as the products read them.
#
# Packed, W (inputs, outputs) is cut into panels of P columns, zeros in the surplus of the last one:
#
#   w(0,0) … w(0,P-1) | w(1,0) … w(1,P-1) | … | w(inputs-1,P-1)      the next P columns      …
#
# Nothing is packed within a step: each product reads its operands in place.
#
#   forward    Y   (rows, outputs) = X (rows, inputs) @ W                          B is a panel
#   d_weight   G   (inputs, outputs) = X.T @ D                                     C is a panel
#   d_input    D'.T (inputs, rows) = W (inputs, outputs) @ D.T (outputs, rows)     A is a panel, read by rows
#
# The last one is computed transposed so that it runs along the rows of W; D.T lies in panels of NR rows of the batch,
# and the result is transposed back tile by tile. The update is applied where a tile of G is complete, so a gradient is
# only written where a batch has several micro-batches. Every sum runs over k in order, one fma at a time; the first
# layer's Y is the sum of two such sums, each over half of the inputs (`Linear.half`).

cdef extern from *:
    """
    #define UNITS (4 * MR)
    """
    enum:
        UNITS  # inputs whose gradients are computed before they are transposed: whole tiles, and whole vectors

cdef enum:
    FEW_ROWS = 3  # fewer than any register tile has: alone, their sums would wait for the latency of fma


cdef struct Product:
    # C (m, vectors * LANES) = A (m, k) @ B. A's columns lie in runs of `run`, each `jump` floats after the last;
    # rows of B follow one another every rs_b floats. C is workspace, or with `update` parameters from `at` on.
    Py_ssize_t k, segment, ld_a
    const float* a
    Py_ssize_t rs_a, cs_a
    const float* b
    Py_ssize_t rs_b
    float* c
    Py_ssize_t rs_c
    const Update* update
    Py_ssize_t at


cdef inline void linear_tile(const int rows, const int vectors, const Product* p, Py_ssize_t first) noexcept nogil:
    """The product's rows from `first` on."""
    cdef vfloat acc[MR * 2]
    cdef const float* a = p.a + first * p.rs_a
    cdef const float* b = p.b
    cdef float* c = p.c + first * p.rs_c
    cdef Py_ssize_t at = p.at + first * p.rs_c, left = p.k, length
    cdef int i, j
    for i in range(rows):
        for j in range(vectors):
            acc[i * vectors + j] = vbroadcast(0)
    if p.update != NULL and not p.update.starts:
        for i in range(rows):
            for j in range(vectors):
                acc[i * vectors + j] = accumulated(p.update, at + i * p.rs_c + j * LANES)
    while left > 0:
        length = min(left, p.segment)
        if p.rs_a == 1:
            accumulate(rows, vectors, True, length, Operands(a, 1, p.cs_a, b, p.rs_b), acc)
        else:
            accumulate(rows, vectors, False, length, Operands(a, p.rs_a, 1, b, p.rs_b), acc)
        a += p.ld_a
        b += length * p.rs_b
        left -= length
    if p.update != NULL:
        apply_update(rows, vectors, p.update, at, p.rs_c, acc)
        return
    for i in range(rows):
        for j in range(vectors):
            vstore(c + i * p.rs_c + j * LANES, acc[i * vectors + j])


cdef inline void linear_tiles(const int vectors, const Product* p, Py_ssize_t m) noexcept nogil:
    """Rows 0 to m, in register tiles whose height the compiler knows."""
    cdef Py_ssize_t i = 0
    while i + MR <= m:
        linear_tile(MR, vectors, p, i)
        i += MR
    while i + 4 <= m:
        linear_tile(4, vectors, p, i)
        i += 4
    while i < m:
        linear_tile(1, vectors, p, i)
        i += 1


cdef void linear_product(const Product* p, Py_ssize_t m, Py_ssize_t columns) noexcept nogil:
    """m rows of up to NR columns, which are whole vectors."""
    if columns > LANES:
        linear_tiles(2, p, m)
    else:
        linear_tiles(1, p, m)


cdef Py_ssize_t panel_start(const Linear* layer, Py_ssize_t column) noexcept nogil:
    """Where a column of W begins, in its packed form; rows follow every layer.panel floats."""
    return layer.packed_weight + column // layer.panel * layer.panel * layer.inputs + column % layer.panel


cdef inline void inputs_of(const Linear* layer, int half, Py_ssize_t* first, Py_ssize_t* end) noexcept nogil:
    """The inputs that a half of a layer's product sums over; all of them in a layer without halves."""
    first[0] = layer.half if half else 0
    end[0] = layer.inputs if half else layer.half


cdef void dense_forward(
    const Linear* layer, const float* packed, Block tile, int half, const float* x, Py_ssize_t rs_x, float* c
) noexcept nogil:
    """C = a tile, of columns of one panel, of X @ W over half of the inputs; `x` is X's first row."""
    cdef Py_ssize_t first, end, columns = tile.end_column - tile.column
    inputs_of(layer, half, &first, &end)
    cdef Product p = Product(
        end - first, end - first, 0, x + tile.row * rs_x + first, rs_x, 1,
        packed + panel_start(layer, tile.column) + first * layer.panel, layer.panel, c, columns, NULL, 0,
    )
    linear_product(&p, tile.end_row - tile.row, columns)


cdef inline void few_rows(
    const int rows, const int vectors, const Linear* layer, const float* x, Py_ssize_t rs_x, const float* w,
    float* const* sums
) noexcept nogil:
    """Both halves of the first layer's product, `rows` by `vectors`; `w` is the first row of W in a panel."""
    cdef Py_ssize_t p, half = layer.half, rest = layer.inputs - layer.half, panel = layer.panel
    cdef const float* x_rest = x + half
    cdef const float* w_rest = w + half * panel
    cdef vfloat first[FEW_ROWS * 2]
    cdef vfloat second[FEW_ROWS * 2]
    cdef int i
    for i in range(rows * vectors):
        first[i] = second[i] = vbroadcast(0)
    for p in range(half):
        accumulate(rows, vectors, False, 1, Operands(x + p, rs_x, 1, w + p * panel, panel), first)
        accumulate(rows, vectors, False, 1, Operands(x_rest + p, rs_x, 1, w_rest + p * panel, panel), second)
    # The first half is never longer than the second.
    accumulate(
        rows, vectors, False, rest - half, Operands(x_rest + half, rs_x, 1, w_rest + half * panel, panel), second
    )
    for i in range(rows * vectors):
        vstore(sums[0] + i * LANES, first[i])
        vstore(sums[1] + i * LANES, second[i])


cdef inline void few_rows_of(
    int rows, const int vectors, const Linear* layer, const float* x, Py_ssize_t rs_x, const float* w, float* const* sums
) noexcept nogil:
    """`few_rows` with `rows` as a constant of the compiler."""
    if rows == 1:
        few_rows(1, vectors, layer, x, rs_x, w, sums)
    elif rows == 2:
        few_rows(2, vectors, layer, x, rs_x, w, sums)
    else:
        few_rows(FEW_ROWS, vectors, layer, x, rs_x, w, sums)


cdef void dense_forward_by_halves(
    const Linear* layer, const float* packed, Block tile, const float* x, Py_ssize_t rs_x, float* const* sums
) noexcept nogil:
    """`dense_forward` of both halves at once, for FEW_ROWS at most: each hides the latency of the other's fmas."""
    cdef const float* w = packed + panel_start(layer, tile.column)
    cdef int rows = <int>(tile.end_row - tile.row)
    if tile.end_column - tile.column > LANES:
        few_rows_of(rows, 2, layer, x + tile.row * rs_x, rs_x, w, sums)
    else:
        few_rows_of(rows, 1, layer, x + tile.row * rs_x, rs_x, w, sums)


cdef void dense_d_weight(
    const Linear* layer, Py_ssize_t rows, const float* x, Py_ssize_t rs_x, const float* d,
    Block w, const Update* update,
) noexcept nogil:
    """Block w of G = X.T @ D, accumulated or applied as `update` says."""
    cdef Py_ssize_t column = w.column, columns
    cdef Product p = Product(rows, rows, 0, x + w.row, 1, rs_x, NULL, layer.ld, NULL, layer.panel, update, 0)
    while column < w.end_column:
        columns = min(w.end_column - column, layer.panel - column % layer.panel)
        p.b = d + column
        p.at = panel_start(layer, column) + w.row * layer.panel
        linear_product(&p, w.end_row - w.row, columns)
        column += columns


cdef void bias_update(
    const Linear* layer, Py_ssize_t rows, const float* d, Py_ssize_t first, Py_ssize_t end, const Update* update
) noexcept nogil:
    """The bias's gradient, the sum of D over its rows in order, accumulated or applied as `update` says, without decay."""
    cdef Py_ssize_t column, i
    cdef vfloat total
    cdef Update undecayed = update[0]
    undecayed.weight_decay = 0
    for column from first <= column < end by LANES:
        total = accumulated(update, layer.packed_bias + column)
        for i in range(rows):
            total += vload(d + i * layer.ld + column)
        apply_vector(&undecayed, layer.packed_bias + column, total)


cdef void dense_d_input(
    const Linear* layer, const float* packed, Panels d_transposed, Block block, float* d_x, Py_ssize_t ld
) noexcept nogil:
    """A block of D' (rows, inputs) = D @ W.T, of up to UNITS inputs; `d_x` is the first row of D'.

    Whole vectors of D' are written.
    """
    cdef float transposed[UNITS * NR]
    cdef Py_ssize_t row = block.row, i, unit, columns, within
    cdef Py_ssize_t first = block.column, count = min(block.end_column, layer.inputs) - block.column
    cdef Product p = Product(
        layer.outputs, layer.panel, layer.inputs * layer.panel, packed + layer.packed_weight + first * layer.panel,
        layer.panel, 1, NULL, d_transposed.rows, &transposed[0], NR, NULL, 0,
    )
    if count < UNITS:
        memset(transposed, 0, sizeof(transposed))
    while row < block.end_row:
        within = row % d_transposed.rows
        columns = min(block.end_row - row, d_transposed.rows - within)
        p.b = d_transposed.data + row // d_transposed.rows * d_transposed.ld + within
        linear_product(&p, count, columns)
        for i from 0 <= i < columns by LANES:
            for unit from 0 <= unit < count by LANES:
                transpose(
                    transposed + unit * NR + i, NR, LANES, d_x + (row + i) * ld + first + unit, ld,
                    columns - i,
                )
        row += columns
