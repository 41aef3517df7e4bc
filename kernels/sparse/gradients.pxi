# Sparse weight gradients: G = X.T @ D by rows of X.T, one or two at a time, skipping what is 0 in them.

cdef enum:
    SQUARE = 16  # bytes are transposed in squares of this side
    D_NEAR = 32768  # bytes of the columns of D taken at once; if they were more, half a tile: they stay in the L1 cache


cdef extern from *:
    """
    #define GRADIENT_VECTORS (LANES == 16 ? 8 : 6)
    """
    enum:
        GRADIENT_VECTORS  # accumulators of each of two rows that fit into 32 vector registers, or 16


cdef struct SparseProduct:
    # G (m, columns) = A @ B, accumulated or applied as `update` says, from element `at` of the parameters on.
    Row first  # of A = X.T, whose leading dimension is `ld`
    const float* pixel  # what bytes count as
    Py_ssize_t ld
    Py_ssize_t k  # elements of a row of A
    Py_ssize_t m  # rows of A
    const float* b  # its rows follow one another
    const Update* update
    Py_ssize_t at
    Py_ssize_t rs_c
    Py_ssize_t panel  # floats from one panel of the parameters, of two vectors, to the next


cdef inline Row row_at(const bint bytes, const SparseProduct* p, Py_ssize_t i) noexcept nogil:
    return Row(p.first.bytes + i * p.ld, NULL) if bytes else Row(NULL, p.first.floats + i * p.ld)


