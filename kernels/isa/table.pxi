# One variant's kernels, as C functions. The variant fills the table; the interface calls through it.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass

include "gemm/matrix.pxi"
include "layers/network.pxi"
include "optimizers/optimizer.pxi"
include "threads/state.pxi"
include "data/draws.pxi"
include "training/job.pxi"

ctypedef void (*Elementwise)(Py_ssize_t n, const float* x, float* y) noexcept nogil
ctypedef void (*ElementwiseBackward)(Py_ssize_t n, const float* y, const float* d_y, float* d_x) noexcept nogil

cdef struct Kernels:
    int lanes  # float32 in a vector
    int sparse_tile  # columns of a sparse tile
    Py_ssize_t (*packing_floats)(Py_ssize_t n, Py_ssize_t k) noexcept nogil
    void (*gemm)(const Matrix* a, const Matrix* b, const Matrix* c, float alpha, float beta, float* packing) noexcept nogil
    Elementwise relu
    Elementwise sigmoid
    Elementwise tanh
    ElementwiseBackward relu_backward
    ElementwiseBackward sigmoid_backward
    ElementwiseBackward tanh_backward
    void (*softmax)(Py_ssize_t rows, Py_ssize_t columns, const float* x, float* y) noexcept nogil
    void (*softmax_backward)(
        Py_ssize_t rows, Py_ssize_t columns, const float* y, const float* d_y, float* d_x
    ) noexcept nogil
    void (*argmax)(Py_ssize_t rows, Py_ssize_t columns, const float* x, int64_t* y) noexcept nogil
    void (*cross_entropy)(
        Py_ssize_t rows, Py_ssize_t classes, float* z, const uint8_t* labels, float scale, float smoothing,
        Score* scores
    ) noexcept nogil
    void (*add_bias)(Py_ssize_t rows, Py_ssize_t columns, const float* bias, float* x) noexcept nogil
    void (*bias_backward)(Py_ssize_t rows, Py_ssize_t columns, const float* d_y, float* d_bias) noexcept nogil
    void (*apply_updates)(Py_ssize_t n, const float* gradients, const Update* update) noexcept nogil
    void (*prepare_step)(Update* update, float learning_rate, int64_t step) noexcept nogil
    void (*run)(Job* job, int threads) noexcept nogil
    void (*forward)(Job* job, float* out) noexcept nogil
    void (*forward_shared)(Job* job, float* out, Buffers* second) noexcept nogil
    bint (*narrow)(Py_ssize_t n, const double* x, float* y) noexcept nogil
    bint (*within)(Py_ssize_t n, const uint32_t* bits, uint32_t largest) noexcept nogil
    void (*augment)(Augmentation* augmentation, int threads) noexcept nogil
    void (*random_words)(const uint32_t* key, const uint32_t* counter, Py_ssize_t n, uint32_t* out) noexcept nogil
    float (*fma_chains)(Py_ssize_t iterations, Py_ssize_t* flop) noexcept nogil
    float (*cache_passes)(Py_ssize_t iterations, float* x) noexcept nogil
