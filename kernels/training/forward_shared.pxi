# Inference with a parked helper beside the caller, if no other pass has one.
#
# A large network is shared by columns, so that each thread reads but its part of the weights. Smaller ones by rows: by columns,
# each thread would walk the non-zeros of every row.

cdef extern from *:
    """
    #include <time.h>

    static inline int64_t monotonic_ns(void)
    {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
    }

    static _Thread_local int64_t last_pass_ended = INT64_MIN / 2;
    """
    int64_t monotonic_ns() noexcept nogil
    int64_t last_pass_ended  # with a second workspace, of this thread

cdef extern from * nogil:
    int atomic_swap "__atomic_exchange_n"(int* at, int value, int order)

cdef enum:
    LARGE = 1_000_000  # parameters, 4 MB: few second-level caches hold them
    FEWEST_ROWS = 3  # fewer take as long: all weights are read
    LONG_PRODUCTS = 20_000_000  # multiplications, some 200 us: beside other requests, to wake a helper for less costs more
    SHORT_PRODUCTS = 2_500_000
    SKIPPING = 4  # a first layer that skips zeros does about one multiplication in so many
    POLLING_NS = 40_000  # how long a helper polls after a pass, if it does: SPINS

cdef int _sharing = False  # whether a pass has a helper now; one at a time, so that threads do not outnumber CPUs


cdef void forget_pass() noexcept nogil:
    """A forked process has no helper, whoever had one in its parent."""
    atomic_store(&_sharing, False, __ATOMIC_SEQ_CST)


pthread_atfork(NULL, NULL, forget_pass)


cdef double products_of(const Job* job) noexcept nogil:
    """Multiplications of a forward pass over all rows, about."""
    cdef Py_ssize_t first = job.net.linear[0].inputs * job.net.linear[0].padded, skipped = 0
    if first_layer_is_sparse(job, 0, min(job.n, job.workspace.rows)):
        skipped = first - first // SKIPPING
    return <double>max(job.n, <Py_ssize_t>FEWEST_ROWS) * (job.net.packed_floats - skipped)


cdef bint is_worth_a_call(const Job* job, bint follows) noexcept nogil:
    """Whether a helper would save time: in a long pass, or in a shorter one that follows on another at once."""
    return products_of(job) >= (SHORT_PRODUCTS if follows else LONG_PRODUCTS) and usable_cpus() > 1


cdef void run_shared(ThreadPart take_parts, void* work, int polls) noexcept nogil:
    """Let both threads take parts of the work until none are left. A helper that has not begun then is not waited for.

    Afterwards it polls so often for the next call, before it sleeps.
    """
    cdef Helper* helper = NULL
    cdef bint alone = atomic_swap(&_sharing, True, __ATOMIC_SEQ_CST)
    if not alone:
        helper = take_helper()
    if helper != NULL:
        call_helper(helper, take_parts, work, 1, polls)
    take_parts(work, 0)
    if helper != NULL:
        change_state(helper, CALLED, PARKED)  # if it has not begun
        park(helper)
    if not alone:
        atomic_store(&_sharing, False, __ATOMIC_SEQ_CST)


cdef void forward_in_parts(Job* job, float* out, Buffers* second, int polls) noexcept nogil:
    """As `forward_rows`, with a second thread, if there are parts for two."""
    cdef SharedRows rows
    cdef SharedColumns columns
    if job.net.packed_floats >= LARGE and job.n <= min(job.workspace.rows, second.rows):
        columns = shared_columns(job, second)
        run_shared(take_columns, &columns, polls)
        copy_outputs(job, 0, job.n, out)
        return
    rows = shared_rows(job, out, second)
    if rows.part < job.n:
        run_shared(take_rows, &rows, polls)
    else:
        forward_rows(job, out)


cdef void forward_shared(Job* job, float* out, Buffers* second) noexcept nogil:
    """As `forward_rows`, with a second thread, whose memory is `second`, if that saves time.

    Where a thread's pass follows on another at once, the next may follow as well: only then the helper polls for it.
    """
    global last_pass_ended
    cdef bint follows = monotonic_ns() - last_pass_ended < POLLING_NS
    if is_worth_a_call(job, follows):
        forward_in_parts(job, out, second, SPINS if follows else 1)
    else:
        forward_rows(job, out)
    last_pass_ended = monotonic_ns()
