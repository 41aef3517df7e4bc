# Softmax and cross-entropy as one: loss = log(sum(exp(z))) - z[label], d_z = softmax(z) - onehot(label).
# With the row's largest value taken off first, no exp overflows, the sum is at least 1, and the loss needs
# no logarithm of a probability that has become 0: logits of +-1e4 are as good as any.
#
# Logits are taken transposed, a vector of rows for each class, so that all of it but the logarithm is vector code.

cdef extern from "<math.h>" nogil:
    double log(double x) noexcept


cdef struct Score:
    double loss
    bint correct  # the largest logit, the first if there are several, is the label's


cdef struct Tally:
    double loss  # sum over rows
    Py_ssize_t correct  # rows


cdef void cross_entropy(
    Py_ssize_t rows, Py_ssize_t classes, float* z, Py_ssize_t rs_z, const uint8_t* labels, float scale, Score* scores
) noexcept nogil:
    """Up to LANES rows, class j of row i at z[j * rs_z + i]: their scores; z = scale * (softmax(z) - onehot(labels)).

    Whole vectors are computed; what stands beyond the rows becomes a finite number if it was one.
    """
    cdef Py_ssize_t i, j
    cdef float[LANES] largest, total, chosen
    cdef int32_t[LANES] best
    for i in range(LANES):
        largest[i] = z[i]
        best[i] = 0
        total[i] = 0
    for i in range(rows):
        chosen[i] = z[labels[i] * rs_z + i]
    for j in range(1, classes):
        for i in range(LANES):
            best[i] = <int32_t>j if z[j * rs_z + i] > largest[i] else best[i]
            largest[i] = z[j * rs_z + i] if z[j * rs_z + i] > largest[i] else largest[i]
    for j in range(classes):
        for i in range(LANES):
            z[j * rs_z + i] = exp_of_negative(z[j * rs_z + i] - largest[i])
            total[i] += z[j * rs_z + i]
    for i in range(rows):
        scores[i].loss = log(total[i]) - (<double>chosen[i] - <double>largest[i])
        scores[i].correct = best[i] == labels[i]
    for j in range(classes):
        for i in range(LANES):
            z[j * rs_z + i] /= total[i]
    for i in range(rows):
        z[labels[i] * rs_z + i] -= 1
    for j in range(classes):
        for i in range(LANES):
            z[j * rs_z + i] *= scale


cdef void add_scores(Py_ssize_t rows, const Score* scores, Tally* tally) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(rows):
        tally.loss += scores[i].loss
        tally.correct += scores[i].correct


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
    cdef Py_ssize_t rows = logits.shape[0], classes = logits.shape[1], first, count, i, j
    _labels(labels, rows, classes)
    if d_logits is None:
        d_logits = np.empty(logits.shape, dtype=np.float32)
    _contiguous("d_logits", d_logits, _FLOAT32, 2, True)
    _same_shape("d_logits", d_logits, "logits", logits.shape)
    _apart("d_logits", d_logits, "logits", logits)
    _apart("d_logits", d_logits, "labels", labels)
    cdef Buffer block = Buffer(classes * LANES)
    cdef Score scores[LANES]
    cdef const float* z = <const float*>address(logits)
    cdef const uint8_t* given = <const uint8_t*>address(labels)
    cdef float* d = <float*>address(d_logits)
    cdef Tally tally = Tally(0, 0)
    if classes:
        with nogil:
            memset(block.data, 0, classes * LANES * sizeof(float))
            for first from 0 <= first < rows by LANES:
                count = min(rows - first, <Py_ssize_t>LANES)
                for i in range(count):
                    for j in range(classes):
                        block.data[j * LANES + i] = z[(first + i) * classes + j]
                cross_entropy(count, classes, block.data, LANES, given + first, 1, scores)
                add_scores(count, scores, &tally)
                for i in range(count):
                    for j in range(classes):
                        d[(first + i) * classes + j] = block.data[j * LANES + i]
    return tally.loss, tally.correct
