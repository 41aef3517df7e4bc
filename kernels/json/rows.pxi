# Arrays of numbers to float32: each is the nearest double, rounded.

from libc.math cimport fabs

cdef extern from "json/bytes.h" nogil:
    int same_bytes(const uint8_t* a, const uint8_t* b)

cdef double BEYOND_FLOAT32 = 2.0**128 - 2.0**103  # halfway to 2^128: from there on, rounding gives infinity
# Of a token's length n: 256 / n, rounded up, so that m * SHARES[n] >> 8 is m // n for m up to 16.
cdef int[9] SHARES = [0, 256, 129, 86, 65, 52, 43, 37, 33]


cdef struct Row:
    float* next  # room for as many numbers as the text may hold
    const float* last  # a number that is written behind it is one too many
    bint beyond  # whether some number is beyond float32's range, and infinite
    Py_ssize_t hard_left  # hard numbers that may still come


cdef inline const uint8_t* read_repeated(
    const uint8_t* at, const uint8_t* end, Py_ssize_t length, float value, Row* row
) noexcept nogil:
    """Skips tokens that repeat the one before `at`, of `length` bytes and its value; most pixels are such zeros."""
    cdef int most = 16 * SHARES[length] >> 8, same, count, index
    if end - at < 16 or (eight_bytes(at) ^ eight_bytes(at - length)) << (64 - 8 * length):
        return at  # a branch, which is foreseen, for all that do not repeat
    while end - at >= 16 and row.next <= row.last:
        same = same_bytes(at, at - length)
        for index in range(8):  # as many as there may be; what comes next stands over the others
            row.next[index] = value
        if same < 16:
            count = same * SHARES[length] >> 8
            row.next += count
            return at + count * length
        row.next += most
        at += most * length
    return at


cdef const uint8_t* read_row(const uint8_t* at, const uint8_t* end, Row* row) noexcept nogil:
    """Numbers and commas from behind a `[`; returns what stands behind the `]`.

    NULL where something else stands there, and where numbers end because no more are wanted.
    """
    cdef Number number
    cdef const uint8_t* token
    cdef float value
    at = skip_space(at)
    while row.next <= row.last:
        token = at
        at = read_number(at, end, &number)
        if at == NULL:
            return NULL
        value = <float>number.value
        row.next[0] = value
        row.next += 1
        row.beyond |= not fabs(number.value) < BEYOND_FLOAT32
        row.hard_left -= number.hard
        if row.hard_left < 0:
            return NULL
        at = skip_space(at)
        if at[0] == c']':
            return at + 1
        if at[0] != c',':
            return NULL
        at = skip_space(at + 1)
        if at - token <= 8:
            at = read_repeated(at, end, at - token, value, row)
    return NULL


cdef const uint8_t* read_rows(
    const uint8_t* at, const uint8_t* end, Row* row, Py_ssize_t* rows, Py_ssize_t* columns
) noexcept nogil:
    """A vector (0 rows) or a matrix from behind its `[`; returns what stands behind its `]`, NULL as `read_row`.

    No row is empty, and all are equally long.
    """
    cdef const float* first = row.next
    cdef const float* start
    rows[0] = 0
    at = skip_space(at)
    if at[0] != c'[':
        at = read_row(at, end, row)
        columns[0] = row.next - first
        return at
    while at[0] == c'[':
        start = row.next
        at = read_row(at + 1, end, row)
        if at == NULL:
            return NULL
        if rows[0] == 0:
            columns[0] = row.next - first
        if row.next - start != columns[0]:
            return NULL
        rows[0] += 1
        at = skip_space(at)
        if at[0] == c']':
            return at + 1
        if at[0] != c',':
            return NULL
        at = skip_space(at + 1)
    return NULL
