# Sparse products for forward passes and d_input: all rows of A with K_BLOCK rows of B, which stay in the cache.

cdef enum:
    PAIR_VECTORS = 2  # up to so many vectors of columns, rows go in pairs: the loop's end costs more than the fmas


cdef struct SparseBlock:
    # C (count, vectors * LANES) = A[:, first : first + K_BLOCK] @ B, or += if it `goes_on`. C is contiguous. B is packed in
    # panels that lie `panel` floats apart: of two vectors with leading dimension NR, or, if vectors == 1, of one with rs_b.
    const Row* rows  # of A
    const Row* next  # if A holds bytes: the rows to prefetch, from `first` on (MicroBatch.next)
    const float* pixel  # the float32 value of each byte
    Py_ssize_t count
    Py_ssize_t k  # elements of a whole row
    Py_ssize_t first
    bint goes_on  # C holds the sums over the blocks before
    const float* b
    Py_ssize_t rs_b
    Py_ssize_t panel
    float* c


cdef inline void sparse_block(const int vectors, const bint bytes, const SparseBlock* given) noexcept nogil:
    """Row by row: each non-zero element of A times a row of B. The next row's mask is computed ahead."""
    cdef SparseBlock p = given[0]
    cdef vfloat acc[WIDEST_TILE]
    cdef vfloat x
    cdef uint64_t mask, after = mask_at(bytes, &p.rows[0], p.k, p.k, p.first)
    cdef bint goes_on = p.goes_on
    cdef Py_ssize_t i, j
    cdef Row row
    cdef const float* b
    cdef float* c
    cdef int v
    for i in range(p.count):
        row = p.rows[i]
        mask = after
        if i + 1 < p.count:
            after = mask_at(bytes, &p.rows[i + 1], p.k, p.k, p.first)
        if bytes:
            prefetch(p.next[i].bytes + p.first, 0, 3)
        if mask == 0 and goes_on:
            continue
        c = p.c + i * vectors * LANES
        for v in range(vectors):
            acc[v] = vload(c + v * LANES) if goes_on else vbroadcast(0)
        while mask:
            j = trailing_zeros(mask)
            mask &= mask - 1
            x = vbroadcast(element(bytes, p.pixel, &row, p.first + j))
            b = computed(p.b + j * (p.rs_b if vectors == 1 else NR))
            for v in range(vectors):
                acc[v] = vfma(x, vload(b + place(v, p.panel)), acc[v])
        for v in range(vectors):
            vstore(c + v * LANES, acc[v])


cdef inline uint64_t pair_mask(const SparseBlock* p, Py_ssize_t i) noexcept nogil:
    """Which of the bytes are not 0 in row i or in the next one, if there is one."""
    cdef Py_ssize_t other = min(i + 1, p.count - 1)
    return mask_at(True, &p.rows[i], p.k, p.k, p.first) | mask_at(True, &p.rows[other], p.k, p.k, p.first)


cdef inline void sparse_pairs(const int vectors, const SparseBlock* given) noexcept nogil:
    """`sparse_block` for bytes, by pairs of rows, over what is not 0 in either; the last row may be its own pair."""
    cdef SparseBlock p = given[0]
    cdef vfloat one[PAIR_VECTORS]
    cdef vfloat other[PAIR_VECTORS]
    cdef vfloat x, y, w
    cdef uint64_t mask, after = pair_mask(&p, 0)
    cdef bint goes_on = p.goes_on
    cdef Py_ssize_t i, second, j
    cdef const uint8_t* row
    cdef const uint8_t* row_after
    cdef float* c
    cdef float* d
    cdef int v
    for i from 0 <= i < p.count by 2:
        second = min(i + 1, p.count - 1)
        row, row_after = p.rows[i].bytes + p.first, p.rows[second].bytes + p.first
        mask = after
        if i + 2 < p.count:
            after = pair_mask(&p, i + 2)
        prefetch(p.next[i].bytes + p.first, 0, 3)
        prefetch(p.next[second].bytes + p.first, 0, 3)
        if mask == 0 and goes_on:
            continue
        c, d = p.c + i * vectors * LANES, p.c + second * vectors * LANES
        for v in range(vectors):
            one[v] = vload(c + v * LANES) if goes_on else vbroadcast(0)
            other[v] = vload(d + v * LANES) if goes_on else vbroadcast(0)
        while mask:
            j = trailing_zeros(mask)
            mask &= mask - 1
            x, y = vbroadcast(p.pixel[row[j]]), vbroadcast(p.pixel[row_after[j]])
            for v in range(vectors):
                w = in_register(vload(p.b + j * (p.rs_b if vectors == 1 else NR) + v * LANES))
                one[v] = vfma(x, w, one[v])
                other[v] = vfma(y, w, other[v])
        for v in range(vectors):
            vstore(c + v * LANES, one[v])
            vstore(d + v * LANES, other[v])


