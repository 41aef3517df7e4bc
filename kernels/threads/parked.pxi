# Threads that are started once, and parked when they have nothing to do: a new one takes as long as several steps.

from libc.stdlib cimport free, malloc

cdef struct Helper:
    # A parked thread, or one that does a part of a job. It is never freed.
    int busy
    pthread_mutex_t mutex
    pthread_cond_t changed
    ThreadPart run
    void* work
    int thread
    int cpu  # of the thread whose job it is, or -1
    Helper* next  # of those that are parked

cdef Helper* _parked = NULL
cdef pthread_mutex_t _parked_mutex


cdef void set_busy(Helper* helper, int busy) noexcept nogil:
    pthread_mutex_lock(&helper.mutex)
    atomic_store(&helper.busy, busy, __ATOMIC_SEQ_CST)
    pthread_cond_broadcast(&helper.changed)
    pthread_mutex_unlock(&helper.mutex)


cdef void await_busy(Helper* helper, int busy) noexcept nogil:
    """Return when the helper has begun, or is done. Its own thread waits for the one, that of the job for the other."""
    cdef int spins
    for spins in range(SPINS):
        if atomic_load(&helper.busy, __ATOMIC_SEQ_CST) == busy:
            return
        spin_pause()
    pthread_mutex_lock(&helper.mutex)
    while atomic_load(&helper.busy, __ATOMIC_SEQ_CST) != busy:
        pthread_cond_wait(&helper.changed, &helper.mutex)
    pthread_mutex_unlock(&helper.mutex)


cdef void* helper_main(void* argument) noexcept nogil:
    cdef Helper* helper = <Helper*>argument
    while True:
        await_busy(helper, True)
        start_on_next_cpu(helper.cpu, helper.thread)
        enter_float_mode(FLUSH_SUBNORMALS)
        helper.run(helper.work, helper.thread)
        set_busy(helper, False)


cdef Helper* new_helper() noexcept nogil:
    """NULL if the system refuses."""
    cdef pthread_t handle
    cdef Helper* helper = <Helper*>malloc(sizeof(Helper))
    if helper == NULL:
        return NULL
    memset(helper, 0, sizeof(Helper))
    pthread_mutex_init(&helper.mutex, NULL)
    pthread_cond_init(&helper.changed, NULL)
    if pthread_create(&handle, NULL, helper_main, helper) != 0:
        free(helper)
        return NULL
    pthread_detach(handle)
    return helper


cdef Helper* take_helper() noexcept nogil:
    """A parked helper, or a new one; NULL if the system refuses."""
    global _parked
    cdef Helper* helper
    pthread_mutex_lock(&_parked_mutex)
    helper = _parked
    if helper != NULL:
        _parked = helper.next
    pthread_mutex_unlock(&_parked_mutex)
    return helper if helper != NULL else new_helper()


cdef void park(Helper* helper) noexcept nogil:
    global _parked
    pthread_mutex_lock(&_parked_mutex)
    helper.next = _parked
    _parked = helper
    pthread_mutex_unlock(&_parked_mutex)


cdef void forget_helpers() noexcept nogil:
    """A forked process has none of its parent's threads."""
    global _parked
    _parked = NULL
    pthread_mutex_init(&_parked_mutex, NULL)


forget_helpers()
pthread_atfork(NULL, NULL, forget_helpers)


cdef void run_team(Team* team, ThreadPart run, void* work, int threads) noexcept nogil:
    """Call `run(work, thread)` on so many threads, this one among them; on fewer if the system refuses more."""
    cdef Helper* helpers[THREAD_LIMIT]
    cdef int i, cpu = present_cpu()
    team.size = 1
    team.arrived = team.round = team.sleepers = 0
    pthread_mutex_init(&team.mutex, NULL)
    pthread_cond_init(&team.next_round, NULL)
    while team.size < threads:
        helpers[team.size] = take_helper()
        if helpers[team.size] == NULL:
            break
        team.size += 1
    for i in range(1, team.size):  # from here on the number of threads is known
        helpers[i].run, helpers[i].work, helpers[i].thread, helpers[i].cpu = run, work, i, cpu
        set_busy(helpers[i], True)
    run(work, 0)
    for i in range(1, team.size):
        await_busy(helpers[i], False)
        park(helpers[i])
    pthread_cond_destroy(&team.next_round)
    pthread_mutex_destroy(&team.mutex)
