# Networks: layers, their packed parameters, and the calls that compute with them.

from bisect import bisect_right

MAX_THREADS = THREAD_LIMIT
# Larger micro-batches would only push activations out of the second-level cache; very wide networks take fewer rows, so
# that a workspace of one thread stays within MICRO_BATCH_BYTES if one row does.
MICRO_BATCH_ROWS = 256
MICRO_BATCH_BYTES = 2**25
# In training, large batches are cut into micro-batches so small that D, the d_output of the first layer, fits into the
# first-level cache while d_weight reads it, up to NEAR_COLUMNS columns at a time. Each cut costs one more pass over the
# gradients: batches of fewer than CUT_BATCH_ROWS rows, and networks of more than CUT_PARAMETERS parameters, are not cut.
NEAR_ENTRIES = 8192  # floats of D: 32 KiB
NEAR_COLUMNS = 128
CUT_BATCH_ROWS = 192
CUT_PARAMETERS = 2**21
MAX_WIDTH = 2**24

KINDS = {"linear": LINEAR, "relu": RELU, "sigmoid": SIGMOID, "tanh": TANH}

cdef Variant _default = None  # of networks that name no variant


def use(Variant variant not None):
    """Make a variant the default."""
    global _default
    _default = variant


cdef class Network:
    """Layers `(kind, inputs, outputs)`, kind one of `linear`, `relu`, `sigmoid`, `tanh`.

    A linear layer computes x @ W + b. Its W (inputs, outputs), row-major, and b (outputs,) follow one another
    in a flat float32 vector of `parameter_count`, layer after layer; `slices` tells where. A network is
    immutable and may be used from many threads, each with its own `Workspace`.

    Raises `ValueError` for a layer that does not exist or does not fit the one before it.
    """

    cdef Net net
    cdef const Kernels* table
    cdef Variant variant  # keeps the table
    cdef readonly tuple layers
    cdef readonly tuple slices
    cdef readonly Py_ssize_t inputs
    cdef readonly Py_ssize_t outputs
    cdef readonly Py_ssize_t parameter_count
    cdef readonly Py_ssize_t micro_batch_rows  # best number of rows of a workspace; for training see `training_rows`

    def __cinit__(self, layers, *, Variant variant=None):
        self.variant = variant or _default
        self.table = self.variant.table
        self.layers = tuple((str(kind), int(inputs), int(outputs)) for kind, inputs, outputs in layers)
        _check_layers(self.layers)
        self.inputs = self.net.inputs = self.layers[0][1]
        self.outputs = self.net.outputs = self.layers[len(self.layers) - 1][2]
        self.net.ld = self._padded_ld(self.inputs)
        slices = []
        cdef int activations = 0
        previous = None
        for kind, inputs, outputs in self.layers:
            if kind == "linear":
                self._add_linear(inputs, outputs, activations)
                slices.append((self._last().weight, (inputs, outputs), self._last().bias))
            else:
                self._add_activation(KINDS[kind], outputs, activations, previous in (None, "linear"))
                activations += 1
            previous = kind
        self.slices = tuple(slices)
        fitting = bisect_right(range(1, MICRO_BATCH_ROWS + 1), MICRO_BATCH_BYTES, key=self._training_bytes)
        self.micro_batch_rows = max(1, fitting)

    def training_rows(self, Py_ssize_t batch_size):
        """Best number of rows of a workspace that trains on batches of this size. It changes no bit of the results."""
        cuts = batch_size >= CUT_BATCH_ROWS and self.parameter_count <= CUT_PARAMETERS
        near = NEAR_ENTRIES // min(self.net.linear[0].padded, <Py_ssize_t>NEAR_COLUMNS) // K_BLOCK * K_BLOCK  # a mask covers K_BLOCK rows
        return min(near if cuts else batch_size, batch_size, self.micro_batch_rows)

    def _training_bytes(self, Py_ssize_t rows):
        cdef Buffers buffers
        shared = _lay_out(&buffers, &self.net, self.table, rows, True, NULL)
        _lay_out_own(&buffers, &self.net, self.table, True)
        return 4 * (shared + buffers.own_floats)

    cdef Py_ssize_t _padded_ld(self, Py_ssize_t width):
        """Leading dimension: whole vectors, and no multiple of 1 KiB, or rows would share a few sets of a cache."""
        cdef Py_ssize_t whole = _whole(width, self.table.lanes)
        return whole + self.table.lanes if whole % 256 == 0 else whole

    cdef Linear* _last(self):
        return &self.net.linear[self.net.linears - 1]

    cdef _add_activation(self, LayerKind kind, Py_ssize_t width, int index, bint in_place):
        if not in_place:
            self.net.activation_floats += self._padded_ld(width)
        self.net.activation[index] = kind
        self.net.activation_at[index] = self.net.activation_floats - self._padded_ld(width)
        if self.net.linears:
            self._last().end_activation = index + 1
        else:
            self.net.activation_floats = 0  # those before the first linear layer work on the rows themselves

    cdef bint _behind_relu(self, int activations):
        """Whether a linear layer added after so many activations reads the output of relu."""
        previous = &self.net.linear[self.net.linears - 2]
        return activations > previous.activation and self.net.activation[activations - 1] == RELU

    cdef _add_linear(self, Py_ssize_t inputs, Py_ssize_t outputs, int activations):
        cdef Linear* layer = &self.net.linear[self.net.linears]
        cdef Linear* before
        cdef bint behind_relu
        self.net.linears += 1
        layer.inputs = inputs
        layer.outputs = outputs
        layer.padded = _whole(outputs, self.table.lanes)
        layer.half = inputs
        if self.net.linears == 1 and inputs >= 2 * K_BLOCK:
            layer.half = inputs // 2 // K_BLOCK * K_BLOCK
        layer.sparse = inputs <= MAX_K_BLOCKS * K_BLOCK and activations == 0
        if self.net.linears > 1:
            behind_relu = self._behind_relu(activations)
            layer.sparse = inputs <= MAX_K_BLOCKS * K_BLOCK and layer.padded >= SPARSE_OUTPUTS and behind_relu
            before = &self.net.linear[self.net.linears - 2]
            before.sparse_gradient = self.net.linears > 2 and before.sparse and behind_relu
        layer.panel = min(layer.padded, <Py_ssize_t>(2 * self.table.lanes))
        layer.ld = self._padded_ld(outputs)
        layer.weight = self.parameter_count
        layer.bias = layer.weight + inputs * outputs
        self.parameter_count = layer.bias + outputs
        layer.packed_weight = self.net.packed_floats
        layer.packed_bias = layer.packed_weight + _whole(layer.padded, layer.panel) * inputs
        self.net.packed_floats = layer.packed_bias + layer.padded
        layer.output_at = self.net.activation_floats
        self.net.activation_floats += layer.ld
        layer.activation = layer.end_activation = activations
        if self.net.linears > 1:
            self.net.widest_output = max(self.net.widest_output, outputs)
            layer.transposed_at = self.net.later_sparse
            self.net.later_sparse += _whole(inputs, self.table.lanes) if layer.sparse else 0
        else:
            self.net.sparse_inputs = inputs if layer.sparse else 0

    def pack(self, parameters):
        """`parameters` as the kernels read them, for calls that else pack them each time."""
        return Packed(self, parameters)

    def forward(self, parameters, inputs, out, Workspace workspace not None, Workspace second=None):
        """Write the network's outputs for `inputs` (n, inputs) to `out` (n, outputs); returns `out`.

        `parameters` are the flat vector, or what `pack` made of it. `inputs` are float32, or uint8 that count
        as float32(byte / 255). A row's bits depend on that row alone, if all is finite. With a `second`
        workspace, a parked thread computes a part of any pass that takes long enough, unless it is busy with another.
        """
        cdef Packed packed = self._packed(parameters)
        cdef Job job = self._job("inputs", inputs, None)
        _contiguous("out", out, _FLOAT32, 2, True)
        _same_shape("out", out, "the network's output", (job.n, self.outputs))
        _apart("out", out, "inputs", inputs)
        if packed is not parameters:
            _apart("out", out, "parameters", parameters)
        cdef float* to = <float*>address(out)
        cdef float_mode mode
        if second is not None:
            self._forward_shared(packed, &job, to, workspace, second)
            return out
        with workspace.used_by(self, False):
            job.packed = packed.buffer.data
            job.workspace = &workspace.buffers
            mode = enter_float_mode(FLUSH_SUBNORMALS)
            if <double>job.n * self.parameter_count < NOGIL_PRODUCTS:
                self.table.forward(&job, to)
            else:
                with nogil:
                    self.table.forward(&job, to)
            restore_float_mode(mode)
        return out

    cdef _forward_shared(self, Packed packed, Job* job, float* to, Workspace workspace, Workspace second):
        cdef float_mode mode
        with workspace.used_by(self, False), second.used_by(self, False):
            job.packed = packed.buffer.data
            job.workspace = &workspace.buffers
            with nogil:
                mode = enter_float_mode(FLUSH_SUBNORMALS)
                self.table.forward_shared(job, to, &second.buffers)
                restore_float_mode(mode)

    def evaluate(
        self, parameters, images, labels, order, Workspace workspace not None, stop=None, *, int threads=1
    ):
        """Cross-entropy over the rows of `images` that `order` picks (None: all), on so many threads.

        Returns (rows, loss summed over them, rows whose largest logit is the label's). There are fewer rows than
        were picked only if `stop[0]` became non-zero. Raises `ValueError` also if labels or order change meanwhile.
        """
        cdef Packed packed = self._packed(parameters)
        cdef Job job = self._labelled_job(images, labels, order, stop)
        job.task = EVALUATE
        job.batch_size = max(job.n, 1)
        job.packed = packed.buffer.data
        workspace.run(self, &job, threads)
        return job.done, job.metrics.loss, job.metrics.correct

    def gradients(self, parameters, images, labels, order, out, Workspace workspace not None, *, int threads=1):
        """Write the gradient of the mean cross-entropy over the picked rows to `out` (parameter_count,).

        Returns (loss summed over rows, correct rows), as `evaluate` does.
        """
        cdef Packed packed = self._packed(parameters)
        self._parameters("out", out, True)
        if packed is not parameters:
            _apart("out", out, "parameters", parameters)
        cdef Job job = self._labelled_job(images, labels, order, None)
        cdef Packed gradients = Packed(self, None)
        job.task = GRADIENTS
        job.batch_size = max(job.n, 1)
        job.packed = packed.buffer.data
        job.update.gradients = gradients.buffer.data
        workspace.run(self, &job, threads)
        gradients.unpack(out)
        return job.metrics.loss, job.metrics.correct

    def train(
        self, parameters, dict state not None, batches, steps, Workspace workspace not None, stop=None, *, int threads=1,
        double loss=0,
    ):
        """One step of the optimizer for each batch: `Batches` and `Steps`, in that order.

        `parameters` and the arrays of `state`, flat float32 by the names of `optimizer.state`, are changed in place, with
        the gradient of the batch's mean loss. `workspace` is made with `training=True`. `threads` changes no bit.

        Returns (finished batches, loss summed over their rows before each step, correct rows). The sum begins with
        `loss`: an epoch cut into several calls, of whole batches each, gives the bits of one call for all of it.
        Another thread may set `stop[0]` (uint8): the call ends after the current micro-batch, and a batch that is
        incomplete then changes nothing and is not counted.
        """
        cdef Job job = self._training_job(parameters, state, batches, steps, stop)
        cdef Optimizer optimizer = steps.optimizer
        cdef Packed weights = Packed(self, parameters), gradients = None
        cdef Draws draws
        job.metrics.loss = loss
        job.packed = weights.buffer.data
        if steps.noise is not None:
            _set_draws(&draws, self, batches, steps, workspace)
            job.draws = &draws
        job.update = optimizer.update()
        job.update.weights = weights.buffer.data
        packed = [Packed(self, state[name]) for name in optimizer.state]
        for name, array in zip(optimizer.state, packed, strict=True):
            job.update.state[STATE_SLOTS[name]] = (<Packed>array).buffer.data
        if job.batch_size > workspace.rows:
            gradients = Packed(self, None)
            job.update.gradients = gradients.buffer.data
        workspace.run(self, &job, threads)
        weights.unpack(parameters)
        for name, array in zip(optimizer.state, packed, strict=True):
            (<Packed>array).unpack(state[name])
        return (job.done + job.batch_size - 1) // job.batch_size, job.metrics.loss, job.metrics.correct

    cdef Job _training_job(self, parameters, dict state, batches, steps, stop) except *:
        """A job on all batches, validated; what it changes is still to be set."""
        self._parameters("parameters", parameters, True)
        if not isinstance(steps.optimizer, Optimizer):
            raise TypeError(f"optimizer must be an Optimizer, not {type(steps.optimizer).__name__}")
        (<Optimizer>steps.optimizer).check_state(state, parameters)
        if not 0 <= steps.smoothing < 1:
            raise ValueError(f"smoothing must be from 0 to below 1, not {steps.smoothing}")
        if steps.first_step < 0:
            raise ValueError(f"first_step must be at least 0, not {steps.first_step}")
        if batches.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batches.batch_size}")
        cdef Job job = self._labelled_job(batches.images, batches.labels, batches.order, stop)
        _contiguous("learning_rates", steps.learning_rates, _FLOAT32, 1)
        job.task = TRAIN
        job.batch_size = min(<Py_ssize_t>batches.batch_size, max(job.n, 1))
        count = (job.n + job.batch_size - 1) // job.batch_size
        _same_shape("learning_rates", steps.learning_rates, "the batches", (count,))
        for name, changed in {"parameters": parameters, **state}.items():  # what was validated must stay as it is
            for other_name, other in (
                ("images", batches.images), ("labels", batches.labels), ("order", batches.order),
                ("learning_rates", steps.learning_rates),
            ):
                _apart(name, changed, other_name, other)
        job.learning_rates = <const float*>address(steps.learning_rates)
        job.first_step = steps.first_step
        job.smoothing = <float><double>steps.smoothing
        return job

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

    cdef Job _job(self, str name, images, order) except *:
        """A job on the rows of `images` that `order` picks."""
        _contiguous(name, images, _ROWS, 2)
        _same_shape(name, images, "the network", (images.shape[0], self.inputs))
        cdef Job job
        memset(&job, 0, sizeof(job))
        job.net = &self.net
        if images.dtype == np.uint8:
            job.rows.bytes = <const uint8_t*>address(images)
        else:
            job.rows.floats = <const float*>address(images)
        job.n = job.rows.images = images.shape[0]
        if order is not None:
            _check_order(order, images.shape[0])
            job.rows.order = <const int64_t*>address(order)
            job.n = order.shape[0]
        return job

    cdef Job _labelled_job(self, images, labels, order, stop) except *:
        cdef Job job = self._job("images", images, order)
        _labels(labels, images.shape[0], self.outputs)
        job.labels = <const uint8_t*>address(labels)
        if stop is not None:
            _contiguous("stop", stop, _UINT8, 1)
            if stop.size != 1:
                raise ValueError(f"stop must hold one flag, not {stop.size}")
            job.stop = <const uint8_t*>address(stop)
        return job


