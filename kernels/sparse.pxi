# The first layer, without the zeros of its input: four in five pixels of MNIST are background.
#
#   C (m, n) = S (m, k) @ B (k, n) + beta * C,  S as compressed rows: entries[starts[i]:starts[i+1]] of row i
#
# serves both passes: forward S is the slice of images, backward its transpose. Entries of a row are in
# ascending order and each is one fma, so every element of C is summed as the dense path sums it, but for
# products with 0, which change nothing: the same bits, whichever path is taken.
#
# Measured at n = 128 and 1024, training in batches of 64 takes as long on either path where 30 in 100 elements are
# not zero, be they scattered or in runs (CONTRIBUTING.md): SPARSE_PERCENT.

cdef struct Entry:
    float value
    int32_t index


cdef enum:
    SPARSE_PERCENT = 30  # so many elements in 100 may be non-zero

# float32(byte / 255), correctly rounded.
cdef float[256] PIXEL
for _byte in range(256):
    PIXEL[_byte] = np.float32(_byte) / np.float32(255)


cdef inline Py_ssize_t byte_entries(Py_ssize_t n, const uint8_t* x, Entry* to) noexcept nogil:
    """The non-zero bytes of a row, scaled; room for all n and 8 more is needed. Returns how many there are."""
    cdef Py_ssize_t j = 0, t, found = 0
    cdef int64_t eight
    while j < n:
        if j + 8 <= n:
            memcpy(&eight, x + j, 8)
            if eight == 0:
                j += 8
                continue
        for t in range(j, min(j + 8, n)):
            to[found].value = PIXEL[x[t]]
            to[found].index = <int32_t>t
            found += x[t] != 0  # without a branch, which would be mispredicted at every edge of a stroke
        j += 8
    return found


cdef inline Py_ssize_t float_entries(Py_ssize_t n, const float* x, Entry* to) noexcept nogil:
    """The non-zero elements of a row, a NaN being one. Returns how many there are."""
    cdef Py_ssize_t j, found = 0
    for j in range(n):
        to[found].value = x[j]
        to[found].index = <int32_t>j
        found += x[j] != 0
    return found


cdef void transpose(
    Py_ssize_t m, Py_ssize_t k, const Py_ssize_t* starts, const Entry* entries, Py_ssize_t* to_starts, Entry* to
) noexcept nogil:
    """The compressed rows of the transpose (k, m), by counting. `to_starts` has room for k + 2."""
    cdef Py_ssize_t i, p, at
    memset(to_starts, 0, (k + 2) * sizeof(Py_ssize_t))
    for p in range(starts[m]):
        to_starts[entries[p].index + 2] += 1
    for i in range(2, k + 2):
        to_starts[i] += to_starts[i - 1]
    for i in range(m):
        for p in range(starts[i], starts[i + 1]):
            at = to_starts[entries[p].index + 1]
            to_starts[entries[p].index + 1] = at + 1
            to[at].value = entries[p].value
            to[at].index = <int32_t>i


cdef inline void sparse_row(
    const int vectors, Py_ssize_t count, const Entry* entries, const float* b, Py_ssize_t rs_b,
    float beta, float gamma, float* c,
) noexcept nogil:
    """sum = the sum of value * b[index], from beta * c on; c[:vectors*LANES] = sum, or c + gamma * sum.

    `vectors` is a literal where this is called; gamma 0 asks for the plain sum.
    """
    cdef vfloat acc[WIDE]
    cdef vfloat x
    cdef const float* row
    cdef Py_ssize_t p
    cdef int j
    for j in range(vectors):
        acc[j] = vbroadcast(0) if beta == 0 else vbroadcast(beta) * vload(c + j * LANES)
    for p in range(count):
        x = vbroadcast(entries[p].value)
        row = b + entries[p].index * rs_b
        for j in range(vectors):
            acc[j] = vfma(x, vload(row + j * LANES), acc[j])
    for j in range(vectors):
        vstore(c + j * LANES, acc[j] if gamma == 0 else vfma(vbroadcast(gamma), acc[j], vload(c + j * LANES)))


cdef inline void sparse_element(
    Py_ssize_t count, const Entry* entries, const float* b, Py_ssize_t rs_b, float beta, float gamma, float* c
) noexcept nogil:
    """The same for one column."""
    cdef Py_ssize_t p
    cdef float total = 0 if beta == 0 else beta * c[0]
    for p in range(count):
        total = sfma(entries[p].value, b[entries[p].index * rs_b], total)
    c[0] = total if gamma == 0 else sfma(gamma, total, c[0])


cdef inline void sparse_columns(
    Py_ssize_t m, Py_ssize_t n, const Py_ssize_t* starts, const Entry* entries, const float* b,
    float beta, float gamma, float* c,
) noexcept nogil:
    cdef Py_ssize_t i, count, j = 0
    while j < n:
        for i in range(m):
            count = starts[i + 1] - starts[i]
            if gamma != 0 and count == 0:
                continue
            if j + WIDE * LANES <= n:  # this many columns of all rows of B fit into the second-level cache
                sparse_row(WIDE, count, entries + starts[i], b + j, n, beta, gamma, c + i * n + j)
            elif j + LANES <= n:
                sparse_row(1, count, entries + starts[i], b + j, n, beta, gamma, c + i * n + j)
            else:
                sparse_element(count, entries + starts[i], b + j, n, beta, gamma, c + i * n + j)
        j += WIDE * LANES if j + WIDE * LANES <= n else LANES if j + LANES <= n else 1


cdef void sparse_gemm(
    Py_ssize_t m, Py_ssize_t n, const Py_ssize_t* starts, const Entry* entries, const float* b, float beta, float* c
) noexcept nogil:
    """C (m, n) = S @ B + beta * C; rows of B and C lie n apart. With beta 0, C is not read."""
    sparse_columns(m, n, starts, entries, b, beta, 0, c)


cdef void sparse_update(
    Py_ssize_t m, Py_ssize_t n, const Py_ssize_t* starts, const Entry* entries, const float* b,
    float learning_rate, float* w,
) noexcept nogil:
    """W (m, n) -= learning_rate * (S @ B): the step of `sgd_step`, whose gradient is never written.

    A row without entries, a pixel that is background in the whole batch, is not even read.
    """
    sparse_columns(m, n, starts, entries, b, 0, -learning_rate, w)
