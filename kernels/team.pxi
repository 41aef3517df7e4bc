# The threads of one pass. All run the same function, each over its own share of rows or columns, and meet at barriers.
#
# Every element is computed whole by one member, in the order in which one thread alone would compute it: how many
# threads there are changes no bit.

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t
    int pthread_create(pthread_t* thread, const void* attributes, void* (*run)(void*) noexcept nogil, void* argument)
    int pthread_join(pthread_t thread, void** result)
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int pthread_mutex_init(pthread_mutex_t* mutex, const void* attributes)
    int pthread_mutex_lock(pthread_mutex_t* mutex)
    int pthread_mutex_unlock(pthread_mutex_t* mutex)
    int pthread_mutex_destroy(pthread_mutex_t* mutex)
    int pthread_cond_init(pthread_cond_t* condition, const void* attributes)
    int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex)
    int pthread_cond_broadcast(pthread_cond_t* condition)
    int pthread_cond_destroy(pthread_cond_t* condition)

cdef extern from "simd.h":
    void spin_pause() noexcept nogil

cdef extern from * nogil:
    int __ATOMIC_SEQ_CST
    int load "__atomic_load_n"(const int* at, int order)
    void store "__atomic_store_n"(int* at, int value, int order)
    int add "__atomic_add_fetch"(int* at, int value, int order)

cdef extern from *:
    """
    /* A scheduler may leave a new thread on the CPU of the one that has made it for longer than a pass takes, although
     * another is idle. So each member begins on the next of the CPUs that it may use, if there are several, and may be
     * moved from then on. Where that is not known or not allowed, members begin anywhere. */
    #if defined(__linux__)
    #include <sched.h>
    #define present_cpu sched_getcpu

    static void begin_apart(int cpu, int number)
    {
        cpu_set_t allowed, one;
        if (cpu < 0 || sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2)
            return;
        while (number > 0)
            number -= CPU_ISSET(cpu = (cpu + 1) % CPU_SETSIZE, &allowed) != 0;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (sched_setaffinity(0, sizeof one, &one) == 0)
            sched_setaffinity(0, sizeof allowed, &allowed);
    }
    #else
    #define present_cpu() (-1)
    #define begin_apart(cpu, number) ((void)(cpu), (void)(number))
    #endif
    """
    int present_cpu() noexcept nogil
    void begin_apart(int cpu, int number) noexcept nogil

cdef enum:
    THREAD_LIMIT = 16
    # Looks at a barrier, some 40 us, before a member sleeps: the one that it waits for may need its CPU.
    SPINS = 2000

MAX_THREADS = THREAD_LIMIT


cdef struct Pass  # slices.pxi


cdef struct Team:
    int size
    int arrived
    int round
    int sleepers
    pthread_mutex_t mutex
    pthread_cond_t next_round


cdef struct Member:
    Pass* work
    int index
    int cpu  # of the thread that made it, or -1


cdef void barrier(Team* team) noexcept nogil:
    """Return when all members have come here; what they wrote before is then seen by all."""
    cdef int now, spins
    if team.size == 1:
        return
    now = load(&team.round, __ATOMIC_SEQ_CST)
    if add(&team.arrived, 1, __ATOMIC_SEQ_CST) == team.size:
        team.arrived = 0
        store(&team.round, now + 1, __ATOMIC_SEQ_CST)
        if load(&team.sleepers, __ATOMIC_SEQ_CST):  # one that is about to sleep sees the new round instead
            pthread_mutex_lock(&team.mutex)
            pthread_cond_broadcast(&team.next_round)
            pthread_mutex_unlock(&team.mutex)
        return
    for spins in range(SPINS):
        if load(&team.round, __ATOMIC_SEQ_CST) != now:
            return
        spin_pause()
    pthread_mutex_lock(&team.mutex)
    add(&team.sleepers, 1, __ATOMIC_SEQ_CST)
    while load(&team.round, __ATOMIC_SEQ_CST) == now:
        pthread_cond_wait(&team.next_round, &team.mutex)
    add(&team.sleepers, -1, __ATOMIC_SEQ_CST)
    pthread_mutex_unlock(&team.mutex)


cdef void share(
    Py_ssize_t count, Py_ssize_t unit, int member, int size, Py_ssize_t* first, Py_ssize_t* end
) noexcept nogil:
    """The member's part of `count` things, in whole units but for the last one."""
    cdef Py_ssize_t units = (count + unit - 1) // unit
    first[0] = min(count, units * member // size * unit)
    end[0] = min(count, units * (member + 1) // size * unit)


cdef void* member_main(void* argument) noexcept nogil:
    cdef Member* member = <Member*>argument
    cdef Team* team = &member.work.team
    pthread_mutex_lock(&team.mutex)  # held until it is known how many members there are
    pthread_mutex_unlock(&team.mutex)
    begin_apart(member.cpu, member.index)
    run_member(member.work, member.index)
    return NULL


cdef void run_team(Pass* work, int threads) noexcept nogil:
    """Run a pass with so many threads, this one among them; with fewer if the system gives no more."""
    cdef pthread_t handles[THREAD_LIMIT]
    cdef Member members[THREAD_LIMIT]
    cdef Team* team = &work.team
    cdef int i, cpu = present_cpu()
    team.size = 1
    team.arrived = team.round = team.sleepers = 0
    pthread_mutex_init(&team.mutex, NULL)
    pthread_cond_init(&team.next_round, NULL)
    pthread_mutex_lock(&team.mutex)
    while team.size < threads:
        members[team.size] = Member(work, team.size, cpu)
        if pthread_create(&handles[team.size], NULL, member_main, &members[team.size]) != 0:
            break
        team.size += 1
    pthread_mutex_unlock(&team.mutex)
    run_member(work, 0)
    for i in range(1, team.size):
        pthread_join(handles[i], NULL)
    pthread_cond_destroy(&team.next_round)
    pthread_mutex_destroy(&team.mutex)
