# Layers without the zeros of their input: four in five pixels of MNIST are background, and relu leaves half of a layer.
#
#   forward          Y (rows, outputs) = X (rows, inputs) @ W
#   weight gradient  G (inputs, outputs) = X.T @ D               X of a slice is transposed for it
#
# In both, A @ B with a sparse A, two rows of A go through together: their elements that are not both zero pick rows of
# B, each of which is read once for two sums. So the arithmetic is the limit and not the cache, although neighbours
# have zeros of their own (two images 228 pixels of 784 together, 150 each; of inputs, a sixth of the fmas is in vain).
#
# There are no lists: a mask of 64 elements is one or a few instructions away from the elements themselves, and the next
# one set in it two more, hidden behind the arithmetic. Where the loop over a mask ends, no machine predicts; so that
# nothing waits there but the next turn of the loop, the masks are made beforehand.
#
# Every element is summed over k in order, one fma at a time, as the dense products sum it but for products with 0,
# which change nothing: the same bits, whichever path is taken and whichever rows are paired. (Exceptions are a sum that
# has underflowed to -0 and becomes +0, until a bias or the next product that is not 0 makes them the same again; and
# what is not finite, which times 0 is NaN.)
#
# Up to SPARSE_PERCENT skipping pays on every instruction set (CONTRIBUTING.md).

cdef extern from "simd.h":
    ctypedef uint8_t vbytes
    vbytes bload(const uint8_t* source) noexcept nogil
    void bstore(uint8_t* to, vbytes x) noexcept nogil
    vbytes bzeros() noexcept nogil
    vbytes bzip_low(vbytes a, vbytes b) noexcept nogil
    vbytes bzip_high(vbytes a, vbytes b) noexcept nogil
    uint64_t nonzero_bytes(const uint8_t* x) noexcept nogil
    uint64_t nonzero_floats(const float* x) noexcept nogil
    vfloat in_register(vfloat x) noexcept nogil

cdef extern from * nogil:
    int trailing_zeros "__builtin_ctzll"(uint64_t mask)
    int ones "__builtin_popcountll"(uint64_t mask)

cdef enum:
    SPARSE_PERCENT = 70  # so many elements in 100 may be non-zero
    SAMPLE = 8  # of so many rows one is looked at to find that out
    SUMS = 4  # vectors of each of two rows that are summed into at once, to hide the latency of fma
    WORD = 64  # elements of a mask
    WORDS = 64  # masks of a row, at most: a longer one is not sparse
    SPARSE_PANEL = 64  # columns of a panel: for so many, D of a batch stays in the first-level cache
    BLOCK = 16  # bytes are transposed in squares of this side

# float32(byte / 255), correctly rounded.
cdef float[256] PIXEL
for _byte in range(256):
    PIXEL[_byte] = np.float32(_byte) / np.float32(255)


cdef struct Row:
    # A sparse row: bytes, or floats where bytes is NULL.
    const uint8_t* bytes
    const float* floats


cdef struct SparseProduct:
    # C (rows, up to SUMS * LANES) = A @ B, A's rows sparse. Forward they are at `rows`, and C is memory. In the weight
    # gradient they begin with `first`, `span` elements apart, and C are parameters, `update`d from `at` on.
    const Row* rows
    Row first
    Py_ssize_t span
    Py_ssize_t k, readable  # elements of a row, and those that may be read
    const float* b
    Py_ssize_t rs_b
    float* c
    const Update* update
    Py_ssize_t at
    Py_ssize_t rs_c


cdef uint64_t last_mask(const Row* row, Py_ssize_t n, Py_ssize_t readable, Py_ssize_t j) noexcept nogil:
    """`mask_at` where fewer than WORD elements are left."""
    cdef uint64_t mask = 0
    cdef Py_ssize_t at = min(j, readable - WORD)  # a whole word, of which the first elements have been seen
    if at < 0:
        for at in range(j, n):
            mask |= <uint64_t>(row.bytes[at] != 0 if row.bytes != NULL else row.floats[at] != 0) << (at - j)
        return mask
    mask = nonzero_bytes(row.bytes + at) if row.bytes != NULL else nonzero_floats(row.floats + at)
    return mask >> (j - at) & ((<uint64_t>1 << (n - j)) - 1)


cdef inline uint64_t mask_at(
    const bint bytes, const Row* row, Py_ssize_t n, Py_ssize_t readable, Py_ssize_t j
) noexcept nogil:
    """Which of the elements from j on are not zero, at most WORD of them; the row has n, and `readable` may be read."""
    if n - j < WORD:
        return last_mask(row, n, readable, j)
    return nonzero_bytes(row.bytes + j) if bytes else nonzero_floats(row.floats + j)


cdef Py_ssize_t count_nonzero(const Row* row, Py_ssize_t n) noexcept nogil:
    """Elements of the row that are not zero."""
    cdef Py_ssize_t j, count = 0
    for j from 0 <= j < n by WORD:
        count += ones(mask_at(row.bytes != NULL, row, n, n, j))
    return count


