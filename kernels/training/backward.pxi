# Backward, from the loss to the first layer. The update of a parameter is applied where its gradient is complete.

cdef inline void activate_backward(
    LayerKind kind, Py_ssize_t n, const float* y, const float* d_y, float* d_x
) noexcept nogil:
    if kind == SIGMOID:
        sigmoid_backward(n, y, d_y, d_x)
    else:
        tanh_backward(n, y, d_y, d_x)


cdef float* d_output_of(const Job* job, const Linear* layer) noexcept nogil:
    """The gradient of a linear layer's product, (rows, outputs)."""
    return job.workspace.grad_activations + layer.output_at * job.workspace.rows


cdef void activations_backward(
    const Job* job, const Linear* layer, const float* gradient, Py_ssize_t ld, Block block
) noexcept nogil:
    """d_output of a linear layer, from the gradient of what the next one reads, with leading dimension `ld`: a block."""
    cdef Py_ssize_t i, j, rows = job.workspace.rows, columns = block.end_column - block.column, at = block.column
    cdef bint drops = drops_units(job, layer)
    cdef int k
    cdef const float* source
    cdef float* d
    cdef const float* y
    for i in range(block.row, block.end_row):
        source = gradient + (i - block.row) * ld - at
        d = d_output_of(job, layer) + i * layer.ld
        for k in range(layer.end_activation - 1, layer.activation - 1, -1):
            y = job.workspace.activations + job.net.activation_at[k] * rows + i * layer.ld
            if drops and k == layer.end_activation - 1:
                drop_backward(job.net.activation[k], job.draws.hidden.scale, columns, y + at, source + at, d + at)
            elif job.net.activation[k] == RELU:
                for j from at <= j < block.end_column by LANES:
                    vstore(d + j, vrelu_backward(vload(y + j), vload(source + j)))
            else:
                activate_backward(job.net.activation[k], columns, y + at, source + at, d + at)
            source = d
        if source != d:
            memcpy(d + at, source + at, columns * sizeof(float))


cdef Panels d_transposed_of(const Job* job, int index) noexcept nogil:
    """D.T of a linear layer: consecutive layers alternate between two buffers.

    Panels begin at the same places in all layers: threads that split rows may be at different ones.
    """
    return job.workspace.d_transposed[(job.net.linears - 1 - index) % 2]


cdef void loss_and_d_logits(
    Job* job, const MicroBatch* batch, float scale, Py_ssize_t i, Py_ssize_t count
) noexcept nogil:
    """The scores of up to LANES rows from row i on, and unless evaluating the gradient of `scale` times their loss."""
    cdef const Linear* last = &job.net.linear[job.net.linears - 1]
    cdef const float* z = output_of(job, last) + i * last.ld
    cdef float* d = d_output_of(job, last) + i * last.ld
    cdef float* block = job.workspace.logits + i * last.padded
    cdef Py_ssize_t j
    for j from 0 <= j < last.padded by LANES:
        transpose(z + j, last.ld, count, block + j * LANES, LANES, LANES)
    cross_entropy(count, last.outputs, block, batch.labels + i, scale, job.smoothing, job.workspace.scores + i)
    if job.task == EVALUATE:
        return
    memset(block + last.outputs * LANES, 0, (last.padded - last.outputs) * LANES * sizeof(float))
    for j from 0 <= j < last.padded by LANES:
        transpose(block + j * LANES, LANES, LANES, d + j, last.ld, count)


cdef void loss(Job* job, const MicroBatch* batch, float scale, int thread) noexcept nogil:
    """The thread's rows: scores, and unless evaluating d_output of the last linear layer and its D.T."""
    cdef int index = job.net.linears - 1
    cdef const Linear* last = &job.net.linear[index]
    cdef Py_ssize_t i
    cdef float* d = d_output_of(job, last)
    cdef Block block = thread_rows(job, batch, thread)
    block.end_column = last.padded
    for i from block.row <= i < block.end_row by LANES:
        loss_and_d_logits(job, batch, scale, i, min(block.end_row - i, <Py_ssize_t>LANES))
    if job.task != EVALUATE:
        activations_backward(job, last, d + block.row * last.ld, last.ld, block)
        if index > 0:
            transpose_to_panels(block, d, last.ld, last.outputs, d_transposed_of(job, index))


cdef void dense_d_activations(Job* job, const MicroBatch* batch, int index, Block block) noexcept nogil:
    """A block of the gradient of what linear layer `index` reads, through the activations before it."""
    cdef const Linear* layer = &job.net.linear[index]
    cdef const Linear* before = &job.net.linear[index - 1]
    cdef float* d_x = d_output_of(job, before)
    dense_d_input(layer, job.packed, d_transposed_of(job, index), block, d_x, before.ld)
    activations_backward(job, before, d_x + block.row * before.ld + block.column, before.ld, block)


