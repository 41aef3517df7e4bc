# What Python calls: a network, its packed parameters, and the memory of its passes. Every size and every index is
# checked here; passes.pxi computes.

from bisect import bisect_right

# More rows than these in one slice would only push the activations out of the second-level cache; and a very
# wide network takes fewer at once, so that a workspace stays within these bytes where one row does.
SLICE_ROWS = 256
SLICE_BYTES = 2**25
MAX_WIDTH = 2**24

KINDS = {"linear": LINEAR, "relu": RELU, "sigmoid": SIGMOID, "tanh": TANH}


cdef Py_ssize_t _whole(Py_ssize_t count, Py_ssize_t unit) noexcept nogil:
    return (count + unit - 1) // unit * unit


cdef Py_ssize_t _stride(Py_ssize_t width) noexcept nogil:
    """Floats from row to row: whole vectors, and not a multiple of 1 KiB, or rows would share a few sets of a cache."""
    cdef Py_ssize_t whole = _whole(width, LANES)
    return whole + LANES if whole % 256 == 0 else whole


cdef Py_ssize_t _panel_rows(Py_ssize_t rows) noexcept:
    """Rows of the batch in a panel of D.T, for slices of so many."""
    return NR if rows > LANES else LANES


cdef class Network:
    """Layers `(kind, inputs, outputs)`, kind one of `linear`, `relu`, `sigmoid`, `tanh`.

    A linear layer computes x @ W + b. Its W (inputs, outputs), row-major, and b (outputs,) follow one another
    in a flat float32 vector of `parameter_count`, layer after layer; `slices` tells where. A network is
    immutable and may be used from many threads, each with its own `Workspace`.

    Raises `ValueError` for a layer that does not exist or does not fit the one before it.
    """

    cdef Net net
    cdef Py_ssize_t output_floats  # of all layers, for each row of a workspace
    cdef Py_ssize_t widest_gradient  # outputs of the widest linear layer but the first
    cdef Py_ssize_t sparse_inputs  # of the first layer, if it may skip zeros
    cdef Py_ssize_t widest_sparse  # inputs of the widest of the other ones that may
    cdef Py_ssize_t packed_floats
    cdef readonly tuple layers
    cdef readonly tuple slices
    cdef readonly Py_ssize_t inputs
    cdef readonly Py_ssize_t outputs
    cdef readonly Py_ssize_t parameter_count
    cdef readonly Py_ssize_t slice_rows  # what a workspace best has room for

    def __init__(self, layers):
        if self.inputs:
            raise RuntimeError("a network is made once")  # others may be computing with it
        self.layers = tuple((str(kind), int(inputs), int(outputs)) for kind, inputs, outputs in layers)
        if not 0 < len(self.layers) <= LAYERS:
            raise ValueError(f"a network has 1 to {LAYERS} layers, not {len(self.layers)}")
        before = self.layers[0][1]
        for index, (kind, inputs, outputs) in enumerate(self.layers):
            _check_layer(index, kind, inputs, outputs, before)
            before = outputs
        if all(kind != "linear" for kind, _, _ in self.layers):
            raise ValueError("a network needs at least one linear layer")
        self.inputs = self.net.inputs = self.layers[0][1]
        self.outputs = self.net.outputs = before
        self.net.stride = _stride(self.inputs)
        slices = []
        cdef int activations = 0
        previous = None
        for kind, inputs, outputs in self.layers:
            if kind == "linear":
                self._add_linear(inputs, outputs, activations)
                slices.append((self._last().weight, (inputs, outputs), self._last().bias))
            else:
                if previous not in (None, "linear"):  # else it overwrites what no one else needs
                    self.output_floats += _stride(outputs)
                self.net.activation[activations] = KINDS[kind]
                self.net.activation_at[activations] = self.output_floats - _stride(outputs)
                activations += 1
                if self.net.linears:
                    self._last().end_activation = activations
                else:
                    self.output_floats = 0  # those before the first linear layer work on the rows themselves
            previous = kind
        self.slices = tuple(slices)
        fitting = bisect_right(range(1, SLICE_ROWS + 1), SLICE_BYTES, key=lambda rows: 4 * sum(self._parts(rows, True)))
        self.slice_rows = max(1, fitting)

    cdef list _parts(self, rows, bint training):
        """The floats of each part of a workspace for so many rows, in the order of `Memory`: whole cache lines."""
        panels = -(-rows // _panel_rows(rows)) * _panel_rows(rows) * self.widest_gradient
        blocks = -(-rows // LANES) * LANES
        words = -(-rows // WORD) * WORD
        sparse = bool(self.sparse_inputs or self.widest_sparse)
        parts = [
            rows * self.output_floats,
            training * rows * self.output_floats,
            training * panels,
            training * panels,
            blocks * _whole(self.outputs, LANES),
            blocks * sizeof(Score) // 4,
            rows * self.net.stride,
            training * words * self.widest_sparse,
            2 * rows * THREAD_LIMIT * sizeof(Row) // 4,
            training * words * self.sparse_inputs * THREAD_LIMIT // 4,
            rows * THREAD_LIMIT // 4,
            sparse * min(rows, BLOCK_ROWS) * SPARSE_COLUMNS * THREAD_LIMIT,
            training * sparse * max(rows * SPARSE_PANEL, WORD * SPARSE_COLUMNS) * THREAD_LIMIT,
        ]
        return [(floats + 15) // 16 * 16 for floats in parts]

    cdef Linear* _last(self):
        return &self.net.linear[self.net.linears - 1]

    cdef bint _behind_relu(self, int activations):
        """Whether a linear layer that is added behind so many activations reads the output of relu."""
        previous = &self.net.linear[self.net.linears - 2]
        return activations > previous.activation and self.net.activation[activations - 1] == RELU

    cdef _add_linear(self, Py_ssize_t inputs, Py_ssize_t outputs, int activations):
        cdef Linear* layer = &self.net.linear[self.net.linears]
        cdef Linear* before
        cdef bint behind_relu
        self.net.linears += 1
        layer.inputs = inputs
        layer.outputs = outputs
        layer.padded = _whole(outputs, LANES)
        layer.sparse = inputs <= WORDS * WORD and activations == 0
        if self.net.linears > 1:
            behind_relu = self._behind_relu(activations)
            layer.sparse = inputs <= WORDS * WORD and layer.padded >= SPARSE_PANEL and behind_relu
            before = &self.net.linear[self.net.linears - 2]
            before.sparse_gradient = self.net.linears > 2 and before.sparse and behind_relu
        # The panels of a layer that may skip zeros are wider than a register tile (sparse.pxi).
        layer.panel = min(layer.padded, <Py_ssize_t>(SPARSE_PANEL if layer.sparse else NR))
        layer.stride = _stride(outputs)
        layer.weight = self.parameter_count
        layer.bias = layer.weight + inputs * outputs
        self.parameter_count = layer.bias + outputs
        layer.packed_weight = self.packed_floats
        layer.packed_bias = layer.packed_weight + _whole(layer.padded, layer.panel) * inputs
        self.packed_floats = layer.packed_bias + layer.padded
        layer.output_at = self.output_floats
        self.output_floats += layer.stride
        layer.activation = layer.end_activation = activations
        if self.net.linears > 1:
            self.widest_gradient = max(self.widest_gradient, outputs)
            self.widest_sparse = max(self.widest_sparse, _whole(inputs, LANES) if layer.sparse else 0)
        else:
            self.sparse_inputs = inputs if layer.sparse else 0

    def pack(self, parameters):
        """`parameters` as the passes read them: for `forward`, which else packs them at each call."""
        return Packed(self, parameters)

    def forward(self, parameters, inputs, out, Workspace workspace not None):
        """Write the network's outputs for `inputs` (n, inputs) to `out` (n, outputs); returns `out`.

        `parameters` are the flat vector, or what `pack` made of it. `inputs` are float32, or uint8 that count
        as float32(byte / 255). A row's bits depend on that row alone.
        """
        cdef Packed packed = self._packed(parameters)
        cdef Pass p = self._pass("inputs", inputs, None)
        _contiguous("out", out, _FLOAT32, 2, True)
        _same_shape("out", out, "the network's output", (p.n, self.outputs))
        _apart("out", out, "inputs", inputs)
        if packed is not parameters:
            _apart("out", out, "parameters", parameters)
        cdef float* to = <float*>address(out)
        with workspace.used_by(self, False):
            p.packed = packed.buffer.data
            p.memory = &workspace.memory
            if p.n * self.parameter_count < WORTH_A_SWITCH:
                forward_rows(&p, to)
            else:
                with nogil:
                    forward_rows(&p, to)
        return out

    def evaluate(
        self, parameters, images, labels, order, Workspace workspace not None, stop=None, *, int threads=1
    ):
        """Cross-entropy over the rows of `images` that `order` picks (None: all), on so many threads.

        Returns (rows, loss summed over them, rows whose largest logit is the label's); fewer rows than asked
        for only if `stop[0]` became non-zero.
        """
        cdef Packed packed = self._packed(parameters)
        cdef Pass p = self._learning_pass(images, labels, order, stop)
        p.work = EVALUATE
        p.batch_size = max(p.n, 1)
        p.packed = packed.buffer.data
        workspace.run(self, &p, threads)
        return p.done, p.tally.loss, p.tally.correct

    def gradients(self, parameters, images, labels, order, out, Workspace workspace not None, *, int threads=1):
        """Write the gradient of the mean cross-entropy over the picked rows to `out` (parameter_count,).

        Returns (loss summed over rows, correct rows), as `evaluate` does.
        """
        cdef Packed packed = self._packed(parameters)
        self._parameters("out", out, True)
        if packed is not parameters:
            _apart("out", out, "parameters", parameters)
        cdef Pass p = self._learning_pass(images, labels, order, None)
        cdef Packed gradients = Packed(self, None)
        p.work = GRADIENTS
        p.batch_size = max(p.n, 1)
        p.packed = packed.buffer.data
        p.update = Update(packed.buffer.data, NULL, gradients.buffer.data, 0, 0, False, False)
        workspace.run(self, &p, threads)
        gradients.unpack(out)
        return p.tally.loss, p.tally.correct

    def train(
        self, parameters, velocity, images, labels, order, Py_ssize_t batch_size, double learning_rate,
        double momentum, Workspace workspace not None, stop=None, *, int threads=1, double loss=0,
    ):
        """One pass over the rows that `order` (int64) picks, in that order: a step of SGD for each batch.

        `images` (n, inputs) are uint8, read as float32(byte / 255), or float32; `labels` (n,) uint8;
        `parameters` and `velocity` (None if momentum is 0) are changed in place, as `sgd` does, with the
        gradient of the batch's mean loss. The last batch has the rows that are left. `workspace` is made
        with `training=True`. The work is shared by so many `threads`, which changes no bit.

        Returns (finished batches, loss summed over their rows before each step, correct rows); the sum begins with
        `loss`, so that passes over parts of an epoch, of whole batches each, end with the bits of one over all of
        it. Another thread may set `stop[0]` (uint8): the pass ends after the slice that is under way, and without the
        batch of which it does not finish the last slice.
        """
        self._parameters("parameters", parameters, True)
        if velocity is not None:
            self._parameters("velocity", velocity, True)
            _apart("velocity", velocity, "parameters", parameters)
        elif momentum != 0:
            raise ValueError("momentum is not 0, but there is no velocity to keep it in")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        cdef Pass p = self._learning_pass(images, labels, order, stop)
        for name, changed in (("parameters", parameters), ("velocity", velocity)):
            if changed is not None:  # labels and order were checked: a step must not write into them
                _apart(name, changed, "images", images)
                _apart(name, changed, "labels", labels)
                _apart(name, changed, "order", order)
        cdef Packed weights = Packed(self, parameters), gradients = None, velocities = None
        p.work = TRAIN
        p.tally.loss = loss
        p.batch_size = min(batch_size, max(p.n, 1))
        p.packed = weights.buffer.data
        p.update = Update(weights.buffer.data, NULL, NULL, <float>learning_rate, <float>momentum, False, False)
        if velocity is not None:
            velocities = Packed(self, velocity)
            p.update.velocity = velocities.buffer.data
        if p.batch_size > workspace.rows:
            gradients = Packed(self, None)
            p.update.gradients = gradients.buffer.data
        workspace.run(self, &p, threads)
        weights.unpack(parameters)
        if velocity is not None:
            velocities.unpack(velocity)
        return (p.done + p.batch_size - 1) // p.batch_size, p.tally.loss, p.tally.correct

    cdef Packed _packed(self, parameters):
        if isinstance(parameters, Packed):
            if (<Packed>parameters).network is not self:
                raise ValueError("the parameters were packed for another network")
            return parameters
        self._parameters("parameters", parameters, False)
        return Packed(self, parameters)

    cdef _parameters(self, str name, value, bint writable):
        _contiguous(name, value, _FLOAT32, 1, writable)
        _same_shape(name, value, "the network", (self.parameter_count,))

    cdef Pass _pass(self, str name, images, order) except *:
        """A pass over the rows of `images` that `order` picks."""
        _contiguous(name, images, _ROWS, 2)
        _same_shape(name, images, "the network", (images.shape[0], self.inputs))
        cdef Pass p
        memset(&p, 0, sizeof(p))
        p.net = &self.net
        if images.dtype == np.uint8:
            p.rows.bytes = <const uint8_t*>address(images)
        else:
            p.rows.floats = <const float*>address(images)
        p.n = images.shape[0]
        if order is not None:
            _contiguous("order", order, _INT64, 1)
            if order.size and (int(order.min()) < 0 or int(order.max()) >= images.shape[0]):
                raise ValueError(f"order must hold row numbers from 0 to {images.shape[0] - 1}")
            p.rows.order = <const int64_t*>address(order)
            p.n = order.shape[0]
        return p

    cdef Pass _learning_pass(self, images, labels, order, stop) except *:
        cdef Pass p = self._pass("images", images, order)
        _labels(labels, images.shape[0], self.outputs)
        p.labels = <const uint8_t*>address(labels)
        if stop is not None:
            _contiguous("stop", stop, _UINT8, 1)
            if stop.size != 1:
                raise ValueError(f"stop must hold one flag, not {stop.size}")
            p.stop = <const uint8_t*>address(stop)
        return p


def _check_layer(index, kind, inputs, outputs, before):
    if kind not in KINDS:
        raise ValueError(f"layer {index} is {kind!r}; a layer is one of {', '.join(KINDS)}")
    if not (0 < inputs <= MAX_WIDTH and 0 < outputs <= MAX_WIDTH):
        raise ValueError(f"layer {index} is {inputs} by {outputs}: both must be from 1 to {MAX_WIDTH}")
    if kind != "linear" and inputs != outputs:
        raise ValueError(f"layer {index}, {kind}, has {inputs} inputs and {outputs} outputs: they must be equal")
    if inputs != before:
        raise ValueError(f"layer {index} has {inputs} inputs, but what comes before it has {before} outputs")


cdef class Packed:
    """A network's parameters in the layout that its passes read (dense.pxi), on cache lines; what they are is not seen.

    Raises `TypeError` and `ValueError` for what is no flat vector of the network, and `MemoryError`.
    """

    cdef readonly Network network
    cdef Buffer buffer

    def __init__(self, Network network not None, parameters):
        if self.buffer is not None:
            raise RuntimeError("parameters are packed once")  # others may be computing with them
        self.network = network
        if parameters is not None:
            network._parameters("parameters", parameters, False)
        self.buffer = Buffer(network.packed_floats)
        memset(self.buffer.data, 0, network.packed_floats * sizeof(float))
        if parameters is not None:
            self._move(<float*>address(parameters), False)

    @property
    def nbytes(self):
        """Bytes of memory."""
        return self.buffer.nbytes

    cdef unpack(self, parameters):
        self._move(<float*>address(parameters), True)

    cdef _move(self, float* flat, bint out):
        """Between the flat vector and the panels, row by row."""
        cdef int index
        cdef const Linear* layer
        cdef float* packed
        cdef Py_ssize_t column, i, width
        for index in range(self.network.net.linears):
            layer = &self.network.net.linear[index]
            for column from 0 <= column < layer.outputs by layer.panel:
                width = min(layer.panel, layer.outputs - column)
                packed = self.buffer.data + panel_start(layer, column)
                for i in range(layer.inputs):
                    _copy(packed + i * layer.panel, flat + layer.weight + i * layer.outputs + column, width, out)
            _copy(self.buffer.data + layer.packed_bias, flat + layer.bias, layer.outputs, out)


cdef inline void _copy(float* packed, float* flat, Py_ssize_t count, bint out) noexcept nogil:
    if out:
        memcpy(flat, packed, count * sizeof(float))
    else:
        memcpy(packed, flat, count * sizeof(float))


cdef class Workspace:
    """All memory that a network's passes need, for slices of `rows` rows; that of gradients only for training.

    One call at a time may use it; a second one raises `RuntimeError`. Raises `MemoryError` if there is not
    enough memory.
    """

    cdef readonly Network network
    cdef readonly Py_ssize_t rows
    cdef readonly bint training
    cdef readonly Py_ssize_t nbytes
    cdef Buffer buffer
    cdef Memory memory
    cdef readonly bint busy  # a call is using it

    def __init__(self, Network network not None, rows, *, bint training=False):
        if self.buffer is not None:
            raise RuntimeError("a workspace is made once")  # others may be computing in it
        if not 0 < rows <= LARGEST_SIDE:
            raise ValueError(f"rows must be from 1 to {LARGEST_SIDE}, not {rows}")
        self.network = network
        self.rows = rows
        self.training = training
        cdef Memory* memory = &self.memory
        memory.rows = rows
        memory.panel_rows = _panel_rows(rows)
        memory.span = _whole(rows, WORD)
        sizes = network._parts(rows, training)
        memory.sums_floats = sizes[11] // THREAD_LIMIT
        memory.block_floats = sizes[12] // THREAD_LIMIT
        self.buffer = Buffer(sum(sizes))
        self.nbytes = self.buffer.nbytes
        parts = [sum(sizes[:i]) for i in range(len(sizes))]
        memory.outputs = self._at(parts[0])
        memory.gradients_of_outputs = self._at(parts[1])
        memory.d_transposed[0] = self._at(parts[2])
        memory.d_transposed[1] = self._at(parts[3])
        memory.logits = self._at(parts[4])
        memory.scores = <Score*>self._at(parts[5])
        memory.x = self._at(parts[6])
        memory.x_transposed = self._at(parts[7])
        memory.row = <Row*>self._at(parts[8])
        memory.transposed = <uint8_t*>self._at(parts[9])
        memory.labels = <uint8_t*>self._at(parts[10])
        memory.sums = self._at(parts[11])
        memory.block = self._at(parts[12])

    cdef float* _at(self, Py_ssize_t floats):
        return self.buffer.data + floats

    cdef run(self, Network network, Pass* p, int threads):
        """Run a pass of `network` in this memory, unless it has no rows or is stopped before it begins."""
        if not 1 <= threads <= THREAD_LIMIT:
            raise ValueError(f"threads must be from 1 to {THREAD_LIMIT}, not {threads}")
        with self.used_by(network, p.work != EVALUATE):
            p.memory = &self.memory
            if p.n and not is_set(p.stop):
                p.sparse[0] = is_sparse(p, 0, rows_of_slice(p, 0))
                with nogil:
                    run_team(p, threads)

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
