# What is drawn for the rows of a training job: how images are distorted, and which pixels and units are dropped.

cdef enum:
    SIDE = 28
    PIXELS = SIDE * SIDE
    LINE = 32  # columns of a field in memory
    ROW_PAIRS = SIDE // 2


cdef struct Elastic:
    # Fields of displacements G @ noise @ G.T, with G (28, 28) a Gaussian cut at the image's edges, as products of int16
    # matrices: G is about restore (28, rank) @ compress (rank, 28). Two int16 that follow each other along the dimension
    # that is summed over make an int32.
    int rank  # a multiple of 4, or 0 for no field
    int restore_bits  # restore holds alpha * 2^restore_bits times the real numbers
    int32_t compress[SIDE * ROW_PAIRS]  # (rank, 14), times 2^13
    int32_t smooth[ROW_PAIRS * LINE]  # G (14, 32), times 2^15
    int32_t restore[SIDE * ROW_PAIRS]  # (28, rank / 2)


cdef struct Distortion:
    # Of images of 28 by 28 bytes. The first four are the largest that are drawn.
    double shift  # pixels
    double rotation  # radians
    double scale
    double shear
    Elastic elastic


cdef struct Augmentation:
    const uint8_t* images  # (count, 784)
    Py_ssize_t count
    const int64_t* order  # of the rows of `out`, or NULL for all images as they are
    uint8_t* out  # (n, 784)
    Py_ssize_t n
    uint32_t[2] seed
    uint32_t epoch
    Distortion distortion
    Team team


cdef struct Dropout:
    # Inverted dropout: a number is dropped if the word drawn for it is below `threshold`, else multiplied by `scale`.
    uint32_t threshold  # 0: nothing is dropped
    float scale


cdef struct Draws:
    uint32_t[2] seed
    uint32_t epoch
    bint distorts
    Distortion distortion
    Dropout input
    Dropout hidden
    float pixel[256]  # what a byte that is not dropped counts as
    uint8_t* drawn[2]  # (rows of a micro-batch, inputs), of one micro-batch and the next; NULL if rows stay as they are
