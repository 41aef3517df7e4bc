/* The vector type of one instruction set: LANES float32, set by the including .pyx file.
 *
 * GNU vector extensions carry the arithmetic (gcc and clang, any machine); intrinsics appear only where the
 * extensions have no spelling, which is the fused multiply-add. Files that include this are compiled with
 * -ffp-contract=off: a product is fused with a sum where fma() says so and nowhere else, so that a value has
 * the same bits in the body of a loop and in its tail.
 */
#ifndef FALCON_MNIST_SIMD_H
#define FALCON_MNIST_SIMD_H

#include <stdint.h>
#include <string.h>
#if defined(__FMA__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

typedef float vfloat __attribute__((vector_size(4 * LANES)));
typedef float vfloat_in_memory __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* Cython marks its inline functions with this: the micro-kernel must be inlined to be unrolled. */
#undef CYTHON_INLINE
#define CYTHON_INLINE inline __attribute__((always_inline))

static inline vfloat vload(const float *from) { return *(const vfloat_in_memory *)from; }
static inline void vstore(float *to, vfloat x) { *(vfloat_in_memory *)to = x; }
static inline vfloat vbroadcast(float x) { return x - (vfloat){0}; } /* x + 0 would lose the sign of -0 */

static inline vfloat vfma(vfloat a, vfloat b, vfloat c) /* a*b + c, rounded once where the machine can */
{
#if LANES == 16 && defined(__AVX512F__)
    return (vfloat)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif LANES == 8 && defined(__FMA__)
    return (vfloat)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif LANES == 4 && defined(__ARM_NEON)
    return (vfloat)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

static inline float sfma(float a, float b, float c)
{
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

static inline int32_t float_bits(float x) { int32_t bits; memcpy(&bits, &x, 4); return bits; }
static inline float bits_float(int32_t bits) { float x; memcpy(&x, &bits, 4); return x; }

/* What the CPU (and its operating system) can run; a compiler's flags say nothing about that. */
static inline int cpu_has_avx2(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 0;
#endif
}

static inline int cpu_has_avx512(void)
{
#if defined(__x86_64__)
    return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    return 0;
#endif
}

#endif
