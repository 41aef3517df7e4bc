# Blocks of vectors, transposed in registers.

cdef struct Block:
    # A part of a matrix; its columns are whole vectors.
    Py_ssize_t row
    Py_ssize_t end_row
    Py_ssize_t column
    Py_ssize_t end_column


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
    Block block, const float* d, Py_ssize_t ld, Py_ssize_t outputs, Panels to
) noexcept nogil:
    """A block of D (rows, outputs) into the panels of D.T; it begins with whole vectors of rows and columns."""
    cdef Py_ssize_t i, j
    for i from block.row <= i < block.end_row by LANES:
        for j from block.column <= j < block.end_column by LANES:
            transpose(
                d + i * ld + j, ld, block.end_row - i,
                to.data + i // to.rows * to.ld + j * to.rows + i % to.rows, to.rows,
                outputs - j,
            )
