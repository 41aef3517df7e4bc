# What becomes of the gradients of a sparse product's tile: up to TILE_VECTORS vectors of one row of W, or of two.
#
# Plain SGD takes them from registers. An adaptive rule reads and writes three arrays, and divides: between the sums, of
# which each ends in a misprediction, it gets a run of WAITING_ROWS rows, which lie one after the other in each panel.

cdef enum Finish:  # what becomes of a tile's gradients
    DESCEND  # plain gradient descent, to which a gradient of 0 is nothing
    APPLY  # they are accumulated, or applied in registers
    WAIT  # an adaptive rule goes through those of WAITING_ROWS rows without a break

cdef enum:
    WAITING_ROWS = 16


cdef inline void finish_row(
    const int vectors, const bint descends, const Update* update, Py_ssize_t at, Py_ssize_t panel,
    const vfloat* gradients
) noexcept nogil:
    """Store or apply a row's gradients. `descends`: all there is to do is plain gradient descent."""
    cdef int v
    if descends:
        for v in range(vectors):
            descend(update.weights + at + place(v, panel), vbroadcast(-update.learning_rate), gradients[v])
        return
    if vectors >= 2:
        apply_update(vectors // 2, 2, update, at, panel, gradients)
    if vectors % 2:
        apply_update(1, 1, update, at + vectors // 2 * panel, 0, gradients + vectors - 1)


cdef inline float* waiting_at(const int vectors, int v, Py_ssize_t row, float* waiting) noexcept nogil:
    """Where the gradients of vector v wait: those of a panel without gaps, of two vectors or of one, if it is the last."""
    cdef int width = 1 if v == vectors - 1 and v % 2 == 0 else 2
    return waiting + (v // 2 * 2 * WAITING_ROWS + row * width + v % 2) * LANES


cdef inline void update_waiting(
    const int vectors, const Update* update, Py_ssize_t at, Py_ssize_t ld, Py_ssize_t panel, Py_ssize_t rows,
    float* waiting,
) noexcept nogil:
    """Apply the rule to `rows` rows of the parameters from `at` on."""
    cdef int v
    for v from 0 <= v < vectors by 2:
        update_block(
            update[0], at + place(v, panel), ld, rows, min(2, vectors - v) * LANES, waiting_at(vectors, v, 0, waiting)
        )
