# The first layer without the zeros of its input: four in five pixels of MNIST are background.
#
#   forward          Y (rows, outputs) = X (rows, inputs) @ W    a row's mask of what is not zero picks rows of W
#   weight gradient  G (inputs, outputs) = X.T @ D               an input's mask, over the batch, picks rows of D
#
# There are no lists: a mask of 64 elements is one or a few instructions away from the elements themselves, and the next
# one set in it two more, hidden behind the arithmetic. For the masks of inputs the bytes of a slice are transposed.
#
# Forward, a row of W for each of 128 outputs comes from the second-level cache, which takes twice as long as the
# arithmetic; so two images go through together, over the pixels of either, and share it. Backward, D lies in the first.
#
# Every element is summed over k in order, one fma at a time, as the dense products sum it but for products with 0,
# which change nothing: the same bits, whichever path is taken and whichever rows are paired. (The one exception is a sum
# that has underflowed to -0 and becomes +0; a bias or the next product that is not 0 makes them the same again.)
#
# SPARSE_PERCENT is where both paths take as long (CONTRIBUTING.md).

cdef extern from "simd.h":
    ctypedef uint8_t vbytes
    vbytes bload(const uint8_t* source) noexcept nogil
    void bstore(uint8_t* to, vbytes x) noexcept nogil
    vbytes bzeros() noexcept nogil
    vbytes bzip_low(vbytes a, vbytes b) noexcept nogil
    vbytes bzip_high(vbytes a, vbytes b) noexcept nogil
    uint64_t nonzero_bytes(const uint8_t* x) noexcept nogil
    uint64_t nonzero_floats(const float* x) noexcept nogil

cdef extern from * nogil:
    int trailing_zeros "__builtin_ctzll"(uint64_t mask)
    int ones "__builtin_popcountll"(uint64_t mask)

cdef enum:
    SPARSE_PERCENT = 60  # so many elements in 100 may be non-zero
    SUMS = 8  # vectors that are summed into at once, to hide the latency of fma
    WORD = 64  # elements of a mask
    SPARSE_PANEL = 64  # columns of a first layer's panels: for one thread's share, D of a batch stays in the first cache
    BLOCK = 16  # bytes are transposed in squares of this side

# float32(byte / 255), correctly rounded.
cdef float[256] PIXEL
for _byte in range(256):
    PIXEL[_byte] = np.float32(_byte) / np.float32(255)


cdef struct Row:
    # An image: bytes, or floats where bytes is NULL.
    const uint8_t* bytes
    const float* floats


cdef inline uint64_t mask_at(const Row* row, Py_ssize_t n, Py_ssize_t j) noexcept nogil:
    """Which of the elements from j on are not zero, at most WORD of them; the row has n."""
    cdef uint64_t mask = 0
    cdef Py_ssize_t at = j
    if n - j < WORD and n >= WORD:
        at = n - WORD  # a whole word, of which the first elements have been seen
    if n < WORD:
        for at in range(n):
            mask |= <uint64_t>(row.bytes[at] != 0 if row.bytes != NULL else row.floats[at] != 0) << at
        return mask
    if row.bytes != NULL:
        mask = nonzero_bytes(row.bytes + at)
    else:
        mask = nonzero_floats(row.floats + at)
    return mask >> (j - at)


cdef Py_ssize_t count_nonzero(const Row* row, Py_ssize_t first, Py_ssize_t end) noexcept nogil:
    """Elements from `first`, a multiple of WORD, to `end` that are not zero."""
    cdef Py_ssize_t j, count = 0
    for j from first <= j < end by WORD:
        count += ones(mask_at(row, end, j))
    return count


cdef inline float element(const bint bytes, const Row* row, Py_ssize_t p) noexcept nogil:
    return PIXEL[row.bytes[p]] if bytes else row.floats[p]


