# Update rules, a vector of parameters at a time.

cdef inline vfloat accumulated(const Update* update, Py_ssize_t at) noexcept nogil:
    """What a sum begins with: 0, or the gradient of the batch's earlier micro-batches."""
    return vbroadcast(0) if update.starts else vload(update.gradients + at)


cdef double power(double base, int64_t exponent) noexcept nogil:
    """By squaring: the same bits with every C library."""
    cdef double result = 1
    while exponent > 0:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


cdef void prepare_step(Update* update, float learning_rate, int64_t step) noexcept nogil:
    """What the rule needs to know of step number `step`, from 0."""
    cdef double averaging = min(update.params.averaging, (1.0 + step) / (10.0 + step))
    update.learning_rate = update.step_size = learning_rate
    update.weight_decay = update.params.weight_decay
    update.average_share = <float>(1 - averaging)
    if update.params.kind != SGD:
        update.step_size = <float>(learning_rate / (1 - power(update.params.beta1, step + 1)))
        update.moment_scale = <float>(1 / sqrt(1 - power(update.params.beta2, step + 1)))


cdef inline bint zeros_change_nothing(const Update* update) noexcept nogil:
    """Whether a gradient of 0 changes nothing, and is complete: then its weights are not even read, and `descend` does."""
    return update.skips_zeros and update.starts and update.applies


cdef inline void descend(float* weights, vfloat minus_rate, vfloat gradient) noexcept nogil:
    """Plain gradient descent: w -= learning_rate * g."""
    vstore(weights, vfma(minus_rate, gradient + vbroadcast(0), vload(weights)))


cdef inline void sgd(const Update* update, Py_ssize_t at, vfloat gradient) noexcept nogil:
    """Heavy-ball momentum (Polyak 1964): v = momentum * v + g; w -= learning_rate * v. Without state, v = g."""
    cdef vfloat step = gradient
    if update.state[VELOCITY] != NULL:
        step = vfma(vbroadcast(update.params.momentum), vload(update.state[VELOCITY] + at), gradient)
        vstore(update.state[VELOCITY] + at, step)
    vstore(update.weights + at, vfma(vbroadcast(-update.learning_rate), step, vload(update.weights + at)))


cdef inline vfloat sgd_weights(const Update* update, Py_ssize_t at, vfloat gradient) noexcept nogil:
    """SGD with weight decay, g += weight_decay * w, and Nesterov's momentum: w -= learning_rate * (g + momentum * v)."""
    cdef vfloat momentum = vbroadcast(update.params.momentum), w = vload(update.weights + at), v
    gradient = vfma(vbroadcast(update.weight_decay), w, gradient)
    if update.state[VELOCITY] != NULL:
        v = vfma(momentum, vload(update.state[VELOCITY] + at), gradient)
        vstore(update.state[VELOCITY] + at, v)
        gradient = vfma(momentum, v, gradient) if update.params.nesterov else v
    return vfma(vbroadcast(-update.learning_rate), gradient, w)


cdef inline vfloat adam_weights(
    const OptimizerKind kind, const Update* update, Py_ssize_t at, vfloat gradient
) noexcept nogil:
    """Adam (Kingma and Ba 2015, algorithm 1, in the form of the end of section 2); AdamW (Loshchilov and Hutter 2019).

    m += (1 - beta1) * (g - m); v = beta2 * v + (1 - beta2) * g^2; w -= step_size * m / (moment_scale * sqrt(v) + eps).
    Weight decay is added to g, or with AdamW taken from w: w -= learning_rate * weight_decay * w.
    """
    cdef vfloat w = vload(update.weights + at)
    cdef vfloat m = vload(update.state[FIRST_MOMENT] + at), v = vload(update.state[SECOND_MOMENT] + at)
    if kind == ADAM:
        gradient = vfma(vbroadcast(update.weight_decay), w, gradient)
    else:
        w = vfma(vbroadcast(-update.learning_rate * update.weight_decay), w, w)
    m = vfma(vbroadcast(<float>(1 - update.params.beta1)), gradient - m, m)
    v = vfma(vbroadcast(<float>(1 - update.params.beta2)) * gradient, gradient, vbroadcast(<float>update.params.beta2) * v)
    vstore(update.state[FIRST_MOMENT] + at, m)
    vstore(update.state[SECOND_MOMENT] + at, v)
    if is_zero(m):  # of pixels that are never or hardly ever inked: neither root nor quotient
        return w
    return w - (vbroadcast(update.step_size) * m / vfma(
        vbroadcast(update.moment_scale), vsqrt(v), vbroadcast(update.params.eps)
    ) + vbroadcast(0))  # + 0, so that a step of -0 changes no sign, as none does


