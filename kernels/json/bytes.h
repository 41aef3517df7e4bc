/* Bytes of a text, several at a time, and the arithmetic that their numbers take. */
#ifndef FALCON_MNIST_JSON_BYTES_H
#define FALCON_MNIST_JSON_BYTES_H

#include <float.h>
#include <stdint.h>
#include <string.h>

/* Whether an operation on doubles is rounded once, to a double: not by the x87 unit of old x86 machines. */
enum { ROUNDED_ONCE = FLT_EVAL_METHOD == 0 || FLT_EVAL_METHOD == 1 };

/* a * b: returns its lower 64 bits, and the others in `high`. */
static inline uint64_t product(uint64_t a, uint64_t b, uint64_t *high)
{
#ifdef __SIZEOF_INT128__
    unsigned __int128 all = (unsigned __int128)a * b;
    *high = (uint64_t)(all >> 64);
    return (uint64_t)all;
#else
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t middle = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + (uint32_t)middle;
    *high = a1 * b1 + (middle >> 32) + (other >> 32);
    return a * b;
#endif
}

/* Eight bytes, the first one least significant. */
static inline uint64_t eight_bytes(const uint8_t *text)
{
    uint64_t bytes;
    memcpy(&bytes, text, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bytes = __builtin_bswap64(bytes);
#endif
    return bytes;
}

/* How many of the first 16 bytes are the same, before one is not. */
static inline int same_bytes(const uint8_t *a, const uint8_t *b)
{
    uint64_t first = eight_bytes(a) ^ eight_bytes(b), second = eight_bytes(a + 8) ^ eight_bytes(b + 8);
    int behind = second ? __builtin_ctzll(second) >> 3 : 8;
    return first ? __builtin_ctzll(first) >> 3 : 8 + behind;
}

/* `value` or -`value`, without a branch: signs of weights are as random as coins. */
static inline double with_sign(double value, int negative)
{
    uint64_t bits;
    memcpy(&bits, &value, 8);
    bits |= (uint64_t)negative << 63;
    memcpy(&value, &bits, 8);
    return value;
}

#endif
