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
#if defined(__SSE2__)
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
typedef int32_t vint __attribute__((vector_size(4 * LANES)));
static inline vfloat vrelu(vfloat x) { return (vfloat)((vint)x & ~(x < (vfloat){0})); }
static inline vfloat vrelu_backward(vfloat y, vfloat d) { return (vfloat)((vint)d & (y > (vfloat){0})); }

/* Vectors of integers: LANES of 32 bits (a comparison gives -1 or 0 in each), or half as many of 64 bits. */
typedef int32_t vint_in_memory __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint64_t vlong __attribute__((vector_size(4 * LANES)));
static inline vint iload(const int32_t *from) { return *(const vint_in_memory *)from; }
static inline void istore(int32_t *to, vint x) { *(vint_in_memory *)to = x; }
static inline vint ibroadcast(int32_t x) { return x + (vint){0}; }
static inline vlong lbroadcast(uint64_t x) { return x + (vlong){0}; }
static inline vint interleave_low_words(vlong even, vlong odd) /* the low 32 bits of their elements in turn */
{
    return (vint)((even & lbroadcast(0xFFFFFFFF)) | odd << 32);
}
static inline vint min_unsigned(vint a, vint b)
{
#if LANES == 16 && defined(__AVX512F__)
    return (vint)_mm512_min_epu32((__m512i)a, (__m512i)b);
#elif LANES == 8 && defined(__AVX2__)
    return (vint)_mm256_min_epu32((__m256i)a, (__m256i)b);
#else
    vint less = (a ^ INT32_MIN) < (b ^ INT32_MIN);
    return (a & less) | (b & ~less);
#endif
}

static inline vlong multiply_low_words(vlong a, vlong b) /* products of 64 bits of the low 32 bits */
{
#if LANES == 16 && defined(__AVX512F__)
    return (vlong)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif LANES == 8 && defined(__AVX2__)
    return (vlong)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif LANES == 4 && defined(__SSE2__)
    return (vlong)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
    return (a & lbroadcast(0xFFFFFFFF)) * (b & lbroadcast(0xFFFFFFFF));
#endif
}

static inline vint dot_int16(vint a, vint b) /* elements are two int16: the sum of their two products */
{
#if LANES == 16 && defined(__AVX512BW__)
    return (vint)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif LANES == 8 && defined(__AVX2__)
    return (vint)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif LANES == 4 && defined(__SSE2__)
    return (vint)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    return (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
#endif
}

static inline vint gather_elements(const int32_t *table, vint at) /* table[at] */
{
#if LANES == 16 && defined(__AVX512F__) /* two of 8 take less time than one of 16 */
    __m256i low = _mm256_i32gather_epi32(table, _mm512_castsi512_si256((__m512i)at), 4);
    __m256i high = _mm256_i32gather_epi32(table, _mm512_extracti64x4_epi64((__m512i)at, 1), 4);
    return (vint)_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
#elif LANES == 8 && defined(__AVX2__)
    return (vint)_mm256_i32gather_epi32(table, (__m256i)at, 4);
#else
    vint found;
    for (int i = 0; i < LANES; i++)
        found[i] = table[at[i]];
    return found;
#endif
}

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

static inline int is_any_below(vint a, vint b, vint c, vint d) /* whether a < b and c < d anywhere, as unsigned numbers */
{
#if LANES == 16 && defined(__AVX512F__)
    return _mm512_mask_cmplt_epu32_mask(_mm512_cmplt_epu32_mask((__m512i)a, (__m512i)b), (__m512i)c, (__m512i)d) != 0;
#else
    vint below = ((a ^ INT32_MIN) < (b ^ INT32_MIN)) & ((c ^ INT32_MIN) < (d ^ INT32_MIN));
#if LANES == 8 && defined(__AVX__)
    return !_mm256_testz_si256((__m256i)below, (__m256i)below);
#elif LANES == 4 && defined(__SSE2__)
    return _mm_movemask_epi8((__m128i)below) != 0;
#else
    int32_t any = 0;
    for (int i = 0; i < LANES; i++)
        any |= below[i];
    return any;
#endif
#endif
}

static inline vint widen_bytes(const uint8_t *from) /* LANES bytes as integers */
{
#if LANES == 16 && defined(__AVX512F__)
    return (vint)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)from));
#elif LANES == 8 && defined(__AVX2__)
    return (vint)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)from));
#else
    vint x;
    for (int i = 0; i < LANES; i++)
        x[i] = from[i];
    return x;
#endif
}

static inline void store_low_bytes(uint8_t *to, vint x) /* of LANES integers */
{
#if LANES == 16 && defined(__AVX512F__)
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8((__m512i)x));
#else
    for (int i = 0; i < LANES; i++)
        to[i] = (uint8_t)x[i];
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

/* Elements of a and b by index, those of b after those of a; gcc takes the indices as a vector. */
#if defined(__clang__)
#define SHUFFLE(numbers, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(numbers, a, b, ...) __builtin_shuffle(a, b, (numbers){__VA_ARGS__})
#endif

