# What distorts images of 28 by 28 bytes, and the rows that a call asks for.

cdef enum:
    SIDE = 28
    PIXELS = SIDE * SIDE
    LINE = 32  # columns of a field in memory
    ROW_PAIRS = SIDE // 2


cdef struct Elastic:
    # Fields of displacements G @ noise @ G.T, with G (28, 28) a Gaussian cut at the image's edges, as products of int16
    # matrices: G is about restore @ compress, of `rank` columns and rows. Two int16 that follow each other along the
    # dimension of a sum make an int32.
    int rank  # a multiple of 4, or 0 for no field
    int restore_bits  # restore holds alpha * 2^restore_bits times the real numbers
    int32_t compress[SIDE * ROW_PAIRS]  # (rank, 14), of 2^13
    int32_t smooth[ROW_PAIRS * LINE]  # G (14, 32), of 2^15
    int32_t restore[SIDE * ROW_PAIRS]  # (28, rank / 2)


cdef struct Augmentation:
    const uint8_t* images  # (count, 784)
    Py_ssize_t count
    const int64_t* order  # of the rows of `out`, or NULL for all images as they are
    uint8_t* out  # (n, 784)
    Py_ssize_t n
    uint32_t[2] seed
    uint32_t epoch
    double shift  # pixels; this and the next are the largest that are drawn
    double rotation  # radians
    double scale
    double shear
    Elastic elastic
    Team team
