# Inference by columns: two threads take parts of a layer's columns.
#
# The parts of all layers are taken from one shared counter, in order, so that a helper that begins late, or never, is not
# waited for. A part of a later layer is begun when all parts of the layers before are done. Each element is computed whole
# by one thread: who computes it changes nothing.

cdef extern from "<sched.h>" nogil:
    int sched_yield()


cdef struct SharedColumns:
    # Some rows of a job, in its workspace, and the parts of all layers' columns.
    Job* job
    MicroBatch batch
    Buffers* second  # the helper's own memory
    int first_part[MAX_LAYERS + 1]  # of each layer
    int next  # the first part that nobody has taken
    int done  # parts that are complete


cdef Py_ssize_t part_columns(const Linear* layer) noexcept nogil:
    """Columns of a part: whole panels."""
    return max(layer.panel, (layer.padded // SHARES + layer.panel - 1) // layer.panel * layer.panel)


cdef void await_parts(SharedColumns* shared, int count) noexcept nogil:
    """Return when so many parts are done: soon, unless the other thread has lost its CPU."""
    cdef int turn = 0
    while atomic_load(&shared.done, __ATOMIC_SEQ_CST) < count:
        if turn < SPINS:
            spin_pause()
            turn += 1
        else:
            sched_yield()


cdef void take_columns(void* work, int thread) noexcept nogil:
    """Compute parts of the layers until none are left."""
    cdef SharedColumns* shared = <SharedColumns*>work
    cdef const Net* net = shared.job.net
    cdef const Linear* layer
    cdef MicroBatch batch = shared.batch
    cdef int part, index = 0, sampled = 0  # the last layer whose input was looked at for zeros
    cdef Py_ssize_t column
    if thread > 0:  # the caller has gathered the rows
        lend_own(&batch, shared.second, 0)
        batch.row, batch.next = shared.batch.row, shared.batch.next
    while True:
        part = atomic_add(&shared.next, 1, __ATOMIC_SEQ_CST) - 1
        if part >= shared.first_part[net.linears]:
            return
        while part >= shared.first_part[index + 1]:
            index += 1
        layer = &net.linear[index]
        await_parts(shared, shared.first_part[index])
        if sampled < index:
            choose_sparse(shared.job, &batch, index, 0, batch.rows)
            sampled = index
        column = (part - shared.first_part[index]) * part_columns(layer)
        activations(
            shared.job, &batch, index, Block(0, batch.rows, column, min(column + part_columns(layer), layer.padded))
        )
        atomic_add(&shared.done, 1, __ATOMIC_SEQ_CST)


cdef SharedColumns shared_columns(Job* job, Buffers* second) noexcept nogil:
    """Gather all rows of a job, and cut the layers into parts, for `take_columns`."""
    cdef SharedColumns shared
    cdef int index
    cdef const Linear* layer
    shared.job, shared.second, shared.batch = job, second, gather_alone(job, 0, job.n)
    shared.next = shared.done = shared.first_part[0] = 0
    for index in range(job.net.linears):
        layer = &job.net.linear[index]
        shared.first_part[index + 1] = shared.first_part[index] + <int>(
            (layer.padded + part_columns(layer) - 1) // part_columns(layer)
        )
    return shared