cdef _set_draws(Draws* draws, Network network, batches, steps, Workspace workspace):
    """What is drawn in these steps, and where it goes."""
    cdef Noise noise = steps.noise
    noise.check(network, batches.images)
    draws[0] = noise.draws
    draws.epoch = steps.epoch
    workspace.lend_drawn(draws, noise.draws_rows)


cdef _check_layers(tuple layers):
    if not 0 < len(layers) <= MAX_LAYERS:
        raise ValueError(f"a network has 1 to {MAX_LAYERS} layers, not {len(layers)}")
    before = layers[0][1]
    for index, (kind, inputs, outputs) in enumerate(layers):
        _check_layer(index, kind, inputs, outputs, before)
        before = outputs
    if all(kind != "linear" for kind, _, _ in layers):
        raise ValueError("a network needs at least one linear layer")


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
    """A network's parameters in the layout that the kernels read (layers/linear.pxi). Opaque.

    Raises `TypeError` and `ValueError` for anything but a flat vector of the network, and `MemoryError`.
    """

    cdef readonly Network network
    cdef Buffer buffer

    def __cinit__(self, Network network not None, parameters):
        self.network = network
        if parameters is not None:
            network._parameters("parameters", parameters, False)
        self.buffer = Buffer(network.net.packed_floats)
        memset(self.buffer.data, 0, network.net.packed_floats * sizeof(float))
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
                packed = self.buffer.data + layer.packed_weight + column * layer.inputs  # `column` is a multiple of panel
                for i in range(layer.inputs):
                    _copy(packed + i * layer.panel, flat + layer.weight + i * layer.outputs + column, width, out)
            _copy(self.buffer.data + layer.packed_bias, flat + layer.bias, layer.outputs, out)


cdef inline void _copy(float* packed, float* flat, Py_ssize_t count, bint out) noexcept nogil:
    if out:
        memcpy(flat, packed, count * sizeof(float))
    else:
        memcpy(packed, flat, count * sizeof(float))
