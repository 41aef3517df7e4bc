/* Vectors of LANES float32: loads and stores, arithmetic, relu. simd.h includes this. */
#ifndef FALCON_MNIST_FLOATS_H
#define FALCON_MNIST_FLOATS_H

static inline vfloat vload(const float *from) { return *(const vfloat_in_memory *)from; }
static inline void vstore(float *to, vfloat x) { *(vfloat_in_memory *)to = x; }
static inline vfloat vbroadcast(float x) { return x - (vfloat){0}; } /* x + 0 would lose the sign of -0 */

/* x, held in a register: else gcc may read it from memory again for each use. */
static inline vfloat in_register(vfloat x)
{
#if defined(__SSE2__)
    __asm__("" : "+v"(x));
#elif defined(__ARM_NEON)
    __asm__("" : "+w"(x));
#endif
    return x;
}

/* An address, held in a register: else gcc may compute it again from its parts for each use. */
static inline const float *computed(const float *at)
{
    __asm__("" : "+r"(at));
    return at;
}

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

static inline vfloat vsqrt(vfloat x) /* rounded as IEEE 754 asks */
{
#if LANES == 16 && defined(__AVX512F__)
    return (vfloat)_mm512_sqrt_ps((__m512)x);
#elif LANES == 8 && defined(__AVX__)
    return (vfloat)_mm256_sqrt_ps((__m256)x);
#elif LANES == 4 && defined(__SSE2__)
    return (vfloat)_mm_sqrt_ps((__m128)x);
#else
    for (int i = 0; i < LANES; i++)
        x[i] = __builtin_sqrtf(x[i]);
    return x;
#endif
}

/* relu, and relu backward from its output y and d_output, as relu_forward and relu_backward compute them. */
static inline vfloat vrelu(vfloat x) { return (vfloat)((vint)x & ~(x < (vfloat){0})); }
static inline vfloat vrelu_backward(vfloat y, vfloat d) { return (vfloat)((vint)d & (y > (vfloat){0})); }

static inline int is_zero(vfloat x) /* whether all elements are +0 or -0 */
{
#if LANES == 16 && defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)x, _mm512_set1_epi32(INT32_MAX)) == 0;
#else
    vint bits = (vint)x & INT32_MAX;
#if LANES == 8 && defined(__AVX__)
    return _mm256_testz_si256((__m256i)bits, (__m256i)bits);
#elif LANES == 4 && defined(__SSE2__)
    return _mm_movemask_epi8((__m128i)(bits != 0)) == 0;
#else
    int32_t any = 0;
    for (int i = 0; i < LANES; i++)
        any |= bits[i];
    return any == 0;
#endif
#endif
}

/* The first `count` floats of a vector; the others are 0, and are not stored. */
static inline vfloat vload_part(const float *from, long count)
{
    vfloat x = {0};
    if (count == LANES)
        return vload(from);
#if LANES == 16 && defined(__AVX512F__)
    x = (vfloat)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), from);
#elif LANES == 8 && defined(__AVX2__)
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    x = (vfloat)_mm256_maskload_ps(from, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lane));
#else
    for (long i = 0; i < count; i++)
        x[i] = from[i];
#endif
    return x;
}

static inline void vstore_part(float *to, vfloat x, long count)
{
    if (count == LANES) {
        vstore(to, x);
        return;
    }
#if LANES == 16 && defined(__AVX512F__)
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << count) - 1), (__m512)x);
#else
    for (long i = 0; i < count; i++)
        to[i] = x[i];
#endif
}

static inline float sfma(float a, float b, float c) /* vfma of one element: the same bits */
{
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

static inline int32_t float_bits(float x) { int32_t bits; memcpy(&bits, &x, 4); return bits; }
static inline float bits_float(int32_t bits) { float x; memcpy(&x, &bits, 4); return x; }

#endif
