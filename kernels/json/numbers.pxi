# Numbers of a JSON text (RFC 8259, section 6) to the nearest doubles.
#
# A text ends with a NUL, as the bytes of Python do: what looks at one byte after another needs no other end.

from libc.stdio cimport snprintf

cdef extern from "Python.h":
    double PyOS_string_to_double(const char* text, char** end, void* overflow) except? -1.0

cdef extern from "json/bytes.h" nogil:
    uint64_t eight_bytes(const uint8_t* text)
    double with_sign(double value, bint negative)
    int __builtin_ctzll(uint64_t x)

cdef enum:
    WORD_DIGITS = 19  # 10^19 < 2^64
    # No middle between two doubles has more significant digits than 767. Further ones say only that it is exceeded.
    MOST_DIGITS = 770
    MOST_EXPONENT = 1_000_000_000  # no text is long enough to make up for more

cdef uint64_t[9] POWERS_OF_TEN = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000]


cdef struct Number:
    double value
    bint whole  # neither point nor exponent
    bint hard  # more significant digits than a word holds


cdef inline bint is_digit(uint8_t byte) noexcept nogil:
    return <uint8_t>(byte - c'0') < 10


cdef inline const uint8_t* skip_space(const uint8_t* at) noexcept nogil:
    while at[0] <= c' ' and (at[0] == c' ' or at[0] == c'\n' or at[0] == c'\r' or at[0] == c'\t'):
        at += 1
    return at


cdef inline const uint8_t* read_digits(const uint8_t* at, const uint8_t* end, uint64_t* word) noexcept nogil:
    """word = word * 10^n + the n digits from `at` on, eight at a time; returns where they end."""
    cdef uint64_t digits, others
    cdef int count
    while end - at >= 8:
        digits = eight_bytes(at) ^ <uint64_t>0x3030303030303030  # now 0 to 9
        others = (((digits & <uint64_t>0x7F7F7F7F7F7F7F7F) + <uint64_t>0x7676767676767676) | digits) & (
            <uint64_t>0x8080808080808080
        )
        count = __builtin_ctzll(others) >> 3 if others else 8
        if count == 0:
            return at
        digits <<= 64 - 8 * count  # as if zeros stood before them
        digits = (digits * 10 + (digits >> 8)) & <uint64_t>0x00FF00FF00FF00FF  # pairs
        digits = (digits * 100 + (digits >> 16)) & <uint64_t>0x0000FFFF0000FFFF
        digits = (digits * 10_000 + (digits >> 32)) & <uint64_t>0xFFFFFFFF
        word[0] = word[0] * POWERS_OF_TEN[count] + digits
        at += count
        if count < 8:
            return at
    while is_digit(at[0]):
        word[0] = word[0] * 10 + (at[0] - c'0')
        at += 1
    return at


cdef const uint8_t* read_exponent(const uint8_t* at, int64_t* exponent) noexcept nogil:
    """What follows an `e`; returns where it ends, NULL if it has no digits."""
    cdef bint negative = at[0] == c'-'
    at += negative or at[0] == c'+'
    if not is_digit(at[0]):
        return NULL
    exponent[0] = 0
    while is_digit(at[0]):
        exponent[0] = min(exponent[0] * 10 + (at[0] - c'0'), MOST_EXPONENT)
        at += 1
    if negative:
        exponent[0] = -exponent[0]
    return at


cdef inline const uint8_t* read_number(const uint8_t* at, const uint8_t* end, Number* number) noexcept nogil:
    """Returns where the number ends; NULL where there is none."""
    cdef bint negative = at[0] == c'-'
    at += negative
    cdef const uint8_t* first = at
    cdef const uint8_t* point
    cdef uint64_t word = 0
    cdef int64_t exponent = 0
    cdef Py_ssize_t decimals = 0, digits
    while is_digit(at[0]):
        word = word * 10 + (at[0] - c'0')
        at += 1
    digits = at - first
    if digits == 0 or (digits > 1 and first[0] == c'0'):
        return NULL
    number.whole = True
    if at[0] == c'.':
        point = at + 1
        at = read_digits(point, end, &word)
        decimals = at - point
        if decimals == 0:
            return NULL
        number.whole = False
    if at[0] | 0x20 == c'e':
        at = read_exponent(at + 1, &exponent)
        if at == NULL:
            return NULL
        number.whole = False
    number.hard = digits + decimals > WORD_DIGITS and significant_digits(first) > WORD_DIGITS
    if number.hard:
        number.value = long_number(first, exponent)
    else:
        number.value = nearest_double(word, exponent - decimals, digits + decimals)
    number.value = with_sign(number.value, negative)
    if number.whole:
        number.value += 0.0  # as an integer, -0 is 0
    return at


cdef Py_ssize_t significant_digits(const uint8_t* at) noexcept nogil:
    """Those from the first that is not 0 to the last before an exponent."""
    cdef Py_ssize_t count = 0
    while is_digit(at[0]) or at[0] == c'.':
        count += is_digit(at[0]) and (count > 0 or at[0] != c'0')
        at += 1
    return count


cdef double long_number(const uint8_t* at, int64_t exponent) noexcept nogil:
    """The double nearest to digits with or without a point, times 10^exponent."""
    cdef char[MOST_DIGITS + 32] digits  # the significant ones
    cdef Py_ssize_t count = 0
    cdef uint64_t word = 0
    cdef bint decimals = False, more = False
    while is_digit(at[0]) or at[0] == c'.':
        if at[0] == c'.':
            decimals = True
        else:
            if count < MOST_DIGITS:
                digits[count] = at[0]
                count += count > 0 or at[0] != c'0'
            else:
                more = more or at[0] != c'0'
                exponent += 1
            exponent -= decimals
        at += 1
    cdef Py_ssize_t index
    for index in range(WORD_DIGITS):
        word = word * 10 + (digits[index] - c'0')
    # It lies between the words with the first digits and their successor. Nearly always both have the same double.
    cdef double low = scaled(word, exponent + count - WORD_DIGITS)
    if low == scaled(word + 1, exponent + count - WORD_DIGITS):
        return low
    if more:
        digits[count] = c'1'
        count += 1
        exponent -= 1
    snprintf(digits + count, 24, "e%lld", <long long>exponent)
    with gil:
        return PyOS_string_to_double(digits, NULL, NULL)
