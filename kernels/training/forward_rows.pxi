# Inference on one thread, and parts of the rows on two.
#
# Two threads take parts of the rows from a shared counter until none are left. A row's bits depend on that row alone, so
# who computes it changes nothing.

cdef extern from * nogil:
    Py_ssize_t take_next "__atomic_fetch_add"(Py_ssize_t* at, Py_ssize_t count, int order)

cdef enum:
    SHARES = 8  # parts of a job's rows, or of a layer's columns, fewer if a part would be too small
    LEAST_ROWS = 16  # rows of a part: at least a whole tile


cdef struct SharedRows:
    # The rows of a job, from `next` on not taken yet, and the workspace of each thread.
    const Job* job
    float* out
    Buffers* memory[2]
    Py_ssize_t part
    Py_ssize_t next


cdef MicroBatch gather_alone(Job* job, Py_ssize_t first, Py_ssize_t rows) noexcept nogil:
    """Gather the rows from `first` on for a forward pass, by this thread alone."""
    job.task = EVALUATE
    job.batch_size = job.n
    job.team.size = 1
    job.pixel = &PIXEL[0]
    job.sparse[0] = first_layer_is_sparse(job, first, rows)
    return gather(job, first, rows, 0, 0)


cdef void copy_outputs(const Job* job, Py_ssize_t first, Py_ssize_t rows, float* out) noexcept nogil:
    """The outputs of the rows from `first` on, from the workspace to `out` (n, outputs)."""
    cdef const Linear* last = &job.net.linear[job.net.linears - 1]
    cdef const float* y = output_of(job, last)
    cdef Py_ssize_t i
    for i in range(rows):
        memcpy(out + (first + i) * job.net.outputs, y + i * last.ld, job.net.outputs * sizeof(float))


cdef void forward_rows(Job* job, float* out) noexcept nogil:
    """The outputs of all rows, on this thread alone, to `out` (n, outputs)."""
    cdef Py_ssize_t first, rows
    cdef MicroBatch batch
    for first from 0 <= first < job.n by job.workspace.rows:
        rows = min(job.workspace.rows, job.n - first)
        batch = gather_alone(job, first, rows)
        forward(job, &batch, 0)
        copy_outputs(job, first, rows, out)


cdef void take_rows(void* work, int thread) noexcept nogil:
    """Compute parts of the rows until none are left."""
    cdef SharedRows* shared = <SharedRows*>work
    cdef Job job = shared.job[0]
    cdef Py_ssize_t first, inputs = job.net.inputs
    job.workspace = shared.memory[thread]
    while True:
        first = take_next(&shared.next, shared.part, __ATOMIC_SEQ_CST)
        if first >= shared.job.n:
            return
        job.n = min(shared.part, shared.job.n - first)
        if job.rows.bytes != NULL:
            job.rows.bytes = shared.job.rows.bytes + first * inputs
        else:
            job.rows.floats = shared.job.rows.floats + first * inputs
        forward_rows(&job, shared.out + first * job.net.outputs)


cdef SharedRows shared_rows(const Job* job, float* out, Buffers* second) noexcept nogil:
    """Cut the rows of a job into parts, for `take_rows`."""
    cdef SharedRows shared
    cdef Py_ssize_t part = (job.n // SHARES + LEAST_ROWS - 1) // LEAST_ROWS * LEAST_ROWS
    shared.job, shared.out, shared.part, shared.next = job, out, max(part, <Py_ssize_t>LEAST_ROWS), 0
    shared.memory[0], shared.memory[1] = job.workspace, second
    return shared
