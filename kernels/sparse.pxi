# Products without the zeros of their left operand: four in five pixels of MNIST are background, and relu leaves half of
# a layer, and of its gradient.
#
#   forward          Y (rows, outputs) = X (rows, inputs) @ W
#   input gradient   D' (rows, inputs) = D (rows, outputs) @ W.T
#   weight gradient  G (inputs, outputs) = X.T @ D               X of a slice is transposed for it
#
# In each, A @ B, the elements of a row of A that are not zero pick rows of B. A vector of B is loaded for each fma, and
# the element beside them: loads are the limit. So B comes from the first-level cache, and many vectors are summed into
# at once.
#
# Forward, and in the input gradient, a block of B is WORD rows of SUMS vectors: 32 KiB at most. All rows of A go
# through it one by one; between blocks their sums lie in memory of the member's own, not in the output, part of which
# another member has read (`sparse_block`).
#
# In the weight gradient a sum ends with the step of its parameter, so B is all of D, for fewer columns: a panel of W.
# Pixels go through it in pairs, and each row of B that one of the two needs is loaded once for both: neighbours are
# alike (of 64 rows 14 are needed by either, 12 by each). Other elements do so only where B is too large for the
# first-level cache (`sparse_tile`).
#
# There are no lists: the next element set in a mask is two instructions away, hidden behind the arithmetic. Where the
# loop over a mask ends, no machine predicts; so that nothing waits there but the next turn of the loop, masks are made
# one row ahead.
#
# Every element is summed over k in order, one fma at a time, as the dense products sum it but for products with 0,
# which change nothing: the same bits, whichever path is taken and whichever rows are paired. (Exceptions are a sum that
# has underflowed to -0 and becomes +0, until a bias or the next product that is not 0 makes them the same again; and
# what is not finite, which times 0 is NaN.)

cdef extern from "simd.h":
    ctypedef uint8_t vbytes
    vbytes bload(const uint8_t* source) noexcept nogil
    void bstore(uint8_t* to, vbytes x) noexcept nogil
    vbytes bzeros() noexcept nogil
    vbytes bzip_low(vbytes a, vbytes b) noexcept nogil
    vbytes bzip_high(vbytes a, vbytes b) noexcept nogil
    vfloat in_register(vfloat x) noexcept nogil

cdef extern from *:
    """
    #define SUMS 8
    #define HALF (SUMS / 2)
    #define SPARSE_COLUMNS (SUMS * LANES)
    """
    enum:
        SUMS  # vectors that are summed into at once: of one row, or half of them of each of two
        HALF
        SPARSE_COLUMNS  # the columns of as many

cdef enum:
    WORDS = 64  # masks of a row, at most: a longer one is not sparse
    SPARSE_PANEL = WORD  # columns of a panel of W; in the input gradient a panel is a block
    BLOCK_ROWS = 128  # rows of A whose sums are kept at once; and of B, when a panel still is in the first-level cache
    SQUARE = 16  # bytes are transposed in squares of this side


# Forward, and the input gradient

cdef struct SparseBlock:
    # C (count, up to SPARSE_COLUMNS) += A @ B, of A's rows the elements from `first` on, WORD of them. Of B's columns
    # the second half lies elsewhere, in the next panel; rows of C lie SPARSE_COLUMNS apart.
    const Row* rows
    Py_ssize_t count
    Py_ssize_t k  # elements of a whole row
    Py_ssize_t first
    const float* b[2]
    Py_ssize_t rs_b
    float* c