cdef inline void sparse_rows(
    const int vectors, const bint two, const bint bytes, Py_ssize_t n, const Row* one, const Row* other,
    const float* w, Py_ssize_t rs_w, float* y, Py_ssize_t rs_y,
) noexcept nogil:
    """y[0] = one @ w, and if `two`, y[1] = other @ w, `vectors` of their columns: all literals where this is called."""
    cdef vfloat acc[2 * SUMS]
    cdef vfloat x, x_other, b
    cdef Py_ssize_t j, p
    cdef uint64_t mask
    cdef int v
    x_other = vbroadcast(0)
    for v in range(2 * vectors):
        acc[v] = vbroadcast(0)
    for j from 0 <= j < n by WORD:
        mask = mask_at(one, n, j)
        if two:
            mask |= mask_at(other, n, j)
        while mask:
            p = j + trailing_zeros(mask)
            mask &= mask - 1
            x = vbroadcast(element(bytes, one, p))
            if two:
                x_other = vbroadcast(element(bytes, other, p))
            for v in range(vectors):
                b = vload(w + p * rs_w + v * LANES)
                acc[v] = vfma(x, b, acc[v])
                if two:
                    acc[vectors + v] = vfma(x_other, b, acc[vectors + v])
    for v in range(vectors):
        vstore(y + v * LANES, acc[v])
        if two:
            vstore(y + rs_y + v * LANES, acc[vectors + v])


cdef inline void sparse_rows_of(
    const int vectors, Py_ssize_t n, const Row* rows, Py_ssize_t count, const float* w, Py_ssize_t rs_w,
    float* y, Py_ssize_t rs_y,
) noexcept nogil:
    cdef Py_ssize_t i = 0
    while i + 2 <= count:
        if rows.bytes != NULL:
            sparse_rows(vectors, True, True, n, rows + i, rows + i + 1, w, rs_w, y + i * rs_y, rs_y)
        else:
            sparse_rows(vectors, True, False, n, rows + i, rows + i + 1, w, rs_w, y + i * rs_y, rs_y)
        i += 2
    if i < count:
        if rows.bytes != NULL:
            sparse_rows(vectors, False, True, n, rows + i, NULL, w, rs_w, y + i * rs_y, rs_y)
        else:
            sparse_rows(vectors, False, False, n, rows + i, NULL, w, rs_w, y + i * rs_y, rs_y)


cdef void sparse_forward(
    const Linear* layer, const float* packed, const Row* rows, Py_ssize_t count, Py_ssize_t first, Py_ssize_t end,
    float* y,
) noexcept nogil:
    """Y (count, first to end) = X @ W; rows of Y lie layer.stride apart."""
    cdef Py_ssize_t column = first, vectors
    cdef const float* w
    while column < end:
        w = packed + panel_start(layer, column)
        vectors = min(end - column, layer.panel - column % layer.panel) // LANES
        if vectors >= 8 and LANES == 16:  # two rows of 8 sums are more than other registers hold
            vectors = 8
            sparse_rows_of(8, layer.inputs, rows, count, w, layer.panel, y + column, layer.stride)
        elif vectors >= 4:
            vectors = 4
            sparse_rows_of(4, layer.inputs, rows, count, w, layer.panel, y + column, layer.stride)
        else:
            vectors = 1
            sparse_rows_of(1, layer.inputs, rows, count, w, layer.panel, y + column, layer.stride)
        column += vectors * LANES


cdef void transpose_bytes(
    const Row* rows, Py_ssize_t count, Py_ssize_t first, Py_ssize_t end, uint8_t* to, Py_ssize_t rs_to
) noexcept nogil:
    """to[first to end, BLOCK] = those elements of up to BLOCK rows, transposed as `transpose_vectors` does.

    Zeros stand for the rows that are too few.
    """
    cdef vbytes t[BLOCK]
    cdef vbytes u[BLOCK]
    cdef Py_ssize_t j = first
    cdef int i, turn
    while j + BLOCK <= end:
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
    for j in range(j, end):
        for i in range(BLOCK):
            to[j * rs_to + i] = rows[i].bytes[j] if i < count else 0


