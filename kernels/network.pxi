# A feed-forward network over one flat parameter vector: whole forward passes and whole epochs of training
# without returning to Python, and without allocating.
#
# A batch goes through in slices of as many rows as the workspace holds:
#
#   images[order] --load_rows--> x --forward_slice--> activations --cross_entropy--> d --backward_slice--> gradients
#
# and after its last slice sgd_step updates the parameters. Gradients are summed over the rows of a batch from
# first to last, also across slices (gemm.pxi), so the size of the workspace changes no bit.

cdef extern from *:
    """
    /* The stop flag is set by another thread: each look at it must be a read of memory. */
    static inline int is_set(const uint8_t *flag) { return flag && *(volatile const uint8_t *)flag; }
    """
    bint is_set(const uint8_t* flag) noexcept nogil

# More rows than these in one slice would only push the activations out of the second-level cache; and a very
# wide network takes fewer at once, so that a workspace stays within these bytes where one row does.
SLICE_ROWS = 256
SLICE_BYTES = 2**25
MAX_WIDTH = 2**24

cdef enum Kind:
    LINEAR
    RELU
    SIGMOID
    TANH

KINDS = {"linear": LINEAR, "relu": RELU, "sigmoid": SIGMOID, "tanh": TANH}

cdef enum:
    LAYERS = 64
    WORTH_A_SWITCH = 1_000_000  # multiplications, some 50 us: for less, giving up the GIL costs more than it frees


cdef struct Layer:
    Kind kind
    Py_ssize_t inputs
    Py_ssize_t outputs
    Py_ssize_t weight  # where W (inputs, outputs) and b (outputs) begin in the parameters
    Py_ssize_t bias
    bint in_place  # an activation right after a linear layer overwrites its output, which nothing else needs
    Py_ssize_t output_at  # floats before this layer's output, for each row of a workspace


cdef struct Rows:
    # Images (n, inputs), uint8 or float32, one of them NULL; `order` picks rows, NULL for all as they are.
    const uint8_t* bytes
    const float* floats
    const int64_t* order
    Py_ssize_t inputs


cdef void load_rows(const Rows* rows, Py_ssize_t first, Py_ssize_t count, float* x) noexcept nogil:
    """x (count, inputs) = the picked rows; bytes become float32(byte / 255), correctly rounded."""
    cdef Py_ssize_t i, j, row
    cdef const uint8_t* source
    for i in range(count):
        row = first + i if rows.order == NULL else rows.order[first + i]
        if rows.bytes != NULL:
            source = rows.bytes + row * rows.inputs
            for j in range(rows.inputs):
                x[i * rows.inputs + j] = PIXEL[source[j]]
        else:
            memcpy(x + i * rows.inputs, rows.floats + row * rows.inputs, rows.inputs * sizeof(float))


