# Activations, forward and backward: plain loops that the compiler vectorizes. Every element is computed by the same
# operations in the same order wherever it lies (isa/simd.h), so a row's bits do not depend on its neighbours.

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
    cdef float result = (p + <float>1.0) * power  # p * power alone may be subnormal
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

cdef void relu_backward(Py_ssize_t n, const float* y, const float* d_y, float* d_x) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        d_x[i] = d_y[i] if y[i] > 0 else <float>0.0


cdef void sigmoid_backward(Py_ssize_t n, const float* y, const float* d_y, float* d_x) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        d_x[i] = d_y[i] * (y[i] * (<float>1.0 - y[i]))


cdef void tanh_backward(Py_ssize_t n, const float* y, const float* d_y, float* d_x) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        d_x[i] = d_y[i] * sfma(-y[i], y[i], 1.0)
