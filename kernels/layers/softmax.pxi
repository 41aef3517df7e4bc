# Softmax, argmax and bias, row by row.

cdef void argmax_rows(Py_ssize_t rows, Py_ssize_t columns, const float* x, int64_t* y) noexcept nogil:
    cdef Py_ssize_t i, j, best
    for i in range(rows):
        best = 0
        for j in range(1, columns):
            best = j if x[i * columns + j] > x[i * columns + best] else best
        y[i] = best


cdef void softmax_rows(Py_ssize_t rows, Py_ssize_t columns, const float* x, float* y) noexcept nogil:
    """exp(x - max) / sum over each row; the sum is taken from left to right."""
    cdef Py_ssize_t i, j
    cdef float largest, total
    for i in range(rows):
        largest = x[i * columns]
        for j in range(1, columns):
            largest = x[i * columns + j] if x[i * columns + j] > largest else largest
        for j in range(columns):
            y[i * columns + j] = x[i * columns + j] - largest
    for i in range(rows * columns):
        y[i] = exp_of_negative(y[i])
    for i in range(rows):
        total = 0
        for j in range(columns):
            total += y[i * columns + j]
        for j in range(columns):
            y[i * columns + j] /= total


cdef void softmax_backward_rows(
    Py_ssize_t rows, Py_ssize_t columns, const float* y, const float* d_y, float* d_x
) noexcept nogil:
    cdef Py_ssize_t i, j
    cdef float dot
    for i in range(rows):
        dot = 0
        for j in range(i * columns, (i + 1) * columns):
            dot = sfma(d_y[j], y[j], dot)
        for j in range(i * columns, (i + 1) * columns):
            d_x[j] = y[j] * (d_y[j] - dot)


cdef void add_bias_rows(Py_ssize_t rows, Py_ssize_t columns, const float* bias, float* x) noexcept nogil:
    cdef Py_ssize_t i, j
    for i in range(rows):
        for j in range(columns):
            x[i * columns + j] += bias[j] + 0  # as `bias_and_activations` does


cdef void bias_gradient(Py_ssize_t rows, Py_ssize_t columns, const float* d_y, float* d_bias) noexcept nogil:
    """d_bias += the sum of d_y over rows, from the first to the last."""
    cdef Py_ssize_t i, j
    for i in range(rows):
        for j in range(columns):
            d_bias[j] += d_y[i * columns + j]
