# Whole forward passes and whole epochs of training over plain structures: no Python, no allocation.
#
# A batch goes through in slices of as many rows as the workspace holds. The members of a team do the same work, each on
# its share, and meet where one needs what another has computed. In training:
#
#   load; layer 0 | layer 1 | ... last layer; loss | last layer: input gradient, step | ... layer 1, too; layer 0: step
#         \----------- forward ----------/                                                     | is a barrier
#
# Columns of a layer's output are shared out rather than rows of the batch, so that each thread's weights of layer 0,
# the largest one, stay in its own cache. In the input gradient the columns of a layer's input are rows of W: a member
# takes the step of those at once, as no other reads them, and goes on to its columns of layer 0, whose gradient it has
# computed itself. Then it loads the next slice and begins with layer 0 again, without a barrier. Where layer 0 has too
# few columns to share, there is one before its step and one after it; and two to make x, if zeros are not skipped.
#
# To evaluate, where weights are only read, members share the rows of a slice, if there are enough of them, and meet
# when its scores are there and when they have been counted.
#
# What a sparse product sums up in several turns lies in memory of the member's own (`sums`); the shared output is
# written when a sum is complete.
#
# Gradients are summed over the rows of a batch from first to last, also across slices, so neither the size of the
# workspace nor the number of threads changes a bit.

cdef extern from *:
    """
    /* The stop flag is set by another thread: each look at it must be a read of memory. */
    static inline int is_set(const uint8_t *flag) { return flag && *(volatile const uint8_t *)flag; }
    """
    bint is_set(const uint8_t* flag) noexcept nogil

cdef enum Work:
    EVALUATE
    GRADIENTS
    TRAIN


cdef struct Rows:
    # Images (n, inputs), uint8 or float32, one of them NULL; `order` picks rows, NULL for all as they are.
    const uint8_t* bytes
    const float* floats
    const int64_t* order


cdef struct Slice:
    # A member's view of some rows, where they lie or as x; and which layers skip zeros of their input, and of the
    # gradient of their output.
    Py_ssize_t rows
    bint by_rows  # members share the rows in all layers: they need not meet between them
    bint sparse[LAYERS]
    bint sparse_gradient[LAYERS]
    Row* row
    Row* hidden  # of the input of the layer whose turn it is, or of its output's gradient
    uint8_t* transposed  # (inputs, memory.span), of bytes
    uint8_t* labels
    float* sums  # these two as in Memory
    float* block
    const float* x
    Py_ssize_t stride


cdef struct Memory:
    Py_ssize_t rows
    float* outputs  # all activations
    float* gradients_of_outputs  # laid out alike
    float* d_transposed[2]  # of the layer whose turn it is, and of the one before it, in panels of panel_rows rows
    Py_ssize_t panel_rows
    float* logits  # (rows, outputs), transposed in blocks of LANES rows
    Score* scores
    float* x  # (rows, net.stride), for slices that are not sparse
    float* x_transposed  # (inputs, span), of the layer whose turn it is, unless that is the first
    # What each member has for itself, one after the other:
    Row* row  # (rows,), and again (rows,) for the hidden ones
    uint8_t* transposed  # (inputs, span)
    uint8_t* labels  # (rows,)
    float* sums  # (up to BLOCK_ROWS, SPARSE_COLUMNS)
    float* block  # (rows, SPARSE_PANEL), or (WORD, SPARSE_COLUMNS)
    Py_ssize_t sums_floats
    Py_ssize_t block_floats
    Py_ssize_t span


cdef struct Pass:
    # What a call asks for, and what its members share.
    Work work
    const Net* net
    Memory* memory
    const float* packed
    Rows rows
    const uint8_t* labels
    Py_ssize_t n
    Py_ssize_t batch_size
    const uint8_t* stop
    Update update
    char[64] apart  # what changes lies on cache lines of its own
    Tally tally
    Py_ssize_t seen  # rows of finished slices
    Py_ssize_t done  # rows of finished batches, or of finished slices where nothing is learnt
    bint stopped
    bint sparse[2]  # whether the first layer skips zeros of this slice, and of the next
    char[64] also_apart
    Team team


# Loading

cdef extern from "simd.h":
    vfloat vrelu(vfloat x) noexcept nogil
    vfloat vrelu_backward(vfloat y, vfloat d) noexcept nogil
    void fetch_to_write(const void* at) noexcept nogil


cdef inline void prefetch_row(const Net* net, Row row) noexcept nogil:
    """Have a row brought into the cache: the order is random, so the machine cannot guess which is next.

    Inline, because a call of a function that does nothing but this is dropped by gcc as one without effect.
    """
    cdef const char* at = <const char*>row.bytes if row.bytes != NULL else <const char*>row.floats
    cdef Py_ssize_t byte, size = net.inputs * (1 if row.bytes != NULL else sizeof(float))
    for byte from 0 <= byte < size by 64:
        prefetch(at + byte, 0, 2)


