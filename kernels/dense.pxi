# The three matrix products of a linear layer, on weights that lie as the products read them.
#
# Packed, W (inputs, outputs) is cut into panels of P columns, zeros in the surplus of the last one:
#
#   w(0,0) … w(0,P-1) | w(1,0) … w(1,P-1) | … | w(inputs-1,P-1)      the next P columns      …
#
# Nothing is packed within a step: each product takes its operands where they lie.
#
#   forward          Y   (rows, outputs) = X (rows, inputs) @ W                          B is a panel
#   weight gradient  G   (inputs, outputs) = X.T @ D                                     C is a panel
#   input gradient   D'.T (inputs, rows) = W (inputs, outputs) @ D.T (outputs, rows)     A is a panel, read by rows
#
# The last one is computed transposed so that it runs along the rows of W; D.T lies in panels of NR rows of the batch,
# and the result is transposed back tile by tile. The step of the optimizer is taken where a tile of G is finished,
# so a gradient is only written where a batch has several slices. Every sum runs over k in order, one fma at a time
# (`accumulate`, gemm.pxi).

cdef extern from "simd.h":
    vfloat vzip_low(vfloat a, vfloat b) noexcept nogil
    vfloat vzip_high(vfloat a, vfloat b) noexcept nogil

cdef extern from *:
    """
    #define LOG2_LANES (LANES == 16 ? 4 : LANES == 8 ? 3 : 2)
    #define UNITS (4 * MR)
    """
    enum:
        LOG2_LANES
        UNITS  # inputs whose gradients are computed before they are transposed: whole tiles, and whole vectors


cdef struct Update:
    # What becomes of a gradient. The arrays are packed alike; velocity is NULL without momentum.
    float* weights
    float* velocity
    float* gradients
    float learning_rate
    float momentum
    bint first  # the batch's first slice: sums start from 0, else from what is in gradients
    bint last  # its last slice: take the step


cdef inline vfloat update_start(const Update* update, Py_ssize_t at) noexcept nogil:
    return vbroadcast(0) if update.first else vload(update.gradients + at)


cdef inline void update_finish(const Update* update, Py_ssize_t at, vfloat gradient) noexcept nogil:
    """The step of `sgd_step` for a vector of parameters."""
    cdef vfloat step = gradient
    if not update.last:
        vstore(update.gradients + at, gradient)
        return
    if update.velocity != NULL:
        step = vfma(vbroadcast(update.momentum), vload(update.velocity + at), gradient)
        vstore(update.velocity + at, step)
    vstore(update.weights + at, vfma(vbroadcast(-update.learning_rate), step, vload(update.weights + at)))


cdef struct Product:
    # C (m, vectors * LANES) = A (m, k) @ B. A's columns lie in runs of `run`, each `jump` floats after the last;
    # rows of B follow one another every rs_b floats. C is memory, or with `update` parameters from `at` on.
    Py_ssize_t k, run, jump
    const float* a
    Py_ssize_t rs_a, cs_a
    const float* b
    Py_ssize_t rs_b
    float* c
    Py_ssize_t rs_c
    const Update* update
    Py_ssize_t at


cdef inline void tile(const int rows, const int vectors, const Product* p, Py_ssize_t first) noexcept nogil:
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
    if p.update != NULL and not p.update.first:
        for i in range(rows):
            for j in range(vectors):
                acc[i * vectors + j] = update_start(p.update, at + i * p.rs_c + j * LANES)
    while left > 0:
        length = min(left, p.run)
        if p.rs_a == 1:
            accumulate(rows, vectors, length, a, 1, p.cs_a, b, p.rs_b, acc)
        else:
            accumulate(rows, vectors, length, a, p.rs_a, 1, b, p.rs_b, acc)
        a += p.jump
        b += length * p.rs_b
        left -= length
    for i in range(rows):
        for j in range(vectors):
            if p.update != NULL:
                update_finish(p.update, at + i * p.rs_c + j * LANES, acc[i * vectors + j])
            else:
                vstore(c + i * p.rs_c + j * LANES, acc[i * vectors + j])


cdef inline void tiles(const int vectors, const Product* p, Py_ssize_t m) noexcept nogil:
    """Rows 0 to m, in register tiles whose height the compiler knows."""
    cdef Py_ssize_t i = 0
    while i + MR <= m:
        tile(MR, vectors, p, i)
        i += MR
    while i + 4 <= m:
        tile(4, vectors, p, i)
        i += 4
    while i < m:
        tile(1, vectors, p, i)
        i += 1


cdef void product(const Product* p, Py_ssize_t m, Py_ssize_t columns) noexcept nogil:
    """m rows of up to NR columns, which are whole vectors."""
    if columns > LANES:
        tiles(2, p, m)
    else:
        tiles(1, p, m)


cdef Py_ssize_t panel_start(const Linear* layer, Py_ssize_t column) noexcept nogil:
    """Where a column of W begins, in its packed form; rows follow every layer.panel floats."""
    return layer.packed_weight + column // layer.panel * layer.panel * layer.inputs + column % layer.panel


cdef void dense_forward(
    const Linear* layer, const float* packed, Py_ssize_t rows, const float* x, Py_ssize_t rs_x,
    Py_ssize_t first, Py_ssize_t end, float* y,
) noexcept nogil:
    """Y (rows, first to end) = X @ W; rows of Y lie layer.stride apart."""
    cdef Py_ssize_t column, columns
    cdef Product p = Product(layer.inputs, layer.inputs, 0, x, rs_x, 1, NULL, layer.panel, NULL, layer.stride, NULL, 0)
    column = first
    while column < end:
        columns = min(end - column, min(<Py_ssize_t>NR, layer.panel - column % layer.panel))
        p.b = packed + panel_start(layer, column)
        p.c = y + column
        product(&p, rows, columns)
        column += columns


