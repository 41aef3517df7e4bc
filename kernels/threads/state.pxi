# The threads of a job, and the barrier that they share.

cdef struct Team:
    int size
    pthread_t caller
    int callers_cpu  # where the caller was when it last went to sleep at a barrier, or -1
    int polls  # at a barrier, before a thread sleeps
    int arrived
    int round
    int sleepers
    pthread_mutex_t mutex
    pthread_cond_t next_round
