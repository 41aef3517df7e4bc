# A workspace: all memory that a network's jobs need besides parameters.
from libc.stdint cimport uintptr_t


cdef Py_ssize_t _whole(Py_ssize_t count, Py_ssize_t unit) noexcept nogil:
    return (count + unit - 1) // unit * unit


cdef Py_ssize_t _take(Py_ssize_t* used, Py_ssize_t floats) noexcept:
    """Where the next part begins; it ends with a cache line."""
    cdef Py_ssize_t at = used[0]
    used[0] += (floats + 15) // 16 * 16
    return at


cdef inline float* _at(uintptr_t base, Py_ssize_t floats) noexcept:
    return <float*>(base + 4 * <uintptr_t>floats)


cdef Py_ssize_t _lay_out(
    Buffers* b, const Net* net, const Kernels* table, Py_ssize_t rows, bint training, float* memory
) noexcept:
    """Set the parts that threads share, for micro-batches of so many rows. Returns their floats; `memory` may be NULL."""
    cdef uintptr_t base = <uintptr_t>memory
    cdef Py_ssize_t lanes = table.lanes, used = 0, blocks = _whole(rows, lanes), learning = training
    cdef Py_ssize_t panel_rows = 2 * lanes if rows > lanes else lanes
    b.rows = rows
    b.ld_transposed = _whole(rows, K_BLOCK)
    b.activations = _at(base, _take(&used, rows * net.activation_floats))
    b.grad_activations = _at(base, _take(&used, learning * rows * net.activation_floats))
    for i in range(2):
        b.d_transposed[i].rows = panel_rows
        b.d_transposed[i].ld = panel_rows * net.widest_output
        b.d_transposed[i].data = _at(base, _take(&used, learning * _whole(rows, panel_rows) * net.widest_output))
    b.logits = _at(base, _take(&used, blocks * _whole(net.outputs, lanes)))
    b.scores = <Score*>_at(base, _take(&used, blocks * sizeof(Score) // 4))
    for i in range(2):
        b.halves[i] = _at(base, _take(&used, learning * rows * net.linear[0].padded))
    b.x = _at(base, _take(&used, rows * net.ld))
    b.x_transposed = _at(base, _take(&used, learning * b.ld_transposed * net.later_sparse))
    return used


cdef void _lay_out_own(Buffers* b, const Net* net, const Kernels* table, bint training) noexcept:
    """Set where a thread's own parts are."""
    cdef Py_ssize_t used = 0, learning = training
    cdef bint sparse = net.sparse_inputs > 0 or net.later_sparse > 0
    _take(&used, 3 * b.rows * sizeof(Row) // 4)
    b.transposed_at = _take(&used, learning * b.ld_transposed * net.sparse_inputs // 4)
    b.labels_at = _take(&used, b.rows // 4 + 1)
    b.sums_at = _take(&used, 2 * min(b.rows, <Py_ssize_t>BLOCK_ROWS) * table.sparse_tile)
    b.block_at = _take(&used, learning * sparse * max(b.rows, <Py_ssize_t>K_BLOCK) * table.sparse_tile)
    b.own_floats = used


cdef class Workspace:
    """All memory that a network's jobs need, for micro-batches of `rows` rows; that of gradients only for training.

    It grows with the threads that use it. One call at a time may use it; a second one raises `RuntimeError`. Raises `MemoryError` if there is not
    enough memory.
    """

    cdef readonly Network network
    cdef readonly Py_ssize_t rows
    cdef readonly bint training
    cdef readonly Py_ssize_t nbytes
    cdef int threads  # that there is room for
    cdef Buffer buffer
    cdef Buffer own  # each thread's part
    cdef Buffers buffers
    cdef Buffer drawn  # rows that are drawn anew, once a call has needed it
    cdef readonly bint busy  # a call is using it

    def __cinit__(self, Network network not None, rows, *, bint training=False):
        if not 0 < rows <= LARGEST_SIDE:
            raise ValueError(f"rows must be from 1 to {LARGEST_SIDE}, not {rows}")
        self.network = network
        self.rows = rows
        self.training = training
        self.buffer = Buffer(_lay_out(&self.buffers, &network.net, network.table, rows, training, NULL))
        self.nbytes = self.buffer.nbytes
        _lay_out(&self.buffers, &network.net, network.table, rows, training, self.buffer.data)
        _lay_out_own(&self.buffers, &network.net, network.table, training)
        self._grow(1)

    cdef _grow(self, int threads):
        """Make room for so many threads."""
        if threads <= self.threads:
            return
        own = Buffer(threads * self.buffers.own_floats)
        self.nbytes += own.nbytes - (self.own.nbytes if self.own is not None else 0)
        self.own, self.threads = own, threads
        self.buffers.own = own.data

    cdef lend_drawn(self, Draws* draws, bint needed):
        """Set where drawn rows go, or that there are none."""
        cdef Py_ssize_t i, floats = _whole(self.rows * self.network.inputs, 64) // 4
        if needed and self.drawn is None:
            self.drawn = Buffer(2 * floats)
            self.nbytes += self.drawn.nbytes
        for i in range(2):
            draws.drawn[i] = <uint8_t*>(self.drawn.data + i * floats) if needed else NULL

    cdef run(self, Network network, Job* job, int threads):
        """Run a job of `network` in this memory; nothing if it has no rows."""
        if not 1 <= threads <= THREAD_LIMIT:
            raise ValueError(f"threads must be from 1 to {THREAD_LIMIT}, not {threads}")
        cdef float_mode mode
        with self.used_by(network, job.task != EVALUATE):
            self._grow(threads)
            job.workspace = &self.buffers
            if job.n:
                with nogil:
                    mode = enter_float_mode(FLUSH_SUBNORMALS)
                    network.table.run(job, threads)
                    restore_float_mode(mode)
        if job.changed:
            raise ValueError("labels or order changed during the call: one of them was out of range")

    cdef used_by(self, Network network, bint training):
        """A context in which `network` may use this memory."""
        if self.network is not network:
            raise ValueError("the workspace was made for another network")
        if training and not self.training:
            raise ValueError("the workspace has no room for gradients: make it with training=True")
        return _Use(self)


cdef class _Use:
    cdef Workspace workspace

    def __cinit__(self, Workspace workspace):
        self.workspace = workspace

    def __enter__(self):
        if self.workspace.busy:
            raise RuntimeError("the workspace is in use by another call: make one for each thread")
        self.workspace.busy = True

    def __exit__(self, *error):
        self.workspace.busy = False
