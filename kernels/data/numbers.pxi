# Numbers of requests: doubles to float32, and their range.

cdef extern from "<math.h>" nogil:
    double fabs(double x)

cdef double BEYOND_FLOAT32 = 2.0**128 - 2.0**103  # halfway to 2^128: from there on, rounding gives infinity


cdef bint narrow_doubles(Py_ssize_t n, const double* x, float* y) noexcept nogil:
    """y = x, rounded to nearest; whether all are in range."""
    cdef Py_ssize_t i
    cdef uint64_t outside = 0
    for i in range(n):
        y[i] = <float>x[i]
        outside |= not fabs(x[i]) < BEYOND_FLOAT32
    return outside == 0


cdef bint bits_within(Py_ssize_t n, const uint32_t* bits, uint32_t largest) noexcept nogil:
    """Whether no float32 of these bits is beyond that of `largest`, or negative.

    As unsigned integers, floats from 0 on are in their order, and negative ones lie above all of them.
    """
    cdef Py_ssize_t i
    cdef uint32_t found = 0
    for i in range(n):
        found = bits[i] if bits[i] > found else found
    return found <= largest
