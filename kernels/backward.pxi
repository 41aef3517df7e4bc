# A slice backward through all layers, from the loss; the step of a parameter is taken where its gradient is finished.

cdef extern from "simd.h":
    vfloat vrelu_backward(vfloat y, vfloat d) noexcept nogil
    void fetch_to_write(const void* at) noexcept nogil


cdef inline void activate_backward(Kind kind, Py_ssize_t n, const float* y, const float* d, float* d_x) noexcept nogil:
    if kind == SIGMOID:
        sigmoid_backward_of(n, y, d, d_x)
    else:
        tanh_backward_of(n, y, d, d_x)


cdef void activations_backward(
    const Net* net, const Linear* layer, Memory* memory, const float* gradient, Py_ssize_t rs, Py_ssize_t first_row,
    Py_ssize_t end_row, Py_ssize_t first, Py_ssize_t end,
) noexcept nogil:
    """From the gradient of a layer's last activation, whose rows lie `rs` apart, to that of its product: a block of it.

    Whole vectors of columns.
    """
    cdef Py_ssize_t i, j
    cdef int k
    cdef const float* source
    cdef float* d
    cdef const float* y
    for i in range(first_row, end_row):
        source = gradient + (i - first_row) * rs - first
        d = memory.gradients_of_outputs + layer.output_at * memory.rows + i * layer.stride
        for k in range(layer.end_activation - 1, layer.activation - 1, -1):
            y = memory.outputs + net.activation_at[k] * memory.rows + i * layer.stride
            if net.activation[k] == RELU:
                for j from first <= j < end by LANES:
                    vstore(d + j, vrelu_backward(vload(y + j), vload(source + j)))
            else:
                activate_backward(net.activation[k], end - first, y + first, source + first, d + first)
            source = d
        if source != d:
            memcpy(d + first, source + first, (end - first) * sizeof(float))


cdef float* d_transposed_of(const Pass* p, int index) noexcept nogil:
    """Where D.T of a linear layer lies: two layers that follow one another take turns, from the last on."""
    return p.memory.d_transposed[(p.net.linears - 1 - index) % 2]


cdef void loss(Pass* p, const Slice* s, float scale, int member) noexcept nogil:
    """The scores of the member's rows, and unless evaluating the gradient of `scale` times their loss."""
    cdef const Net* net = p.net
    cdef Memory* memory = p.memory
    cdef const Linear* last = &net.linear[net.linears - 1]
    cdef Py_ssize_t begin, end, i, j, count
    cdef const float* z = output_of(net, memory, last)
    cdef float* d = memory.gradients_of_outputs + last.output_at * memory.rows
    cdef float* block
    share(s.rows, LANES, member, p.team.size, &begin, &end)
    for i from begin <= i < end by LANES:
        count = min(end - i, <Py_ssize_t>LANES)
        block = memory.logits + i * last.padded
        for j from 0 <= j < last.padded by LANES:
            transpose(z + i * last.stride + j, last.stride, count, block + j * LANES, LANES, LANES)
        cross_entropy(count, last.outputs, block, LANES, s.labels + i, scale, memory.scores + i)
        if p.work == EVALUATE:
            continue
        memset(block + last.outputs * LANES, 0, (last.padded - last.outputs) * LANES * sizeof(float))
        for j from 0 <= j < last.padded by LANES:
            transpose(block + j * LANES, LANES, LANES, d + i * last.stride + j, last.stride, count)
    if p.work != EVALUATE:
        activations_backward(
            net, last, memory, d + begin * last.stride, last.stride, begin, end, 0, last.padded
        )
        if net.linears > 1:
            transpose_to_panels(
                begin, end, 0, last.padded, d, last.stride, last.outputs, memory.panel_rows,
                d_transposed_of(p, net.linears - 1),
            )
    barrier(&p.team)


cdef void dense_inputs(
    Pass* p, const Slice* s, int index, Py_ssize_t first, Py_ssize_t columns
) noexcept nogil:
    """The gradient of some of what linear layer `index` reads, through the activations before it."""
    cdef const Linear* layer = &p.net.linear[index]
    cdef const Linear* before = &p.net.linear[index - 1]
    cdef float* d_x = p.memory.gradients_of_outputs + before.output_at * p.memory.rows
    dense_input_gradient(
        layer, p.packed, s.rows, p.memory.panel_rows, d_transposed_of(p, index), first,
        min(columns, layer.inputs - first), d_x, before.stride,
    )
    activations_backward(p.net, before, p.memory, d_x + first, before.stride, 0, s.rows, first, first + columns)


cdef void sparse_inputs(
    Pass* p, const Slice* s, int index, Py_ssize_t first, Py_ssize_t columns, int vectors
) noexcept nogil:
    """The same, without the zeros of the gradient of the layer's output, whose rows are the hidden ones."""
    cdef const Linear* layer = &p.net.linear[index]
    cdef Py_ssize_t row, after, inputs = min(columns, layer.inputs - first)
    for row from 0 <= row < s.rows by BLOCK_ROWS:
        after = min(s.rows, row + BLOCK_ROWS)
        sparse_input_gradient(layer, p.packed, s.hidden + row, after - row, first, inputs, vectors, s.block, s.sums)
        activations_backward(
            p.net, layer - 1, p.memory, s.sums, SPARSE_COLUMNS, row, after, first, first + columns
        )