cdef inline void update_each(
    const OptimizerKind kind, const bint averages, const Update* update, Py_ssize_t at, Py_ssize_t ld,
    Py_ssize_t rows, Py_ssize_t columns, const float* gradients,
) noexcept nogil:
    """Apply a rule that the compiler knows, to whole vectors of parameters (rows, columns)."""
    cdef Py_ssize_t i, j, here
    cdef vfloat weights, average, gradient
    for i in range(rows):
        for j from 0 <= j < columns by LANES:
            here = at + i * ld + j
            gradient = vload(gradients + i * columns + j)
            if kind == SGD:
                weights = sgd_weights(update, here, gradient)
            else:
                weights = adam_weights(kind, update, here, gradient)
            vstore(update.weights + here, weights)
            if averages:
                average = vload(update.state[AVERAGE] + here)
                average = vfma(vbroadcast(update.average_share), weights - average, average)
                vstore(update.state[AVERAGE] + here, average)


cdef void update_block(
    Update update, Py_ssize_t at, Py_ssize_t ld, Py_ssize_t rows, Py_ssize_t columns, const float* gradients
) noexcept nogil:
    """Apply any rule; the gradients (rows, columns), whole vectors, lie without gaps.

    Takes a copy: behind a pointer to the caller's, it would read that again after each store of its own.
    """
    cdef bint averages = update.state[AVERAGE] != NULL
    if ld == columns:  # the parameters lie without gaps too
        columns, rows = rows * columns, 1
    if update.params.kind == SGD:
        update_each(SGD, averages, &update, at, ld, rows, columns, gradients)
    elif update.params.kind == ADAM:
        update_each(ADAM, averages, &update, at, ld, rows, columns, gradients)
    elif averages:
        update_each(ADAMW, True, &update, at, ld, rows, columns, gradients)
    else:
        update_each(ADAMW, False, &update, at, ld, rows, columns, gradients)


cdef inline void apply_update(
    const int rows, const int vectors, const Update* update, Py_ssize_t at, Py_ssize_t ld, const vfloat* gradients
) noexcept nogil:
    """Accumulate gradients (rows, vectors) of the parameters from `at` on, or apply the update if the batch is complete.

    A gradient of -0 becomes +0: which of the two it is depends on whether zeros were skipped. Gradients are accumulated and
    plain SGD is applied in registers; all else from memory, by one function for all callers, whose loops stay short.
    """
    cdef float[MAX_UPDATE_VECTORS * LANES] block
    cdef int i, j
    if not update.applies:
        for i in range(rows):
            for j in range(vectors):
                vstore(update.gradients + at + i * ld + j * LANES, gradients[i * vectors + j] + vbroadcast(0))
        return
    if update.params.plain:
        for i in range(rows):
            for j in range(vectors):
                sgd(update, at + i * ld + j * LANES, gradients[i * vectors + j] + vbroadcast(0))
        return
    for i in range(rows * vectors):
        vstore(block + i * LANES, gradients[i] + vbroadcast(0))
    update_block(update[0], at, ld, rows, vectors * LANES, block)


cdef inline void apply_vector(const Update* update, Py_ssize_t at, vfloat gradient) noexcept nogil:
    """`apply_update` for one vector."""
    apply_update(1, 1, update, at, 0, &gradient)


cdef void apply_updates(Py_ssize_t n, const float* gradients, const Update* update) noexcept nogil:
    """`apply_update` for n parameters. The state and weights of the last, incomplete vector are copied out and back."""
    cdef float padded[(2 + MAX_STATES) * LANES]
    cdef Update rest = update[0]
    cdef Py_ssize_t i, left
    cdef int s
    for i from 0 <= i < n - n % LANES by LANES:
        apply_vector(update, i, vload(gradients + i))
    left = n % LANES
    if not left:
        return
    i = n - left
    memset(padded, 0, sizeof(padded))
    rest.weights = padded
    memcpy(padded, update.weights + i, left * sizeof(float))
    for s in range(MAX_STATES):
        if update.state[s] != NULL:
            rest.state[s] = padded + (1 + s) * LANES
            memcpy(rest.state[s], update.state[s] + i, left * sizeof(float))
    memcpy(padded + (1 + MAX_STATES) * LANES, gradients + i, left * sizeof(float))
    apply_vector(&rest, 0, vload(padded + (1 + MAX_STATES) * LANES))
    memcpy(update.weights + i, padded, left * sizeof(float))
    for s in range(MAX_STATES):
        if update.state[s] != NULL:
            memcpy(update.state[s] + i, rest.state[s], left * sizeof(float))