cdef void load_floats(const Net* net, const Row* row, Py_ssize_t begin, Py_ssize_t end, float* to) noexcept nogil:
    """x = rows begin to end of a slice, bytes as float32(byte / 255), through the leading activations."""
    cdef Py_ssize_t i, j
    cdef float* x
    cdef int k
    for i in range(begin, end):
        x = to + i * net.stride
        if row[i].bytes != NULL:
            for j in range(net.inputs):
                x[j] = <float>row[i].bytes[j] / <float>255
        else:
            memcpy(x, row[i].floats, net.inputs * sizeof(float))
        for k in range(net.linear[0].activation):
            activate(net.activation[k], net.inputs, x, x)


cdef inline Row row_of(const Pass* p, Py_ssize_t i) noexcept nogil:
    """The i-th row of the pass."""
    cdef Py_ssize_t at = (i if p.rows.order == NULL else p.rows.order[i]) * p.net.inputs
    return Row(p.rows.bytes + at, NULL) if p.rows.bytes != NULL else Row(NULL, p.rows.floats + at)


cdef bint is_sparse(const Pass* p, Py_ssize_t first, Py_ssize_t rows) noexcept nogil:
    """Whether the first layer skips zeros of the slice that begins at `first`, as far as a sample of its rows tells."""
    cdef Py_ssize_t i, found = 0
    cdef Row row
    if not p.net.linear[0].sparse:
        return False
    if p.work != EVALUATE and (p.rows.bytes == NULL or rows > WORDS * WORD):
        return False  # floats are too rare in training for a way of their own, and a column's masks have a fixed place
    for i from 0 <= i < rows by SAMPLE:
        row = row_of(p, first + i)
        found += count_nonzero(&row, p.net.inputs)
    return few_of_sample(found, rows, p.net.inputs)


cdef Slice load_slice(Pass* p, Py_ssize_t first, Py_ssize_t rows, bint sparse, int member) noexcept nogil:
    """The rows from `first` on, as they are or as x.

    What a member can do with the bytes, it does for itself: to fetch what another has made of them takes longer where
    two CPUs have no cache in common.
    """
    cdef Slice s
    cdef Memory* memory = p.memory
    cdef Py_ssize_t i, begin, end
    s.rows = rows
    s.by_rows = p.work == EVALUATE and rows >= LANES * p.team.size
    s.row = memory.row + 2 * member * memory.rows
    s.hidden = s.row + memory.rows
    s.transposed = memory.transposed + member * p.net.inputs * memory.span
    s.labels = memory.labels + member * memory.rows
    s.sums = memory.sums + member * memory.sums_floats
    s.block = memory.block + member * memory.block_floats
    for i in range(rows):
        s.row[i] = row_of(p, first + i)
        if p.labels != NULL:
            s.labels[i] = p.labels[first + i if p.rows.order == NULL else p.rows.order[first + i]]
    for i in range(min(rows, p.n - first - rows)):
        prefetch_row(p.net, row_of(p, first + rows + i))
    s.x = memory.x
    s.stride = p.net.stride
    s.sparse[0] = sparse
    s.sparse_gradient[p.net.linears - 1] = False  # that of the loss
    if sparse and p.work != EVALUATE and rows > 1:
        for i from 0 <= i < rows by SQUARE:
            transpose_bytes(s.row + i, rows - i, p.net.inputs, s.transposed + i, memory.span)
    elif not sparse and p.rows.floats != NULL and p.rows.order == NULL and p.net.linear[0].activation == 0:
        s.x = p.rows.floats + first * p.net.inputs  # already what the first layer reads
        s.stride = p.net.inputs
    elif not sparse:
        barrier(&p.team)  # others may still be reading x
        share(rows, 1, member, p.team.size, &begin, &end)
        load_floats(p.net, s.row, begin, end, memory.x)
        barrier(&p.team)
    return s


# Elementwise

cdef inline void activate(Kind kind, Py_ssize_t n, const float* x, float* y) noexcept nogil:
    if kind == RELU:
        relu_forward(n, x, y)
    elif kind == SIGMOID:
        sigmoid_forward(n, x, y)
    else:
        tanh_forward(n, x, y)


cdef inline void activate_backward(Kind kind, Py_ssize_t n, const float* y, const float* d, float* d_x) noexcept nogil:
    if kind == SIGMOID:
        sigmoid_backward_of(n, y, d, d_x)
    else:
        tanh_backward_of(n, y, d, d_x)


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


# Passes

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
                begin, end, 0, last.padded, d, last.stride, last.outputs, memory.panel_rows, memory.d_transposed[0]
            )
    barrier(&p.team)


cdef void dense_inputs(
    Pass* p, const Slice* s, int index, Py_ssize_t first, Py_ssize_t columns
) noexcept nogil:
    """The gradient of some of what linear layer `index` reads, through the activations before it."""
    cdef const Linear* layer = &p.net.linear[index]
    cdef const Linear* before = &p.net.linear[index - 1]
    cdef int turn = (p.net.linears - 1 - index) % 2
    cdef float* d_x = p.memory.gradients_of_outputs + before.output_at * p.memory.rows
    dense_input_gradient(
        layer, p.packed, s.rows, p.memory.panel_rows, p.memory.d_transposed[turn], first,
        min(columns, layer.inputs - first), d_x, before.stride,
    )
    activations_backward(p.net, before, p.memory, d_x + first, before.stride, 0, s.rows, first, first + columns)


