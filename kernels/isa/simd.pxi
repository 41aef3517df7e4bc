# The vector operations of isa/simd.h, and what a variant's .pyx file defines: LANES and MR.

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef extern from "isa/simd.h" nogil:
    ctypedef float vfloat  # a vector; Cython needs to know only that it can be copied
    vfloat vload(const float* source) noexcept
    void vstore(float* to, vfloat x) noexcept
    vfloat vload_part(const float* source, Py_ssize_t count) noexcept
    void vstore_part(float* to, vfloat x, Py_ssize_t count) noexcept
    vfloat vbroadcast(float x) noexcept
    vfloat vfma(vfloat a, vfloat b, vfloat c) noexcept
    vfloat in_register(vfloat x) noexcept
    const float* computed(const float* at) noexcept
    vfloat vsqrt(vfloat x) noexcept
    vfloat vzip_low(vfloat a, vfloat b) noexcept
    vfloat vzip_high(vfloat a, vfloat b) noexcept
    vfloat vrelu(vfloat x) noexcept
    vfloat vrelu_backward(vfloat y, vfloat d) noexcept
    void transpose_4x4(const float* source, Py_ssize_t rs, float* to, Py_ssize_t rs_to) noexcept
    void transpose_8x4(const float* source, Py_ssize_t rs, float* to, Py_ssize_t rs_to) noexcept
    ctypedef int32_t vint
    ctypedef uint64_t vlong
    vint iload(const int32_t* source) noexcept
    void istore(int32_t* to, vint x) noexcept
    vint ibroadcast(int32_t x) noexcept
    vint min_unsigned(vint a, vint b) noexcept
    bint is_zero(vfloat x) noexcept
    bint is_any_below(vint a, vint b, vint c, vint d) noexcept
    vint dot_int16(vint a, vint b) noexcept
    vint gather_elements(const int32_t* table, vint at) noexcept
    vint widen_bytes(const uint8_t* source) noexcept
    void store_low_bytes(uint8_t* to, vint x) noexcept
    vlong lbroadcast(uint64_t x) noexcept
    vlong multiply_low_words(vlong a, vlong b) noexcept
    vint interleave_low_words(vlong even, vlong odd) noexcept
    ctypedef uint8_t vbytes
    vbytes bload(const uint8_t* source) noexcept
    void bstore(uint8_t* to, vbytes x) noexcept
    vbytes bzeros() noexcept
    vbytes bzip_low(vbytes a, vbytes b) noexcept
    vbytes bzip_high(vbytes a, vbytes b) noexcept
    uint64_t nonzero_bytes(const uint8_t* x) noexcept
    uint64_t nonzero_floats(const float* x) noexcept
    float sfma(float a, float b, float c) noexcept
    int32_t float_bits(float x) noexcept
    float bits_float(int32_t bits) noexcept
    void fetch_to_write(const void* at) noexcept
    void spin_pause() noexcept
    enum:
        LANES
        MR

cdef extern from * nogil:
    void prefetch "__builtin_prefetch"(const void* at, int for_writing, int level)
    int trailing_zeros "__builtin_ctzll"(uint64_t mask)
    int ones "__builtin_popcountll"(uint64_t mask)

cdef extern from *:
    """
    #define NR (2 * LANES)
    #define MAX_UPDATE_VECTORS (2 * MR)
    #define LOG2_LANES (LANES == 16 ? 4 : LANES == 8 ? 3 : 2)
    """
    enum:
        NR  # columns of the register tile
        MAX_UPDATE_VECTORS  # of a register tile of gradients
        LOG2_LANES
