/* Vectors of LANES integers of 32 bits, or half as many of 64. simd.h includes this. */
#ifndef FALCON_MNIST_INTEGERS_H
#define FALCON_MNIST_INTEGERS_H

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

#endif
