# Sparse forward and d_input: blocks of B.

cdef struct SparseBlock:
    # C (count, up to SPARSE_TILE) += A @ B, of A's rows the elements from `first` on, K_BLOCK of them. Of B's columns
    # the second half lies elsewhere, in the next panel; the leading dimension of C is SPARSE_TILE.
    const Row* rows
    const float* pixel  # what bytes count as
    Py_ssize_t count
    Py_ssize_t k  # elements of a whole row
    Py_ssize_t first
    const float* b[2]
    Py_ssize_t rs_b
    float* c


cdef inline void sparse_block(const int vectors, const bint bytes, const SparseBlock* given) noexcept nogil:
    cdef SparseBlock p = given[0]
    cdef vfloat acc[TILE_VECTORS]
    cdef vfloat x
    cdef uint64_t mask, after = mask_at(bytes, &p.rows[0], p.k, p.k, p.first)
    cdef Py_ssize_t i, j
    cdef Row row
    cdef float* c
    cdef int v
    for i in range(p.count):
        row = p.rows[i]
        mask = after
        if i + 1 < p.count:
            after = mask_at(bytes, &p.rows[i + 1], p.k, p.k, p.first)
        if mask == 0 and p.first > 0:
            continue
        c = p.c + i * SPARSE_TILE
        for v in range(vectors):
            acc[v] = vload(c + v * LANES) if p.first > 0 else vbroadcast(0)
        while mask:
            j = trailing_zeros(mask)
            mask &= mask - 1
            x = vbroadcast(element(bytes, p.pixel, &row, p.first + j))
            for v in range(vectors):
                acc[v] = vfma(x, vload(p.b[v // HALF_TILE] + j * p.rs_b + v % HALF_TILE * LANES), acc[v])
        for v in range(vectors):
            vstore(c + v * LANES, acc[v])


cdef void sparse_block_of(int vectors, bint bytes, const SparseBlock* p) noexcept nogil:
    """So many vectors, in the loop that is compiled for them."""
    if vectors == TILE_VECTORS and bytes:
        sparse_block(TILE_VECTORS, True, p)
    elif vectors == TILE_VECTORS:
        sparse_block(TILE_VECTORS, False, p)
    elif vectors == HALF_TILE and bytes:
        sparse_block(HALF_TILE, True, p)
    elif vectors == HALF_TILE:
        sparse_block(HALF_TILE, False, p)
    elif bytes:
        sparse_block(1, True, p)
    else:
        sparse_block(1, False, p)


cdef inline bint half_fits(const Linear* layer, Py_ssize_t column, Py_ssize_t end) noexcept nogil:
    """Whether there are HALF_TILE vectors of columns before `end` in the panel; behind the layer's own it has zeros."""
    cdef Py_ssize_t whole = layer.panel - column % layer.panel
    if end == layer.padded and end - column > LANES:
        return whole >= HALF_TILE * LANES
    return min(end - column, whole) >= HALF_TILE * LANES


cdef int vectors_at(const Linear* layer, Py_ssize_t column, Py_ssize_t end) noexcept nogil:
    """How many vectors of the columns up to `end` are summed into at once: TILE_VECTORS, HALF_TILE or one."""
    if not half_fits(layer, column, end):
        return 1
    return TILE_VECTORS if half_fits(layer, column + HALF_TILE * LANES, end) else HALF_TILE


cdef void sparse_forward(
    const Linear* layer, const float* packed, const MicroBatch* batch, const Row* rows, Py_ssize_t count,
    Py_ssize_t column, int vectors,
) noexcept nogil:
    """`vectors` of Y = X @ W from `column` on, of up to BLOCK_ROWS rows, to `batch.sums` (count, SPARSE_TILE)."""
    cdef Py_ssize_t k_block
    cdef SparseBlock p
    p.rows, p.pixel, p.count, p.k, p.rs_b, p.c = rows, batch.pixel, count, layer.inputs, layer.panel, batch.sums
    for k_block from 0 <= k_block < layer.inputs by K_BLOCK:
        p.first = k_block
        p.b[0] = packed + panel_start(layer, column) + k_block * layer.panel
        p.b[1] = packed + panel_start(layer, column + HALF_TILE * LANES) + k_block * layer.panel
        sparse_block_of(vectors, rows.bytes != NULL, &p)


cdef void sparse_d_input(
    const Linear* layer, const float* packed, const MicroBatch* batch, Py_ssize_t row, Py_ssize_t count,
    Py_ssize_t first, Py_ssize_t inputs, int vectors,
) noexcept nogil:
    """`vectors` of D' = D @ W.T, of up to BLOCK_ROWS hidden rows from `row` on, to `batch.sums`.

    The columns are inputs `first` to `first + inputs`; those beyond are zeros, not read from W, whose next rows another
    thread may be updating. A panel of W is transposed to `batch.block`.
    """
    cdef Py_ssize_t k_block, i, j
    cdef const float* w
    cdef SparseBlock p
    p.rows, p.pixel, p.count, p.k, p.rs_b, p.c = batch.hidden + row, NULL, count, layer.outputs, SPARSE_TILE, batch.sums
    p.b[0] = batch.block
    p.b[1] = batch.block + HALF_TILE * LANES
    for k_block from 0 <= k_block < layer.outputs by K_BLOCK:
        p.first = k_block
        for i from 0 <= i < vectors * LANES by LANES:
            w = packed + panel_start(layer, k_block) + (first + i) * layer.panel
            for j from 0 <= j < layer.panel by LANES:
                transpose(w + j, layer.panel, inputs - i, batch.block + j * SPARSE_TILE + i, SPARSE_TILE, LANES)
        sparse_block_of(vectors, False, &p)
