# What becomes of a gradient. A batch of several micro-batches accumulates it; with the last micro-batch, the update is
# applied in registers, vector by vector, where the sum is complete.
#
# An update rule is a kind, a few parameters, and up to MAX_STATES arrays of state, laid out as the weights are. To add
# one: a kind and its parameters here, a row in RULES (interface/optimizer.pxi) and a branch in `apply_update`
# (optimizers/update.pxi). Parameters that are the same for a whole call stand in Optimizer; what changes from step to
# step comes as an array of one value for each step, as the learning rate does (`set_step`).

cdef enum OptimizerKind:
    SGD  # state: velocity, unless momentum is 0

cdef enum:
    MAX_STATES = 2

cdef struct OptimizerParams:
    OptimizerKind kind
    float momentum


cdef struct Update:
    OptimizerParams params
    float learning_rate  # of this step
    float* weights
    float* state[MAX_STATES]  # NULL where the rule keeps none
    float* gradients  # NULL if every batch is one micro-batch
    bint starts  # the batch's first micro-batch: sums start from 0, else from what has been accumulated
    bint applies  # its last one: apply the update, else accumulate
    bint skips_zeros  # a gradient of 0 changes nothing
