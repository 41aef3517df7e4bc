# A slice forward through all layers: each block of a product at once through the bias and the activations behind it.

cdef extern from "simd.h":
    vfloat vrelu(vfloat x) noexcept nogil


cdef inline void activate(Kind kind, Py_ssize_t n, const float* x, float* y) noexcept nogil:
    if kind == RELU:
        relu_forward(n, x, y)
    elif kind == SIGMOID:
        sigmoid_forward(n, x, y)
    else:
        tanh_forward(n, x, y)


cdef void bias_and_activations(
    const Net* net, const Linear* layer, Memory* memory, const float* packed, const float* product, Py_ssize_t rs,
    Py_ssize_t first_row, Py_ssize_t end_row, Py_ssize_t first, Py_ssize_t end,
) noexcept nogil:
    """What follows a linear layer's product, whose rows lie `rs` apart, to a block of its output: whole vectors."""
    cdef Py_ssize_t i, j
    cdef const float* z
    cdef float* x
    cdef float* y
    cdef int k
    cdef const float* bias = packed + layer.packed_bias
    cdef bint rectified = layer.activation < layer.end_activation and net.activation[layer.activation] == RELU
    for i in range(first_row, end_row):
        z = product + (i - first_row) * rs - first
        x = memory.outputs + layer.output_at * memory.rows + i * layer.stride
        for j from first <= j < end by LANES:
            if rectified:
                vstore(x + j, vrelu(vload(z + j) + vload(bias + j)))
            else:
                vstore(x + j, vload(z + j) + vload(bias + j))
        for k in range(layer.activation + rectified, layer.end_activation):
            y = memory.outputs + net.activation_at[k] * memory.rows + i * layer.stride
            activate(net.activation[k], end - first, x + first, y + first)
            x = y


cdef const float* input_of(
    const Net* net, const Memory* memory, const Slice* s, int index, Py_ssize_t* stride
) noexcept nogil:
    """What a linear layer reads: the slice, or the last activation of the layer before."""
    cdef const Linear* before
    if index == 0:
        stride[0] = s.stride
        return s.x
    before = &net.linear[index - 1]
    stride[0] = before.stride
    return output_of(net, memory, before)


cdef float* output_of(const Net* net, const Memory* memory, const Linear* layer) noexcept nogil:
    cdef Py_ssize_t at = layer.output_at
    if layer.end_activation > layer.activation:
        at = net.activation_at[layer.end_activation - 1]
    return memory.outputs + at * memory.rows


cdef bint by_columns(const Pass* p, const Slice* s, const Linear* layer) noexcept nogil:
    """Whether members share the columns of a layer's output, and not the rows: if each can have some whole tiles."""
    return not s.by_rows and layer.padded >= min(layer.panel, <Py_ssize_t>NR) * p.team.size


cdef void own_columns(
    const Pass* p, const Slice* s, const Linear* layer, int member, Py_ssize_t* first, Py_ssize_t* end
) noexcept nogil:
    """The member's columns of a layer's output, and of its gradient: whole tiles if there are enough of them."""
    cdef Py_ssize_t unit = min(layer.panel, <Py_ssize_t>NR) if by_columns(p, s, layer) else LANES
    share(layer.padded, unit, member, p.team.size, first, end)


cdef void dense_outputs(
    Pass* p, const Slice* s, int index, Py_ssize_t first_row, Py_ssize_t end_row, Py_ssize_t first, Py_ssize_t end
) noexcept nogil:
    """A block of a linear layer's output, through the activations behind it."""
    cdef const Linear* layer = &p.net.linear[index]
    cdef float* y = p.memory.outputs + layer.output_at * p.memory.rows + first_row * layer.stride
    cdef Py_ssize_t stride
    cdef const float* x = input_of(p.net, p.memory, s, index, &stride)
    dense_forward(layer, p.packed, end_row - first_row, x + first_row * stride, stride, first, end, y)
    bias_and_activations(p.net, layer, p.memory, p.packed, y + first, layer.stride, first_row, end_row, first, end)


cdef void sparse_outputs(
    Pass* p, const Slice* s, int index, Py_ssize_t first_row, Py_ssize_t end_row, Py_ssize_t first, Py_ssize_t end,
    int vectors,
) noexcept nogil:
    """The same, of `vectors` columns without the zeros of the input."""
    cdef const Linear* layer = &p.net.linear[index]
    cdef const Row* rows = s.hidden if index else s.row
    cdef Py_ssize_t row, after
    for row from first_row <= row < end_row by BLOCK_ROWS:
        after = min(end_row, row + BLOCK_ROWS)
        sparse_forward(layer, p.packed, rows + row, after - row, first, vectors, s.sums)
        bias_and_activations(p.net, layer, p.memory, p.packed, s.sums, SPARSE_COLUMNS, row, after, first, end)


cdef void look_for_zeros(const Pass* p, Slice* s, int index, Py_ssize_t first, Py_ssize_t end) noexcept nogil:
    """Decide whether zeros that relu has left in the input of a layer behind others are skipped.

    By a sample of rows `first` to `end`. Where that input is zero, the gradient of what relu has made it of is so too.
    """
    cdef const Linear* layer = &p.net.linear[index]
    cdef const Linear* before = &p.net.linear[index - 1]
    cdef Py_ssize_t i, stride, found = 0
    cdef const float* x
    cdef bint few
    s.sparse[index] = layer.sparse and (p.work == EVALUATE or 1 < s.rows <= WORDS * WORD)
    s.sparse_gradient[index - 1] = before.sparse_gradient and p.work != EVALUATE
    if not s.sparse[index] and not s.sparse_gradient[index - 1]:
        return
    x = input_of(p.net, p.memory, s, index, &stride)
    for i in range(first, end):
        s.hidden[i] = Row(NULL, x + i * stride)
        if (i - first) % SAMPLE == 0:
            found += count_nonzero(&s.hidden[i], layer.inputs)
    few = few_of_sample(found, end - first, layer.inputs)
    s.sparse[index] = s.sparse[index] and few
    s.sparse_gradient[index - 1] = s.sparse_gradient[index - 1] and few


cdef void forward(Pass* p, Slice* s, int member) noexcept nogil:
    """All layers. A barrier follows each, but for a last one whose rows were shared, as they are for the loss.

    And none where rows are shared in all layers: each member stays with its own.
    """
    cdef Py_ssize_t first_row, end_row, first, end, column
    cdef int index, vectors
    cdef const Linear* layer
    for index in range(p.net.linears):
        layer = &p.net.linear[index]
        first_row, end_row, first, end = 0, s.rows, 0, layer.padded
        if by_columns(p, s, layer):
            own_columns(p, s, layer, member, &first, &end)
        else:
            share(s.rows, LANES, member, p.team.size, &first_row, &end_row)
        if index > 0 and s.by_rows:
            look_for_zeros(p, s, index, first_row, end_row)
        elif index > 0:
            look_for_zeros(p, s, index, 0, s.rows)
        while first < end:  # block by block, so that what was computed is still in a cache
            if s.sparse[index]:
                vectors = vectors_at(layer, first, end)
                column = min(end, first + vectors * LANES)
                sparse_outputs(p, s, index, first_row, end_row, first, column, vectors)
            else:
                column = min(end, first + layer.panel - first % layer.panel)
                dense_outputs(p, s, index, first_row, end_row, first, column)
            first = column
        if not s.by_rows and (index + 1 < p.net.linears or by_columns(p, s, layer)):
            barrier(&p.team)
