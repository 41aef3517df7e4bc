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
