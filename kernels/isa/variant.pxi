# All sources of a variant, each file after those it uses, and the table that they fill.

from cpython.pycapsule cimport PyCapsule_New

include "isa/simd.pxi"
include "isa/table.pxi"
include "gemm/micro_kernel.pxi"
include "gemm/pack.pxi"
include "gemm/small.pxi"
include "gemm/gemm.pxi"
include "layers/activations.pxi"
include "layers/softmax.pxi"
include "layers/cross_entropy.pxi"
include "optimizers/update.pxi"
include "layers/transpose.pxi"
include "layers/linear.pxi"
include "threads/team.pxi"
include "threads/parked.pxi"
include "data/numbers.pxi"
include "data/philox.pxi"
include "data/augment.pxi"
include "layers/dropout.pxi"
include "sparse/masks.pxi"
include "training/micro_batch.pxi"
include "sparse/tile.pxi"
include "sparse/forward.pxi"
include "sparse/finish.pxi"
include "sparse/gradients.pxi"
include "sparse/outer_product.pxi"
include "training/split.pxi"
include "data/gather.pxi"
include "training/forward.pxi"
include "training/backward.pxi"
include "training/epoch.pxi"
include "training/forward_rows.pxi"
include "training/forward_columns.pxi"
include "training/forward_shared.pxi"
include "isa/roofline.pxi"

cdef Kernels _table = Kernels(
    LANES, SPARSE_TILE, packing_floats, sgemm,
    relu_forward, sigmoid_forward, tanh_forward, relu_backward, sigmoid_backward, tanh_backward,
    softmax_rows, softmax_backward_rows, argmax_rows, cross_entropy,
    add_bias_rows, bias_gradient, apply_updates, prepare_step, run_job, forward_rows, forward_shared,
    narrow_doubles, bits_within, augment, random_words, fma_chains, cache_passes,
)

table = PyCapsule_New(&_table, "falcon_mnist.kernels.table", NULL)
