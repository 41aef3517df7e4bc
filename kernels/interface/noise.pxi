# What is random in training rows, as the caller gives it.

cdef class Noise:
    """Distorted images, dropped pixels and dropped units of hidden layers, in training alone. Immutable.

    `input_dropout` and `hidden_dropout`, in [0, 1), are the shares of pixels, and of units behind the last activation of
    each hidden layer, that become 0; the others are divided by 1 - that share. `augmentation` has the arguments of `augment`
    from `shift` to `smoothness`, or is None. What is drawn is a function of `seed`, of the epoch and image numbers, and
    of a pixel's or unit's place alone.

    Raises `ValueError` for what is out of range or does not exist.
    """

    cdef Draws draws
    cdef readonly bint draws_rows  # rows are not read as they are

    def __cinit__(self, *, seed=0, double input_dropout=0, double hidden_dropout=0, augmentation=None):
        _check_ranges({"seed": seed, "input_dropout": input_dropout, "hidden_dropout": hidden_dropout})
        self.draws.seed[0], self.draws.seed[1] = seed & 0xFFFFFFFF, seed >> 32
        _set_dropout(&self.draws.input, input_dropout)
        _set_dropout(&self.draws.hidden, hidden_dropout)
        if augmentation is not None:
            self.draws.distorts = True
            _set_distortion(&self.draws.distortion, dict(augmentation))
        self.draws_rows = self.draws.distorts or self.draws.input.threshold != 0
        for byte in range(256):
            self.draws.pixel[byte] = byte / 255.0 * _kept_scale(&self.draws.input)

    cdef check(self, Network network, images):
        """Rows can be drawn: they are bytes, and if they are distorted of 28 by 28."""
        if self.draws_rows and images.dtype != np.uint8:
            raise ValueError(f"images must be uint8 to be drawn anew, not {images.dtype}")
        if self.draws.distorts and network.inputs != PIXELS:
            raise ValueError(f"only images of {PIXELS} pixels can be distorted, and the network has {network.inputs} inputs")


cdef double _kept_scale(const Dropout* dropout):
    """1 / (1 - the share that is dropped)."""
    return 2.0**32 / (2.0**32 - dropout.threshold)


cdef _set_dropout(Dropout* dropout, double rate):
    dropout.threshold = <uint32_t>min(2.0**32 - 1, rate * 2.0**32 + 0.5)
    dropout.scale = <float>_kept_scale(dropout)
