# Activations, bias and the optimizer: plain loops that the compiler turns into vector code. Every element is
# computed by the same operations in the same order wherever it lies (simd.h), so a row's bits do not depend
# on its neighbours.

cdef extern from "simd.h":
    float sfma(float a, float b, float c) noexcept nogil
    int32_t float_bits(float x) noexcept nogil
    float bits_float(int32_t bits) noexcept nogil

cdef extern from "<math.h>" nogil:
    float fabsf(float x) noexcept
    float copysignf(float magnitude, float sign) noexcept


cdef inline float exp_of_negative(float x) noexcept nogil:
    """exp(x) for x <= 0 within 2 ulp; 0 below -87.3, where float32 is nearly subnormal; NaN for NaN.

    exp(x) = 2^n * exp(r) with n the whole number next to x/ln 2. ln 2 is cut in two, 355/512 and the rest,
    so that n times the first part is exact (Cody and Waite 1980, chapter 6); exp(r) is a polynomial, fitted
    to |r| <= 0.35 at Chebyshev nodes.
    """
    cdef float clamped = x if not x < -87.3 else <float>-87.3
    # Adding 1.5 * 2^23 rounds to a whole number, which then stands in the low bits of the sum.
    cdef float shifted = sfma(clamped, 1.44269504, 12582912.0)
    cdef float n = shifted - <float>12582912.0
    cdef float r = sfma(n, 2.12194440e-4, sfma(n, -0.693359375, clamped))
    cdef float p = 0.00139345345
    p = sfma(p, r, 0.00836376939)
    p = sfma(p, r, 0.0416664556)
    p = sfma(p, r, 0.166665733)
    p = sfma(p, r, 0.5)
    p = sfma(p, r * r, r)
    cdef float power = bits_float(<int32_t>(<uint32_t>(float_bits(shifted) + 127) << 23))
    cdef float result = sfma(p, power, power)
    return <float>0.0 if x < -87.3 else result


cdef inline float sigmoid_of(float x) noexcept nogil:
    """1 / (1 + exp(-x)), from exp(-|x|), which cannot overflow."""
    cdef float e = exp_of_negative(-fabsf(x))
    cdef float numerator = e if x < 0 else <float>1.0
    return numerator / (<float>1.0 + e)


cdef inline float tanh_of(float x) noexcept nogil:
    """Near 0 an odd polynomial, fitted to |x| <= 0.63; else (1 - e) / (1 + e) with e = exp(-2|x|)."""
    cdef float size = fabsf(x)
    cdef float e = exp_of_negative(<float>-2.0 * size)
    cdef float far = (<float>1.0 - e) / (<float>1.0 + e)
    cdef float z = x * x
    cdef float p = 0.00228032679
    p = sfma(p, z, -0.00833323598)
    p = sfma(p, z, 0.0217657518)
    p = sfma(p, z, -0.0539588891)
    p = sfma(p, z, 0.133333027)
    p = sfma(p, z, -0.333333343)
    cdef float near = sfma(p, z * size, size)
    return copysignf(near if size < <float>0.625 else far, x)


