# Softmax and cross-entropy as one: loss = log(sum(exp(z))) - z[label], d_z = softmax(z) - onehot(label).
# With the row's largest value taken off first, no exp overflows, the sum is at least 1, and the loss needs
# no logarithm of a probability that has become 0: logits of +-1e4 are as good as any.

cdef extern from "<math.h>" nogil:
    double log(double x) noexcept


cdef struct Tally:
    double loss  # sum over rows
    Py_ssize_t correct  # rows whose largest logit, the first if there are several, is the label's


cdef void tally_row(Py_ssize_t columns, const float* z, uint8_t label, float total, Tally* tally) noexcept nogil:
    """Add one row, whose `total` is sum(exp(z - max))."""
    cdef Py_ssize_t j, best = 0
    for j in range(1, columns):
        if z[j] > z[best]:
            best = j
    tally.loss += log(total) - (<double>z[label] - <double>z[best])
    tally.correct += best == label


cdef void cross_entropy(
    Py_ssize_t rows, Py_ssize_t columns, const float* z, const uint8_t* labels, float scale, float* d_z,
    Tally* tally,
) noexcept nogil:
    """Add the rows to `tally`; d_z = scale * (softmax(z) - onehot(labels))."""
    cdef Py_ssize_t i, j
    cdef float largest, total
    for i in range(rows):
        largest = z[i * columns]
        for j in range(1, columns):
            largest = z[i * columns + j] if z[i * columns + j] > largest else largest
        for j in range(columns):
            d_z[i * columns + j] = z[i * columns + j] - largest
    for i in range(rows * columns):
        d_z[i] = exp_of_negative(d_z[i])
    for i in range(rows):
        total = 0
        for j in range(columns):
            total += d_z[i * columns + j]
        tally_row(columns, z + i * columns, labels[i], total, tally)
        for j in range(columns):
            d_z[i * columns + j] /= total
        d_z[i * columns + labels[i]] -= 1
        for j in range(columns):
            d_z[i * columns + j] *= scale


cdef _labels(labels, Py_ssize_t rows, Py_ssize_t classes):
    _contiguous("labels", labels, _UINT8, 1)
    _same_shape("labels", labels, "one for each row", (rows,))
    if rows and int(labels.max()) >= classes:
        raise ValueError(f"labels must be below {classes}, the number of classes, not {int(labels.max())}")


def softmax_cross_entropy(logits, labels, d_logits=None):
    """The loss of `logits` (rows, classes) given `labels` (rows,) uint8, and its gradient.

    Returns (loss summed over rows, number of rows whose largest logit is the label's). `d_logits`
    (rows, classes), if given, becomes softmax(logits) - onehot(labels): the gradient of that sum.
    Raises `ValueError` for a label that is no class.
    """
    _contiguous("logits", logits, _FLOAT32, 2)
    cdef Py_ssize_t rows = logits.shape[0], columns = logits.shape[1]
    _labels(labels, rows, columns)
    if d_logits is None:
        d_logits = np.empty(logits.shape, dtype=np.float32)
    _contiguous("d_logits", d_logits, _FLOAT32, 2, True)
    _same_shape("d_logits", d_logits, "logits", logits.shape)
    _apart("d_logits", d_logits, "logits", logits)
    _apart("d_logits", d_logits, "labels", labels)
    cdef const float* z = <const float*>address(logits)
    cdef const uint8_t* y = <const uint8_t*>address(labels)
    cdef float* d_z = <float*>address(d_logits)
    cdef Tally tally = Tally(0, 0)
    if rows and columns:
        with nogil:
            cross_entropy(rows, columns, z, y, 1, d_z, &tally)
    return tally.loss, tally.correct