cdef void input_gradient(Pass* p, const Slice* s, int index, int member) noexcept nogil:
    """The gradient of the output of the linear layer before this one: the member's columns of it.

    That output, part of which another has read, is brought back meanwhile, also for the next forward pass to write to.
    """
    cdef const Linear* layer = &p.net.linear[index]
    cdef const Linear* before = &p.net.linear[index - 1]
    cdef Memory* memory = p.memory
    cdef Py_ssize_t first, end, columns = UNITS, i, j
    cdef int vectors = 1
    cdef const float* y = memory.outputs + before.output_at * memory.rows
    cdef const float* d = memory.gradients_of_outputs + layer.output_at * memory.rows
    cdef const float* d_x = memory.gradients_of_outputs + before.output_at * memory.rows
    own_columns(p, s, before, member, &first, &end)
    if s.sparse_gradient[index]:
        for i in range(s.rows):
            s.hidden[i] = Row(NULL, d + i * layer.stride)
    while first < end:
        if s.sparse_gradient[index]:
            vectors = SUMS if end - first > HALF * LANES else HALF
            columns = vectors * LANES
        columns = min(end - first, columns)
        for i in range(s.rows):
            for j from first <= j < first + columns by LANES:
                fetch_to_write(y + i * before.stride + j)
        if s.sparse_gradient[index]:
            sparse_inputs(p, s, index, first, columns, vectors)
        else:
            dense_inputs(p, s, index, first, columns)
        if index > 1 and not s.sparse_gradient[index - 1]:
            transpose_to_panels(
                0, s.rows, first, first + columns, d_x, before.stride, before.outputs, memory.panel_rows,
                d_transposed_of(p, index - 1),
            )
        first += columns


cdef void transpose_input(
    Py_ssize_t rows, const float* x, Py_ssize_t stride, Py_ssize_t first, Py_ssize_t end, float* to, Py_ssize_t span
) noexcept nogil:
    """to[first to end, rows] = X[rows, first to end].T, by whole vectors."""
    cdef Py_ssize_t i, j
    for i from 0 <= i < rows by LANES:
        for j from first <= j < end by LANES:
            transpose(x + i * stride + j, stride, rows - i, to + j * span + i, span, LANES)


cdef void weight_gradient(Pass* p, const Slice* s, int index, const Update* update, int member) noexcept nogil:
    """The gradient of a later layer's parameters, and the step if it is time.

    The member's rows of W, which no other member reads in `input_gradient`.
    """
    cdef const Linear* layer = &p.net.linear[index]
    cdef const float* d = p.memory.gradients_of_outputs + layer.output_at * p.memory.rows
    cdef Py_ssize_t first, end, stride
    cdef const float* x = input_of(p.net, p.memory, s, index, &stride)
    own_columns(p, s, &p.net.linear[index - 1], member, &first, &end)
    if s.sparse[index]:
        transpose_input(s.rows, x, stride, first, end, p.memory.x_transposed, p.memory.span)
        sparse_weight_gradient(
            layer, s.rows, Row(NULL, p.memory.x_transposed), p.memory.span, d, first, min(end, layer.inputs), 0,
            layer.padded, update, s.block,
        )
    else:
        dense_weight_gradient(
            layer, s.rows, x, stride, d, first, min(end, layer.inputs), 0, layer.padded, update
        )
    share(layer.padded, LANES, member, p.team.size, &first, &end)
    bias_step(layer, s.rows, d, first, end, update)


cdef void first_weight_gradient(Pass* p, const Slice* s, const Update* update, int member) noexcept nogil:
    """Of the first layer the member's columns, whose gradient it has computed itself, or rows if there are too few."""
    cdef const Linear* layer = &p.net.linear[0]
    cdef const float* d = p.memory.gradients_of_outputs + layer.output_at * p.memory.rows
    cdef Py_ssize_t first_input = 0, end_input = layer.inputs, first = 0, end = layer.padded
    if by_columns(p, s, layer):
        own_columns(p, s, layer, member, &first, &end)
        bias_step(layer, s.rows, d, first, end, update)
    else:
        share(layer.inputs, MR, member, p.team.size, &first_input, &end_input)
        if member == 0:
            bias_step(layer, s.rows, d, first, end, update)
    if s.sparse[0] and s.rows == 1:
        sparse_outer_product(layer, s.row[0].bytes, d, first_input, end_input, first, end, update)
    elif s.sparse[0]:
        sparse_weight_gradient(
            layer, s.rows, Row(s.transposed, NULL), p.memory.span, d, first_input, end_input, first, end, update,
            s.block,
        )
    else:
        dense_weight_gradient(layer, s.rows, s.x, s.stride, d, first_input, end_input, first, end, update)


cdef void learn(Pass* p, const Slice* s, const Update* update, int member) noexcept nogil:
    """Backward through all layers, from the last; the gradient of its output is there."""
    cdef int index
    for index in range(p.net.linears - 1, 0, -1):
        input_gradient(p, s, index, member)
        weight_gradient(p, s, index, update, member)
        if index > 1 or not by_columns(p, s, &p.net.linear[0]):
            barrier(&p.team)
    first_weight_gradient(p, s, update, member)
