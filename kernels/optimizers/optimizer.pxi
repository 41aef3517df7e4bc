# What becomes of a gradient. A batch of several micro-batches accumulates it; with the last micro-batch, the update is
# applied vector by vector, where the sum is complete.
#
# An update rule is a kind, a few parameters, and up to MAX_STATES arrays of state, laid out as the weights are. To add
# one: a kind and its parameters here, a row in RULES (interface/optimizer.pxi) and a function of one vector for
# `update_block` (optimizers/update.pxi). Parameters that are the same for a whole call stand in OptimizerParams; what
# depends on the step is computed by `prepare_step`.

cdef enum OptimizerKind:
    SGD  # state: velocity, unless momentum is 0
    ADAM  # state: first and second moment
    ADAMW  # the same

cdef enum:  # slots of state
    VELOCITY = 0
    FIRST_MOMENT = 0
    SECOND_MOMENT = 1
    AVERAGE = 2  # of the weights, if averaging is not 0
    MAX_STATES = 3

cdef struct OptimizerParams:
    OptimizerKind kind
    bint plain  # SGD with or without momentum, nothing else: applied in registers, the other rules to blocks in memory
    bint nesterov
    float momentum
    double beta1
    double beta2
    float eps
    float weight_decay  # of weights, not of biases
    double averaging  # largest decay of the average


cdef struct Update:
    OptimizerParams params
    float learning_rate  # of this step, and so are the next three
    float step_size  # learning rate over Adam's first bias correction
    float moment_scale  # one over the square root of Adam's second bias correction
    float average_share  # of the new weights in the average
    float weight_decay  # 0 for biases
    float* weights
    float* state[MAX_STATES]  # NULL where the rule keeps none
    float* gradients  # NULL if every batch is one micro-batch
    bint starts  # the batch's first micro-batch: sums start from 0, else from what has been accumulated
    bint applies  # its last one: apply the update, else accumulate
    bint skips_zeros  # a gradient of 0 changes nothing
