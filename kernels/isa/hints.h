/* Hints to the cache, and to the core while it polls. simd.h includes this. */
#ifndef FALCON_MNIST_HINTS_H
#define FALCON_MNIST_HINTS_H

/* Prefetch a cache line for writing. */
static inline void fetch_to_write(const void *at)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)at));
#else
    __builtin_prefetch(at, 1);
#endif
}

/* Between two polls of memory that another thread is about to change. */
static inline void spin_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