cdef struct Columns:
    # The bytes of a slice by inputs: input i's at bytes + i * span, `span` a multiple of WORD; or one row, and span 1.
    const uint8_t* bytes
    Py_ssize_t span
    Py_ssize_t rows


cdef inline uint64_t column_mask(const Columns* x, Py_ssize_t i, Py_ssize_t row) noexcept nogil:
    """Which of the rows from `row` on are not zero at input i."""
    cdef uint64_t mask
    if x.span == 1:
        return x.bytes[i] != 0
    mask = nonzero_bytes(x.bytes + i * x.span + row)
    if x.rows - row < WORD:
        mask &= (<uint64_t>1 << (x.rows - row)) - 1  # beyond them are bytes of an earlier slice
    return mask


cdef inline void add_rows(
    const int vectors, uint64_t mask, const uint8_t* bytes, const float* d, Py_ssize_t rs_d, vfloat* acc
) noexcept nogil:
    """acc += the sum of bytes[r] / 255 * d[r] over the rows r in the mask."""
    cdef vfloat value
    cdef Py_ssize_t r
    cdef int v
    while mask:
        r = trailing_zeros(mask)
        mask &= mask - 1
        value = vbroadcast(PIXEL[bytes[r]])
        for v in range(vectors):
            acc[v] = vfma(value, vload(d + r * rs_d + v * LANES), acc[v])


cdef inline void sparse_columns(
    const int vectors, const Linear* layer, const Columns* x, const float* d, Py_ssize_t first_input,
    Py_ssize_t end_input, Py_ssize_t column, const Update* given,
) noexcept nogil:
    """For `vectors` columns from `column` on, which D (rows, SPARSE_PANEL) begins with."""
    cdef vfloat acc[SUMS]
    cdef Py_ssize_t i, row, at = panel_start(layer, column) + first_input * layer.panel
    cdef Py_ssize_t panel = layer.panel
    cdef uint64_t mask
    cdef int v
    cdef Update update = given[0]
    cdef bint skips = update.velocity == NULL and update.first and update.last and x.rows <= WORD
    for i in range(first_input, end_input):
        mask = column_mask(x, i, 0)
        if not skips or mask:  # else it is 0 in the whole batch: its weights are not even read
            for v in range(vectors):
                acc[v] = update_start(&update, at + v * LANES)
            add_rows(vectors, mask, x.bytes + i * x.span, d, SPARSE_PANEL, acc)
            for row from WORD <= row < x.rows by WORD:
                mask = column_mask(x, i, row)
                add_rows(vectors, mask, x.bytes + i * x.span + row, d + row * SPARSE_PANEL, SPARSE_PANEL, acc)
            for v in range(vectors):
                update_finish(&update, at + v * LANES, acc[v])
        at += panel


cdef void sparse_weight_gradient(
    const Linear* layer, const Columns* x, const float* d, Py_ssize_t first_input, Py_ssize_t end_input,
    Py_ssize_t first, Py_ssize_t end, const Update* update, float* compact,
) noexcept nogil:
    """G[inputs, first to end] = X.T @ D, and on to what `update` says; `compact` has room for (rows, SPARSE_PANEL).

    The columns of D that are needed are moved together, or their lines would share half of the cache's sets.
    """
    cdef Py_ssize_t column = first, vectors, count, i
    while column < end:
        count = min(end - column, layer.panel - column % layer.panel)
        for i in range(x.rows):
            memcpy(compact + i * SPARSE_PANEL, d + i * layer.stride + column, count * sizeof(float))
        vectors = count // LANES
        if vectors >= 8:
            vectors = 8
            sparse_columns(8, layer, x, compact, first_input, end_input, column, update)
        elif vectors >= 4:
            vectors = 4
            sparse_columns(4, layer, x, compact, first_input, end_input, column, update)
        else:
            vectors = 1
            sparse_columns(1, layer, x, compact, first_input, end_input, column, update)
        column += vectors * LANES