cdef void narrow_block(int vectors, SparseBlock p) noexcept nogil:
    """`sparse_pairs` with `vectors` as a constant of the compiler, in a function of its own.

    Takes a copy: behind a pointer to it, the caller could not keep its own in registers.
    """
    if vectors == 1:
        sparse_pairs(1, &p)
    else:
        sparse_pairs(PAIR_VECTORS, &p)


cdef inline void sparse_block_of(int vectors, const bint bytes, const SparseBlock* p) noexcept nogil:
    """Calls `sparse_block` with `vectors` as a compile-time constant, so that `acc` stays in registers."""
    if vectors == 1:
        sparse_block(1, bytes, p)
    elif vectors == 2:
        sparse_block(2, bytes, p)
    elif vectors == 3:
        sparse_block(3, bytes, p)
    elif vectors == 4:
        sparse_block(4, bytes, p)
    elif vectors == 5:
        sparse_block(5, bytes, p)
    elif vectors == 6:
        sparse_block(6, bytes, p)
    elif vectors == 7:
        sparse_block(7, bytes, p)
    elif vectors == 8:
        sparse_block(8, bytes, p)
    elif vectors == 9:
        sparse_block(9, bytes, p)
    else:
        sparse_block(WIDEST_TILE, bytes, p)


cdef void sparse_forward(
    const Linear* layer, const float* packed, const MicroBatch* batch, const Row* rows, Block tile, int half, float* c
) noexcept nogil:
    """C = a tile of X @ W over half of the inputs; `rows` are X's."""
    cdef Py_ssize_t k_block, first, end
    cdef int vectors = <int>((tile.end_column - tile.column) // LANES)
    cdef SparseBlock p
    inputs_of(layer, half, &first, &end)
    p.rows, p.next, p.count = rows + tile.row, batch.next + tile.row, tile.end_row - tile.row
    p.pixel, p.k, p.rs_b, p.panel, p.c = batch.pixel, layer.inputs, layer.panel, layer.panel * layer.inputs, c
    p.b = packed + panel_start(layer, tile.column) + first * layer.panel
    for k_block from first <= k_block < end by K_BLOCK:
        p.first, p.goes_on = k_block, k_block > first
        if p.rows.bytes != NULL and vectors <= PAIR_VECTORS:
            narrow_block(vectors, p)
        elif p.rows.bytes != NULL:
            sparse_block_of(vectors, True, &p)
        else:
            sparse_block_of(vectors, False, &p)
        p.b += K_BLOCK * layer.panel


cdef void transpose_weights(
    const Linear* layer, const float* packed, Py_ssize_t k_block, Py_ssize_t first, Py_ssize_t inputs, int vectors,
    float* to,
) noexcept nogil:
    """Write W.T (K_BLOCK outputs from `k_block` on, `inputs` inputs from `first` on) in panels of two vectors.

    Zeros follow after `inputs`. The loops run along the rows of W, for the hardware prefetcher.
    """
    cdef Py_ssize_t j
    cdef const float* w
    cdef int v
    for v in range(vectors):
        for j from 0 <= j < min(<Py_ssize_t>K_BLOCK, layer.padded - k_block) by LANES:
            w = packed + panel_start(layer, k_block + j) + (first + v * LANES) * layer.panel
            transpose(w, layer.panel, inputs - v * LANES, to + place(v, K_BLOCK * NR) + j * NR, NR, LANES)


cdef void sparse_d_input(
    const Linear* layer, const float* packed, const MicroBatch* batch, Py_ssize_t row, Py_ssize_t count,
    Py_ssize_t first, Py_ssize_t inputs, int vectors,
) noexcept nogil:
    """`batch.sums[0]` = D @ W.T for up to BLOCK_ROWS hidden rows from `row` on, `vectors` vectors of columns.

    The columns are inputs `first` to `first + inputs`; those beyond are zeros and not read from W, whose next rows
    another thread may be updating. W is transposed to `batch.block`, K_BLOCK of its columns at a time.
    """
    cdef Py_ssize_t k_block
    cdef SparseBlock p
    p.rows, p.pixel, p.count, p.k, p.rs_b, p.c = batch.hidden + row, NULL, count, layer.outputs, NR, batch.sums[0]
    p.panel = K_BLOCK * NR
    p.b = batch.block
    for k_block from 0 <= k_block < layer.outputs by K_BLOCK:
        p.first, p.goes_on = k_block, k_block > 0
        transpose_weights(layer, packed, k_block, first, inputs, vectors, batch.block)
        sparse_block_of(vectors, False, &p)
