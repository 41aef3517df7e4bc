# Which elements of a row are not zero, as masks of K_BLOCK bits.

cdef enum:
    SPARSE_PERCENT = 70  # up to so many non-zeros in 100 elements skipping is faster, on every instruction set
    SAMPLE = 8  # of so many rows one is counted

cdef float[256] PIXEL  # float32(byte / 255), correctly rounded
cdef int _byte
for _byte in range(256):
    PIXEL[_byte] = <float>_byte / <float>255


cdef uint64_t last_mask(const Row* row, Py_ssize_t n, Py_ssize_t readable, Py_ssize_t j) noexcept nogil:
    """`mask_at` where fewer than K_BLOCK elements are left."""
    cdef uint64_t mask = 0
    cdef Py_ssize_t at = min(j, readable - K_BLOCK)  # K_BLOCK elements, of which the first are shifted out
    if at < 0:
        for at in range(j, n):
            mask |= <uint64_t>(row.bytes[at] != 0 if row.bytes != NULL else row.floats[at] != 0) << (at - j)
        return mask
    mask = nonzero_bytes(row.bytes + at) if row.bytes != NULL else nonzero_floats(row.floats + at)
    return mask >> (j - at) & ((<uint64_t>1 << (n - j)) - 1)


cdef inline uint64_t mask_at(
    const bint bytes, const Row* row, Py_ssize_t n, Py_ssize_t readable, Py_ssize_t j
) noexcept nogil:
    """Which of the elements from j on are not zero, at most K_BLOCK of them; the row has n, and `readable` may be read."""
    if n - j < K_BLOCK:
        return last_mask(row, n, readable, j)
    return nonzero_bytes(row.bytes + j) if bytes else nonzero_floats(row.floats + j)


cdef inline float element(const bint bytes, const float* pixel, const Row* row, Py_ssize_t j) noexcept nogil:
    return pixel[row.bytes[j]] if bytes else row.floats[j]


cdef Py_ssize_t count_nonzero(const Row* row, Py_ssize_t n) noexcept nogil:
    """Elements of the row that are not zero."""
    cdef Py_ssize_t j, count = 0
    for j from 0 <= j < n by K_BLOCK:
        count += ones(mask_at(row.bytes != NULL, row, n, n, j))
    return count


cdef bint is_sparse_sample(Py_ssize_t found, Py_ssize_t rows, Py_ssize_t n) noexcept nogil:
    """Whether skipping pays, if in every SAMPLE-th of rows (rows, n) so many elements are not zero."""
    return found <= (rows + SAMPLE - 1) // SAMPLE * n * SPARSE_PERCENT // 100
