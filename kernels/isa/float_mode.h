/* The rounding mode and the treatment of subnormal numbers belong to a thread, and any library may change them.
 * Kernels set both, and restore what they found. Flushed, subnormal operands and results count as 0.
 */
#ifndef FALCON_MNIST_FLOAT_MODE_H
#define FALCON_MNIST_FLOAT_MODE_H

#include <stdint.h>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

typedef uint64_t float_mode;

enum { KEEP_SUBNORMALS, FLUSH_SUBNORMALS };

static inline void restore_float_mode(float_mode mode)
{
#if defined(__SSE2__)
    _mm_setcsr((unsigned int)mode);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory");
#elif defined(__arm__) && defined(__ARM_FP)
    __asm__ volatile("vmsr fpscr, %0" : : "r"((uint32_t)mode) : "memory");
#else
    (void)mode;
#endif
}

/* Set it: rounding to nearest, no traps. Returns what it was. */
static inline float_mode enter_float_mode(int flush)
{
    float_mode before = 0;
#if defined(__SSE2__)
    before = _mm_getcsr();
    restore_float_mode(0x1F80 | (flush ? 0x8040 : 0)); /* traps masked; FTZ and DAZ */
#elif defined(__aarch64__)
    __asm__ volatile("mrs %0, fpcr" : "=r"(before) : : "memory");
    restore_float_mode(flush ? (float_mode)1 << 24 : 0); /* FZ */
#elif defined(__arm__) && defined(__ARM_FP)
    uint32_t fpscr;
    __asm__ volatile("vmrs %0, fpscr" : "=r"(fpscr) : : "memory");
    before = fpscr;
    restore_float_mode(flush ? (float_mode)1 << 24 : 0);
#endif
    return before;
}

#endif
