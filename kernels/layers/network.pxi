# A network as the kernels see it: linear layers, each followed by its activations.

cdef enum LayerKind:
    LINEAR
    RELU
    SIGMOID
    TANH

cdef enum:
    MAX_LAYERS = 64
    K_BLOCK = 64  # elements of a row that one mask of non-zeros covers
    MAX_K_BLOCKS = 64  # masks of a row: longer rows are computed densely
    SPARSE_OUTPUTS = 64  # outputs from which on a later layer may skip zeros
    BLOCK_ROWS = 128  # rows of a product whose sums are kept at once

cdef struct Linear:
    Py_ssize_t inputs
    Py_ssize_t outputs
    Py_ssize_t weight  # offsets of W (inputs, outputs) and b (outputs) in the flat parameters
    Py_ssize_t bias
    Py_ssize_t packed_weight  # and in the packed ones
    Py_ssize_t packed_bias
    Py_ssize_t panel  # columns of a panel of the packed W: those of a register tile, two vectors or one
    Py_ssize_t padded  # outputs, padded to whole vectors: the columns that are computed
    Py_ssize_t ld  # leading dimension of its activations and of their gradients, in floats
    Py_ssize_t output_at  # floats before its output in a workspace, for each row
    Py_ssize_t half  # inputs that are summed first: in the first layer half of them, whole masks; in others all
    Py_ssize_t transposed_at  # rows of x_transposed before its own
    bint sparse  # may skip zeros of its input: pixels, or what relu has left
    bint sparse_gradient  # may skip zeros of its d_output: relu follows it, and it may skip zeros itself
    int activation  # index of the first activation after it
    int end_activation


cdef struct Net:
    Linear linear[MAX_LAYERS]
    int linears
    # Activations 0 to linear[0].activation come before the first linear layer. activation_at is as output_at; the first
    # activation after a linear layer overwrites that layer's output.
    LayerKind activation[MAX_LAYERS]
    Py_ssize_t activation_at[MAX_LAYERS]
    Py_ssize_t inputs
    Py_ssize_t outputs
    Py_ssize_t ld  # leading dimension of x
    Py_ssize_t activation_floats  # of all layers, for each row of a workspace
    Py_ssize_t packed_floats
    Py_ssize_t widest_output  # of the linear layers but the first
    Py_ssize_t sparse_inputs  # inputs of the first layer, if it may skip zeros
    Py_ssize_t later_sparse  # inputs, in whole vectors, of all other layers that may
