# Softmax and cross-entropy in one: loss = log(sum(exp(z))) - z[label], d_z = softmax(z) - onehot(label).
# The row's largest logit is subtracted first: no exp overflows, the sum is at least 1, and no logarithm of a probability
# that has become 0 is taken. Logits are transposed, a vector of rows for each class, so that all but the logarithm is
# vector code.

cdef extern from "<math.h>" nogil:
    double log(double x) noexcept
    double sqrt(double x) noexcept


cdef void target_logits(
    Py_ssize_t rows, Py_ssize_t classes, const float* z, const float* chosen, float smoothing, double* out
) noexcept nogil:
    """sum(target * z) of each row: (1 - smoothing) * the label's logit (`chosen`) + smoothing * the mean logit."""
    cdef Py_ssize_t i, j
    cdef double mean
    for i in range(rows):
        out[i] = chosen[i]
        if smoothing > 0:
            mean = 0
            for j in range(classes):
                mean += z[j * LANES + i]
            out[i] = (1 - <double>smoothing) * chosen[i] + smoothing * mean / classes


cdef void cross_entropy(
    Py_ssize_t rows, Py_ssize_t classes, float* z, const uint8_t* labels, float scale, float smoothing,
    Score* scores,
) noexcept nogil:
    """Scores of up to LANES rows, then z = scale * (softmax(z) - target) in place; class j of row i is z[j * LANES + i].

    The target is 1 for the label's class and 0 for the others; smoothed, (1 - smoothing) of that + smoothing / classes.
    Whole vectors are computed; the columns beyond `rows` stay finite if they were.
    """
    cdef Py_ssize_t i, j
    cdef float[LANES] largest, total, chosen
    cdef double[LANES] targets
    cdef float share = smoothing / classes
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
    target_logits(rows, classes, z, chosen, smoothing, targets)
    for j in range(classes):
        for i in range(LANES):
            z[j * LANES + i] = exp_of_negative(z[j * LANES + i] - largest[i])
            total[i] += z[j * LANES + i]
    for i in range(rows):
        scores[i].loss = log(total[i]) - (targets[i] - <double>largest[i])
        scores[i].correct = best[i] == labels[i]
    for j in range(classes):
        for i in range(LANES):
            z[j * LANES + i] /= total[i]
    for i in range(rows):
        z[labels[i] * LANES + i] -= 1 - smoothing
    if smoothing > 0:
        for j in range(classes):
            for i in range(LANES):
                z[j * LANES + i] -= share
    for j in range(classes):
        for i in range(LANES):
            z[j * LANES + i] *= scale


cdef void add_scores(Py_ssize_t rows, const Score* scores, Metrics* metrics) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(rows):
        metrics.loss += scores[i].loss
        metrics.correct += scores[i].correct
