# A network as the passes see it: linear layers, each with the activations behind it.

cdef enum Kind:
    LINEAR
    RELU
    SIGMOID
    TANH

cdef enum:
    LAYERS = 64

cdef struct Linear:
    Py_ssize_t inputs
    Py_ssize_t outputs
    Py_ssize_t weight  # where W (inputs, outputs) and b (outputs) begin in the flat parameters
    Py_ssize_t bias
    Py_ssize_t packed_weight  # and in the packed ones
    Py_ssize_t packed_bias
    Py_ssize_t panel  # columns of a panel, as many in each
    Py_ssize_t padded  # outputs in whole vectors: so many columns are computed
    Py_ssize_t stride  # floats from one row of its output to the next, and of its output's gradient
    Py_ssize_t output_at  # floats before its output, for each row of a workspace
    bint sparse  # it may skip zeros of its input: pixels, or what relu has left
    bint sparse_gradient  # and of the gradient of its output: relu is behind it, its panels have SPARSE_PANEL columns
    int activation  # the activations behind it, up to the next linear layer
    int end_activation


cdef struct Net:
    # Activations before the first linear layer are those from 0 to linear[0].activation.
    Linear linear[LAYERS]
    int linears
    Kind activation[LAYERS]
    Py_ssize_t activation_at[LAYERS]  # like output_at; the first behind a linear layer overwrites that one's output
    Py_ssize_t inputs
    Py_ssize_t outputs
    Py_ssize_t stride  # floats from one row of the input to the next
