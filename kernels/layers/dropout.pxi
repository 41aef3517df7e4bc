# Dropout (Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014), inverted: what is
# kept is multiplied by 1 / (1 - rate) in training, so that nothing is left to do afterwards.
#
# The word that decides about a number is a function of seed, epoch, image, layer and place in the row: no mask is stored.
# A group of 64 numbers takes 16 blocks of Philox; word w of block b is for number 16 w + b of the group, so that vectors of
# words belong to neighbours, whatever the length of a vector.
#
# A unit that is dropped becomes -0, and no other does: 0 in all arithmetic, but the backward pass can tell.

cdef enum:
    GROUP = 64  # numbers
    GROUP_BLOCKS = 16
    STREAM_PIXELS = 2
    STREAM_UNITS = 16  # and so many more as the linear layer's index; the generator's streams: see STREAM_AUGMENT

cdef int32_t MINUS_ZERO = <int32_t>0x80000000u


cdef inline void group_words(const Philox* generator, uint32_t group, uint32_t* words) noexcept nogil:
    """The words (64,) of a group's numbers."""
    cdef vint drawn[4]
    cdef int block, i
    for block from 0 <= block < GROUP_BLOCKS by LANES:
        philox_blocks(generator, group * GROUP_BLOCKS + block, drawn)
        for i in range(4):
            istore(<int32_t*>words + GROUP_BLOCKS * i + block, drawn[i])


cdef void drop_pixels(const Philox* generator, uint32_t threshold, Py_ssize_t n, uint8_t* x) noexcept nogil:
    """Set those of the bytes x (n,) to 0 that are dropped."""
    cdef uint32_t words[GROUP]
    cdef uint32_t ink
    cdef Py_ssize_t first, i, count
    for first from 0 <= first < n by GROUP:
        count = min(n - first, <Py_ssize_t>GROUP)
        ink = 0
        for i in range(count):
            ink |= x[first + i]
        if not ink:
            continue
        group_words(generator, <uint32_t>(first // GROUP), words)
        for i in range(count):
            x[first + i] = 0 if words[i] < threshold else x[first + i]


cdef void drop_units(
    const Philox* generator, const Dropout* dropout, Py_ssize_t first, Py_ssize_t end, float* y
) noexcept nogil:
    """Units first to end of a row y, which are whole vectors."""
    cdef uint32_t words[GROUP]
    cdef Py_ssize_t group, i, begin, stop
    cdef float scale = dropout.scale, dropped = bits_float(MINUS_ZERO)
    cdef uint32_t threshold = dropout.threshold
    for group from first // GROUP <= group <= (end - 1) // GROUP:
        group_words(generator, <uint32_t>group, words)
        begin = max(first - group * GROUP, <Py_ssize_t>0)
        stop = min(end - group * GROUP, <Py_ssize_t>GROUP)
        for i in range(begin, stop):
            y[group * GROUP + i] = dropped if words[i] < threshold else y[group * GROUP + i] * scale + <float>0.0


cdef void drop_backward(
    LayerKind kind, float scale, Py_ssize_t n, const float* y, const float* d_y, float* d_x
) noexcept nogil:
    """The gradient before an activation and dropout, from that behind them and from their output y."""
    cdef Py_ssize_t i
    cdef float before, slope, kept = <float>1.0 / scale
    if kind == RELU:
        for i in range(n):
            d_x[i] = d_y[i] * scale if y[i] > 0 else <float>0.0
    elif kind == SIGMOID:
        for i in range(n):
            before = y[i] * kept
            slope = before * (<float>1.0 - before) * scale
            d_x[i] = <float>0.0 if float_bits(y[i]) == MINUS_ZERO else d_y[i] * slope
    else:
        for i in range(n):
            before = y[i] * kept
            slope = sfma(-before, before, 1.0) * scale
            d_x[i] = <float>0.0 if float_bits(y[i]) == MINUS_ZERO else d_y[i] * slope
