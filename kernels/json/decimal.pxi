# The double nearest to w * 10^q: D. Lemire, "Number Parsing at a Gigabyte per Second" (2021), section 5, and N. Mushtak
# and D. Lemire, "Fast Number Parsing Without Fallback" (2022), who show that 128 bits of a power are enough for any w.

from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

cdef extern from "json/bytes.h" nogil:
    bint ROUNDED_ONCE
    uint64_t product(uint64_t a, uint64_t b, uint64_t* high)
    int __builtin_clzll(uint64_t x)

cdef enum:
    LEAST_POWER = -342  # below, w * 10^q rounds to 0 for every w of 64 bits
    MOST_POWER = 308  # above, it is infinite for every w but 0
    EXACT_POWER = 22  # 10^22 is a double, 10^23 is not

cdef uint64_t[2 * (MOST_POWER - LEAST_POWER + 1)] POWERS  # the first 128 bits of 5^q, most significant word first
cdef double[EXACT_POWER + 1] TENS


cdef int fill_powers() except -1:
    cdef int q
    for q in range(LEAST_POWER, MOST_POWER + 1):
        power = (<object>5) ** abs(q)
        if q < 0:  # a reciprocal, rounded up: if 5^-q divides w, the product must not fall below the exact quotient
            bits = power.bit_length()
            power = ((<object>1) << (127 + (bits if q >= -27 else 2 * bits))) // power + 1
        shift = power.bit_length() - 128
        first = power >> shift if shift > 0 else power << -shift
        POWERS[2 * (q - LEAST_POWER)] = first >> 64
        POWERS[2 * (q - LEAST_POWER) + 1] = first & 0xFFFFFFFFFFFFFFFF
    for q in range(EXACT_POWER + 1):
        TENS[q] = (<object>10) ** q
    return 0


fill_powers()


cdef inline double nearest_double(uint64_t w, int64_t q, Py_ssize_t digits) noexcept nogil:
    """w * 10^q, rounded to nearest, ties to even; w has at most `digits` decimal digits."""
    # w and 10^|q| are exact doubles: a single operation rounds once.
    if ROUNDED_ONCE and digits <= 15 and -EXACT_POWER <= q <= EXACT_POWER:
        return <double>w / TENS[-q] if q <= 0 else <double>w * TENS[q]
    return scaled(w, q)


cdef double scaled(uint64_t w, int64_t q) noexcept nogil:
    """The same for any w: its product with the first 128 bits of 5^q, shifted and rounded."""
    if w == 0 or q < LEAST_POWER:
        return 0
    if q > MOST_POWER:
        return INFINITY
    cdef int zeros = __builtin_clzll(w)
    w <<= zeros
    cdef const uint64_t* power = POWERS + 2 * (q - LEAST_POWER)
    cdef uint64_t high, carry
    cdef uint64_t low = product(w, power[0], &high)
    product(w, power[1], &carry)
    low += carry
    high += low < carry
    cdef int carried = high >> 63
    # Keep 54 bits: 53 and one to round by. 217706 / 65536 is log2(10), exact enough for the exponent of every q.
    cdef int below = 9 + carried
    cdef uint64_t mantissa = high >> below
    cdef int64_t exponent = ((217706 * q) >> 16) + 63 + carried - zeros + 1023
    if exponent <= 0:  # subnormal: fewer bits
        if exponent < -62:
            return 0
        mantissa >>= 1 - exponent
        exponent = 1
    elif low <= 1 and -4 <= q <= 23 and mantissa & 3 == 1 and mantissa << below == high:
        mantissa -= 1  # in the middle between two doubles: the even one
    mantissa = (mantissa + (mantissa & 1)) >> 1
    # A mantissa that was rounded up to 2^53 adds one to the exponent, as it should.
    cdef uint64_t bits = (<uint64_t>(exponent - 1) << 52) + mantissa
    cdef double value
    memcpy(&value, &bits, sizeof(value))
    return value if bits < <uint64_t>0x7FF << 52 else INFINITY
