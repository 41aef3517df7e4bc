# Update rules, a vector of parameters at a time.

cdef inline vfloat accumulated(const Update* update, Py_ssize_t at) noexcept nogil:
    """What a sum begins with: 0, or the gradient of the batch's earlier micro-batches."""
    return vbroadcast(0) if update.starts else vload(update.gradients + at)


cdef inline void sgd(const Update* update, Py_ssize_t at, vfloat gradient) noexcept nogil:
    """Heavy-ball momentum (Polyak 1964): v = momentum * v + g; w -= learning_rate * v. Without state, v = g."""
    cdef vfloat step = gradient
    if update.state[0] != NULL:
        step = vfma(vbroadcast(update.params.momentum), vload(update.state[0] + at), gradient)
        vstore(update.state[0] + at, step)
    vstore(update.weights + at, vfma(vbroadcast(-update.learning_rate), step, vload(update.weights + at)))


cdef inline void apply_update(const Update* update, Py_ssize_t at, vfloat gradient) noexcept nogil:
    """Accumulate a vector of gradients, or apply the update if the batch is complete.

    A gradient of -0 becomes +0: which of the two it is depends on whether zeros were skipped.
    """
    gradient = gradient + vbroadcast(0)
    if not update.applies:
        vstore(update.gradients + at, gradient)
    elif update.params.kind == SGD:
        sgd(update, at, gradient)


cdef void apply_updates(Py_ssize_t n, const float* gradients, const Update* update) noexcept nogil:
    """`apply_update` for n parameters. The state and weights of the last, incomplete vector are copied out and back."""
    cdef float padded[(2 + MAX_STATES) * LANES]
    cdef Update rest = update[0]
    cdef Py_ssize_t i, left
    cdef int s
    for i from 0 <= i < n - n % LANES by LANES:
        apply_update(update, i, vload(gradients + i))
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
    apply_update(&rest, 0, vload(padded + (1 + MAX_STATES) * LANES))
    memcpy(update.weights + i, padded, left * sizeof(float))
    for s in range(MAX_STATES):
        if update.state[s] != NULL:
            memcpy(update.state[s] + i, rest.state[s], left * sizeof(float))
