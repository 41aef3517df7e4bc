# A parked thread of the process, which shares forward passes while it is free: each of the two takes rows, some at a time,
# until none are left. A row's bits depend on that row alone, so it changes none; and a helper that the system has not let
# run yet is not waited for.

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t
    int pthread_create(pthread_t* thread, const void* attributes, void* (*run)(void*) noexcept nogil, void* argument)
    int pthread_detach(pthread_t thread)
    int pthread_mutex_init(pthread_mutex_t* mutex, const void* attributes)
    int pthread_mutex_lock(pthread_mutex_t* mutex)
    int pthread_mutex_unlock(pthread_mutex_t* mutex)
    int pthread_cond_init(pthread_cond_t* condition, const void* attributes)
    int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex)
    int pthread_cond_broadcast(pthread_cond_t* condition)

cdef extern from * nogil:
    int __ATOMIC_SEQ_CST
    Py_ssize_t take_next "__atomic_fetch_add"(Py_ssize_t* at, Py_ssize_t count, int order)

cdef enum:
    SHARES = 8  # parts that the rows are taken in, if that many are worth it
    LEAST_ROWS = 16  # of a part: a whole tile

cdef enum HelperState:
    PARKED
    CALLED
    WORKING


cdef struct SharedRows:
    # The rows of a job, of which some are taken.
    Job* job
    const Kernels* table
    float* out
    Buffers* second  # memory of the helper
    Py_ssize_t part
    Py_ssize_t next


cdef struct Helper:
    bint started
    bint lent  # to a call; changed under the GIL alone
    HelperState state  # changed under the mutex alone
    SharedRows* rows
    pthread_mutex_t mutex
    pthread_cond_t changed

cdef Helper _helper
memset(&_helper, 0, sizeof(_helper))


cdef void take_rows(SharedRows* shared, Buffers* memory) noexcept nogil:
    """Compute parts of the rows until none are left."""
    cdef Job job = shared.job[0]
    cdef Py_ssize_t first, inputs = job.net.inputs
    job.workspace = memory
    while True:
        first = take_next(&shared.next, shared.part, __ATOMIC_SEQ_CST)
        if first >= shared.job.n:
            return
        job.n = min(shared.part, shared.job.n - first)
        if job.rows.bytes != NULL:
            job.rows.bytes = shared.job.rows.bytes + first * inputs
        else:
            job.rows.floats = shared.job.rows.floats + first * inputs
        shared.table.forward(&job, shared.out + first * job.net.outputs)


cdef void* helper_main(void* unused) noexcept nogil:
    enter_float_mode(FLUSH_SUBNORMALS)
    pthread_mutex_lock(&_helper.mutex)
    while True:
        while _helper.state != CALLED:
            pthread_cond_wait(&_helper.changed, &_helper.mutex)
        _helper.state = WORKING
        pthread_mutex_unlock(&_helper.mutex)
        take_rows(_helper.rows, _helper.rows.second)
        pthread_mutex_lock(&_helper.mutex)
        _helper.state = PARKED
        pthread_cond_broadcast(&_helper.changed)


cdef bint lend_helper() noexcept:
    """Whether the caller may use the helper, which is started where it is not yet; to be called with the GIL."""
    cdef pthread_t thread
    if _helper.lent:
        return False
    if not _helper.started:
        pthread_mutex_init(&_helper.mutex, NULL)
        pthread_cond_init(&_helper.changed, NULL)
        if pthread_create(&thread, NULL, helper_main, NULL) != 0:
            return False
        pthread_detach(thread)
        _helper.started = True
    _helper.lent = True
    return True


cdef void forward_with_helper(const Kernels* table, Job* job, float* out, Buffers* second) noexcept nogil:
    """As `table.forward`, by this thread and the helper, which is lent to it."""
    cdef Buffers* first = job.workspace
    cdef Py_ssize_t part = (job.n // SHARES + LEAST_ROWS - 1) // LEAST_ROWS * LEAST_ROWS
    cdef SharedRows shared = SharedRows(job, table, out, second, max(part, <Py_ssize_t>LEAST_ROWS), 0)
    pthread_mutex_lock(&_helper.mutex)
    _helper.rows = &shared
    _helper.state = CALLED
    pthread_cond_broadcast(&_helper.changed)
    pthread_mutex_unlock(&_helper.mutex)
    take_rows(&shared, first)
    pthread_mutex_lock(&_helper.mutex)
    if _helper.state == CALLED:
        _helper.state = PARKED  # it has not begun
    while _helper.state != PARKED:
        pthread_cond_wait(&_helper.changed, &_helper.mutex)
    pthread_mutex_unlock(&_helper.mutex)
