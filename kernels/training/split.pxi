# How the threads of a job split a step.

cdef enum:
    FIRST_VECTORS = 4  # of the first layer's output for each thread, if threads split its columns
    FIRST_ROWS = 32  # of a batch for each thread, if threads split its rows although there are two vectors for each


cdef bint by_columns(const Job* job, const MicroBatch* batch, const Linear* layer) noexcept nogil:
    """Whether threads split the columns of a layer's output, and not the rows: if there are enough of them for each.

    The first layer's kernels walk the non-zeros of all rows, which takes as long for two vectors as for three or four;
    split by rows, all of its weights, half of them new from another thread, cross between the cores at every step. The
    answer is the same for all micro-batches of a job: split by columns, threads do not wait for each other between them.
    """
    cdef Py_ssize_t least = layer.panel
    if layer == &job.net.linear[0] and layer.sparse and job.batch_size >= FIRST_ROWS * job.team.size:
        least = FIRST_VECTORS * LANES
    return not batch.by_rows and (job.team.size == 1 or layer.padded >= least * job.team.size)


cdef void thread_columns(
    const Job* job, const MicroBatch* batch, const Linear* layer, int thread, Py_ssize_t* first, Py_ssize_t* end
) noexcept nogil:
    """The thread's columns of a layer's output, and of d_output: whole tiles if there are enough of them."""
    cdef Py_ssize_t unit = layer.panel if by_columns(job, batch, layer) else LANES
    partition(layer.padded, unit, thread, job.team.size, first, end)


cdef void first_weight_rows(
    const Job* job, const MicroBatch* batch, int thread, Py_ssize_t* first, Py_ssize_t* end
) noexcept nogil:
    """The rows of the first layer's weights that the thread updates: all of them, in its columns, or its part."""
    cdef const Linear* layer = &job.net.linear[0]
    if by_columns(job, batch, layer):
        first[0] = 0
        end[0] = layer.inputs
    else:
        partition(layer.inputs, SQUARE if batch.sparse[0] else MR, thread, job.team.size, first, end)
