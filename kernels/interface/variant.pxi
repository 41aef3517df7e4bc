# The kernels of one instruction set, as methods of an object. Arrays are float32, and C-contiguous unless a method says
# otherwise; `out` is made if it is not given.

from cpython.pycapsule cimport PyCapsule_GetPointer

cdef extern from "isa/cpu.h" nogil:
    int cpu_has_avx2() noexcept
    int cpu_has_avx512() noexcept

cdef extern from "isa/float_mode.h" nogil:
    ctypedef uint64_t float_mode
    float_mode enter_float_mode(int flush) noexcept
    void restore_float_mode(float_mode mode) noexcept
    int KEEP_SUBNORMALS
    int FLUSH_SUBNORMALS

cdef enum:
    MAX_LANES = 16  # of all variants


def cpu_variants():
    """Names of the variants that this CPU can run, best first."""
    has = {"avx512": cpu_has_avx512(), "avx2": cpu_has_avx2(), "baseline": True}
    return tuple(name for name, there in has.items() if there)


cdef Buffer _idle = None  # packing buffers that no call is using


cdef Buffer _take_packing(Py_ssize_t floats):
    """An idle buffer, else a new one, whose pages the system clears first: that takes as long as a small product."""
    global _idle
    cdef Buffer buffer = _idle
    if buffer is not None:
        _idle = buffer.next
        buffer.next = None
        if buffer.nbytes >= 4 * floats:
            return buffer
    return Buffer(floats)


cdef void _return_packing(Buffer buffer):
    global _idle
    buffer.next = _idle
    _idle = buffer


cdef _output(out, like):
    if out is None:
        return np.empty(like.shape, dtype=np.float32)
    _contiguous("out", out, _FLOAT32, like.ndim, True)
    _same_shape("out", out, "x", like.shape)
    return out


cdef _map(Elementwise kernel, x, out):
    _contiguous("x", x, _FLOAT32, getattr(x, "ndim", 1))
    out = _output(out, x)
    if out is not x:
        _apart("out", out, "x", x)
    cdef float_mode mode
    cdef Py_ssize_t n = x.size
    cdef const float* source = <const float*>address(x)
    cdef float* to = <float*>address(out)
    with nogil:
        mode = enter_float_mode(FLUSH_SUBNORMALS)
        kernel(n, source, to)
        restore_float_mode(mode)
    return out


cdef _map_backward(ElementwiseBackward kernel, y, d_y, out):
    _contiguous("y", y, _FLOAT32, getattr(y, "ndim", 1))
    _contiguous("d_y", d_y, _FLOAT32, y.ndim)
    _same_shape("d_y", d_y, "y", y.shape)
    out = _output(out, y)
    _apart("out", out, "y", y)
    if out is not d_y:
        _apart("out", out, "d_y", d_y)
    cdef float_mode mode
    cdef Py_ssize_t n = y.size
    cdef const float* outputs = <const float*>address(y)
    cdef const float* gradients = <const float*>address(d_y)
    cdef float* to = <float*>address(out)
    with nogil:
        mode = enter_float_mode(FLUSH_SUBNORMALS)
        kernel(n, outputs, gradients, to)
        restore_float_mode(mode)
    return out


cdef _iterations(Py_ssize_t iterations):
    if not 0 < iterations <= LARGEST_SIDE:
        raise ValueError(f"iterations must be from 1 to {LARGEST_SIDE}, not {iterations}")


