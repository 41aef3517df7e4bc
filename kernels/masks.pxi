# Which elements of a row are not zero: by masks of 64 elements, a few instructions away from the elements themselves.

cdef extern from "simd.h":
    uint64_t nonzero_bytes(const uint8_t* x) noexcept nogil
    uint64_t nonzero_floats(const float* x) noexcept nogil

cdef extern from * nogil:
    int trailing_zeros "__builtin_ctzll"(uint64_t mask)
    int ones "__builtin_popcountll"(uint64_t mask)

cdef enum:
    WORD = 64  # elements of a mask
    SPARSE_PERCENT = 70  # so many elements in 100 may be non-zero: up to there skipping pays on every instruction set
    SAMPLE = 8  # of so many rows one is looked at to find that out (both: CONTRIBUTING.md)

# float32(byte / 255), correctly rounded.
cdef float[256] PIXEL
for _byte in range(256):
    PIXEL[_byte] = np.float32(_byte) / np.float32(255)


cdef struct Row:
    # Bytes, or floats where bytes is NULL.
    const uint8_t* bytes
    const float* floats


cdef uint64_t last_mask(const Row* row, Py_ssize_t n, Py_ssize_t readable, Py_ssize_t j) noexcept nogil:
    """`mask_at` where fewer than WORD elements are left."""
    cdef uint64_t mask = 0
    cdef Py_ssize_t at = min(j, readable - WORD)  # a whole word, of which the first elements have been seen
    if at < 0:
        for at in range(j, n):
            mask |= <uint64_t>(row.bytes[at] != 0 if row.bytes != NULL else row.floats[at] != 0) << (at - j)
        return mask
    mask = nonzero_bytes(row.bytes + at) if row.bytes != NULL else nonzero_floats(row.floats + at)
    return mask >> (j - at) & ((<uint64_t>1 << (n - j)) - 1)


cdef inline uint64_t mask_at(
    const bint bytes, const Row* row, Py_ssize_t n, Py_ssize_t readable, Py_ssize_t j
) noexcept nogil:
    """Which of the elements from j on are not zero, at most WORD of them; the row has n, and `readable` may be read."""
    if n - j < WORD:
        return last_mask(row, n, readable, j)
    return nonzero_bytes(row.bytes + j) if bytes else nonzero_floats(row.floats + j)


cdef inline float element(const bint bytes, const Row* row, Py_ssize_t j) noexcept nogil:
    return PIXEL[row.bytes[j]] if bytes else row.floats[j]


cdef Py_ssize_t count_nonzero(const Row* row, Py_ssize_t n) noexcept nogil:
    """Elements of the row that are not zero."""
    cdef Py_ssize_t j, count = 0
    for j from 0 <= j < n by WORD:
        count += ones(mask_at(row.bytes != NULL, row, n, n, j))
    return count


cdef bint few_of_sample(Py_ssize_t found, Py_ssize_t rows, Py_ssize_t n) noexcept nogil:
    """Whether skipping pays, if in every SAMPLE-th of rows (rows, n) so many elements are not zero."""
    return found <= (rows + SAMPLE - 1) // SAMPLE * n * SPARSE_PERCENT // 100