cdef inline uint64_t scan(
    const int rows, const bint bytes, const SparseProduct* p, Py_ssize_t i, uint64_t* masks
) noexcept nogil:
    """Masks of what is not 0 in row i, or in any of i and i + 1 (if there is one); 0 if all of it is 0."""
    cdef Row one = row_at(bytes, p, i), other = row_at(bytes, p, min(i + 1, p.m - 1))
    cdef Py_ssize_t j
    cdef uint64_t mask, found = 0
    for j from 0 <= j < p.k by K_BLOCK:
        mask = mask_at(bytes, &one, p.k, p.ld, j)
        if rows == 2:
            mask |= mask_at(bytes, &other, p.k, p.ld, j)
        masks[j // K_BLOCK] = mask
        found |= mask
    return found


cdef inline void accumulate_sparse(
    const int rows, const int vectors, const bint bytes, const SparseProduct* p, Row one, Row other,
    const uint64_t* masks, vfloat* acc
) noexcept nogil:
    """acc (rows, vectors) += the elements of one or two rows that are in the masks, @ B."""
    cdef Py_ssize_t k_block, j
    cdef uint64_t mask
    cdef vfloat x, y, b
    cdef int v
    for k_block from 0 <= k_block < p.k by K_BLOCK:
        mask = masks[k_block // K_BLOCK]
        while mask:
            j = k_block + trailing_zeros(mask)
            mask &= mask - 1
            x = vbroadcast(element(bytes, p.pixel, &one, j))
            y = vbroadcast(element(bytes, p.pixel, &other, j)) if rows == 2 else x
            for v in range(vectors):
                b = vload(p.b + (j * vectors + v) * LANES)
                if rows == 2:
                    b = in_register(b)
                    acc[vectors + v] = vfma(y, b, acc[vectors + v])
                acc[v] = vfma(x, b, acc[v])


cdef inline void sparse_tile(
    const int rows, const int vectors, const bint bytes, const Finish finish, const SparseProduct* p, Py_ssize_t i,
    const uint64_t* masks, float* waiting,
) noexcept nogil:
    """The gradients of row i; with two `rows` also those of i + 1, unless there is none."""
    cdef const Update* update = p.update
    cdef vfloat acc[2 * TILE_VECTORS]
    cdef Py_ssize_t at = p.at + i * p.rs_c
    cdef int row, v
    for v in range(rows * vectors):
        acc[v] = vbroadcast(0)
    if finish != DESCEND and not update.starts:
        for row in range(rows):
            for v in range(vectors):
                if i + row < p.m:
                    acc[row * vectors + v] = accumulated(update, at + row * p.rs_c + place(v, p.panel))
    accumulate_sparse(rows, vectors, bytes, p, row_at(bytes, p, i), row_at(bytes, p, min(i + 1, p.m - 1)), masks, acc)
    if finish == WAIT:
        for row in range(rows):
            for v in range(vectors):
                vstore(waiting_at(vectors, v, i % WAITING_ROWS + row, waiting), acc[row * vectors + v] + vbroadcast(0))
        return
    finish_row(vectors, finish == DESCEND, update, at, p.panel, acc)
    if rows == 2 and i + 1 < p.m:
        finish_row(vectors, finish == DESCEND, update, at + p.rs_c, p.panel, acc + vectors)


cdef inline void sparse_tiles(
    const int rows, const int vectors, const bint bytes, const Finish finish, const SparseProduct* given
) noexcept nogil:
    """All rows, one or two at a time: the next are scanned before these are multiplied, so that the CPU overlaps both."""
    cdef float[WAITING_ROWS * TILE_VECTORS * LANES] waiting
    cdef uint64_t masks[2][MAX_K_BLOCKS]
    cdef uint64_t here, after
    cdef int turn = 0
    cdef Py_ssize_t i, end, done
    cdef SparseProduct p = given[0]
    cdef Update update = given.update[0]  # a copy, or it would be read again after each store
    p.update = &update
    after = scan(rows, bytes, &p, 0, masks[0])
    for i from 0 <= i < p.m by rows:
        here = after
        end = min(i + rows, p.m)
        if end < p.m:
            after = scan(rows, bytes, &p, end, masks[1 - turn])
        if here or finish != DESCEND:
            sparse_tile(rows, vectors, bytes, finish, &p, i, masks[turn], waiting)
        if finish == WAIT and (end % WAITING_ROWS == 0 or end == p.m):
            done = (end - 1) // WAITING_ROWS * WAITING_ROWS
            update_waiting(vectors, &update, p.at + done * p.rs_c, p.rs_c, p.panel, end - done, waiting)
        turn = 1 - turn


cdef inline void sparse_tiles_of(
    const int vectors, const bint bytes, const Finish finish, const SparseProduct* p
) noexcept nogil:
    """`sparse_tiles` with everything but `p` as constants of the compiler."""
    if bytes or vectors == 1 or p.k > BLOCK_ROWS:
        sparse_tiles(2, vectors, bytes, finish, p)
    else:
        sparse_tiles(1, vectors, bytes, finish, p)


cdef inline void sparse_panels(int vectors, const bint bytes, const Finish finish, const SparseProduct* p) noexcept nogil:
    """`sparse_tiles_of` with `vectors` as a constant of the compiler."""
    if vectors == 1:
        sparse_tiles_of(1, bytes, finish, p)
    elif vectors == 2:
        sparse_tiles_of(2, bytes, finish, p)
    elif vectors == 3:
        sparse_tiles_of(3, bytes, finish, p)
    elif vectors == 4:
        sparse_tiles_of(4, bytes, finish, p)
    elif vectors == 5:
        sparse_tiles_of(5, bytes, finish, p)
    elif vectors == 6 or GRADIENT_VECTORS == 6:
        sparse_tiles_of(6, bytes, finish, p)
    elif vectors == 7:
        sparse_tiles_of(7, bytes, finish, p)
    else:
        sparse_tiles_of(8, bytes, finish, p)


cdef void descend_panels(int vectors, const SparseProduct* p) noexcept nogil:
    if p.first.bytes != NULL:
        sparse_panels(vectors, True, DESCEND, p)
    else:
        sparse_panels(vectors, False, DESCEND, p)


cdef void apply_panels(int vectors, const SparseProduct* p) noexcept nogil:
    if p.first.bytes != NULL:
        sparse_panels(vectors, True, APPLY, p)
    else:
        sparse_panels(vectors, False, APPLY, p)


cdef void wait_panels(int vectors, const SparseProduct* p) noexcept nogil:
    if p.first.bytes != NULL:
        sparse_panels(vectors, True, WAIT, p)
    else:
        sparse_panels(vectors, False, WAIT, p)


cdef void finish_panels(int vectors, const SparseProduct* p) noexcept nogil:
    """Each way to finish in a function of its own: all in one, gcc made worse code of each."""
    if zeros_change_nothing(p.update):
        descend_panels(vectors, p)
    elif p.update.applies and not p.update.params.plain:
        wait_panels(vectors, p)
    else:
        apply_panels(vectors, p)


cdef void transpose_bytes(
    const Row* rows, Py_ssize_t count, Py_ssize_t first, Py_ssize_t end, uint8_t* to, Py_ssize_t rs_to
) noexcept nogil:
    """to (first to end, SQUARE) = those elements of up to SQUARE rows, transposed as `transpose_vectors` does.

    Missing rows become zeros.
    """
    cdef vbytes t[SQUARE]
    cdef vbytes u[SQUARE]
    cdef Py_ssize_t j = first
    cdef int i, turn
    while j + SQUARE <= end:
        for i in range(SQUARE):
            t[i] = bload(rows[i].bytes + j) if i < count else bzeros()
        for turn in range(4):
            for i in range(SQUARE // 2):
                u[2 * i] = bzip_low(t[i], t[i + SQUARE // 2])
                u[2 * i + 1] = bzip_high(t[i], t[i + SQUARE // 2])
            for i in range(SQUARE):
                t[i] = u[i]
        for i in range(SQUARE):
            bstore(to + (j + i) * rs_to, t[i])
        j += SQUARE
    for j in range(j, end):
        for i in range(SQUARE):
            to[j * rs_to + i] = rows[i].bytes[j] if i < count else 0


cdef void sparse_d_weight(
    const Linear* layer, const MicroBatch* batch, Row x, const float* d, Block w, const Update* update
) noexcept nogil:
    """Block w of G = X.T @ D, accumulated or applied as `update` says; `x` is the first row of X.T.

    The columns of D that are needed are copied to `batch.block`, row after row: where they lie, their cache lines would
    fall into half of the cache's sets.
    """
    cdef Py_ssize_t column = w.column, i
    cdef bint near = batch.rows * GRADIENT_VECTORS * LANES * <Py_ssize_t>sizeof(float) <= D_NEAR
    cdef int vectors, most = GRADIENT_VECTORS if near else HALF_TILE
    cdef bint bytes = x.bytes != NULL
    cdef SparseProduct p = SparseProduct(
        x, batch.pixel, batch.ld_transposed, batch.rows, w.end_row - w.row, batch.block, update, 0, layer.panel,
        layer.panel * layer.inputs,
    )
    if bytes:
        p.first.bytes += w.row * batch.ld_transposed
    else:
        p.first.floats += w.row * batch.ld_transposed
    while column < w.end_column and w.row < w.end_row:
        vectors = vectors_of(most, w.end_column - column)
        for i in range(batch.rows):
            memcpy(batch.block + i * vectors * LANES, d + i * layer.ld + column, vectors * LANES * sizeof(float))
        p.at = panel_start(layer, column) + w.row * layer.panel
        finish_panels(vectors, &p)
        column += vectors * LANES
