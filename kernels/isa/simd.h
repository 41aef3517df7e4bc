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
typedef int32_t vint __attribute__((vector_size(4 * LANES)));

/* Cython marks its inline functions with this: the micro-kernel must be inlined to be unrolled. */
#undef CYTHON_INLINE
#define CYTHON_INLINE inline __attribute__((always_inline))

#include "floats.h"
#include "integers.h"
#include "shuffles.h"
#include "masks.h"
#include "hints.h"

#endif
