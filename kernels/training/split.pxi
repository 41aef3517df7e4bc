# How the threads of a job split a step.

cdef enum:
    FIRST_VECTORS = 5  # of the first layer's output for each thread, if threads split its columns
    LEAST_ROWS_EACH = 16  # of a micro-batch: whole vectors, and whole cache lines of D.T


cdef inline int halves_of(const Linear* layer) noexcept nogil:
    """Sums that a layer's product is added up from: two in the first layer, unless it has few inputs."""
    return 2 if layer.half < layer.inputs else 1


cdef bint is_wide(const Job* job, const Linear* layer) noexcept nogil:
    """Whether a layer's output has enough columns for each thread.

    The first layer's kernels walk the non-zeros of all rows, whatever the number of columns: with fewer than five vectors
    for each thread, halves are faster (docs/performance-notes.md).
    """
    cdef Py_ssize_t least = layer.panel
    if layer == &job.net.linear[0] and layer.sparse:
        least = FIRST_VECTORS * LANES
    return job.team.size == 1 or layer.padded >= least * job.team.size


cdef bint splits_rows(const Job* job, Py_ssize_t rows) noexcept nogil:
    """MicroBatch.by_rows. In training it is the same for all micro-batches of a job."""
    if job.task == EVALUATE:
        return rows >= LANES * job.team.size
    return not is_wide(job, &job.net.linear[0])


cdef bint by_halves(const Job* job, const MicroBatch* batch) noexcept nogil:
    """Whether threads split the first layer's inputs: the two sums of its product are then computed apart.

    Split by rows, all of its weights, half of them new from another thread, would cross between the cores at every step;
    split by its inputs, each thread has the weights of its pixels, and reads nothing of the images but those pixels.
    """
    return batch.by_rows and job.task != EVALUATE


cdef bint by_columns(const Job* job, const MicroBatch* batch, const Linear* layer) noexcept nogil:
    """Whether threads split the columns of a layer's output, and not the rows."""
    return not batch.by_rows and is_wide(job, layer)


cdef bint owns_weights(const Job* job, const MicroBatch* batch) noexcept nogil:
    """Whether each thread reads only those of the first layer's weights that it updates itself."""
    if by_halves(job, batch):
        return job.team.size == halves_of(&job.net.linear[0])
    return by_columns(job, batch, &job.net.linear[0])


cdef void thread_columns(
    const Job* job, const MicroBatch* batch, const Linear* layer, int thread, Py_ssize_t* first, Py_ssize_t* end
) noexcept nogil:
    """The thread's columns of a layer's output, and of d_output: whole tiles if there are enough of them."""
    cdef Py_ssize_t unit = layer.panel if by_columns(job, batch, layer) else LANES
    partition(layer.padded, unit, thread, job.team.size, first, end)


cdef Block thread_rows(const Job* job, const MicroBatch* batch, int thread) noexcept nogil:
    """The thread's rows of a micro-batch, no columns."""
    cdef Block block = Block(0, 0, 0, 0)
    partition(batch.rows, LEAST_ROWS_EACH, thread, job.team.size, &block.row, &block.end_row)
    return block


cdef void first_weight_rows(
    const Job* job, const MicroBatch* batch, int thread, Py_ssize_t* first, Py_ssize_t* end
) noexcept nogil:
    """The rows of the first layer's weights that the thread updates: all in its columns, its half, or its part."""
    cdef const Linear* layer = &job.net.linear[0]
    if by_columns(job, batch, layer):
        first[0], end[0] = 0, layer.inputs
    elif owns_weights(job, batch):
        inputs_of(layer, thread, first, end)
    else:
        partition(layer.inputs, SQUARE if batch.sparse[0] else MR, thread, job.team.size, first, end)
