/* Elements interleaved and matrices transposed, in registers. simd.h includes this. */
#ifndef FALCON_MNIST_SHUFFLES_H
#define FALCON_MNIST_SHUFFLES_H

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

#endif
