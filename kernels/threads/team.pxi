# The threads of a job: they run the same function, each on its partition of rows or columns, with barriers between.
#
# Every element is computed whole by one thread, in the order in which one thread alone would compute it: the number of
# threads changes no bit.

cdef extern from "<pthread.h>" nogil:
    int pthread_create(pthread_t* thread, const void* attributes, void* (*run)(void*) noexcept nogil, void* argument)
    int pthread_detach(pthread_t thread)
    pthread_t pthread_self()
    int pthread_equal(pthread_t one, pthread_t other)
    int pthread_atfork(void (*prepare)() noexcept nogil, void (*parent)() noexcept nogil, void (*child)() noexcept nogil)
    int pthread_mutex_init(pthread_mutex_t* mutex, const void* attributes)
    int pthread_mutex_lock(pthread_mutex_t* mutex)
    int pthread_mutex_unlock(pthread_mutex_t* mutex)
    int pthread_mutex_destroy(pthread_mutex_t* mutex)
    int pthread_cond_init(pthread_cond_t* condition, const void* attributes)
    int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex)
    int pthread_cond_broadcast(pthread_cond_t* condition)
    int pthread_cond_destroy(pthread_cond_t* condition)

cdef extern from "isa/float_mode.h" nogil:
    ctypedef uint64_t float_mode
    float_mode enter_float_mode(int flush) noexcept
    int FLUSH_SUBNORMALS

cdef extern from * nogil:
    int __ATOMIC_SEQ_CST
    int atomic_load "__atomic_load_n"(const int* at, int order)
    void atomic_store "__atomic_store_n"(int* at, int value, int order)
    int atomic_add "__atomic_add_fetch"(int* at, int value, int order)

cdef extern from "threads/placement.h" nogil:
    int present_cpu() noexcept
    int usable_cpus() noexcept  # many where the system does not tell
    void place_on_next_cpu(pthread_t thread, int cpu, int number) noexcept
    void let_move(pthread_t thread) noexcept
    void move_to_next_cpu() noexcept  # this thread; it may be moved from then on

cdef enum:
    SPINS = 2000  # polls at a barrier, some 40 us, before a thread sleeps: the one it waits for may need its CPU


ctypedef void (*ThreadPart)(void* work, int thread) noexcept nogil


cdef void sleep_until_after(Team* team, int now) noexcept nogil:
    """Return when a later round has begun.

    A helper that wakes on the caller's CPU moves to another, unless there are too few. Else both would take turns there for
    many steps, each only when the other has polled in vain and sleeps.
    """
    cdef bint is_caller = pthread_equal(pthread_self(), team.caller)
    if is_caller:
        atomic_store(&team.callers_cpu, present_cpu(), __ATOMIC_SEQ_CST)
    pthread_mutex_lock(&team.mutex)
    atomic_add(&team.sleepers, 1, __ATOMIC_SEQ_CST)
    while atomic_load(&team.round, __ATOMIC_SEQ_CST) == now:
        pthread_cond_wait(&team.next_round, &team.mutex)
    atomic_add(&team.sleepers, -1, __ATOMIC_SEQ_CST)
    pthread_mutex_unlock(&team.mutex)
    if team.polls and not is_caller and present_cpu() == atomic_load(&team.callers_cpu, __ATOMIC_SEQ_CST):
        move_to_next_cpu()


cdef void barrier(Team* team) noexcept nogil:
    """Return when all threads have called it; what they wrote before is then visible to all."""
    cdef int now, spins
    if team.size == 1:
        return
    now = atomic_load(&team.round, __ATOMIC_SEQ_CST)
    if atomic_add(&team.arrived, 1, __ATOMIC_SEQ_CST) == team.size:
        team.arrived = 0
        atomic_store(&team.round, now + 1, __ATOMIC_SEQ_CST)
        if atomic_load(&team.sleepers, __ATOMIC_SEQ_CST):  # one about to sleep sees the new round instead
            pthread_mutex_lock(&team.mutex)
            pthread_cond_broadcast(&team.next_round)
            pthread_mutex_unlock(&team.mutex)
        return
    for spins in range(team.polls):
        if atomic_load(&team.round, __ATOMIC_SEQ_CST) != now:
            return
        spin_pause()
    sleep_until_after(team, now)


cdef void partition(
    Py_ssize_t count, Py_ssize_t unit, int thread, int threads, Py_ssize_t* first, Py_ssize_t* end
) noexcept nogil:
    """The thread's part of `count` things, in whole units except the last one."""
    cdef Py_ssize_t units = (count + unit - 1) // unit
    first[0] = min(count, units * thread // threads * unit)
    end[0] = min(count, units * (thread + 1) // threads * unit)
