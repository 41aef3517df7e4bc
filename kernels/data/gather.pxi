# Micro-batches: rows picked from the data set.

cdef inline void prefetch_row(const Net* net, Row row) noexcept nogil:
    if row.bytes != NULL:
        prefetch_bytes(row.bytes, net.inputs)
    else:
        prefetch_bytes(<const uint8_t*>row.floats, net.inputs * sizeof(float))


cdef void load_floats(const Job* job, const Row* row, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """x = rows begin to end of a micro-batch, bytes as `job.pixel` has them, after the activations before the first layer."""
    cdef const Net* net = job.net
    cdef Py_ssize_t i, j
    cdef float* x
    cdef int k
    for i in range(begin, end):
        x = job.workspace.x + i * net.ld
        if row[i].bytes != NULL:
            for j in range(net.inputs):
                x[j] = job.pixel[row[i].bytes[j]]
        else:
            memcpy(x, row[i].floats, net.inputs * sizeof(float))
        for k in range(net.linear[0].activation):
            activate(net.activation[k], net.inputs, x, x)


cdef inline Py_ssize_t picked(const Job* job, Py_ssize_t i) noexcept nogil:
    """The image of the i-th row; 0 if `order` was changed since it was validated."""
    cdef Py_ssize_t at = i if job.rows.order == NULL else job.rows.order[i]
    return at if 0 <= at < job.rows.images else 0


cdef inline Row row_of(const Job* job, Py_ssize_t i) noexcept nogil:
    """The i-th row of the job."""
    cdef Py_ssize_t at = picked(job, i) * job.net.inputs
    return Row(job.rows.bytes + at, NULL) if job.rows.bytes != NULL else Row(NULL, job.rows.floats + at)


cdef void gather_labels(Job* job, Py_ssize_t first, MicroBatch* batch) noexcept nogil:
    """Copy the labels. A memory-mapped file may change after it was validated: 0 then stands for what is no class."""
    cdef Py_ssize_t i
    for i in range(batch.rows):
        batch.labels[i] = job.labels[picked(job, first + i)]
        if batch.labels[i] >= job.net.outputs:
            batch.labels[i] = 0
            atomic_store(&job.changed, 1, __ATOMIC_SEQ_CST)


cdef bint first_layer_is_sparse(const Job* job, Py_ssize_t first, Py_ssize_t rows) noexcept nogil:
    """Whether the first layer skips zeros of the micro-batch that begins at `first`, judged by a sample of its rows."""
    cdef Py_ssize_t i, found = 0
    cdef Row row
    if not job.net.linear[0].sparse:
        return False
    if job.task != EVALUATE and (job.rows.bytes == NULL or rows > MAX_K_BLOCKS * K_BLOCK):
        return False  # d_weight has no code for float rows, and a fixed number of masks
    for i from 0 <= i < rows by SAMPLE:
        row = row_of(job, first + i)
        found += count_nonzero(&row, job.net.inputs)
    return is_sparse_sample(found, rows, job.net.inputs)


cdef void draw_rows(const Job* job, Py_ssize_t first, Py_ssize_t rows, uint8_t* to, int thread) noexcept nogil:
    """The thread's part of the rows from `first` on, distorted and with pixels dropped, to `to` (rows, inputs)."""
    cdef const Draws* draws = job.draws
    cdef Philox affine_and_field = philox_of(draws.seed, 0, draws.epoch, STREAM_AUGMENT)
    cdef Philox dropped = philox_of(draws.seed, 0, draws.epoch, STREAM_PIXELS)
    cdef Canvas canvas
    cdef Py_ssize_t i, end, inputs = job.net.inputs
    cdef const uint8_t* image
    memset(canvas.ink, 0, sizeof(canvas.ink))
    partition(rows, 1, thread, job.team.size, &i, &end)
    for i in range(i, end):
        prefetch_row(job.net, row_of(job, first + min(i + 1, end - 1)))
        image = row_of(job, first + i).bytes
        affine_and_field.counter[0] = dropped.counter[0] = <uint32_t>picked(job, first + i)
        if draws.distorts:
            distort(&draws.distortion, &affine_and_field, &canvas, image, to + i * inputs)
        else:
            memcpy(to + i * inputs, image, inputs)
        if draws.input.threshold:
            drop_pixels(&dropped, draws.input.threshold, inputs, to + i * inputs)


cdef inline bint draws_rows(const Job* job) noexcept nogil:
    return job.draws != NULL and job.draws.drawn[0] != NULL


cdef void lend_own(MicroBatch* batch, const Buffers* workspace, int thread) noexcept nogil:
    """Set where a thread's own parts of a workspace are."""
    cdef float* own = workspace.own + thread * workspace.own_floats
    batch.row = <Row*>own
    batch.hidden = batch.row + workspace.rows
    batch.next = batch.hidden + workspace.rows
    batch.transposed = <uint8_t*>(own + workspace.transposed_at)
    batch.ld_transposed = workspace.ld_transposed
    batch.labels = <uint8_t*>(own + workspace.labels_at)
    batch.sums[0] = own + workspace.sums_at
    batch.sums[1] = batch.sums[0] + min(workspace.rows, <Py_ssize_t>BLOCK_ROWS) * SPARSE_TILE
    batch.block = own + workspace.block_at


cdef MicroBatch own_parts(Job* job, Py_ssize_t first, Py_ssize_t rows, int thread) noexcept nogil:
    """A micro-batch with the thread's part of the workspace, nothing in it yet."""
    cdef MicroBatch batch
    batch.first = first
    batch.rows = rows
    batch.pixel = job.pixel
    batch.by_rows = splits_rows(job, rows)
    lend_own(&batch, job.workspace, thread)
    batch.x = job.workspace.x
    batch.ld = job.net.ld
    return batch


cdef void prefetch_next(const Job* job, MicroBatch* batch) noexcept nogil:
    """Prefetch the rows of the next micro-batch, or leave it to a forward pass that goes through all rows of this one.

    There each line is asked for between two sums; all of them at once are more than a CPU asks for at a time. So in an
    evaluation, where each thread goes through its own rows.
    """
    cdef Py_ssize_t i, after = batch.first + batch.rows
    cdef Py_ssize_t count = min(batch.rows, job.n - after) if not draws_rows(job) else 0
    cdef bint later = batch.sparse[0] and job.rows.bytes != NULL and (job.task == EVALUATE or owns_weights(job, batch))
    memcpy(batch.next, batch.row, batch.rows * sizeof(Row))
    for i in range(count):
        if later:
            batch.next[i] = row_of(job, after + i)
        else:
            prefetch_row(job.net, row_of(job, after + i))


cdef MicroBatch gather(Job* job, Py_ssize_t first, Py_ssize_t rows, int turn, int thread) noexcept nogil:
    """The rows from `first` on, in place, as they have been drawn, or as x.

    Each thread transposes the bytes that its own weights need: to fetch what another thread has made of them takes
    longer where two CPUs share no cache.
    """
    cdef MicroBatch batch = own_parts(job, first, rows, thread)
    cdef Py_ssize_t i, begin, end
    cdef bint sparse = job.sparse[turn]
    for i in range(rows):
        batch.row[i] = row_of(job, first + i)
        if draws_rows(job):
            batch.row[i].bytes = job.draws.drawn[turn] + i * job.net.inputs
    if job.labels != NULL:
        gather_labels(job, first, &batch)
    batch.sparse[0] = sparse
    batch.sparse_gradient[job.net.linears - 1] = False  # d_logits have no zeros
    prefetch_next(job, &batch)
    if sparse and job.task != EVALUATE and rows > 1:
        first_weight_rows(job, &batch, thread, &begin, &end)
        for i from 0 <= i < rows by SQUARE:
            transpose_bytes(batch.row + i, rows - i, begin, end, batch.transposed + i, batch.ld_transposed)
    elif not sparse and job.rows.floats != NULL and job.rows.order == NULL and job.net.linear[0].activation == 0:
        batch.x = job.rows.floats + first * job.net.inputs  # already what the first layer reads
        batch.ld = job.net.inputs
    elif not sparse:
        barrier(&job.team)  # others may still be reading x
        partition(rows, 1, thread, job.team.size, &begin, &end)
        load_floats(job, batch.row, begin, end)
        barrier(&job.team)
    return batch
