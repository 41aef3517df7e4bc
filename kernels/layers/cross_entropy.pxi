# Softmax and cross-entropy in one: loss = log(sum(exp(z))) - z[label], d_z = softmax(z) - onehot(label).
# The row's largest logit is subtracted first: no exp overflows, the sum is at least 1, and no logarithm of a probability
# that has become 0 is taken. Logits are transposed, a vector of rows for each class, so that all but the logarithm is
# vector code.

cdef extern from "<math.h>" nogil:
    double log(double x) noexcept


cdef void cross_entropy(
    Py_ssize_t rows, Py_ssize_t classes, float* z, const uint8_t* labels, float scale, Score* scores
) noexcept nogil:
    """Up to LANES rows, class j of row i at z[j * LANES + i]: their scores; z = scale * (softmax(z) - onehot(labels)).

    Whole vectors are computed; the columns beyond `rows` stay finite if they were.
    """
    cdef Py_ssize_t i, j
    cdef float[LANES] largest, total, chosen
    cdef int32_t[LANES] best
    for i in range(LANES):
        largest[i] = z[i]
        best[i] = 0
        total[i] = 0
    for i in range(rows):
        chosen[i] = z[labels[i] * LANES + i]
    for j in range(1, classes):
        for i in range(LANES):
            best[i] = <int32_t>j if z[j * LANES + i] > largest[i] else best[i]
            largest[i] = z[j * LANES + i] if z[j * LANES + i] > largest[i] else largest[i]
    for j in range(classes):
        for i in range(LANES):
            z[j * LANES + i] = exp_of_negative(z[j * LANES + i] - largest[i])
            total[i] += z[j * LANES + i]
    for i in range(rows):
        scores[i].loss = log(total[i]) - (<double>chosen[i] - <double>largest[i])
        scores[i].correct = best[i] == labels[i]
    for j in range(classes):
        for i in range(LANES):
            z[j * LANES + i] /= total[i]
    for i in range(rows):
        z[labels[i] * LANES + i] -= 1
    for j in range(classes):
        for i in range(LANES):
            z[j * LANES + i] *= scale


cdef void add_scores(Py_ssize_t rows, const Score* scores, Metrics* metrics) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(rows):
        metrics.loss += scores[i].loss
        metrics.correct += scores[i].correct
