# The weight gradient of one image: an outer product, whose rows are 0 where a pixel is.

cdef inline void outer_product(
    const int vectors, const bint descends, const Linear* layer, const MicroBatch* batch, const float* d, Block w,
    Py_ssize_t column, const Update* given,
) noexcept nogil:
    """`sparse_outer_product` for `vectors` columns."""
    cdef vfloat row[HALF_TILE]
    cdef vfloat gradient[HALF_TILE]
    cdef vfloat value
    cdef Row bytes = batch.row[0]
    cdef const float* pixel = batch.pixel
    cdef Update update = given[0]
    cdef Py_ssize_t k_block, i, at, start = panel_start(layer, column)
    cdef Py_ssize_t panel = layer.panel * layer.inputs
    cdef uint64_t mask
    cdef int v
    for v in range(vectors):
        row[v] = vload(d + column + v * LANES)
    for k_block from w.row <= k_block < w.end_row by K_BLOCK:
        mask = mask_at(True, &bytes, w.end_row, layer.inputs, k_block)
        if not descends:
            mask = ~<uint64_t>0 >> max(0, K_BLOCK - (w.end_row - k_block))
        while mask:
            i = k_block + trailing_zeros(mask)
            mask &= mask - 1
            value = vbroadcast(element(True, pixel, &bytes, i))
            at = start + i * layer.panel
            for v in range(vectors):
                gradient[v] = vfma(
                    value, row[v], vbroadcast(0) if descends else accumulated(&update, at + place(v, panel))
                )
            finish_row(vectors, descends, &update, at, panel, gradient)


cdef inline void outer_products(
    const int vectors, bint descends, const Linear* layer, const MicroBatch* batch, const float* d, Block w,
    Py_ssize_t column, const Update* update,
) noexcept nogil:
    if descends:
        outer_product(vectors, True, layer, batch, d, w, column, update)
    else:
        outer_product(vectors, False, layer, batch, d, w, column, update)


cdef void sparse_outer_product(
    const Linear* layer, const MicroBatch* batch, const float* d, Block w, const Update* update
) noexcept nogil:
    """The weight gradient of a micro-batch of one row x (inputs,): block w of G = x.T @ d."""
    cdef Py_ssize_t column = w.column
    cdef bint descends = zeros_change_nothing(update)
    cdef int vectors
    while column < w.end_column:
        vectors = vectors_of(HALF_TILE, w.end_column - column)
        if vectors == 1:
            outer_products(1, descends, layer, batch, d, w, column, update)
        elif vectors == 2:
            outer_products(2, descends, layer, batch, d, w, column, update)
        elif vectors == 3:
            outer_products(3, descends, layer, batch, d, w, column, update)
        else:
            outer_products(HALF_TILE, descends, layer, batch, d, w, column, update)
        column += vectors * LANES