cdef void dense_weight_gradient(
    const Linear* layer, Py_ssize_t rows, const float* x, Py_ssize_t rs_x, const float* d,
    Py_ssize_t first_input, Py_ssize_t end_input, Py_ssize_t first, Py_ssize_t end, const Update* update,
) noexcept nogil:
    """G[inputs, first to end] = X.T @ D, and on to what `update` says."""
    cdef Py_ssize_t column = first, columns
    cdef Product p = Product(rows, rows, 0, x + first_input, 1, rs_x, NULL, layer.stride, NULL, layer.panel, update, 0)
    while column < end:
        columns = min(end - column, min(<Py_ssize_t>NR, layer.panel - column % layer.panel))
        p.b = d + column
        p.at = panel_start(layer, column) + first_input * layer.panel
        product(&p, end_input - first_input, columns)
        column += columns


cdef void bias_step(
    const Linear* layer, Py_ssize_t rows, const float* d, Py_ssize_t first, Py_ssize_t end, const Update* update
) noexcept nogil:
    """The bias's gradient, the sum of D over its rows from the first to the last, and on to what `update` says."""
    cdef Py_ssize_t column, i
    cdef vfloat total
    for column from first <= column < end by LANES:
        total = update_start(update, layer.packed_bias + column)
        for i in range(rows):
            total += vload(d + i * layer.stride + column)
        update_finish(update, layer.packed_bias + column, total)


cdef inline void transpose_vectors(
    const float* x, Py_ssize_t rs_x, Py_ssize_t rows, float* y, Py_ssize_t rs_y, Py_ssize_t columns
) noexcept nogil:
    """Y (columns, LANES) = X.T, zeros for the rows that X (rows, LANES) has too few.

    In LANES square, each round of zips turns the address (row, column) of an element left by one bit.
    """
    cdef vfloat t[LANES]
    cdef vfloat u[LANES]
    cdef int i, turn
    for i in range(LANES):
        t[i] = vload(x + i * rs_x) if i < rows else vbroadcast(0)
    for turn in range(LOG2_LANES):
        for i in range(LANES // 2):
            u[2 * i] = vzip_low(t[i], t[i + LANES // 2])
            u[2 * i + 1] = vzip_high(t[i], t[i + LANES // 2])
        for i in range(LANES):
            t[i] = u[i]
    for i in range(LANES):
        if i < columns:
            vstore(y + i * rs_y, t[i])


cdef void transpose(
    const float* x, Py_ssize_t rs_x, Py_ssize_t rows, float* y, Py_ssize_t rs_y, Py_ssize_t columns
) noexcept nogil:
    """Y (columns, LANES) = X (rows, LANES).T; neither has more than LANES rows."""
    if rows >= LANES and columns >= LANES:
        transpose_vectors(x, rs_x, LANES, y, rs_y, LANES)
    else:
        transpose_vectors(x, rs_x, rows, y, rs_y, columns)


cdef void transpose_to_panels(
    Py_ssize_t first_row, Py_ssize_t end_row, Py_ssize_t first, Py_ssize_t end, const float* d, Py_ssize_t rs_d,
    Py_ssize_t outputs, Py_ssize_t panel_rows, float* transposed,
) noexcept nogil:
    """A block of D (rows, outputs), from whole vectors of rows and columns on, into the panels of D.T."""
    cdef Py_ssize_t i, j
    for i from first_row <= i < end_row by LANES:
        for j from first <= j < end by LANES:
            transpose(
                d + i * rs_d + j, rs_d, end_row - i,
                transposed + i // panel_rows * panel_rows * outputs + j * panel_rows + i % panel_rows, panel_rows,
                outputs - j,
            )


cdef void dense_input_gradient(
    const Linear* layer, const float* packed, Py_ssize_t rows, Py_ssize_t panel_rows, const float* d_transposed,
    Py_ssize_t first, Py_ssize_t count, float* d_x, Py_ssize_t rs_d_x,
) noexcept nogil:
    """D' (rows, first to first + count) = D @ W.T, for up to UNITS inputs; its rows lie rs_d_x apart.

    D.T lies in panels of panel_rows rows of the batch. Whole vectors of D' are written.
    """
    cdef float transposed[UNITS * NR]
    cdef Py_ssize_t batch, i, unit, columns
    cdef Product p = Product(
        layer.outputs, layer.panel, layer.inputs * layer.panel, packed + layer.packed_weight + first * layer.panel,
        layer.panel, 1, NULL, panel_rows, &transposed[0], NR, NULL, 0,
    )
    if count < UNITS:
        memset(transposed, 0, sizeof(transposed))
    for batch from 0 <= batch < rows by panel_rows:
        columns = min(rows - batch, panel_rows)
        p.b = d_transposed + batch * layer.outputs
        product(&p, count, columns)
        for i from 0 <= i < columns by LANES:
            for unit from 0 <= unit < count by LANES:
                transpose(
                    transposed + unit * NR + i, NR, LANES, d_x + (batch + i) * rs_d_x + first + unit, rs_d_x,
                    columns - i,
                )
