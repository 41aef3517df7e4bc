# The arguments of augment, and the matrices of its elastic field.

from functools import lru_cache

# What an argument of augment and of Noise may be.
_RANGES = {
    "shift": (0, 10), "rotation": (0, 180), "scale": (0, 0.9), "shear": (0, 1), "elastic": (0, 200),
    "smoothness": (0.5, 20), "seed": (0, 2**63 - 1), "epoch": (0, 2**32 - 1),
    "input_dropout": (0, 1 - 2**-53), "hidden_dropout": (0, 1 - 2**-53),  # below 1
}
_NEGLIGIBLE = 1e-3  # share of the largest eigenvalue: of 36 pixels at sigma 5, less than 1/500 pixel


cdef _check_ranges(dict arguments):
    for name, value in arguments.items():
        lowest, highest = _RANGES[name]
        if not lowest <= value <= highest:
            raise ValueError(f"{name} must be from {lowest} to {highest}, not {value}")


def _pairs(matrix, double factor):
    """Rows 2i and 2i + 1 of a matrix as int16 of one int32, after multiplication and rounding."""
    whole = np.rint(matrix * factor).astype(np.int32)
    return (whole[::2] & 0xFFFF) | (whole[1::2] << 16)


@lru_cache(maxsize=16)
def _elastic_matrices(double alpha, double sigma):
    """(rank, restore_bits, compress, smooth, restore) as `Elastic` has them.

    The Gaussian matrix G is symmetric, and for a wide Gaussian nearly of low rank: of its eigenvectors, those with
    negligible eigenvalues are left out.
    """
    distance = np.arange(12.0 * sigma + SIDE)
    weights = np.exp(-0.5 * (distance / sigma) ** 2)
    weights /= 2 * weights.sum() - 1
    gaussian = weights[abs(np.arange(SIDE)[:, None] - np.arange(SIDE))].T
    values, vectors = np.linalg.eigh(gaussian)
    rank = 4 * -(-int((values > _NEGLIGIBLE * values[-1]).sum()) // 4)
    largest = slice(SIDE - rank, None)
    values, vectors = values[largest], vectors[:, largest] * np.sign(vectors[0, largest])
    restore = alpha * vectors * values
    bits = min(20, int(np.floor(np.log2(16383 / abs(restore).max()))))
    smooth = np.zeros((SIDE, LINE))
    smooth[:, :SIDE] = gaussian
    return (
        rank, bits, _pairs(vectors, 2.0**13).T.copy(), _pairs(smooth, 2.0**15), _pairs(restore.T, 2.0**bits).T.copy()
    )


cdef _set_elastic(Elastic* elastic, double alpha, double sigma):
    if alpha == 0:
        return
    elastic.rank, elastic.restore_bits, compress, smooth, restore = _elastic_matrices(alpha, sigma)
    memcpy(elastic.compress, address(compress), compress.nbytes)
    memcpy(elastic.smooth, address(smooth), smooth.nbytes)
    memcpy(elastic.restore, address(restore), restore.nbytes)


DISTORTIONS = {"shift": 0.0, "rotation": 0.0, "scale": 0.0, "shear": 0.0, "elastic": 0.0, "smoothness": 5.0}


cdef _set_distortion(Distortion* distortion, dict given):
    """Of the arguments of `augment` those about the distortion; rotation is in degrees."""
    for name in given:
        if name not in DISTORTIONS:
            raise ValueError(f"augmentation has no {name!r}: it has {', '.join(DISTORTIONS)}")
    _check_ranges(given)
    drawn = DISTORTIONS | given
    distortion.shift, distortion.rotation = drawn["shift"], drawn["rotation"] * (np.pi / 180)
    distortion.scale, distortion.shear = drawn["scale"], drawn["shear"]
    _set_elastic(&distortion.elastic, drawn["elastic"], drawn["smoothness"])


cdef Augmentation _augmented_rows(images, order, out) except *:
    """An augmentation of the rows that `order` picks, with no settings yet."""
    cdef Augmentation a
    memset(&a, 0, sizeof(a))
    _contiguous("images", images, _UINT8, 2)
    _same_shape("images", images, "the kernel", (images.shape[0], PIXELS))
    a.images = <const uint8_t*>address(images)
    a.n = a.count = images.shape[0]
    if order is not None:
        _check_order(order, a.count)
        a.order = <const int64_t*>address(order)
        a.n = order.shape[0]
    _contiguous("out", out, _UINT8, 2, True)
    _same_shape("out", out, "the picked rows", (a.n, PIXELS))
    _apart("out", out, "images", images)
    _apart("out", out, "order", order)
    a.out = <uint8_t*>address(out)
    return a