cdef void relu_forward(Py_ssize_t n, const float* x, float* y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = <float>0.0 if x[i] < 0 else x[i]  # a NaN stays one


cdef void sigmoid_forward(Py_ssize_t n, const float* x, float* y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = sigmoid_of(x[i])


cdef void tanh_forward(Py_ssize_t n, const float* x, float* y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = tanh_of(x[i])


# The backward forms need only the output y. They may work in place (d_x is d_y).

cdef void relu_backward_of(Py_ssize_t n, const float* y, const float* d_y, float* d_x) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        d_x[i] = d_y[i] if y[i] > 0 else <float>0.0


cdef void sigmoid_backward_of(Py_ssize_t n, const float* y, const float* d_y, float* d_x) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        d_x[i] = d_y[i] * (y[i] * (<float>1.0 - y[i]))


cdef void tanh_backward_of(Py_ssize_t n, const float* y, const float* d_y, float* d_x) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        d_x[i] = d_y[i] * sfma(-y[i], y[i], 1.0)


cdef enum:
    SOFTMAX_SWITCH = 10_000  # entries, some 20 us: for fewer, giving up the GIL costs more than it frees


cdef void argmax_rows(Py_ssize_t rows, Py_ssize_t columns, const float* x, int64_t* y) noexcept nogil:
    cdef Py_ssize_t i, j, best
    for i in range(rows):
        best = 0
        for j in range(1, columns):
            best = j if x[i * columns + j] > x[i * columns + best] else best
        y[i] = best


cdef void softmax_rows(Py_ssize_t rows, Py_ssize_t columns, const float* x, float* y) noexcept nogil:
    """exp(x - max) / sum over each row; the sum is taken from left to right."""
    cdef Py_ssize_t i, j
    cdef float largest, total
    for i in range(rows):
        largest = x[i * columns]
        for j in range(1, columns):
            largest = x[i * columns + j] if x[i * columns + j] > largest else largest
        for j in range(columns):
            y[i * columns + j] = x[i * columns + j] - largest
    for i in range(rows * columns):
        y[i] = exp_of_negative(y[i])
    for i in range(rows):
        total = 0
        for j in range(columns):
            total += y[i * columns + j]
        for j in range(columns):
            y[i * columns + j] /= total


cdef void softmax_backward_rows(
    Py_ssize_t rows, Py_ssize_t columns, const float* y, const float* d_y, float* d_x
) noexcept nogil:
    cdef Py_ssize_t i, j
    cdef float dot
    for i in range(rows):
        dot = 0
        for j in range(i * columns, (i + 1) * columns):
            dot = sfma(d_y[j], y[j], dot)
        for j in range(i * columns, (i + 1) * columns):
            d_x[j] = y[j] * (d_y[j] - dot)


cdef void add_bias_rows(Py_ssize_t rows, Py_ssize_t columns, const float* bias, float* x) noexcept nogil:
    cdef Py_ssize_t i, j
    for i in range(rows):
        for j in range(columns):
            x[i * columns + j] += bias[j]


cdef void bias_gradient(Py_ssize_t rows, Py_ssize_t columns, const float* d_y, float* d_bias) noexcept nogil:
    """d_bias += the sum of d_y over rows, from the first to the last."""
    cdef Py_ssize_t i, j
    for i in range(rows):
        for j in range(columns):
            d_bias[j] += d_y[i * columns + j]


cdef void sgd_step(
    Py_ssize_t n, float* w, const float* g, float* v, float learning_rate, float momentum
) noexcept nogil:
    """v = momentum * v + g; w -= learning_rate * v. Without v (NULL), w -= learning_rate * g."""
    cdef Py_ssize_t i
    if v == NULL:
        for i in range(n):
            w[i] = sfma(-learning_rate, g[i], w[i])
    else:
        for i in range(n):
            v[i] = sfma(momentum, v[i], g[i])
            w[i] = sfma(-learning_rate, v[i], w[i])


# From Python. All arrays are C-contiguous float32 and of one shape.

ctypedef void (*unary)(Py_ssize_t, const float*, float*) noexcept nogil
ctypedef void (*binary)(Py_ssize_t, const float*, const float*, float*) noexcept nogil


cdef _output(out, like):
    if out is None:
        return np.empty(like.shape, dtype=np.float32)
    _contiguous("out", out, _FLOAT32, like.ndim, True)
    _same_shape("out", out, "x", like.shape)
    return out


cdef _map(unary kernel, x, out):
    _contiguous("x", x, _FLOAT32, getattr(x, "ndim", 1))
    out = _output(out, x)
    if out is not x:
        _apart("out", out, "x", x)
    cdef Py_ssize_t n = x.size
    cdef const float* source = <const float*>address(x)
    cdef float* to = <float*>address(out)
    with nogil:
        kernel(n, source, to)
    return out


cdef _map_backward(binary kernel, y, d_y, out):
    _contiguous("y", y, _FLOAT32, getattr(y, "ndim", 1))
    _contiguous("d_y", d_y, _FLOAT32, y.ndim)
    _same_shape("d_y", d_y, "y", y.shape)
    out = _output(out, y)
    _apart("out", out, "y", y)
    if out is not d_y:
        _apart("out", out, "d_y", d_y)
    cdef Py_ssize_t n = y.size
    cdef const float* outputs = <const float*>address(y)
    cdef const float* gradients = <const float*>address(d_y)
    cdef float* to = <float*>address(out)
    with nogil:
        kernel(n, outputs, gradients, to)
    return out


def relu(x, out=None):
    """max(x, 0), a NaN staying one. `out` may be `x`."""
    return _map(relu_forward, x, out)


def sigmoid(x, out=None):
    """1 / (1 + exp(-x)), within 3 ulp; results below 1.3e-38 may be 0. `out` may be `x`."""
    return _map(sigmoid_forward, x, out)


def tanh(x, out=None):
    """The hyperbolic tangent, within 2 ulp. `out` may be `x`."""
    return _map(tanh_forward, x, out)


def relu_backward(y, d_y, out=None):
    """The gradient for x, given y = relu(x) and the gradient for y. `out` may be `d_y`."""
    return _map_backward(relu_backward_of, y, d_y, out)


def sigmoid_backward(y, d_y, out=None):
    """d_y * y * (1 - y), given y = sigmoid(x). `out` may be `d_y`."""
    return _map_backward(sigmoid_backward_of, y, d_y, out)


def tanh_backward(y, d_y, out=None):
    """d_y * (1 - y^2), given y = tanh(x). `out` may be `d_y`."""
    return _map_backward(tanh_backward_of, y, d_y, out)


def softmax(x, out=None):
    """exp(x) / sum(exp(x)) over each row of `x` (rows, columns), stable for any finite x. `out` may be `x`."""
    _contiguous("x", x, _FLOAT32, 2)
    out = _output(out, x)
    if out is not x:
        _apart("out", out, "x", x)
    cdef Py_ssize_t rows = x.shape[0], columns = x.shape[1]
    cdef const float* source = <const float*>address(x)
    cdef float* to = <float*>address(out)
    if x.size < SOFTMAX_SWITCH:
        if x.size:
            softmax_rows(rows, columns, source, to)
    else:
        with nogil:
            softmax_rows(rows, columns, source, to)
    return out


def argmax(x):
    """The column of the first largest entry of each row of `x` (rows, columns), at least one column: int64 (rows,).

    NumPy's own gives up the GIL, which costs more than the search.
    """
    _contiguous("x", x, _FLOAT32, 2)
    if not x.shape[1]:
        raise ValueError("x must have columns")
    out = np.empty(x.shape[0], dtype=np.int64)
    argmax_rows(x.shape[0], x.shape[1], <const float*>address(x), <int64_t*>address(out))
    return out


def softmax_backward(y, d_y, out=None):
    """y * (d_y - sum(d_y * y)) over each row, given y = softmax(x). `out` may be `d_y`."""
    _contiguous("y", y, _FLOAT32, 2)
    _contiguous("d_y", d_y, _FLOAT32, 2)
    _same_shape("d_y", d_y, "y", y.shape)
    out = _output(out, y)
    _apart("out", out, "y", y)
    if out is not d_y:
        _apart("out", out, "d_y", d_y)
    cdef Py_ssize_t rows = y.shape[0], columns = y.shape[1]
    cdef const float* outputs = <const float*>address(y)
    cdef const float* gradients = <const float*>address(d_y)
    cdef float* to = <float*>address(out)
    if y.size:
        with nogil:
            softmax_backward_rows(rows, columns, outputs, gradients, to)
    return out


def add_bias(x, bias):
    """Add `bias` (columns,) to each row of `x` (rows, columns), in place; returns `x`."""
    _contiguous("x", x, _FLOAT32, 2, True)
    _contiguous("bias", bias, _FLOAT32, 1)
    _same_shape("bias", bias, "x", x.shape[1:])
    _apart("x", x, "bias", bias)
    cdef Py_ssize_t rows = x.shape[0], columns = x.shape[1]
    cdef float* data = <float*>address(x)
    cdef const float* added = <const float*>address(bias)
    with nogil:
        add_bias_rows(rows, columns, added, data)
    return x


def bias_backward(d_y, out=None):
    """The sum of `d_y` (rows, columns) over its rows, from the first to the last: shape (columns,)."""
    _contiguous("d_y", d_y, _FLOAT32, 2)
    if out is None:
        out = np.empty(d_y.shape[1], dtype=np.float32)
    _contiguous("out", out, _FLOAT32, 1, True)
    _same_shape("out", out, "d_y", d_y.shape[1:])
    _apart("out", out, "d_y", d_y)
    out[:] = 0
    cdef Py_ssize_t rows = d_y.shape[0], columns = d_y.shape[1]
    cdef const float* gradients = <const float*>address(d_y)
    cdef float* to = <float*>address(out)
    with nogil:
        bias_gradient(rows, columns, gradients, to)
    return out


def sgd(parameters, gradients, velocity, double learning_rate, double momentum=0):
    """One step of gradient descent, in place: classical (heavy-ball) momentum (Polyak 1964).

    v = momentum * v + g; w = w - learning_rate * v. `velocity` is v, or None without momentum.
    """
    _contiguous("parameters", parameters, _FLOAT32, 1, True)
    _contiguous("gradients", gradients, _FLOAT32, 1)
    _same_shape("gradients", gradients, "parameters", parameters.shape)
    _apart("parameters", parameters, "gradients", gradients)
    cdef float* v = NULL
    if velocity is not None:
        _contiguous("velocity", velocity, _FLOAT32, 1, True)
        _same_shape("velocity", velocity, "parameters", parameters.shape)
        _apart("velocity", velocity, "parameters", parameters)
        _apart("velocity", velocity, "gradients", gradients)
        v = <float*>address(velocity)
    elif momentum != 0:
        raise ValueError("momentum is not 0, but there is no velocity to keep it in")
    cdef Py_ssize_t n = parameters.size
    cdef float* w = <float*>address(parameters)
    cdef const float* g = <const float*>address(gradients)
    with nogil:
        sgd_step(n, w, g, v, <float>learning_rate, <float>momentum)
