# Whole jobs: forward passes, evaluations and epochs of training, over plain structures. No Python, no allocation.
#
# A batch is processed in micro-batches of as many rows as the workspace holds. All threads run the same phases, each on
# its partition. How they split a step depends on the first layer (`split.pxi`). D is the d_output of a layer, D.T its
# transpose; Wi and bi are layer i's weight and bias, their state the optimizer's arrays.
#
# If it is wide, by the columns of a layer's output:
#
#   phase           reads                             writes                             split by               barrier after
#   gather          images, labels                    own labels, own transposed bytes   nothing                no
#     if dense      images                            x                                  rows                   before and after
#   draw, if rows   images                            drawn rows of the next micro-batch rows                   no; before the
#     are distorted                                                                                             first one: yes
#   forward 0       images or x, W0                   activations of layer 0             columns                yes
#   forward i       activations of i-1, Wi            activations of layer i             columns, or (*) rows   yes; last layer (*): no
#   loss            logits, own labels                scores, D and D.T of last layer    rows                   yes
#   d_input i       D or D.T of layer i, Wi           D and D.T of layer i-1             columns of layer i-1   no
#   d_weight i      activations of i-1, D of layer i  rows of Wi, bi, their state        as d_input i           yes; i = 1: no
#   d_weight 0      own transposed bytes or x, D of 0 W0, b0, their state                columns                no
#
# (*) A layer too narrow for whole tiles per thread is split by rows. Columns rather than rows, so that each thread's part
# of W0, the largest one, stays in its own cache. d_input i and d_weight i need no barrier between them, because the columns
# of layer i-1 are rows of Wi: a thread updates only rows that it alone reads.
#
# If the first layer is narrow, by halves of its inputs, and by rows of the micro-batch behind it:
#
#   phase           reads                             writes                             split by               barrier after
#   gather, draw    as above                          as above; bytes of own rows of W0  as above               as above
#   product 0       images or x, W0                   the two halves of the product      inputs, then rows      yes
#   forward         halves, Wi of all later layers    activations                        rows                   no
#   loss, d_input i own activations, own D, Wi        scores, D and D.T of all layers    rows                   yes
#   d_weight i      activations of i-1, D of layer i  rows of Wi, bi, their state        rows of Wi             no
#   d_weight 0      own transposed bytes or x, D of 0 rows of W0, b0, their state        rows of W0             a half each: no
#
# Two threads have a half of the inputs each, and update the weights that they read. All other weights that a thread reads
# have been complete since the barrier after product 0, as nobody changes them before the one after the loss.
#
# An evaluation of many rows is split by rows in all layers: forward and loss, a barrier after the loss and at the end.
#
# Gradients are summed over the rows of a batch from first to last, also across micro-batches, and each element by one
# thread: neither the size of the workspace nor the number of threads changes a bit.

cdef extern from *:
    """
    /* The stop flag is set by another thread: each poll must read memory. */
    static inline int is_set(const uint8_t *flag) { return flag && *(volatile const uint8_t *)flag; }
    """
    bint is_set(const uint8_t* flag) noexcept nogil


cdef Py_ssize_t micro_batch_rows(const Job* job, Py_ssize_t first) noexcept nogil:
    """Rows of the micro-batch that begins at `first`: it ends with its batch at the latest."""
    return min(job.workspace.rows, min(job.n, (first // job.batch_size + 1) * job.batch_size) - first)


cdef void count(Job* job, Py_ssize_t done, bint ends, Metrics* of_batch) noexcept nogil:
    """Add the scores of a micro-batch to its batch's, and those to the job's if the batch `ends` after `done` rows."""
    add_scores(done - job.scored, job.workspace.scores, of_batch)
    job.scored = done
    if job.task == EVALUATE or ends:
        job.done = done
    if ends:
        job.metrics.loss += of_batch.loss
        job.metrics.correct += of_batch.correct
        of_batch[0] = Metrics(0, 0)
    elif job.task == EVALUATE and job.stopped:
        job.metrics = of_batch[0]


cdef void set_step(const Job* job, Update* update, Py_ssize_t first, Py_ssize_t end, Py_ssize_t rows) noexcept nogil:
    """The update of rows `first` on of a batch that ends with row `end`."""
    cdef Py_ssize_t step = first // job.batch_size
    if job.task == TRAIN:
        prepare_step(update, job.learning_rates[step], job.first_step + step)
    update.starts = first == step * job.batch_size
    update.applies = job.task == TRAIN and first + rows == end


cdef void run_thread(void* work, int thread) noexcept nogil:
    """One thread's part of a job. job.sparse[0] is about the first micro-batch."""
    cdef Job* job = <Job*>work
    cdef Py_ssize_t first = 0, rows, start, end
    cdef Update update = job.update
    cdef Metrics of_batch = Metrics(0, 0)
    cdef MicroBatch batch
    cdef bint stopped = False
    cdef int turn = 0
    if draws_rows(job):
        draw_rows(job, 0, micro_batch_rows(job, 0), job.draws.drawn[0], thread)
        barrier(&job.team)
    while first < job.n and not stopped:
        rows = micro_batch_rows(job, first)
        start = first // job.batch_size * job.batch_size
        end = min(job.n, start + job.batch_size)
        batch = gather(job, first, rows, turn, thread)
        forward(job, &batch, thread)
        set_step(job, &update, first, end, rows)
        first += rows
        turn = 1 - turn
        if draws_rows(job) and first < job.n:  # no thread reads that buffer any more, and the loss ends with a barrier
            draw_rows(job, first, micro_batch_rows(job, first), job.draws.drawn[turn], thread)
        if thread == 0:  # one thread decides for all, before a barrier
            job.stopped = is_set(job.stop)
            job.sparse[turn] = first < job.n and first_layer_is_sparse(job, first, micro_batch_rows(job, first))
        loss(job, &batch, <float>1.0 / (end - start), thread)
        if by_halves(job, &batch):
            d_inputs(job, &batch, thread)
        barrier(&job.team)
        stopped = job.stopped
        if thread == 0:
            count(job, first, first == end, &of_batch)
        if job.task != EVALUATE:
            backward(job, &batch, &update, thread)
        # A thread that owns its weights may go on to its next product of layer 0: what it overwrites there, others have
        # read before their last barrier. Otherwise others may still be updating W0 or, in an evaluation, reading scores.
        if not owns_weights(job, &batch):
            barrier(&job.team)


cdef void run_job(Job* job, int threads) noexcept nogil:
    """A job of at least one row, on so many threads."""
    if is_set(job.stop):
        return
    job.pixel = &PIXEL[0]
    if job.draws != NULL:
        job.pixel = &job.draws.pixel[0]
    job.sparse[0] = first_layer_is_sparse(job, 0, micro_batch_rows(job, 0))
    run_team(&job.team, run_thread, job, threads)
