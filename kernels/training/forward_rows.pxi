# Inference: forward passes on one thread, or on two, the second a parked helper.
#
# Two threads take parts of the rows from a shared counter until none are left. A row's bits depend on that row alone, so
# who computes it changes nothing. A helper that has not begun when no rows are left is not waited for.

cdef extern from * nogil:
    Py_ssize_t take_next "__atomic_fetch_add"(Py_ssize_t* at, Py_ssize_t count, int order)
    int atomic_swap "__atomic_exchange_n"(int* at, int value, int order)

cdef enum:
    SHARES = 8  # parts of a job's rows, fewer if a part would be too small
    LEAST_ROWS = 16  # rows of a part: at least a whole tile


cdef struct SharedRows:
    # The rows of a job, from `next` on not taken yet, and the workspace of each thread.
    const Job* job
    float* out
    Buffers* memory[2]
    Py_ssize_t part
    Py_ssize_t next

cdef int _sharing = False  # whether a pass has a helper now; one at a time, so that threads do not outnumber CPUs


cdef void forward_rows(Job* job, float* out) noexcept nogil:
    """The outputs of all rows, on this thread alone, to `out` (n, outputs)."""
    cdef Py_ssize_t first, i, rows
    cdef const Linear* last = &job.net.linear[job.net.linears - 1]
    cdef const float* y = output_of(job, last)
    cdef MicroBatch batch
    job.task = EVALUATE
    job.batch_size = job.n
    job.team.size = 1
    job.pixel = &PIXEL[0]
    for first from 0 <= first < job.n by job.workspace.rows:
        rows = min(job.workspace.rows, job.n - first)
        job.sparse[0] = first_layer_is_sparse(job, first, rows)
        batch = gather(job, first, rows, 0, 0)
        forward(job, &batch, 0)
        for i in range(rows):
            memcpy(out + (first + i) * job.net.outputs, y + i * last.ld, job.net.outputs * sizeof(float))


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


cdef void forward_shared(Job* job, float* out, Buffers* second) noexcept nogil:
    """As `forward_rows`, with a parked thread beside this one, whose memory is `second`, if no other pass has one."""
    cdef Py_ssize_t part = (job.n // SHARES + LEAST_ROWS - 1) // LEAST_ROWS * LEAST_ROWS
    cdef SharedRows shared
    cdef Helper* helper = NULL
    cdef bint alone = job.n <= LEAST_ROWS or atomic_swap(&_sharing, True, __ATOMIC_SEQ_CST)
    shared.job, shared.out, shared.part, shared.next = job, out, max(part, <Py_ssize_t>LEAST_ROWS), 0
    shared.memory[0], shared.memory[1] = job.workspace, second
    if not alone:
        helper = take_helper()
    if helper != NULL:
        call_helper(helper, take_rows, &shared, 1, 0)
    take_rows(&shared, 0)
    if helper != NULL:
        change_state(helper, CALLED, PARKED)  # if it has not begun
        park(helper)
    if not alone:
        atomic_store(&_sharing, False, __ATOMIC_SEQ_CST)