cdef void sparse_inputs(
    Pass* p, const Slice* s, int index, Py_ssize_t first, Py_ssize_t columns, int vectors
) noexcept nogil:
    """The same, without the zeros of the gradient of the layer's output."""
    cdef const Linear* layer = &p.net.linear[index]
    cdef const float* d = p.memory.gradients_of_outputs + layer.output_at * p.memory.rows
    cdef Py_ssize_t row, after, i, inputs = min(columns, layer.inputs - first)
    for row from 0 <= row < s.rows by BLOCK_ROWS:
        after = min(s.rows, row + BLOCK_ROWS)
        for i in range(row, after):
            s.hidden[i] = Row(NULL, d + i * layer.stride)
        sparse_input_gradient(layer, p.packed, s.hidden + row, after - row, first, inputs, vectors, s.block, s.sums)
        activations_backward(
            p.net, layer - 1, p.memory, s.sums, SPARSE_COLUMNS, row, after, first, first + columns
        )


cdef void input_gradient(Pass* p, const Slice* s, int index, int member) noexcept nogil:
    """The gradient of the output of the linear layer before this one: the member's columns of it.

    That output, part of which another has read, is brought back meanwhile, also for the next forward pass to write to.
    """
    cdef const Linear* before = &p.net.linear[index - 1]
    cdef Memory* memory = p.memory
    cdef Py_ssize_t first, end, columns = UNITS, i, j
    cdef int vectors = 1
    cdef const float* y = memory.outputs + before.output_at * memory.rows
    cdef const float* d_x = memory.gradients_of_outputs + before.output_at * memory.rows
    own_columns(p, s, before, member, &first, &end)
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
                memory.d_transposed[(p.net.linears - index) % 2],
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


cdef Py_ssize_t rows_of_slice(const Pass* p, Py_ssize_t first) noexcept nogil:
    """Rows of the slice that begins at `first`: at most up to the end of its batch."""
    return min(p.memory.rows, min(p.n, (first // p.batch_size + 1) * p.batch_size) - first)


cdef void count(Pass* p, Py_ssize_t done, bint ends, Tally* of_batch) noexcept nogil:
    """Add the scores of a slice to its batch, and those of a batch that ends to the pass; `done` rows lie behind."""
    add_scores(done - p.seen, p.memory.scores, of_batch)
    p.seen = done
    if p.work == EVALUATE or ends:
        p.done = done
    if ends:
        p.tally.loss += of_batch.loss
        p.tally.correct += of_batch.correct
        of_batch[0] = Tally(0, 0)
    elif p.work == EVALUATE and p.stopped:
        p.tally = of_batch[0]


cdef void run_member(Pass* p, int member) noexcept nogil:
    """One member's part of a pass over all rows. p.sparse[0] is about the first slice."""
    cdef Py_ssize_t first = 0, rows, batch, end
    cdef Update update = p.update
    cdef Tally of_batch = Tally(0, 0)
    cdef Slice s
    cdef bint stopped = False
    cdef int turn = 0
    while first < p.n and not stopped:
        rows = rows_of_slice(p, first)
        batch = first // p.batch_size * p.batch_size
        end = min(p.n, batch + p.batch_size)
        s = load_slice(p, first, rows, p.sparse[turn], member)
        forward(p, &s, member)
        first += rows
        turn = 1 - turn
        if member == 0:  # what all are to agree on, one decides, and before a barrier
            p.stopped = is_set(p.stop)
            p.sparse[turn] = first < p.n and is_sparse(p, first, rows_of_slice(p, first))
        loss(p, &s, <float>1.0 / (end - batch), member)
        stopped = p.stopped
        update.first = first - rows == batch
        update.last = p.work == TRAIN and first == end
        if member == 0:
            count(p, first, first == end, &of_batch)
        if p.work != EVALUATE:
            learn(p, &s, &update, member)
        # With its own columns of layer 0 a member may go on. Of what the next load and forward pass of layer 0 read and
        # write, others have read no more than its output, in layer 1 or the loss, and there is a barrier behind each.
        # Where rows were shared, there is one here, also for the scores and p.stopped that others may be reading.
        if not by_columns(p, &s, &p.net.linear[0]):
            barrier(&p.team)


cdef void forward_rows(Pass* p, float* to) noexcept nogil:
    """The outputs of all rows, by this thread alone, to `to` (n, outputs)."""
    cdef Py_ssize_t first, i, rows
    cdef const Linear* last = &p.net.linear[p.net.linears - 1]
    cdef const float* y = output_of(p.net, p.memory, last)
    cdef Slice s
    p.work = EVALUATE
    p.batch_size = p.n
    p.team.size = 1
    for first from 0 <= first < p.n by p.memory.rows:
        rows = min(p.memory.rows, p.n - first)
        s = load_slice(p, first, rows, is_sparse(p, first, rows), 0)
        forward(p, &s, 0)
        for i in range(rows):
            memcpy(to + (first + i) * p.net.outputs, y + i * last.stride, p.net.outputs * sizeof(float))
