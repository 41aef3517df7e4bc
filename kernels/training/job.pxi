# A job is one call's work on the rows of a data set, done in micro-batches, with memory from a workspace.

cdef enum Task:
    EVALUATE
    GRADIENTS
    TRAIN

cdef enum:
    THREAD_LIMIT = 16
    ROOFLINE_FLOATS = 4096  # 16 KiB, half of a small first-level cache


cdef struct Row:
    # Bytes, or floats where bytes is NULL.
    const uint8_t* bytes
    const float* floats


cdef struct Rows:
    # Images (images, inputs), uint8 or float32, the other one NULL; `order` picks rows, NULL for all as they are.
    const uint8_t* bytes
    const float* floats
    const int64_t* order
    Py_ssize_t images


cdef struct Panels:
    # A transposed matrix D.T (columns, rows), cut into panels of so many rows of D that begin every `ld` floats.
    float* data
    Py_ssize_t rows
    Py_ssize_t ld


cdef struct Score:
    double loss
    bint correct  # the largest logit, the first of several, is the label's


cdef struct Metrics:
    double loss  # sum over rows
    Py_ssize_t correct  # rows


cdef struct Buffers:
    # The parts of a workspace, on cache lines. `rows` is the size of a micro-batch at most.
    Py_ssize_t rows
    float* activations
    float* grad_activations  # laid out alike
    Panels d_transposed[2]  # D.T of the layer that is computed, and of the one before it
    float* logits  # (rows, outputs), transposed in blocks of LANES rows
    Score* scores
    float* halves[2]  # the sums over each half of the first layer's inputs, (rows, outputs) tile by tile of columns
    float* x  # (rows, net.ld), if the first layer is computed densely
    float* x_transposed  # (inputs, ld_transposed), of each later layer that may skip zeros
    Py_ssize_t ld_transposed
    # Each thread's own part, one after the other, begins with its `row`; where the others are in it, in floats:
    float* own
    Py_ssize_t own_floats
    Py_ssize_t transposed_at
    Py_ssize_t labels_at
    Py_ssize_t sums_at
    Py_ssize_t block_at


cdef struct Job:
    Task task
    const Net* net
    Buffers* workspace
    const float* packed  # parameters
    Rows rows
    const uint8_t* labels
    Py_ssize_t n  # rows to process
    Py_ssize_t batch_size
    const uint8_t* stop  # set by another thread, or NULL
    const float* learning_rates  # of each step
    int64_t first_step  # steps of the run before this job
    float smoothing  # of labels, in training
    const Draws* draws  # or NULL
    const float* pixel  # (256,), what bytes count as
    Update update
    char[64] before_shared  # what threads change lies on cache lines of its own
    Metrics metrics
    Py_ssize_t scored  # rows of finished micro-batches
    Py_ssize_t done  # rows of finished batches; in EVALUATE of finished micro-batches
    bint stopped
    bint sparse[2]  # whether the first layer skips zeros of this micro-batch, and of the next
    int changed  # a label or a row number is no longer what it was when it was validated
    char[64] before_team
    Team team