/* Interleave a and b: a0 b0 a1 b1 ..., the first half of the result and the second. */
#if LANES == 16
static inline vfloat vzip_low(vfloat a, vfloat b)
{
    return SHUFFLE(vint, a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
static inline vfloat vzip_high(vfloat a, vfloat b)
{
    return SHUFFLE(vint, a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
#elif LANES == 8
static inline vfloat vzip_low(vfloat a, vfloat b) { return SHUFFLE(vint, a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
static inline vfloat vzip_high(vfloat a, vfloat b) { return SHUFFLE(vint, a, b, 4, 12, 5, 13, 6, 14, 7, 15); }
#elif LANES == 4
static inline vfloat vzip_low(vfloat a, vfloat b) { return SHUFFLE(vint, a, b, 0, 4, 1, 5); }
static inline vfloat vzip_high(vfloat a, vfloat b) { return SHUFFLE(vint, a, b, 2, 6, 3, 7); }
#endif

typedef float quad __attribute__((vector_size(16)));
typedef float quad_in_memory __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t qint __attribute__((vector_size(16)));

/* to[j][i] = from[i][j] for 4 by 4 floats; rs and rs_to are the leading dimensions. */
static inline void transpose_4x4(const float *from, long rs, float *to, long rs_to)
{
    quad a = *(const quad_in_memory *)from, b = *(const quad_in_memory *)(from + rs);
    quad c = *(const quad_in_memory *)(from + 2 * rs), d = *(const quad_in_memory *)(from + 3 * rs);
    quad ab = SHUFFLE(qint, a, b, 0, 4, 1, 5), ab_high = SHUFFLE(qint, a, b, 2, 6, 3, 7);
    quad cd = SHUFFLE(qint, c, d, 0, 4, 1, 5), cd_high = SHUFFLE(qint, c, d, 2, 6, 3, 7);
    *(quad_in_memory *)to = SHUFFLE(qint, ab, cd, 0, 1, 4, 5);
    *(quad_in_memory *)(to + rs_to) = SHUFFLE(qint, ab, cd, 2, 3, 6, 7);
    *(quad_in_memory *)(to + 2 * rs_to) = SHUFFLE(qint, ab_high, cd_high, 0, 1, 4, 5);
    *(quad_in_memory *)(to + 3 * rs_to) = SHUFFLE(qint, ab_high, cd_high, 2, 3, 6, 7);
}

static inline void transpose_8x4(const float *from, long rs, float *to, long rs_to) /* the same for 8 rows */
{
#if defined(__AVX__)
#define ROWS(i) _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from + (i) * rs)), \
                                     _mm_loadu_ps(from + ((i) + 4) * rs), 1)
    __m256 a = ROWS(0), b = ROWS(1), c = ROWS(2), d = ROWS(3);
#undef ROWS
    __m256d ab = (__m256d)_mm256_unpacklo_ps(a, b), ab_high = (__m256d)_mm256_unpackhi_ps(a, b);
    __m256d cd = (__m256d)_mm256_unpacklo_ps(c, d), cd_high = (__m256d)_mm256_unpackhi_ps(c, d);
    _mm256_storeu_ps(to, (__m256)_mm256_unpacklo_pd(ab, cd));
    _mm256_storeu_ps(to + rs_to, (__m256)_mm256_unpackhi_pd(ab, cd));
    _mm256_storeu_ps(to + 2 * rs_to, (__m256)_mm256_unpacklo_pd(ab_high, cd_high));
    _mm256_storeu_ps(to + 3 * rs_to, (__m256)_mm256_unpackhi_pd(ab_high, cd_high));
#else
    transpose_4x4(from, rs, to, rs_to);
    transpose_4x4(from + 4 * rs, rs, to + 4, rs_to);
#endif
}

/* Interleave bytes, as vzip_low and vzip_high do floats. */
typedef uint8_t vbytes __attribute__((vector_size(16)));
typedef uint8_t vbytes_in_memory __attribute__((vector_size(16), aligned(1), may_alias));
static inline vbytes bload(const uint8_t *from) { return *(const vbytes_in_memory *)from; }
static inline void bstore(uint8_t *to, vbytes x) { *(vbytes_in_memory *)to = x; }
static inline vbytes bzeros(void) { return (vbytes){0}; }
static inline vbytes bzip_low(vbytes a, vbytes b)
{
    return SHUFFLE(vbytes, a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
static inline vbytes bzip_high(vbytes a, vbytes b)
{
    return SHUFFLE(vbytes, a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/* Which of 64 bytes, or floats, are not zero (a NaN counts as not zero): bit i is element i. */
static inline uint64_t nonzero_bytes(const uint8_t *x)
{
#if defined(__AVX512BW__)
    __m512i bytes = _mm512_loadu_si512(x);
    return _mm512_test_epi8_mask(bytes, bytes);
#elif defined(__SSE2__)
    uint64_t zero = 0;
    for (int i = 0; i < 64; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(x + i));
        zero |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_setzero_si128())) << i;
    }
    return ~zero;
#else
    uint64_t mask = 0;
    for (int i = 0; i < 64; i++)
        mask |= (uint64_t)(x[i] != 0) << i;
    return mask;
#endif
}

static inline uint64_t nonzero_floats(const float *x)
{
    uint64_t mask = 0;
#if defined(__AVX512F__)
    for (int i = 0; i < 64; i += 16)
        mask |= (uint64_t)_mm512_cmp_ps_mask(_mm512_loadu_ps(x + i), _mm512_setzero_ps(), _CMP_NEQ_UQ) << i;
#elif defined(__SSE2__)
    for (int i = 0; i < 64; i += 4)
        mask |= (uint64_t)(uint32_t)_mm_movemask_ps(_mm_cmpneq_ps(_mm_loadu_ps(x + i), _mm_setzero_ps())) << i;
#else
    for (int i = 0; i < 64; i++)
        mask |= (uint64_t)(x[i] != 0) << i;
#endif
    return mask;
}

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

static inline int32_t float_bits(float x) { int32_t bits; memcpy(&bits, &x, 4); return bits; }
static inline float bits_float(int32_t bits) { float x; memcpy(&x, &bits, 4); return x; }

#endif