cdef class Variant:
    """The kernels of one instruction set, from the table that its extension module exports."""

    cdef const Kernels* table
    cdef readonly str isa

    def __cinit__(self, str isa not None, table):
        self.table = <const Kernels*>PyCapsule_GetPointer(table, "falcon_mnist.kernels.table")
        self.isa = isa

    def Network(self, layers):
        """A network that computes with these kernels."""
        return Network(layers, variant=self)

    Packed = property(lambda self: Packed)
    Workspace = property(lambda self: Workspace)
    Optimizer = property(lambda self: Optimizer)
    Noise = property(lambda self: Noise)
    Batches = property(lambda self: Batches)
    Steps = property(lambda self: Steps)
    MAX_THREADS = property(lambda self: MAX_THREADS)

    def gemm(self, a, b, out=None, *, double alpha=1, double beta=0):
        """`alpha * a @ b + beta * out`, written to `out` (m, n) and returned.

        `a` (m, k), `b` (k, n) and `out` are float32 with any strides, so `gemm(a.T, b)` copies nothing. Without
        `out` a new array is made, and beta must be 0. With beta 0 the values in `out` are not read, be they NaN;
        with alpha 0 those of `a` and `b` are not. Each element is summed over k in order, with fused
        multiply-adds where the instruction set has them. Here and everywhere, subnormal numbers count as 0.

        Raises `TypeError` for another dtype or number of dimensions, `ValueError` for shapes that do not fit,
        memory that cannot be written, or an `out` that overlaps an operand.
        """
        cdef Matrix x = _strided_matrix("a", a), y = _strided_matrix("b", b), z
        if y.rows != x.columns:
            raise ValueError(f"a has shape {a.shape} and b {b.shape}: a's columns must be as many as b's rows")
        if out is None:
            if beta != 0:
                raise ValueError("beta is not 0, but there is no out to scale: give out, or beta=0")
            out = np.empty((x.rows, y.columns), dtype=np.float32)
            z = _strided_matrix("out", out)
        else:
            z = _strided_matrix("out", out, True)
            if z.rows != x.rows or z.columns != y.columns:
                _same_shape("out", out, "the product", (x.rows, y.columns))
            if (z.rows > 1 and z.rs == 0 and z.columns) or (z.columns > 1 and z.cs == 0 and z.rows):
                raise ValueError("out has elements that share memory (a stride of 0)")
            _apart("out", out, "a", a)
            _apart("out", out, "b", b)
        cdef Buffer packing = _take_packing(self.table.packing_floats(y.columns, x.columns))
        cdef float_mode mode = enter_float_mode(FLUSH_SUBNORMALS)
        if <double>x.rows * x.columns * y.columns < NOGIL_PRODUCTS:
            self.table.gemm(&x, &y, &z, <float>alpha, <float>beta, packing.data)
        else:
            with nogil:
                self.table.gemm(&x, &y, &z, <float>alpha, <float>beta, packing.data)
        restore_float_mode(mode)
        _return_packing(packing)
        return out

    def relu(self, x, out=None):
        """max(x, 0), a NaN staying one. `out` may be `x`."""
        return _map(self.table.relu, x, out)


    def sigmoid(self, x, out=None):
        """1 / (1 + exp(-x)), within 3 ulp; results below 1.3e-38 may be 0. `out` may be `x`."""
        return _map(self.table.sigmoid, x, out)


    def tanh(self, x, out=None):
        """The hyperbolic tangent, within 2 ulp; results below 1.3e-38 may be 0. `out` may be `x`."""
        return _map(self.table.tanh, x, out)


    def relu_backward(self, y, d_y, out=None):
        """The gradient for x, given y = relu(x) and the gradient for y. `out` may be `d_y`."""
        return _map_backward(self.table.relu_backward, y, d_y, out)


    def sigmoid_backward(self, y, d_y, out=None):
        """d_y * y * (1 - y), given y = sigmoid(x). `out` may be `d_y`."""
        return _map_backward(self.table.sigmoid_backward, y, d_y, out)


    def tanh_backward(self, y, d_y, out=None):
        """d_y * (1 - y^2), given y = tanh(x). `out` may be `d_y`."""
        return _map_backward(self.table.tanh_backward, y, d_y, out)


    def softmax(self, x, out=None):
        """exp(x) / sum(exp(x)) over each row of `x` (rows, columns), stable for any finite x. `out` may be `x`."""
        _contiguous("x", x, _FLOAT32, 2)
        out = _output(out, x)
        if out is not x:
            _apart("out", out, "x", x)
        cdef float_mode mode
        cdef Py_ssize_t rows = x.shape[0], columns = x.shape[1]
        cdef const float* source = <const float*>address(x)
        cdef float* to = <float*>address(out)
        if x.size < NOGIL_SOFTMAX:
            if x.size:
                mode = enter_float_mode(FLUSH_SUBNORMALS)
                self.table.softmax(rows, columns, source, to)
                restore_float_mode(mode)
        else:
            with nogil:
                mode = enter_float_mode(FLUSH_SUBNORMALS)
                self.table.softmax(rows, columns, source, to)
                restore_float_mode(mode)
        return out


    def argmax(self, x):
        """The column of the first largest entry of each row of `x` (rows, columns), at least one column: int64 (rows,).

        NumPy's argmax releases the GIL, which costs more than the search.
        """
        _contiguous("x", x, _FLOAT32, 2)
        if not x.shape[1]:
            raise ValueError("x must have columns")
        out = np.empty(x.shape[0], dtype=np.int64)
        cdef float_mode mode
        mode = enter_float_mode(FLUSH_SUBNORMALS)
        self.table.argmax(x.shape[0], x.shape[1], <const float*>address(x), <int64_t*>address(out))
        restore_float_mode(mode)
        return out


    def softmax_backward(self, y, d_y, out=None):
        """y * (d_y - sum(d_y * y)) over each row, given y = softmax(x). `out` may be `d_y`."""
        _contiguous("y", y, _FLOAT32, 2)
        _contiguous("d_y", d_y, _FLOAT32, 2)
        _same_shape("d_y", d_y, "y", y.shape)
        out = _output(out, y)
        _apart("out", out, "y", y)
        if out is not d_y:
            _apart("out", out, "d_y", d_y)
        cdef float_mode mode
        cdef Py_ssize_t rows = y.shape[0], columns = y.shape[1]
        cdef const float* outputs = <const float*>address(y)
        cdef const float* gradients = <const float*>address(d_y)
        cdef float* to = <float*>address(out)
        if y.size:
            with nogil:
                mode = enter_float_mode(FLUSH_SUBNORMALS)
                self.table.softmax_backward(rows, columns, outputs, gradients, to)
                restore_float_mode(mode)
        return out


    def add_bias(self, x, bias):
        """Add `bias` (columns,) to each row of `x` (rows, columns), in place; returns `x`."""
        _contiguous("x", x, _FLOAT32, 2, True)
        _contiguous("bias", bias, _FLOAT32, 1)
        _same_shape("bias", bias, "x", x.shape[1:])
        _apart("x", x, "bias", bias)
        cdef float_mode mode
        cdef Py_ssize_t rows = x.shape[0], columns = x.shape[1]
        cdef float* data = <float*>address(x)
        cdef const float* added = <const float*>address(bias)
        with nogil:
            mode = enter_float_mode(FLUSH_SUBNORMALS)
            self.table.add_bias(rows, columns, added, data)
            restore_float_mode(mode)
        return x


    def bias_backward(self, d_y, out=None):
        """The sum of `d_y` (rows, columns) over its rows, from the first to the last: shape (columns,)."""
        _contiguous("d_y", d_y, _FLOAT32, 2)
        if out is None:
            out = np.empty(d_y.shape[1], dtype=np.float32)
        _contiguous("out", out, _FLOAT32, 1, True)
        _same_shape("out", out, "d_y", d_y.shape[1:])
        _apart("out", out, "d_y", d_y)
        out[:] = 0
        cdef float_mode mode
        cdef Py_ssize_t rows = d_y.shape[0], columns = d_y.shape[1]
        cdef const float* gradients = <const float*>address(d_y)
        cdef float* to = <float*>address(out)
        with nogil:
            mode = enter_float_mode(FLUSH_SUBNORMALS)
            self.table.bias_backward(rows, columns, gradients, to)
            restore_float_mode(mode)
        return out


    def softmax_cross_entropy(self, logits, labels, d_logits=None, *, double smoothing=0):
        """The loss of `logits` (rows, classes) given `labels` (rows,) uint8, and its gradient.

        Returns (loss summed over rows, number of rows whose largest logit is the label's). `d_logits`
        (rows, classes), if given, becomes softmax(logits) - onehot(labels): the gradient of that sum.
        Raises `ValueError` for a label that is no class.
        """
        _contiguous("logits", logits, _FLOAT32, 2)
        cdef Py_ssize_t rows = logits.shape[0], classes = logits.shape[1], first, count, i, j
        _labels(labels, rows, classes)
        if d_logits is None:
            d_logits = np.empty(logits.shape, dtype=np.float32)
        _contiguous("d_logits", d_logits, _FLOAT32, 2, True)
        _same_shape("d_logits", d_logits, "logits", logits.shape)
        _apart("d_logits", d_logits, "logits", logits)
        _apart("d_logits", d_logits, "labels", labels)
        cdef Py_ssize_t lanes = self.table.lanes
        cdef Buffer block = Buffer(classes * lanes)
        cdef Score scores[MAX_LANES]
        cdef float_mode mode
        cdef const float* z = <const float*>address(logits)
        cdef const uint8_t* label_of_row = <const uint8_t*>address(labels)
        cdef float* d = <float*>address(d_logits)
        cdef Metrics metrics = Metrics(0, 0)
        if classes:
            with nogil:
                mode = enter_float_mode(FLUSH_SUBNORMALS)
                memset(block.data, 0, classes * lanes * sizeof(float))
                for first from 0 <= first < rows by lanes:
                    count = min(rows - first, lanes)
                    for i in range(count):
                        for j in range(classes):
                            block.data[j * lanes + i] = z[(first + i) * classes + j]
                    self.table.cross_entropy(count, classes, block.data, label_of_row + first, 1, <float>smoothing, scores)
                    for i in range(count):
                        metrics.loss += scores[i].loss
                        metrics.correct += scores[i].correct
                    for i in range(count):
                        for j in range(classes):
                            d[(first + i) * classes + j] = block.data[j * lanes + i]
                restore_float_mode(mode)
        return metrics.loss, metrics.correct

    def apply_update(
        self, parameters, gradients, dict state not None, Optimizer optimizer not None,
        double learning_rate, *, int64_t step=0,
    ):
        """Step number `step` of an optimizer, in place, with weight decay for all parameters.

        All arrays are flat float32 of one shape; `state` as in `Network.train`.
        """
        _contiguous("parameters", parameters, _FLOAT32, 1, True)
        _contiguous("gradients", gradients, _FLOAT32, 1)
        _same_shape("gradients", gradients, "parameters", parameters.shape)
        _apart("parameters", parameters, "gradients", gradients)
        optimizer.check_state(state, parameters)
        cdef Update update = optimizer.update()
        cdef float_mode mode
        for name in optimizer.state:
            _apart(name, state[name], "gradients", gradients)
            update.state[STATE_SLOTS[name]] = <float*>address(state[name])
        update.weights = <float*>address(parameters)
        self.table.prepare_step(&update, <float>learning_rate, step)
        update.applies = True
        cdef const float* g = <const float*>address(gradients)
        cdef Py_ssize_t n = parameters.size
        with nogil:
            mode = enter_float_mode(FLUSH_SUBNORMALS)
            self.table.apply_updates(n, g, &update)
            restore_float_mode(mode)

    def narrow(self, doubles, out):
        """Round `doubles` (n,), float64, to `out` (n,), float32; returns whether all are in range.

        Out of range is what rounds to infinity, and NaN. Subnormal results are kept.
        """
        _contiguous("doubles", doubles, _FLOAT64, 1)
        _contiguous("out", out, _FLOAT32, 1, True)
        _same_shape("out", out, "doubles", doubles.shape)
        cdef Py_ssize_t n = doubles.size
        cdef const double* x = <const double*>address(doubles)
        cdef float* y = <float*>address(out)
        cdef bint in_range
        cdef float_mode mode = enter_float_mode(KEEP_SUBNORMALS)
        if n < NOGIL_NUMBERS:
            in_range = self.table.narrow(n, x, y)
        else:
            with nogil:
                in_range = self.table.narrow(n, x, y)
        restore_float_mode(mode)
        return in_range

    def within(self, x, double high):
        """Whether all numbers of `x` (rows, columns), float32, are from 0 to `high`; -0 and NaN are not.

        NumPy's passes over more than 500 numbers release the GIL, which costs more than the comparison.
        """
        _contiguous("x", x, _FLOAT32, 2)
        if not high >= 0:
            raise ValueError(f"high must be at least 0, not {high}")
        cdef float bound = <float>high
        cdef uint32_t largest
        memcpy(&largest, &bound, sizeof(largest))
        cdef Py_ssize_t n = x.size
        cdef const uint32_t* bits = <const uint32_t*>address(x)
        if n < NOGIL_NUMBERS:
            return self.table.within(n, bits, largest)
        cdef bint found
        with nogil:
            found = self.table.within(n, bits, largest)
        return found

    def augment(self, images, order, out, *, seed, epoch, int threads=1, **distortion):
        """Distort the rows of `images` (n, 784), uint8, that `order` (int64; None: all) picks, to `out`; returns `out`.

        `distortion` holds upper bounds, each 0 unless given: `shift` in pixels, `rotation` in degrees, `scale` (of width
        and height) and `shear` as shares. Values are drawn uniformly between minus and plus the bound. `elastic` is the
        factor, in pixels, of displacements: uniform noise in ±1, smoothed by a Gaussian of sigma `smoothness` (5 unless
        given). What is drawn for an image depends on `seed`, `epoch` and its row number alone; neither `threads` nor the
        instruction set changes a byte.

        Raises `TypeError` or `ValueError` with the name of an argument that does not fit.
        """
        _check_ranges({"seed": seed, "epoch": epoch})
        if not 1 <= threads <= THREAD_LIMIT:
            raise ValueError(f"threads must be from 1 to {THREAD_LIMIT}, not {threads}")
        cdef Augmentation a = _augmented_rows(images, order, out)
        a.seed[0], a.seed[1], a.epoch = seed & 0xFFFFFFFF, seed >> 32, epoch
        _set_distortion(&a.distortion, distortion)
        if a.n:
            with nogil:
                self.table.augment(&a, threads)
        return out

    def random_words(self, key, counter, Py_ssize_t count):
        """`count` blocks of Philox4x32-10, (count, 4) uint32: those of `counter` (4 words), its first word + 1, ...

        `key` has 2 words.
        """
        cdef uint32_t[2] k = [key[0], key[1]]
        cdef uint32_t[4] c = [counter[0], counter[1], counter[2], counter[3]]
        words = np.empty((count, 4), dtype=np.uint32)
        self.table.random_words(k, c, count, <uint32_t*>address(words))
        return words

    def fma_peak(self, Py_ssize_t iterations):
        """Fused multiply-adds in registers, enough at a time to hide their latency: (flop done, 1 - 2^-iterations).

        The second value is the mean of the results, which shows that all of it was computed.
        Raises `ValueError` unless iterations are from 1 to 2^31 - 1.
        """
        _iterations(iterations)
        cdef Py_ssize_t flop
        cdef float mean
        with nogil:
            mean = self.table.fma_chains(iterations, &flop)
        return flop * int(iterations), mean


    def cache_bandwidth(self, Py_ssize_t iterations):
        """Reads and writes 16 KiB `iterations` times: (bytes moved, 1 - 2^-iterations), the latter as in `fma_peak`.

        Raises `ValueError` unless iterations are from 1 to 2^31 - 1.
        """
        _iterations(iterations)
        cdef Buffer buffer = Buffer(ROOFLINE_FLOATS)
        cdef float* x = buffer.data
        cdef float mean
        with nogil:
            mean = self.table.cache_passes(iterations, x)
        return 2 * ROOFLINE_FLOATS * sizeof(float) * int(iterations), mean
