# What Python may hand to the kernels: every dtype, shape, size and stride is checked here, before a pointer
# is taken. Errors name the argument, the rule, and what was given.

import numpy as np

from cpython.buffer cimport PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from posix.stdlib cimport posix_memalign

ctypedef const float* floats_in
ctypedef float* floats_out

LARGEST_SIDE = 2**31 - 1  # keeps every product of two sides within 64 bits


cdef _array(str name, value, tuple dtypes, int ndim):
    if not isinstance(value, np.ndarray) or value.dtype not in dtypes or value.ndim != ndim:
        given = (
            f"a {value.ndim}-D {value.dtype} array" if isinstance(value, np.ndarray) else type(value).__name__
        )
        wanted = " or ".join(str(dtype) for dtype in dtypes)
        raise TypeError(f"{name} must be a {ndim}-D {wanted} array, not {given}")
    if value.size and max(value.shape, default=0) > LARGEST_SIDE:
        raise ValueError(f"{name} has a side longer than {LARGEST_SIDE}: {value.shape}")
    return value


cdef _FLOAT32 = (np.dtype(np.float32),)
cdef _FLOAT64 = (np.dtype(np.float64),)
cdef _UINT8 = (np.dtype(np.uint8),)
cdef _INT64 = (np.dtype(np.int64),)
cdef _ROWS = (np.dtype(np.float32), np.dtype(np.uint8))


cdef _strided_matrix(str name, value):
    """A float32 matrix whose elements lie on whole multiples of their size: any view but a field of records."""
    _array(name, value, _FLOAT32, 2)
    if not value.flags.aligned or any(stride % 4 for stride in value.strides):
        raise ValueError(f"{name} must be aligned: its elements must lie on multiples of 4 bytes")
    return value


cdef _contiguous(str name, value, tuple dtypes, int ndim, bint writable=False):
    _array(name, value, dtypes, ndim)
    if not value.flags.c_contiguous or not value.flags.aligned:
        raise ValueError(f"{name} must be aligned and C-contiguous")
    if writable and not value.flags.writeable:
        raise ValueError(f"{name} must be writable")
    return value


cdef _same_shape(str name, value, str like_name, tuple shape):
    if value.shape != shape:
        raise ValueError(f"{name} has shape {value.shape}, but {like_name} needs {shape}")


cdef _apart(str name, out, str other_name, other):
    if np.may_share_memory(out, other):
        raise ValueError(f"{name} shares memory with {other_name}: give it memory of its own")


cdef void* address(array) except? NULL:
    """Where the first element lies; valid as long as the array lives."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_STRIDED_RO)
    cdef void* at = view.buf
    PyBuffer_Release(&view)
    return at


cdef class Buffer:
    """Memory on a cache line's boundary that lives as long as this object. Raises `MemoryError`."""

    cdef float* data
    cdef readonly Py_ssize_t nbytes

    def __cinit__(self, Py_ssize_t floats):
        cdef void* data = NULL
        cdef size_t nbytes = 4 * <size_t>max(floats, 1)  # of the largest network it is more than a Py_ssize_t holds
        if posix_memalign(&data, 64, nbytes):
            raise MemoryError(f"{nbytes} bytes for the kernels' workspace are not to be had")
        self.data = <float*>data
        self.nbytes = nbytes

    def __dealloc__(self):
        free(self.data)