cdef void sparse_d_activations(Job* job, const MicroBatch* batch, int index, Block block) noexcept nogil:
    """The same, skipping zeros of d_output, whose rows are `batch.hidden`."""
    cdef const Linear* layer = &job.net.linear[index]
    cdef Py_ssize_t row, end, columns = block.end_column - block.column
    cdef Py_ssize_t inputs = min(block.end_column, layer.inputs) - block.column
    for row from block.row <= row < block.end_row by BLOCK_ROWS:
        end = min(block.end_row, row + BLOCK_ROWS)
        sparse_d_input(layer, job.packed, batch, row, end - row, block.column, inputs, <int>(columns // LANES))
        activations_backward(
            job, layer - 1, batch.sums[0], columns, Block(row, end, block.column, block.end_column)
        )


cdef void d_input(Job* job, const MicroBatch* batch, int index, Block block) noexcept nogil:
    """A block of d_input, through the activations: d_output of the previous linear layer.

    The activations of it, which other threads may have read, are prefetched for the next forward pass to write.
    """
    cdef const Linear* layer = &job.net.linear[index]
    cdef const Linear* before = &job.net.linear[index - 1]
    cdef Py_ssize_t end = block.end_column, i, j
    cdef const float* y = job.workspace.activations + before.output_at * job.workspace.rows
    cdef bint skip = batch.sparse_gradient[index]
    if skip:
        for i in range(block.row, block.end_row):
            batch.hidden[i] = Row(NULL, d_output_of(job, layer) + i * layer.ld)
    while block.column < end:
        block.end_column = min(end, block.column + (tile_vectors(end - block.column) * LANES if skip else UNITS))
        for i in range(block.row, block.end_row):
            for j from block.column <= j < block.end_column by LANES:
                fetch_to_write(y + i * before.ld + j)
        if skip:
            sparse_d_activations(job, batch, index, block)
        else:
            dense_d_activations(job, batch, index, block)
        if index > 1 and not batch.sparse_gradient[index - 1]:
            transpose_to_panels(
                block, d_output_of(job, before), before.ld, before.outputs, d_transposed_of(job, index - 1)
            )
        block.column = block.end_column


cdef void d_inputs(Job* job, const MicroBatch* batch, int thread) noexcept nogil:
    """The thread's rows of all layers' d_input, before any weight changes."""
    cdef int index
    cdef Block block = thread_rows(job, batch, thread)
    for index in range(job.net.linears - 1, 0, -1):
        block.column, block.end_column = 0, job.net.linear[index - 1].padded
        d_input(job, batch, index, block)


cdef void transpose_input(
    Py_ssize_t rows, const float* x, Py_ssize_t ld, Py_ssize_t first, Py_ssize_t end, float* to, Py_ssize_t ld_to
) noexcept nogil:
    """to[first to end, rows] = X[rows, first to end].T, by whole vectors."""
    cdef Py_ssize_t i, j
    for i from 0 <= i < rows by LANES:
        for j from first <= j < end by LANES:
            transpose(x + i * ld + j, ld, rows - i, to + j * ld_to + i, ld_to, LANES)


cdef void d_weight(Job* job, const MicroBatch* batch, int index, const Update* update, int thread) noexcept nogil:
    """Gradient and update of a later layer: this thread's rows of W.

    By columns no other thread reads them in `d_input`; by halves all have done so before the last barrier.
    """
    cdef const Linear* layer = &job.net.linear[index]
    cdef const float* d = d_output_of(job, layer)
    cdef float* transposed = job.workspace.x_transposed + layer.transposed_at * batch.ld_transposed
    cdef Py_ssize_t first, end, ld
    cdef const float* x = input_of(job, batch, index, &ld)
    thread_columns(job, batch, &job.net.linear[index - 1], thread, &first, &end)
    cdef Block w = Block(first, min(end, layer.inputs), 0, layer.padded)
    if batch.sparse[index]:
        transpose_input(batch.rows, x, ld, first, end, transposed, batch.ld_transposed)
        sparse_d_weight(layer, batch, Row(NULL, transposed), d, w, update)
    else:
        dense_d_weight(layer, batch.rows, x, ld, d, w, update)
    partition(layer.padded, LANES, thread, job.team.size, &first, &end)
    bias_update(layer, batch.rows, d, first, end, update)


cdef void first_d_weight(Job* job, const MicroBatch* batch, const Update* update, int thread) noexcept nogil:
    """Gradient and update of the first layer: the columns whose d_output this thread computed, or rows if too few."""
    cdef const Linear* layer = &job.net.linear[0]
    cdef const float* d = d_output_of(job, layer)
    cdef Block w = Block(0, layer.inputs, 0, layer.padded)
    first_weight_rows(job, batch, thread, &w.row, &w.end_row)
    if by_columns(job, batch, layer):
        thread_columns(job, batch, layer, thread, &w.column, &w.end_column)
        bias_update(layer, batch.rows, d, w.column, w.end_column, update)
    elif thread == 0:
        bias_update(layer, batch.rows, d, 0, layer.padded, update)
    if batch.sparse[0] and batch.rows == 1:
        sparse_outer_product(layer, batch, d, w, update)
    elif batch.sparse[0]:
        sparse_d_weight(layer, batch, Row(batch.transposed, NULL), d, w, update)
    else:
        dense_d_weight(layer, batch.rows, batch.x, batch.ld, d, w, update)


cdef void backward(Job* job, const MicroBatch* batch, const Update* update, int thread) noexcept nogil:
    """All layers, from the last, whose d_output is there."""
    cdef int index
    cdef Block block = Block(0, batch.rows, 0, 0)
    for index in range(job.net.linears - 1, 0, -1):
        if not by_halves(job, batch):
            thread_columns(job, batch, &job.net.linear[index - 1], thread, &block.column, &block.end_column)
            d_input(job, batch, index, block)
        d_weight(job, batch, index, update, thread)
        if index > 1 and not by_halves(job, batch):
            barrier(&job.team)
    first_d_weight(job, batch, update, thread)
