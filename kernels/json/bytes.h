/* Bytes of a text, several at a time. */
#ifndef FALCON_MNIST_JSON_BYTES_H
#define FALCON_MNIST_JSON_BYTES_H

#include <stdint.h>
#include <string.h>

typedef unsigned __int128 uint128_t;

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
