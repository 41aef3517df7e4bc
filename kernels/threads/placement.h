/* On which CPU a thread begins.
 *
 * A scheduler may leave a thread that is woken on the CPU of who wakes it for longer than a job takes, although another CPU
 * is idle: of 400 such threads the median began after 700 us, which the job took, and on a CPU of its own after 27. So each
 * is woken on the next of the CPUs that it may use, if there are several, and may be moved from then on.
 */
#ifndef FALCON_MNIST_PLACEMENT_H
#define FALCON_MNIST_PLACEMENT_H

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#define present_cpu sched_getcpu

static int usable_cpus(void)
{
    cpu_set_t allowed;
    return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : CPU_SETSIZE;
}

static int set_next_cpu(pthread_t thread, const cpu_set_t *allowed, int cpu, int number)
{
    cpu_set_t one;
    while (number > 0)
        number -= CPU_ISSET(cpu = (cpu + 1) % CPU_SETSIZE, allowed) != 0;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return pthread_setaffinity_np(thread, sizeof one, &one);
}

static void place_on_next_cpu(pthread_t thread, int cpu, int number)
{
    cpu_set_t allowed;
    if (cpu >= 0 && sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) > 1)
        set_next_cpu(thread, &allowed, cpu, number);
}

static void move_to_next_cpu(void)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) > 1
        && set_next_cpu(pthread_self(), &allowed, sched_getcpu(), 1) == 0)
        pthread_setaffinity_np(pthread_self(), sizeof allowed, &allowed);
}

static void let_move(pthread_t thread)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        pthread_setaffinity_np(thread, sizeof allowed, &allowed);
}
#else
#define present_cpu() (-1)
#define usable_cpus() 1024
#define place_on_next_cpu(thread, cpu, number) ((void)(thread), (void)(cpu), (void)(number))
#define let_move(thread) ((void)(thread))
#define move_to_next_cpu()
#endif

#endif
