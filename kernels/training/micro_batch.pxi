cdef struct MicroBatch:
    # A thread's view of some rows of a batch.
    Py_ssize_t first  # row of the job
    Py_ssize_t rows
    bint by_rows  # threads split the rows, with no barriers between layers: in training from the second on (`by_halves`)
    bint sparse[MAX_LAYERS]  # layers that skip zeros of their input
    bint sparse_gradient[MAX_LAYERS]  # layers that skip zeros of their d_output
    const float* x  # the input of the first layer, if it is computed densely
    Py_ssize_t ld  # leading dimension of x
    const float* pixel  # (256,), what bytes count as
    # The thread's own part of the workspace:
    Row* row  # (rows,)
    Row* next  # (rows,): what the first tile of a forward pass prefetches, rows of the next micro-batch, or these
    Row* hidden  # (rows,): of the input, or of the d_output, of the layer that is computed
    uint8_t* transposed  # (inputs, ld_transposed)
    Py_ssize_t ld_transposed
    uint8_t* labels  # (rows,)
    float* sums[2]  # (up to BLOCK_ROWS, sparse tile width), of each half of the first layer's inputs; other layers use the first
    float* block  # (rows or K_BLOCK, sparse tile width)
