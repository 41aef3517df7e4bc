# Forward: each block of a product passes through the bias and the activations while it is in a cache.

cdef inline void activate(LayerKind kind, Py_ssize_t n, const float* x, float* y) noexcept nogil:
    if kind == RELU:
        relu_forward(n, x, y)
    elif kind == SIGMOID:
        sigmoid_forward(n, x, y)
    else:
        tanh_forward(n, x, y)


cdef void bias_and_activations(
    const Job* job, const MicroBatch* batch, const Linear* layer, float* const* sums, Block block
) noexcept nogil:
    """Bias, activations and dropout of a linear layer, on a block of its product: `sums`, of each half if it has halves.

    A bias of -0 counts as +0, or the sign of a logit that is 0 would depend on whether zeros were skipped.
    """
    cdef Py_ssize_t i, j, rows = job.workspace.rows
    cdef const Net* net = job.net
    cdef Py_ssize_t at
    cdef float* x
    cdef float* y
    cdef vfloat z
    cdef bint halves = halves_of(layer) == 2
    cdef int k
    cdef const float* bias = job.packed + layer.packed_bias
    cdef bint rectified = layer.activation < layer.end_activation and net.activation[layer.activation] == RELU
    for i in range(block.row, block.end_row):
        at = (i - block.row) * (block.end_column - block.column) - block.column
        x = job.workspace.activations + layer.output_at * rows + i * layer.ld
        for j from block.column <= j < block.end_column by LANES:
            z = vload(sums[0] + at + j)
            if halves:
                z = z + vload(sums[1] + at + j)
            z = z + (vload(bias + j) + vbroadcast(0))
            vstore(x + j, vrelu(z) if rectified else z)
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


cdef Py_ssize_t tile_columns(
    const MicroBatch* batch, int index, const Linear* layer, Py_ssize_t column, Py_ssize_t end
) noexcept nogil:
    """Columns of the next tile of a linear layer's product, from `column` on."""
    if batch.sparse[index]:
        return tile_vectors(end - column) * LANES
    return min(end - column, layer.panel - column % layer.panel)


cdef void product(const Job* job, const MicroBatch* batch, int index, Block tile, int half, float* c) noexcept nogil:
    """A tile of X @ W over half of the inputs, or all of them in a layer that has no halves, to `c`, without gaps."""
    cdef const Linear* layer = &job.net.linear[index]
    cdef Py_ssize_t ld
    cdef const float* x
    if batch.sparse[index]:
        sparse_forward(layer, job.packed, batch, batch.hidden if index else batch.row, tile, half, c)
    else:
        x = input_of(job, batch, index, &ld)
        dense_forward(layer, job.packed, tile, half, x, ld, c)


cdef void products(const Job* job, const MicroBatch* batch, int index, Block tile) noexcept nogil:
    """A tile of X @ W, to `batch.sums`: of each half, if the layer has halves."""
    cdef const Linear* layer = &job.net.linear[index]
    cdef Py_ssize_t ld
    cdef const float* x
    cdef int half
    if halves_of(layer) == 2 and not batch.sparse[index] and tile.end_row - tile.row <= FEW_ROWS:
        x = input_of(job, batch, index, &ld)
        dense_forward_by_halves(layer, job.packed, tile, x, ld, batch.sums)
        return
    for half in range(halves_of(layer)):
        product(job, batch, index, tile, half, batch.sums[half])


cdef void activations(Job* job, MicroBatch* batch, int index, Block block) noexcept nogil:
    """A block of a linear layer's activations, tile by tile of columns, while what was computed is in a cache."""
    cdef const Linear* layer = &job.net.linear[index]
    cdef Block tile = block
    cdef Py_ssize_t row
    while tile.column < block.end_column:
        tile.end_column = tile.column + tile_columns(batch, index, layer, tile.column, block.end_column)
        for row from block.row <= row < block.end_row by BLOCK_ROWS:
            tile.row, tile.end_row = row, min(block.end_row, row + BLOCK_ROWS)
            products(job, batch, index, tile)
            bias_and_activations(job, batch, layer, batch.sums, tile)
        batch.next = batch.row  # the next rows are prefetched once, by the first tile
        tile.column = tile.end_column


cdef float* half_at(const Job* job, const MicroBatch* batch, int half, Block tile) noexcept nogil:
    """Where a tile of a half lies: tile after tile of columns, each without gaps."""
    return job.workspace.halves[half] + tile.column * batch.rows + tile.row * (tile.end_column - tile.column)


cdef void first_products(const Job* job, const MicroBatch* batch, int thread) noexcept nogil:
    """The thread's part of the halves of the first layer's product, to `job.workspace.halves`: half by half, by rows.

    Of two threads each has a half, whose weights it owns (`owns_weights`).
    """
    cdef const Linear* layer = &job.net.linear[0]
    cdef Py_ssize_t first, end, rows = (batch.rows + LANES - 1) // LANES * LANES
    cdef Block tile
    cdef int half
    partition(halves_of(layer) * rows, LANES, thread, job.team.size, &first, &end)
    for half in range(halves_of(layer)):
        tile = Block(max(first - half * rows, <Py_ssize_t>0), min(end - half * rows, batch.rows), 0, 0)
        while tile.row < tile.end_row and tile.column < layer.padded:
            tile.end_column = tile.column + tile_columns(batch, 0, layer, tile.column, layer.padded)
            product(job, batch, 0, tile, half, half_at(job, batch, half, tile))
            tile.column = tile.end_column


cdef void first_activations(Job* job, const MicroBatch* batch, Block block) noexcept nogil:
    """The first layer's activations of some rows, from the halves of its product."""
    cdef const Linear* layer = &job.net.linear[0]
    cdef Block tile = block
    cdef float* sums[2]
    cdef int half
    while tile.column < block.end_column:
        tile.end_column = tile.column + tile_columns(batch, 0, layer, tile.column, block.end_column)
        for half in range(halves_of(layer)):
            sums[half] = half_at(job, batch, half, tile)
        bias_and_activations(job, batch, layer, sums, tile)
        tile.column = tile.end_column


cdef void choose_sparse(const Job* job, MicroBatch* batch, int index, Py_ssize_t first, Py_ssize_t end) noexcept nogil:
    """Decide whether a later layer skips the zeros that relu left in its input, by a sample of rows `first` to `end`.

    Where that input is zero, so is the gradient behind relu: the same decision holds for the layer before. A thread without
    rows skips them, where zeros or not: that changes no bit.
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
    cdef int index
    cdef Block block
    cdef const Linear* layer
    if by_halves(job, batch):
        first_products(job, batch, thread)
        barrier(&job.team)
    for index in range(job.net.linears):
        layer = &job.net.linear[index]
        block = Block(0, batch.rows, 0, layer.padded)
        if by_columns(job, batch, layer):
            thread_columns(job, batch, layer, thread, &block.column, &block.end_column)
        else:
            block = thread_rows(job, batch, thread)
            block.end_column = layer.padded
        if index > 0 and batch.by_rows:
            choose_sparse(job, batch, index, block.row, block.end_row)
        elif index > 0:
            choose_sparse(job, batch, index, 0, batch.rows)
        if index == 0 and by_halves(job, batch):
            first_activations(job, batch, block)
        else:
            activations(job, batch, index, block)
        if not batch.by_rows and (index + 1 < job.net.linears or by_columns(job, batch, layer)):
            barrier(&job.team)