cdef bint few_of_sample(Py_ssize_t found, Py_ssize_t rows, Py_ssize_t n) noexcept nogil:
    """Whether skipping pays, if in every SAMPLE-th of rows (rows, n) so many elements are not zero."""
    return found <= (rows + SAMPLE - 1) // SAMPLE * n * SPARSE_PERCENT // 100


cdef inline float element(const bint bytes, const Row* row, Py_ssize_t p) noexcept nogil:
    return PIXEL[row.bytes[p]] if bytes else row.floats[p]


cdef inline Row row_at(const bint learning, const bint bytes, const SparseProduct* p, Py_ssize_t i) noexcept nogil:
    if not learning:
        return p.rows[i]
    return Row(p.first.bytes + i * p.span, NULL) if bytes else Row(NULL, p.first.floats + i * p.span)


cdef inline uint64_t scan(
    const bint learning, const bint bytes, const SparseProduct* p, Py_ssize_t i, Py_ssize_t end, uint64_t* masks
) noexcept nogil:
    """The masks of rows i and i + 1 in one; whether there is anything in them. The last row may be one alone."""
    cdef Row one = row_at(learning, bytes, p, i), other = row_at(learning, bytes, p, min(i + 1, end - 1))
    cdef Py_ssize_t j
    cdef uint64_t mask, found = 0
    for j from 0 <= j < p.k by WORD:
        mask = mask_at(bytes, &one, p.k, p.readable, j) | mask_at(bytes, &other, p.k, p.readable, j)
        masks[j // WORD] = mask
        found |= mask
    return found


cdef inline void accumulate_sparse(
    const int vectors, const bint bytes, const SparseProduct* p, Row one, Row other, const uint64_t* masks, vfloat* acc
) noexcept nogil:
    """acc (2, vectors) += the elements of two rows that are in the masks, @ B."""
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
            y = vbroadcast(element(bytes, &other, j))
            for v in range(vectors):
                b = in_register(vload(p.b + j * p.rs_b + v * LANES))
                acc[v] = vfma(x, b, acc[v])
                acc[vectors + v] = vfma(y, b, acc[vectors + v])


cdef inline void sparse_tile(
    const int vectors, const bint learning, const bint bytes, const SparseProduct* p, const Update* update,
    Py_ssize_t i, Py_ssize_t end, const uint64_t* masks,
) noexcept nogil:
    """Rows i and, unless that is `end`, i + 1."""
    cdef vfloat acc[2 * SUMS]
    cdef Py_ssize_t at = p.at + i * p.rs_c, step = p.rs_c if i + 1 < end else 0
    cdef int v
    for v in range(2 * vectors):
        acc[v] = vbroadcast(0)
    if learning and not update.first:
        for v in range(vectors):
            acc[v] = update_start(update, at + v * LANES)
            acc[vectors + v] = update_start(update, at + step + v * LANES)
    accumulate_sparse(
        vectors, bytes, p, row_at(learning, bytes, p, i), row_at(learning, bytes, p, min(i + 1, end - 1)), masks, acc
    )
    for v in range(vectors):
        if learning:
            update_finish(update, at + v * LANES, acc[v])
        else:
            vstore(p.c + at + v * LANES, acc[v])
    if step == 0:
        return
    for v in range(vectors):
        if learning:
            update_finish(update, at + step + v * LANES, acc[vectors + v])
        else:
            vstore(p.c + at + step + v * LANES, acc[vectors + v])


cdef inline bint skips_zeros(const Update* update) noexcept nogil:
    """Whether a gradient of 0 changes nothing: its weights are not even read."""
    return update.velocity == NULL and update.first and update.last


cdef inline void sparse_tiles(
    const int vectors, const bint learning, const bint bytes, const SparseProduct* given, Py_ssize_t end
) noexcept nogil:
    """Rows 0 to end. Two are scanned before the two before them are multiplied, for the reason given above."""
    cdef uint64_t masks[2][WORDS]
    cdef uint64_t here, after
    cdef int turn = 0
    cdef Py_ssize_t i
    cdef SparseProduct p = given[0]
    cdef Update update  # a copy, or it would be read again after each store
    if learning:
        update = p.update[0]
    after = scan(learning, bytes, &p, 0, end, masks[0])
    for i from 0 <= i < end by 2:
        here = after
        if i + 2 < end:
            after = scan(learning, bytes, &p, i + 2, end, masks[1 - turn])
        if here or not learning or not skips_zeros(&update):
            sparse_tile(vectors, learning, bytes, &p, &update, i, end, masks[turn])
        turn = 1 - turn


cdef inline void sparse_columns(
    const bint learning, bint bytes, const SparseProduct* p, Py_ssize_t rows, Py_ssize_t columns
) noexcept nogil:
    """So many rows and columns, in the code that was made for them."""
    if columns == LANES:
        if bytes:
            sparse_tiles(1, learning, True, p, rows)
        else:
            sparse_tiles(1, learning, False, p, rows)
    elif bytes:
        sparse_tiles(SUMS, learning, True, p, rows)
    else:
        sparse_tiles(SUMS, learning, False, p, rows)


cdef inline Py_ssize_t columns_at(const Linear* layer, Py_ssize_t column, Py_ssize_t end) noexcept nogil:
    """How many of the columns up to `end` are multiplied at once: SUMS vectors, or one."""
    return SUMS * LANES if min(end - column, layer.panel - column % layer.panel) >= SUMS * LANES else LANES


cdef void sparse_forward(
    const Linear* layer, const float* packed, const Row* rows, Py_ssize_t count, Py_ssize_t first, Py_ssize_t end,
    float* y,
) noexcept nogil:
    """Y (count, first to end) = X @ W; rows of Y lie layer.stride apart."""
    cdef Py_ssize_t column = first
    cdef SparseProduct p = SparseProduct(
        rows, Row(NULL, NULL), 0, layer.inputs, layer.inputs, NULL, layer.panel, y, NULL, 0, layer.stride
    )
    while column < end and count > 0:
        p.b = packed + panel_start(layer, column)
        p.at = column
        sparse_columns(False, rows.bytes != NULL, &p, count, columns_at(layer, column, end))
        column += columns_at(layer, column, end)


cdef void transpose_bytes(
    const Row* rows, Py_ssize_t count, Py_ssize_t n, uint8_t* to, Py_ssize_t rs_to
) noexcept nogil:
    """to (n, BLOCK) = the elements of up to BLOCK rows, transposed as `transpose_vectors` does.

    Zeros stand for the rows that are too few.
    """
    cdef vbytes t[BLOCK]
    cdef vbytes u[BLOCK]
    cdef Py_ssize_t j = 0
    cdef int i, turn
    while j + BLOCK <= n:
        for i in range(BLOCK):
            t[i] = bload(rows[i].bytes + j) if i < count else bzeros()
        for turn in range(4):
            for i in range(BLOCK // 2):
                u[2 * i] = bzip_low(t[i], t[i + BLOCK // 2])
                u[2 * i + 1] = bzip_high(t[i], t[i + BLOCK // 2])
            for i in range(BLOCK):
                t[i] = u[i]
        for i in range(BLOCK):
            bstore(to + (j + i) * rs_to, t[i])
        j += BLOCK
    for j in range(j, n):
        for i in range(BLOCK):
            to[j * rs_to + i] = rows[i].bytes[j] if i < count else 0


cdef void sparse_weight_gradient(
    const Linear* layer, Py_ssize_t rows, Row x, Py_ssize_t span, const float* d, Py_ssize_t first_input,
    Py_ssize_t end_input, Py_ssize_t first, Py_ssize_t end, const Update* update, float* compact,
) noexcept nogil:
    """G[first_input to end_input, first to end] = X.T @ D, and on to what `update` says.

    Input i's elements begin i * span behind x's, `span` a multiple of WORD. `compact` has room for (rows,
    SPARSE_PANEL): the columns of D that are needed are moved together, or their lines would share half of the cache's
    sets.
    """
    cdef Py_ssize_t column = first, columns, i
    cdef bint bytes = x.bytes != NULL
    cdef SparseProduct p = SparseProduct(
        NULL, x, span, rows, span, compact, SPARSE_PANEL, NULL, update, 0, layer.panel
    )
    if bytes:
        p.first.bytes += first_input * span
    else:
        p.first.floats += first_input * span
    while column < end and first_input < end_input:
        columns = columns_at(layer, column, end)
        for i in range(rows):
            memcpy(compact + i * SPARSE_PANEL, d + i * layer.stride + column, columns * sizeof(float))
        p.at = panel_start(layer, column) + first_input * layer.panel
        sparse_columns(True, bytes, &p, end_input - first_input, columns)
        column += columns


cdef inline void outer_product(
    const int vectors, const Linear* layer, const uint8_t* x, const float* d, Py_ssize_t first_input,
    Py_ssize_t end_input, Py_ssize_t column, const Update* given,
) noexcept nogil:
    """`sparse_outer_product` for `vectors` columns."""
    cdef vfloat row[SUMS]
    cdef vfloat value, gradient
    cdef Row bytes = Row(x, NULL)
    cdef Update update = given[0]
    cdef Py_ssize_t word, i, at
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
            at = panel_start(layer, column) + i * layer.panel
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
        if columns_at(layer, column, end) == SUMS * LANES:
            outer_product(SUMS, layer, x, d, first_input, end_input, column, update)
        else:
            outer_product(1, layer, x, d, first_input, end_input, column, update)
        column += columns_at(layer, column, end)