cdef inline void sparse_block(const int vectors, const bint bytes, const SparseBlock* given) noexcept nogil:
    cdef SparseBlock p = given[0]
    cdef vfloat acc[SUMS]
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
        c = p.c + i * SPARSE_COLUMNS
        for v in range(vectors):
            acc[v] = vload(c + v * LANES) if p.first > 0 else vbroadcast(0)
        while mask:
            j = trailing_zeros(mask)
            mask &= mask - 1
            x = vbroadcast(element(bytes, &row, p.first + j))
            for v in range(vectors):
                acc[v] = vfma(x, vload(p.b[v // HALF] + j * p.rs_b + v % HALF * LANES), acc[v])
        for v in range(vectors):
            vstore(c + v * LANES, acc[v])


cdef void sparse_block_of(int vectors, bint bytes, const SparseBlock* p) noexcept nogil:
    """So many vectors, in the code that was made for them."""
    if vectors == SUMS and bytes:
        sparse_block(SUMS, True, p)
    elif vectors == SUMS:
        sparse_block(SUMS, False, p)
    elif vectors == HALF and bytes:
        sparse_block(HALF, True, p)
    elif vectors == HALF:
        sparse_block(HALF, False, p)
    elif bytes:
        sparse_block(1, True, p)
    else:
        sparse_block(1, False, p)


cdef inline bint half_fits(const Linear* layer, Py_ssize_t column, Py_ssize_t end) noexcept nogil:
    """Whether there are HALF vectors of columns before `end` in the panel; behind the layer's own it has zeros."""
    cdef Py_ssize_t whole = layer.panel - column % layer.panel
    if end == layer.padded and end - column > LANES:
        return whole >= HALF * LANES
    return min(end - column, whole) >= HALF * LANES


cdef int vectors_at(const Linear* layer, Py_ssize_t column, Py_ssize_t end) noexcept nogil:
    """How many vectors of the columns up to `end` are summed into at once: SUMS, HALF or one."""
    if not half_fits(layer, column, end):
        return 1
    return SUMS if half_fits(layer, column + HALF * LANES, end) else HALF


cdef void sparse_forward(
    const Linear* layer, const float* packed, const Row* rows, Py_ssize_t count, Py_ssize_t column, int vectors,
    float* sums,
) noexcept nogil:
    """`vectors` of Y = X @ W from `column` on, of up to BLOCK_ROWS rows, to `sums` (count, SPARSE_COLUMNS)."""
    cdef Py_ssize_t word
    cdef SparseBlock p
    p.rows, p.count, p.k, p.rs_b, p.c = rows, count, layer.inputs, layer.panel, sums
    for word from 0 <= word < layer.inputs by WORD:
        p.first = word
        p.b[0] = packed + panel_start(layer, column) + word * layer.panel
        p.b[1] = packed + panel_start(layer, column + HALF * LANES) + word * layer.panel
        sparse_block_of(vectors, rows.bytes != NULL, &p)


cdef void sparse_input_gradient(
    const Linear* layer, const float* packed, const Row* rows, Py_ssize_t count, Py_ssize_t first,
    Py_ssize_t inputs, int vectors, float* block, float* sums,
) noexcept nogil:
    """`vectors` of D' = D @ W.T, of up to BLOCK_ROWS rows, to `sums` (count, SPARSE_COLUMNS).

    The columns are inputs `first` to `first + inputs`; those beyond are zeros, not read from W, whose next rows another
    member may be changing. `block` has room for (WORD, SPARSE_COLUMNS): there a panel of W is transposed.
    """
    cdef Py_ssize_t word, i, j
    cdef const float* w
    cdef SparseBlock p
    p.rows, p.count, p.k, p.rs_b, p.c = rows, count, layer.outputs, SPARSE_COLUMNS, sums
    p.b[0] = block
    p.b[1] = block + HALF * LANES
    for word from 0 <= word < layer.outputs by WORD:
        p.first = word
        for i from 0 <= i < vectors * LANES by LANES:
            w = packed + panel_start(layer, word) + (first + i) * layer.panel
            for j from 0 <= j < layer.panel by LANES:
                transpose(w + j, layer.panel, inputs - i, block + j * SPARSE_COLUMNS + i, SPARSE_COLUMNS, LANES)
        sparse_block_of(vectors, False, &p)


# Weight gradient

cdef struct SparseProduct:
    # C (m, columns) = A @ B, where C are parameters, `update`d from `at` on. A's rows begin `span` elements apart.
    Row first
    Py_ssize_t span
    Py_ssize_t k  # elements of a row of A
    const float* b  # its rows lie SPARSE_PANEL apart
    const Update* update
    Py_ssize_t at
    Py_ssize_t rs_c


cdef inline Row row_at(const bint bytes, const SparseProduct* p, Py_ssize_t i) noexcept nogil:
    return Row(p.first.bytes + i * p.span, NULL) if bytes else Row(NULL, p.first.floats + i * p.span)


cdef inline uint64_t scan(
    const int rows, const bint bytes, const SparseProduct* p, Py_ssize_t i, Py_ssize_t m, uint64_t* masks
) noexcept nogil:
    """The masks of row i, or of i and i + 1 in one; whether anything is in them. The last row may be one alone."""
    cdef Row one = row_at(bytes, p, i), other = row_at(bytes, p, min(i + 1, m - 1))
    cdef Py_ssize_t j
    cdef uint64_t mask, found = 0
    for j from 0 <= j < p.k by WORD:
        mask = mask_at(bytes, &one, p.k, p.span, j)
        if rows == 2:
            mask |= mask_at(bytes, &other, p.k, p.span, j)
        masks[j // WORD] = mask
        found |= mask
    return found


cdef inline void accumulate_sparse(
    const int rows, const int vectors, const bint bytes, const SparseProduct* p, Row one, Row other,
    const uint64_t* masks, vfloat* acc
) noexcept nogil:
    """acc (rows, vectors) += the elements of one or two rows that are in the masks, @ B."""
    cdef Py_ssize_t word, j
    cdef uint64_t mask
    cdef vfloat x, y, b
    cdef int v
    for word from 0 <= word < p.k by WORD:
        mask = masks[word // WORD]
        while mask:
            j = word + trailing_zeros(mask)
            mask &= mask - 1
            x = vbroadcast(element(bytes, &one, j))
            y = vbroadcast(element(bytes, &other, j)) if rows == 2 else x
            for v in range(vectors):
                b = vload(p.b + j * SPARSE_PANEL + v * LANES)
                if rows == 2:
                    b = in_register(b)
                    acc[vectors + v] = vfma(y, b, acc[vectors + v])
                acc[v] = vfma(x, b, acc[v])


cdef inline void sparse_tile(
    const int rows, const int vectors, const bint bytes, const SparseProduct* p, const Update* update, Py_ssize_t i,
    Py_ssize_t m, const uint64_t* masks,
) noexcept nogil:
    """Row i; of two rows also i + 1, unless that is `m`."""
    cdef vfloat acc[SUMS]
    cdef Py_ssize_t at = p.at + i * p.rs_c
    cdef int row, v
    for v in range(rows * vectors):
        acc[v] = vbroadcast(0)
    if not update.first:
        for row in range(rows):
            for v in range(vectors):
                if i + row < m:
                    acc[row * vectors + v] = update_start(update, at + row * p.rs_c + v * LANES)
    accumulate_sparse(rows, vectors, bytes, p, row_at(bytes, p, i), row_at(bytes, p, min(i + 1, m - 1)), masks, acc)
    for row in range(rows):
        if i + row < m:
            for v in range(vectors):
                update_finish(update, at + row * p.rs_c + v * LANES, acc[row * vectors + v])


cdef inline bint skips_zeros(const Update* update) noexcept nogil:
    """Whether a gradient of 0 changes nothing: its weights are not even read."""
    return update.velocity == NULL and update.first and update.last


cdef inline void sparse_tiles(
    const int rows, const int vectors, const bint bytes, const SparseProduct* given, Py_ssize_t m
) noexcept nogil:
    """All m rows, one or two at a time. They are scanned before those in front of them are multiplied."""
    cdef uint64_t masks[2][WORDS]
    cdef uint64_t here, after
    cdef int turn = 0
    cdef Py_ssize_t i
    cdef SparseProduct p = given[0]
    cdef Update update = p.update[0]  # a copy, or it would be read again after each store
    after = scan(rows, bytes, &p, 0, m, masks[0])
    for i from 0 <= i < m by rows:
        here = after
        if i + rows < m:
            after = scan(rows, bytes, &p, i + rows, m, masks[1 - turn])
        if here or not skips_zeros(&update):
            sparse_tile(rows, vectors, bytes, &p, &update, i, m, masks[turn])
        turn = 1 - turn


cdef inline void sparse_tiles_of(int vectors, bint bytes, const SparseProduct* p, Py_ssize_t m) noexcept nogil:
    """So many vectors, in the code that was made for them."""
    if vectors == 1 and bytes:
        sparse_tiles(2, 1, True, p, m)
    elif vectors == 1:
        sparse_tiles(2, 1, False, p, m)
    elif bytes:
        sparse_tiles(2, HALF, True, p, m)
    elif p.k > BLOCK_ROWS:
        sparse_tiles(2, HALF, False, p, m)
    else:
        sparse_tiles(1, HALF, False, p, m)


cdef void transpose_bytes(
    const Row* rows, Py_ssize_t count, Py_ssize_t n, uint8_t* to, Py_ssize_t rs_to
) noexcept nogil:
    """to (n, SQUARE) = the elements of up to SQUARE rows, transposed as `transpose_vectors` does.

    Zeros stand for the rows that are too few.
    """
    cdef vbytes t[SQUARE]
    cdef vbytes u[SQUARE]
    cdef Py_ssize_t j = 0
    cdef int i, turn
    while j + SQUARE <= n:
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
    for j in range(j, n):
        for i in range(SQUARE):
            to[j * rs_to + i] = rows[i].bytes[j] if i < count else 0


cdef void sparse_weight_gradient(
    const Linear* layer, Py_ssize_t rows, Row x, Py_ssize_t span, const float* d, Py_ssize_t first_input,
    Py_ssize_t end_input, Py_ssize_t first, Py_ssize_t end, const Update* update, float* block,
) noexcept nogil:
    """G[first_input to end_input, first to end] = X.T @ D, and on to what `update` says.

    Input i's elements begin i * span behind x's, `span` a multiple of WORD. `block` has room for (rows,
    SPARSE_PANEL): the columns of D that are needed are moved together, or their lines would share half of the cache's
    sets.
    """
    cdef Py_ssize_t column = first, columns, i
    cdef int vectors
    cdef bint bytes = x.bytes != NULL
    cdef SparseProduct p = SparseProduct(x, span, rows, block, update, 0, layer.panel)
    if bytes:
        p.first.bytes += first_input * span
    else:
        p.first.floats += first_input * span
    while column < end and first_input < end_input:
        vectors = min(<int>HALF, vectors_at(layer, column, end))
        columns = min(end - column, <Py_ssize_t>(vectors * LANES))
        for i in range(rows):
            memcpy(block + i * SPARSE_PANEL, d + i * layer.stride + column, columns * sizeof(float))
            memset(block + i * SPARSE_PANEL + columns, 0, (vectors * LANES - columns) * sizeof(float))
        p.at = panel_start(layer, column) + first_input * layer.panel
        sparse_tiles_of(vectors, bytes, &p, end_input - first_input)
        column += vectors * LANES


cdef inline void outer_product(
    const int vectors, const Linear* layer, const uint8_t* x, const float* d, Py_ssize_t first_input,
    Py_ssize_t end_input, Py_ssize_t column, const Update* given,
) noexcept nogil:
    """`sparse_outer_product` for `vectors` columns."""
    cdef vfloat row[HALF]
    cdef vfloat value, gradient
    cdef Row bytes = Row(x, NULL)
    cdef Update update = given[0]
    cdef Py_ssize_t word, i, at, start = panel_start(layer, column), panel = layer.panel
    cdef uint64_t mask
    cdef int v
    for v in range(vectors):
        row[v] = vload(d + column + v * LANES)
    for word from first_input <= word < end_input by WORD:
        mask = mask_at(True, &bytes, end_input, layer.inputs, word)
        if not skips_zeros(&update):
            mask = ~<uint64_t>0 >> max(0, WORD - (end_input - word))
        while mask:
            i = word + trailing_zeros(mask)
            mask &= mask - 1
            value = vbroadcast(PIXEL[x[i]])
            at = start + i * panel
            for v in range(vectors):
                gradient = vfma(value, row[v], update_start(&update, at + v * LANES))
                update_finish(&update, at + v * LANES, gradient)


cdef void sparse_outer_product(
    const Linear* layer, const uint8_t* x, const float* d, Py_ssize_t first_input, Py_ssize_t end_input,
    Py_ssize_t first, Py_ssize_t end, const Update* update,
) noexcept nogil:
    """The weight gradient of one row x (inputs,): G[inputs, first to end] = x.T @ d, and on to what `update` says."""
    cdef Py_ssize_t column = first
    while column < end:
        if end - column >= HALF * LANES and half_fits(layer, column, end):
            outer_product(HALF, layer, x, d, first_input, end_input, column, update)
            column += HALF * LANES
        else:
            outer_product(1, layer, x, d, first_input, end_input, column, update)
            column += LANES
