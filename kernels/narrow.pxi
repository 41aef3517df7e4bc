# Numbers of JSON documents, from the doubles that a parser made of them to float32.

cdef extern from "<math.h>" nogil:
    double fabs(double x)

cdef extern from "<stdlib.h>" nogil:
    float strtof(const char* text, char** end)

cdef enum:
    NARROW_SWITCH = 100_000  # numbers, some 100 us: for fewer, giving up the GIL costs more than it frees

# From halfway to the next power of two on, a number rounds to infinity (IEEE 754, section 4.3.1).
cdef double BEYOND_FLOAT32 = 2.0**128 - 2.0**103


cdef inline bint in_the_middle(double x) noexcept nogil:
    """Whether x lies exactly between two float32: then the one it rounds to has a mirror image that is one too."""
    cdef double rest = x - <double><float>x
    return rest != 0 and x + rest == <double><float>(x + rest)


cdef void narrow_doubles(Py_ssize_t n, const double* x, float* y, bint* beyond, bint* middle) noexcept nogil:
    cdef Py_ssize_t i
    cdef double rest
    cdef uint64_t outside = 0, between = 0
    for i in range(n):
        y[i] = <float>x[i]
        rest = x[i] - <double>y[i]
        outside |= not fabs(x[i]) < BEYOND_FLOAT32
        between |= (rest != 0) & (x[i] + rest == <double><float>(x[i] + rest))
    beyond[0] = outside
    middle[0] = between


cdef Py_ssize_t next_number(const char* text, Py_ssize_t length, Py_ssize_t at) noexcept nogil:
    """Where the next number of a valid JSON document begins, `length` if there is none; `at` is not in a string."""
    while at < length and not (text[at] == c'-' or c'0' <= text[at] <= c'9'):
        if text[at] == c'"':
            at += 1
            while at < length and text[at] != c'"':
                at += 2 if text[at] == c'\\' else 1
        at += 1
    return min(at, length)


cdef Py_ssize_t end_of_number(const char* text, Py_ssize_t length, Py_ssize_t at, bint* hard) noexcept nogil:
    """Where it ends; and whether it has an exponent after more digits than fit into 64 bits."""
    cdef Py_ssize_t digits = 0
    cdef bint exponent = False
    while at < length and (
        c'0' <= text[at] <= c'9' or text[at] == c'.' or text[at] == c'-' or text[at] == c'+' or text[at] | 32 == c'e'
    ):
        exponent = exponent or text[at] | 32 == c'e'
        digits += not exponent and c'0' <= text[at] <= c'9'
        at += 1
    hard[0] = exponent and digits > 19
    return at


cdef void settle_middles(
    const char* text, Py_ssize_t length, Py_ssize_t before, Py_ssize_t n, const double* x, float* y
) noexcept nogil:
    """Read the digits of each x that is a middle: it is number `before`, and so on, of the document `text`."""
    cdef Py_ssize_t seen, at = 0
    cdef bint hard
    cdef float nearest
    for seen in range(before + n):
        at = next_number(text, length, at)
        if seen >= before and in_the_middle(x[seen - before]):
            nearest = strtof(text + at, NULL)
            # Either neighbour is as far away, so anything else comes of a locale with another decimal point.
            if fabs(<double>nearest - x[seen - before]) == fabs(<double>y[seen - before] - x[seen - before]):
                y[seen - before] = nearest
        at = end_of_number(text, length, at, &hard)


def narrow(doubles, out):
    """Round `doubles` (n,), float64, to `out` (n,), float32. Returns (whether all are in range, whether none is
    in the middle).

    Out of range is what rounds to infinity. A double exactly in the middle of two float32 rounds to the even
    one of them, but the number that was written may be nearer to the other: see `settle`.
    """
    _contiguous("doubles", doubles, _FLOAT64, 1)
    _contiguous("out", out, _FLOAT32, 1, True)
    _same_shape("out", out, "doubles", doubles.shape)
    cdef Py_ssize_t n = doubles.size
    cdef const double* x = <const double*>address(doubles)
    cdef float* y = <float*>address(out)
    cdef bint beyond = False, middle = False
    if n < NARROW_SWITCH:
        narrow_doubles(n, x, y, &beyond, &middle)
    else:
        with nogil:
            narrow_doubles(n, x, y, &beyond, &middle)
    return not beyond, not middle


def settle(bytes document, Py_ssize_t before, doubles, out):
    """Where one of `doubles` (n,) lies in the middle of two float32, put the one its digits are nearer to in `out`.

    `document` is the valid JSON document that the doubles were read from, in which they are consecutive numbers
    after the first `before`.
    """
    _contiguous("doubles", doubles, _FLOAT64, 1)
    _contiguous("out", out, _FLOAT32, 1, True)
    _same_shape("out", out, "doubles", doubles.shape)
    cdef Py_ssize_t n = doubles.size, length = len(document)
    cdef const char* text = document
    cdef const double* x = <const double*>address(doubles)
    cdef float* y = <float*>address(out)
    with nogil:
        settle_middles(text, length, before, n, x, y)
    return out


def hard_numbers(bytes document):
    """How many numbers of a JSON document have an exponent after more than 19 digits: simdjson takes 10 us for one.

    Of what is not valid JSON the count means nothing.
    """
    cdef Py_ssize_t length = len(document), at = 0, count = 0
    cdef const char* text = document
    cdef bint hard = False
    with nogil:
        while True:
            at = next_number(text, length, at)
            if at == length:
                break
            at = end_of_number(text, length, at, &hard)
            count += hard
    return count