cdef class Network:
    """Layers `(kind, inputs, outputs)`, kind one of `linear`, `relu`, `sigmoid`, `tanh`.

    A linear layer computes x @ W + b. Its W (inputs, outputs), row-major, and b (outputs,) follow one another
    in a flat float32 vector of `parameter_count`, layer after layer; `slices` tells where. A network is
    immutable and may be used from many threads, each with its own `Workspace`.

    Raises `ValueError` for a layer that does not exist or does not fit the one before it.
    """

    cdef Layer layer[LAYERS]
    cdef Py_ssize_t count
    cdef Py_ssize_t activation_width  # floats for each row, all outputs that are kept
    cdef Py_ssize_t widest
    cdef int first_linear
    cdef readonly tuple layers
    cdef readonly tuple slices
    cdef readonly Py_ssize_t inputs
    cdef readonly Py_ssize_t outputs
    cdef readonly Py_ssize_t parameter_count
    cdef readonly Py_ssize_t slice_rows  # what a workspace best has room for

    def __init__(self, layers):
        if self.count:
            raise RuntimeError("a network is made once")  # others may be computing with it
        self.layers = tuple((str(kind), int(inputs), int(outputs)) for kind, inputs, outputs in layers)
        if not 0 < len(self.layers) <= LAYERS:
            raise ValueError(f"a network has 1 to {LAYERS} layers, not {len(self.layers)}")
        self.count = len(self.layers)
        self.first_linear = -1
        slices = []
        cdef Py_ssize_t index
        cdef Layer* layer
        before = self.layers[0][1]
        for index, (kind, inputs, outputs) in enumerate(self.layers):
            _check_layer(index, kind, inputs, outputs, before)
            before = outputs
            layer = &self.layer[index]
            layer.kind = KINDS[kind]
            layer.inputs = inputs
            layer.outputs = outputs
            layer.in_place = layer.kind != LINEAR and index > 0 and self.layer[index - 1].kind == LINEAR
            if layer.in_place:
                layer.output_at = self.layer[index - 1].output_at
            else:
                layer.output_at = self.activation_width
                self.activation_width += layer.outputs
            self.widest = max(self.widest, layer.inputs, layer.outputs)
            if layer.kind == LINEAR:
                if self.first_linear < 0:
                    self.first_linear = index
                layer.weight = self.parameter_count
                layer.bias = layer.weight + layer.inputs * layer.outputs
                self.parameter_count = layer.bias + layer.outputs
                slices.append((layer.weight, (inputs, outputs), layer.bias))
        if self.first_linear < 0:
            raise ValueError("a network needs at least one linear layer")
        self.slices = tuple(slices)
        self.inputs = self.layer[0].inputs
        self.outputs = self.layer[self.count - 1].outputs
        row_bytes = 4 * (2 * self.inputs + self.activation_width + 2 * self.widest)
        self.slice_rows = max(1, min(SLICE_ROWS, SLICE_BYTES // row_bytes))

    def forward(self, parameters, inputs, out, Workspace workspace not None):
        """Write the network's outputs for `inputs` (n, inputs) to `out` (n, outputs); returns `out`.

        `inputs` are float32, or uint8 that count as float32(byte / 255). A row's bits depend on that row alone.
        """
        self._parameters("parameters", parameters, False)
        cdef Rows rows = self._rows("inputs", inputs, None)
        cdef Py_ssize_t n = inputs.shape[0]
        _contiguous("out", out, _FLOAT32, 2, True)
        _same_shape("out", out, "the network's output", (n, self.outputs))
        _apart("out", out, "inputs", inputs)
        _apart("out", out, "parameters", parameters)
        cdef const float* w = <const float*>address(parameters)
        cdef float* to = <float*>address(out)
        with workspace.used_by(self, False):
            if n * self.parameter_count < WORTH_A_SWITCH:
                self.forward_rows(w, &rows, n, to, workspace)
            else:
                with nogil:
                    self.forward_rows(w, &rows, n, to, workspace)
        return out

    def evaluate(self, parameters, images, labels, order, Workspace workspace not None, stop=None):
        """Cross-entropy over the rows of `images` that `order` picks (None: all).

        Returns (rows, loss summed over them, rows whose largest logit is the label's); fewer rows than asked
        for only if `stop[0]` became non-zero.
        """
        self._parameters("parameters", parameters, False)
        cdef Rows rows = self._rows("images", images, order)
        cdef Py_ssize_t n = len(images if order is None else order)
        _labels(labels, images.shape[0], self.outputs)
        cdef const float* w = <const float*>address(parameters)
        cdef const uint8_t* classes = <const uint8_t*>address(labels)
        cdef const uint8_t* flag = _stop_flag(stop)
        cdef Tally tally = Tally(0, 0)
        cdef Py_ssize_t first = 0, count
        with workspace.used_by(self, False), nogil:
            while first < n and not is_set(flag):
                count = min(n - first, workspace.rows)
                self.loss_slice(w, &rows, classes, first, count, 1, workspace, &tally)
                first += count
        return first, tally.loss, tally.correct

    def gradients(self, parameters, images, labels, order, out, Workspace workspace not None):
        """Write the gradient of the mean cross-entropy over the picked rows to `out` (parameter_count,).

        Returns (loss summed over rows, correct rows), as `evaluate` does.
        """
        self._parameters("parameters", parameters, False)
        self._parameters("out", out, True)
        _apart("out", out, "parameters", parameters)
        cdef Rows rows = self._rows("images", images, order)
        cdef Py_ssize_t n = len(images if order is None else order)
        _labels(labels, images.shape[0], self.outputs)
        cdef const float* w = <const float*>address(parameters)
        cdef const uint8_t* classes = <const uint8_t*>address(labels)
        cdef float* to = <float*>address(out)
        cdef Tally tally = Tally(0, 0)
        with workspace.used_by(self, True), nogil:
            self.batch_gradients(w, &rows, classes, 0, n, workspace, &tally, NULL, NULL, 0)
            memcpy(to, workspace.gradients, self.parameter_count * sizeof(float))
        return tally.loss, tally.correct

    def train(
        self, parameters, velocity, images, labels, order, Py_ssize_t batch_size, double learning_rate,
        double momentum, Workspace workspace not None, stop=None,
    ):
        """One pass over the rows that `order` (int64) picks, in that order: a step of SGD for each batch.

        `images` (n, inputs) are uint8, read as float32(byte / 255), or float32; `labels` (n,) uint8;
        `parameters` and `velocity` (None if momentum is 0) are changed in place, as `sgd` does, with the
        gradient of the batch's mean loss. The last batch has the rows that are left. `workspace` is made
        with `training=True`.

        Returns (finished batches, loss summed over their rows before each step, correct rows). Another
        thread may set `stop[0]` (uint8): the pass ends before the next slice, without the batch under way.
        """
        self._parameters("parameters", parameters, True)
        if velocity is not None:
            self._parameters("velocity", velocity, True)
            _apart("velocity", velocity, "parameters", parameters)
        elif momentum != 0:
            raise ValueError("momentum is not 0, but there is no velocity to keep it in")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        cdef Rows rows = self._rows("images", images, order)
        cdef Py_ssize_t n = len(images if order is None else order)
        _labels(labels, images.shape[0], self.outputs)
        for name, changed in (("parameters", parameters), ("velocity", velocity)):
            if changed is not None:  # labels and order were checked: a step must not write into them
                _apart(name, changed, "images", images)
                _apart(name, changed, "labels", labels)
                _apart(name, changed, "order", order)
        cdef float* w = <float*>address(parameters)
        cdef float* v = NULL if velocity is None else <float*>address(velocity)
        cdef const uint8_t* classes = <const uint8_t*>address(labels)
        cdef const uint8_t* flag = _stop_flag(stop)
        cdef Tally tally = Tally(0, 0), batch_tally
        cdef Py_ssize_t first = 0, count, batches = 0, updated
        with workspace.used_by(self, True), nogil:
            while first < n:
                count = min(n - first, batch_size)
                batch_tally = Tally(0, 0)
                updated = self.batch_gradients(
                    w, &rows, classes, first, count, workspace, &batch_tally, flag,
                    w if v == NULL and count <= workspace.rows else NULL, <float>learning_rate,
                )
                if updated < 0:
                    break
                sgd_step(
                    self.parameter_count - updated, w + updated, workspace.gradients + updated, v,
                    <float>learning_rate, <float>momentum,
                )
                tally.loss += batch_tally.loss
                tally.correct += batch_tally.correct
                first += count
                batches += 1
        return batches, tally.loss, tally.correct

    cdef Py_ssize_t batch_gradients(
        self, const float* w, const Rows* rows, const uint8_t* classes, Py_ssize_t first, Py_ssize_t n,
        Workspace workspace, Tally* tally, const uint8_t* stop, float* update, float learning_rate,
    ) noexcept nogil:
        """workspace.gradients = those of the mean loss of a batch.

        A batch of one slice may be given the parameters as `update`: those of the first layer's weights then
        take their step of SGD here, and their gradients are not kept. Returns how many parameters, from the
        first one on, did; -1 if stopped on the way.
        """
        cdef Py_ssize_t done = 0, count, updated = 0
        if n == 0:
            memset(workspace.gradients, 0, self.parameter_count * sizeof(float))
        while done < n:
            if is_set(stop):
                return -1
            count = min(n - done, workspace.rows)
            self.loss_slice(w, rows, classes, first + done, count, <float>1.0 / n, workspace, tally)
            updated = self.backward_slice(w, count, workspace, 0 if done == 0 else 1, update, learning_rate)
            done += count
        return updated

    cdef void forward_rows(
        self, const float* w, const Rows* rows, Py_ssize_t n, float* to, Workspace workspace
    ) noexcept nogil:
        cdef Py_ssize_t first = 0, count
        while first < n:
            count = min(n - first, workspace.rows)
            memcpy(
                to + first * self.outputs,
                self.forward_slice(w, rows, first, count, workspace),
                count * self.outputs * sizeof(float),
            )
            first += count

    cdef const float* forward_slice(
        self, const float* w, const Rows* rows, Py_ssize_t first, Py_ssize_t count, Workspace workspace
    ) noexcept nogil:
        """The last layer's output (count, outputs), in the workspace."""
        cdef Py_ssize_t index
        cdef const Layer* layer
        cdef const float* x = workspace.x
        cdef float* y
        if self.layer[0].kind == LINEAR and workspace.load_entries(rows, first, count):
            x = NULL
        elif rows.floats != NULL and rows.order == NULL:
            x = rows.floats + first * rows.inputs  # already what the first layer reads
        else:
            load_rows(rows, first, count, workspace.x)
        workspace.loaded = x
        for index in range(self.count):
            layer = &self.layer[index]
            y = workspace.activations + layer.output_at * workspace.rows
            if layer.kind == LINEAR and x == NULL:
                sparse_gemm(
                    count, layer.outputs, workspace.starts, workspace.entries, w + layer.weight, 0, y
                )
                add_bias_rows(count, layer.outputs, w + layer.bias, y)
            elif layer.kind == LINEAR:
                sgemm(
                    count, layer.outputs, layer.inputs, 1, x, layer.inputs, 1,
                    w + layer.weight, layer.outputs, 1, 0, y, layer.outputs, 1, workspace.packing,
                )
                add_bias_rows(count, layer.outputs, w + layer.bias, y)
            elif layer.kind == RELU:
                relu_forward(count * layer.outputs, x, y)
            elif layer.kind == SIGMOID:
                sigmoid_forward(count * layer.outputs, x, y)
            else:
                tanh_forward(count * layer.outputs, x, y)
            x = y
        return x

    cdef void loss_slice(
        self, const float* w, const Rows* rows, const uint8_t* classes, Py_ssize_t first, Py_ssize_t count,
        float scale, Workspace workspace, Tally* tally,
    ) noexcept nogil:
        """Forward pass and loss; workspace.d = scale * (softmax - onehot)."""
        cdef Py_ssize_t i
        for i in range(count):
            workspace.classes[i] = classes[first + i if rows.order == NULL else rows.order[first + i]]
        cross_entropy(
            count, self.outputs, self.forward_slice(w, rows, first, count, workspace), workspace.classes,
            scale, workspace.d, tally,
        )

    cdef Py_ssize_t backward_slice(
        self, const float* w, Py_ssize_t count, Workspace workspace, float beta, float* update, float learning_rate
    ) noexcept nogil:
        """workspace.gradients = beta * workspace.gradients + those of the slice that was last computed.

        `update` and the answer are those of `batch_gradients`.
        """
        cdef Py_ssize_t index, updated = 0
        cdef const Layer* layer
        cdef const float* x
        cdef const float* y
        cdef float* d = workspace.d
        cdef float* spare = workspace.spare
        cdef float* gradients = workspace.gradients
        for index in range(self.count - 1, self.first_linear - 1, -1):
            layer = &self.layer[index]
            y = workspace.activations + layer.output_at * workspace.rows
            if layer.kind == LINEAR:
                x = workspace.loaded
                if index > 0:
                    x = workspace.activations + self.layer[index - 1].output_at * workspace.rows
                if x == NULL:
                    transpose(
                        count, layer.inputs, workspace.starts, workspace.entries,
                        workspace.transposed_starts, workspace.transposed,
                    )
                    if update != NULL:
                        sparse_update(
                            layer.inputs, layer.outputs, workspace.transposed_starts, workspace.transposed, d,
                            learning_rate, update + layer.weight,
                        )
                        updated = layer.bias
                    else:
                        sparse_gemm(
                            layer.inputs, layer.outputs, workspace.transposed_starts, workspace.transposed, d,
                            beta, gradients + layer.weight,
                        )
                else:
                    sgemm(
                        layer.inputs, layer.outputs, count, 1, x, 1, layer.inputs, d, layer.outputs, 1,
                        beta, gradients + layer.weight, layer.outputs, 1, workspace.packing,
                    )
                if beta == 0:
                    memset(gradients + layer.bias, 0, layer.outputs * sizeof(float))
                bias_gradient(count, layer.outputs, d, gradients + layer.bias)
                if index > self.first_linear:
                    sgemm(
                        count, layer.inputs, layer.outputs, 1, d, layer.outputs, 1,
                        w + layer.weight, 1, layer.outputs, 0, spare, layer.inputs, 1, workspace.packing,
                    )
                    d, spare = spare, d
            elif layer.kind == RELU:
                relu_backward_of(count * layer.outputs, y, d, d)
            elif layer.kind == SIGMOID:
                sigmoid_backward_of(count * layer.outputs, y, d, d)
            else:
                tanh_backward_of(count * layer.outputs, y, d, d)
        return updated

    cdef _parameters(self, str name, value, bint writable):
        _contiguous(name, value, _FLOAT32, 1, writable)
        _same_shape(name, value, "the network", (self.parameter_count,))

    cdef Rows _rows(self, str name, images, order) except *:
        _contiguous(name, images, _ROWS, 2)
        _same_shape(name, images, "the network", (images.shape[0], self.inputs))
        cdef Rows rows = Rows(NULL, NULL, NULL, self.inputs)
        if images.dtype == np.uint8:
            rows.bytes = <const uint8_t*>address(images)
        else:
            rows.floats = <const float*>address(images)
        if order is not None:
            _contiguous("order", order, _INT64, 1)
            if order.size and (int(order.min()) < 0 or int(order.max()) >= images.shape[0]):
                raise ValueError(f"order must hold row numbers from 0 to {images.shape[0] - 1}")
            rows.order = <const int64_t*>address(order)
        return rows


def _check_layer(index, kind, inputs, outputs, before):
    if kind not in KINDS:
        raise ValueError(f"layer {index} is {kind!r}; a layer is one of {', '.join(KINDS)}")
    if not (0 < inputs <= MAX_WIDTH and 0 < outputs <= MAX_WIDTH):
        raise ValueError(f"layer {index} is {inputs} by {outputs}: both must be from 1 to {MAX_WIDTH}")
    if kind != "linear" and inputs != outputs:
        raise ValueError(f"layer {index}, {kind}, has {inputs} inputs and {outputs} outputs: they must be equal")
    if inputs != before:
        raise ValueError(f"layer {index} has {inputs} inputs, but what comes before it has {before} outputs")


cdef const uint8_t* _stop_flag(stop) except? NULL:
    if stop is None:
        return NULL
    _contiguous("stop", stop, _UINT8, 1)
    if stop.size != 1:
        raise ValueError(f"stop must hold one flag, not {stop.size}")
    return <const uint8_t*>address(stop)


cdef class Workspace:
    """All memory that a network's passes need, for slices of `rows` rows; gradients only for training.

    One call at a time may use it; a second one raises `RuntimeError`. Raises `MemoryError` if there is not
    enough memory.
    """

    cdef readonly Network network
    cdef readonly Py_ssize_t rows
    cdef readonly bint training
    cdef readonly Py_ssize_t nbytes
    cdef Buffer buffer
    cdef bint busy
    cdef float* x  # (rows, inputs)
    cdef const float* loaded  # x, or the caller's own rows, or NULL if the slice is in `entries`
    cdef Entry* entries  # the slice's non-zero inputs, row i from starts[i] to starts[i+1]
    cdef Py_ssize_t* starts
    cdef Entry* transposed
    cdef Py_ssize_t* transposed_starts
    cdef float* activations
    cdef float* d  # (rows, widest), as is spare
    cdef float* spare
    cdef float* packing
    cdef float* gradients  # (parameter_count,)
    cdef uint8_t* classes  # (rows,)

    def __init__(self, Network network not None, Py_ssize_t rows, *, bint training=False):
        if self.buffer is not None:
            raise RuntimeError("a workspace is made once")  # others may be computing in it
        if not 0 < rows <= LARGEST_SIDE:
            raise ValueError(f"rows must be from 1 to {LARGEST_SIDE}, not {rows}")
        self.network = network
        self.rows = rows
        self.training = training
        cdef Py_ssize_t packing = 0, inputs, outputs
        for _, inputs, outputs in network.layers:
            packing = max(packing, packing_floats(outputs, inputs))
            if training:
                packing = max(packing, packing_floats(outputs, rows), packing_floats(inputs, outputs))
        cdef Py_ssize_t widest = network.widest if training else network.outputs
        # All that `load_entries` may write before it gives up.
        cdef Py_ssize_t entries = (rows + 8) * network.inputs * SPARSE_PERCENT // 100 + network.inputs + 8
        lines = [  # each part begins on a cache line of its own
            (floats + 15) // 16
            for floats in (
                rows * network.inputs,
                rows * network.activation_width,
                rows * widest,
                rows * widest if training else 0,
                packing,
                network.parameter_count if training else 0,
                (rows + 3) // 4,
                2 * entries,
                2 * (rows + 1),
                2 * entries if training else 0,
                2 * (network.inputs + 2) if training else 0,
            )
        ]
        self.buffer = Buffer(16 * sum(lines))
        self.nbytes = self.buffer.nbytes
        cdef float* at = self.buffer.data
        self.x = at
        at += 16 * <Py_ssize_t>lines[0]
        self.activations = at
        at += 16 * <Py_ssize_t>lines[1]
        self.d = at
        at += 16 * <Py_ssize_t>lines[2]
        self.spare = at
        at += 16 * <Py_ssize_t>lines[3]
        self.packing = at
        at += 16 * <Py_ssize_t>lines[4]
        self.gradients = at
        at += 16 * <Py_ssize_t>lines[5]
        self.classes = <uint8_t*>at
        at += 16 * <Py_ssize_t>lines[6]
        self.entries = <Entry*>at
        at += 16 * <Py_ssize_t>lines[7]
        self.starts = <Py_ssize_t*>at
        at += 16 * <Py_ssize_t>lines[8]
        self.transposed = <Entry*>at
        at += 16 * <Py_ssize_t>lines[9]
        self.transposed_starts = <Py_ssize_t*>at

    cdef bint load_entries(self, const Rows* rows, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
        """The non-zero elements of the picked rows; False, after a few rows, if they are too many."""
        cdef Py_ssize_t i, row, found = 0
        for i in range(count):
            row = first + i if rows.order == NULL else rows.order[first + i]
            self.starts[i] = found
            if rows.bytes != NULL:
                found += byte_entries(rows.inputs, rows.bytes + row * rows.inputs, self.entries + found)
            else:
                found += float_entries(rows.inputs, rows.floats + row * rows.inputs, self.entries + found)
            if found > (i + 8) * rows.inputs * SPARSE_PERCENT // 100:
                return False
        self.starts[count] = found
        return True

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
