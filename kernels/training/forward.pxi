# Forward: each block of a product passes through the bias and the activations while it is in a cache.

cdef inline void activate(LayerKind kind, Py_ssize_t n, const float* x, float* y) noexcept nogil:
    if kind == RELU:
        relu_forward(n, x, y)
    elif kind == SIGMOID:
        sigmoid_forward(n, x, y)
    else:
        tanh_forward(n, x, y)


cdef void bias_and_activations(
    const Job* job, const MicroBatch* batch, const Linear* layer, const float* product, Py_ssize_t ld, Block block
) noexcept nogil:
    """Bias, activations and dropout of a linear layer, on a block of its product with leading dimension `ld`.

    A bias of -0 counts as +0, or the sign of a logit that is 0 would depend on whether zeros were skipped.
    """
    cdef Py_ssize_t i, j, rows = job.workspace.rows
    cdef const Net* net = job.net
    cdef const float* z
    cdef float* x
    cdef float* y
    cdef vfloat biased
    cdef int k
    cdef const float* bias = job.packed + layer.packed_bias
    cdef bint rectified = layer.activation < layer.end_activation and net.activation[layer.activation] == RELU
    for i in range(block.row, block.end_row):
        z = product + (i - block.row) * ld - block.column
        x = job.workspace.activations + layer.output_at * rows + i * layer.ld
        for j from block.column <= j < block.end_column by LANES:
            biased = vload(z + j) + (vload(bias + j) + vbroadcast(0))
            vstore(x + j, vrelu(biased) if rectified else biased)
        for k in range(layer.activation + rectified, layer.end_activation):
            y = job.workspace.activations + net.activation_at[k] * rows + i * layer.ld
            activate(net.activation[k], block.end_column - block.column, x + block.column, y + block.column)
            x = y
    if drops_units(job, layer):
        drop_block(job, batch, layer, block)


cdef inline bint drops_units(const Job* job, const Linear* layer) noexcept nogil:
    """Whether there is dropout behind the layer's activations: in training, unless it is the last layer."""
    if job.draws == NULL or job.draws.hidden.threshold == 0:
        return False
    return layer.end_activation > layer.activation and layer < &job.net.linear[job.net.linears - 1]


cdef void drop_block(const Job* job, const MicroBatch* batch, const Linear* layer, Block block) noexcept nogil:
    """Dropout on a block of a layer's last activations."""
    cdef const Draws* draws = job.draws
    cdef uint32_t stream = <uint32_t>(STREAM_UNITS + (layer - &job.net.linear[0]))
    cdef Philox generator = philox_of(draws.seed, 0, draws.epoch, stream)
    cdef float* y = output_of(job, layer)
    cdef Py_ssize_t i
    for i in range(block.row, block.end_row):
        generator.counter[0] = <uint32_t>picked(job, batch.first + i)
        drop_units(&generator, &draws.hidden, block.column, block.end_column, y + i * layer.ld)


cdef const float* input_of(const Job* job, const MicroBatch* batch, int index, Py_ssize_t* ld) noexcept nogil:
    """What a linear layer reads: x, or the last activations of the layer before."""
    if index == 0:
        ld[0] = batch.ld
        return batch.x
    ld[0] = job.net.linear[index - 1].ld
    return output_of(job, &job.net.linear[index - 1])


cdef float* output_of(const Job* job, const Linear* layer) noexcept nogil:
    """The last activations of a linear layer."""
    cdef Py_ssize_t at = layer.output_at
    if layer.end_activation > layer.activation:
        at = job.net.activation_at[layer.end_activation - 1]
    return job.workspace.activations + at * job.workspace.rows


cdef void dense_activations(Job* job, const MicroBatch* batch, int index, Block block) noexcept nogil:
    """A block of a linear layer's activations."""
    cdef const Linear* layer = &job.net.linear[index]
    cdef float* y = job.workspace.activations + layer.output_at * job.workspace.rows + block.row * layer.ld
    cdef Py_ssize_t ld
    cdef const float* x = input_of(job, batch, index, &ld)
    x += block.row * ld
    dense_forward(layer, job.packed, block.end_row - block.row, x, ld, block.column, block.end_column, y)
    bias_and_activations(job, batch, layer, y + block.column, layer.ld, block)


cdef void sparse_activations(
    Job* job, const MicroBatch* batch, int index, Block block, int vectors
) noexcept nogil:
    """The same for `vectors` columns, skipping zeros of the input."""
    cdef const Linear* layer = &job.net.linear[index]
    cdef const Row* rows = batch.hidden if index else batch.row
    cdef Py_ssize_t row, end = block.end_row
    for row from block.row <= row < end by BLOCK_ROWS:
        block.row, block.end_row = row, min(end, row + BLOCK_ROWS)
        sparse_forward(layer, job.packed, batch, rows + row, block.end_row - row, block.column, vectors)
        bias_and_activations(job, batch, layer, batch.sums, vectors * LANES, block)


cdef void choose_sparse(const Job* job, MicroBatch* batch, int index, Py_ssize_t first, Py_ssize_t end) noexcept nogil:
    """Decide whether a later layer skips the zeros that relu left in its input, by a sample of rows `first` to `end`.

    Where that input is zero, so is the gradient behind relu: the same decision holds for the layer before.
    """
    cdef const Linear* layer = &job.net.linear[index]
    cdef const Linear* before = &job.net.linear[index - 1]
    cdef Py_ssize_t i, ld, found = 0
    cdef const float* x
    cdef bint few
    batch.sparse[index] = layer.sparse and (job.task == EVALUATE or 1 < batch.rows <= MAX_K_BLOCKS * K_BLOCK)
    batch.sparse_gradient[index - 1] = before.sparse_gradient and job.task != EVALUATE
    if not batch.sparse[index] and not batch.sparse_gradient[index - 1]:
        return
    x = input_of(job, batch, index, &ld)
    for i in range(first, end):
        batch.hidden[i] = Row(NULL, x + i * ld)
        if (i - first) % SAMPLE == 0:
            found += count_nonzero(&batch.hidden[i], layer.inputs)
    few = is_sparse_sample(found, end - first, layer.inputs)
    batch.sparse[index] = batch.sparse[index] and few
    batch.sparse_gradient[index - 1] = batch.sparse_gradient[index - 1] and few


cdef void forward(Job* job, MicroBatch* batch, int thread) noexcept nogil:
    """All layers. Barriers: see the table in training/epoch.pxi."""
    cdef Py_ssize_t end
    cdef int index, vectors
    cdef Block block
    cdef const Linear* layer
    for index in range(job.net.linears):
        layer = &job.net.linear[index]
        block = Block(0, batch.rows, 0, layer.padded)
        if by_columns(job, batch, layer):
            thread_columns(job, batch, layer, thread, &block.column, &block.end_column)
        else:
            partition(batch.rows, LANES, thread, job.team.size, &block.row, &block.end_row)
        if index > 0 and batch.by_rows:
            choose_sparse(job, batch, index, block.row, block.end_row)
        elif index > 0:
            choose_sparse(job, batch, index, 0, batch.rows)
        end = block.end_column
        while block.column < end:  # one panel after the other, while what was computed is in a cache
            if batch.sparse[index]:
                vectors = tile_vectors(end - block.column)
                block.end_column = block.column + vectors * LANES
                sparse_activations(job, batch, index, block, vectors)
            else:
                block.end_column = min(end, block.column + layer.panel - block.column % layer.panel)
                dense_activations(job, batch, index, block)
            block.column = block.end_column
        if not batch.by_rows and (index + 1 < job.net.linears or by_columns(job, batch, layer)):
            barrier(&job.team)
