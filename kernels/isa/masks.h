/* Which elements are not zero, as bits of a word. simd.h includes this. */
#ifndef FALCON_MNIST_MASKS_H
#define FALCON_MNIST_MASKS_H

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

#endif
