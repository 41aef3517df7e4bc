# What a pass works on: its rows, taken in slices, and the memory that its members share or have for themselves.

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
