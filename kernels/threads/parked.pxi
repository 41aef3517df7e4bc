# Threads that are started once, and parked when they have nothing to do: a new one takes as long as several steps.

from libc.stdlib cimport free, malloc

cdef enum HelperState:
    PARKED
    CALLED
    WORKING


cdef struct Helper:
    # A parked thread, or one that does a part of a job. It is never freed.
    int state  # changed under the mutex alone
    pthread_mutex_t mutex
    pthread_cond_t changed
    ThreadPart run
    void* work
    int thread
    pthread_t handle
    int sleeps  # it waits to be called, and polls no more; so does one that has just been started
    int polls  # looks at its state before the thread that waits for another one sleeps
    Helper* next  # of those that are parked

cdef Helper* _parked = NULL
cdef pthread_mutex_t _parked_mutex


cdef bint change_state(Helper* helper, HelperState before, HelperState after) noexcept nogil:
    """Whether the state was `before`; then it is `after` now."""
    cdef bint found
    pthread_mutex_lock(&helper.mutex)
    found = atomic_load(&helper.state, __ATOMIC_SEQ_CST) == before
    if found:
        atomic_store(&helper.state, after, __ATOMIC_SEQ_CST)
        pthread_cond_broadcast(&helper.changed)
    pthread_mutex_unlock(&helper.mutex)
    return found


cdef void await_state(Helper* helper, HelperState state, int polls) noexcept nogil:
    """Return when the state is that. The helper itself waits to be called, the thread of the job until it has parked."""
    cdef int turn
    for turn in range(polls):
        if atomic_load(&helper.state, __ATOMIC_SEQ_CST) == state:
            return
        spin_pause()
    pthread_mutex_lock(&helper.mutex)
    if state == CALLED:
        atomic_store(&helper.sleeps, True, __ATOMIC_SEQ_CST)
    while atomic_load(&helper.state, __ATOMIC_SEQ_CST) != state:
        pthread_cond_wait(&helper.changed, &helper.mutex)
    if state == CALLED:
        atomic_store(&helper.sleeps, False, __ATOMIC_SEQ_CST)
    pthread_mutex_unlock(&helper.mutex)


cdef void* helper_main(void* argument) noexcept nogil:
    cdef Helper* helper = <Helper*>argument
    cdef int polls = 0
    while True:
        await_state(helper, CALLED, polls)
        if not change_state(helper, CALLED, WORKING):
            continue  # no longer wanted
        enter_float_mode(FLUSH_SUBNORMALS)
        helper.run(helper.work, helper.thread)
        polls = helper.polls
        change_state(helper, WORKING, PARKED)


cdef Helper* new_helper() noexcept nogil:
    """NULL if the system refuses."""
    cdef Helper* helper = <Helper*>malloc(sizeof(Helper))
    if helper == NULL:
        return NULL
    memset(helper, 0, sizeof(Helper))
    helper.sleeps = True
    pthread_mutex_init(&helper.mutex, NULL)
    pthread_cond_init(&helper.changed, NULL)
    if pthread_create(&helper.handle, NULL, helper_main, helper) != 0:
        free(helper)
        return NULL
    pthread_detach(helper.handle)
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


cdef void call_helper(Helper* helper, ThreadPart run, void* work, int thread, int polls) noexcept nogil:
    """Let it call `run(work, thread)`, beginning on another CPU than this thread's if it sleeps."""
    cdef bint sleeps = atomic_load(&helper.sleeps, __ATOMIC_SEQ_CST)
    helper.run, helper.work, helper.thread, helper.polls = run, work, thread, polls
    if sleeps:
        place_on_next_cpu(helper.handle, present_cpu(), thread)
    change_state(helper, PARKED, CALLED)
    if sleeps:
        let_move(helper.handle)


cdef void park(Helper* helper) noexcept nogil:
    """Give a helper back, once it has done what it was called for."""
    global _parked
    await_state(helper, PARKED, helper.polls)
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
    cdef int i
    team.size = 1
    team.caller, team.callers_cpu = pthread_self(), -1
    team.arrived = team.round = team.sleepers = 0
    pthread_mutex_init(&team.mutex, NULL)
    pthread_cond_init(&team.next_round, NULL)
    while team.size < threads:
        helpers[team.size] = take_helper()
        if helpers[team.size] == NULL:
            break
        team.size += 1
    # From here on the number of threads is known. Of more than there are CPUs, those that poll keep others from running.
    team.polls = SPINS if team.size <= usable_cpus() else 0
    for i in range(1, team.size):
        call_helper(helpers[i], run, work, i, team.polls)
    run(work, 0)
    for i in range(1, team.size):
        park(helpers[i])
    pthread_cond_destroy(&team.next_round)
    pthread_mutex_destroy(&team.mutex)
