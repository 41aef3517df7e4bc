# Arguments from Python: dtype, shape, size and strides are checked before a pointer is taken. Errors name the argument, the
# rule, and what was given.

cimport numpy as cnp
import numpy as np

from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from posix.stdlib cimport posix_memalign

cnp.import_array()

cdef enum:
    LARGEST_SIDE = 0x7FFFFFFF  # keeps every product of two sides within 64 bits
    # Releasing the GIL costs more than it frees for less work than these, all some 10 to 100 us.
    NOGIL_PRODUCTS = 1_000_000
    NOGIL_SOFTMAX = 10_000  # entries
    NOGIL_NUMBERS = 100_000

cdef _FLOAT32 = (np.dtype(np.float32),)
cdef _FLOAT64 = (np.dtype(np.float64),)
cdef _UINT8 = (np.dtype(np.uint8),)
cdef _INT64 = (np.dtype(np.int64),)
cdef _ROWS = (np.dtype(np.float32), np.dtype(np.uint8))


cdef cnp.ndarray _array(str name, value, tuple dtypes, int ndim):
    cdef cnp.ndarray array = value if isinstance(value, cnp.ndarray) else None
    if array is None or array.ndim != ndim or array.descr not in dtypes:
        given = (
            f"a {value.ndim}-D {value.dtype} array" if isinstance(value, cnp.ndarray) else type(value).__name__
        )
        wanted = " or ".join(str(dtype) for dtype in dtypes)
        raise TypeError(f"{name} must be a {ndim}-D {wanted} array, not {given}")
    cdef int axis
    for axis in range(ndim):
        if array.shape[axis] > LARGEST_SIDE and array.size:
            raise ValueError(f"{name} has a side longer than {LARGEST_SIDE}: {value.shape}")
    return array


cdef Matrix _strided_matrix(str name, value, bint writable=False) except *:
    """A float32 matrix whose elements lie on whole multiples of their size: any view but a field of records."""
    cdef cnp.ndarray array = _array(name, value, _FLOAT32, 2)
    if not cnp.PyArray_ISALIGNED(array) or array.strides[0] % 4 or array.strides[1] % 4:
        raise ValueError(f"{name} must be aligned: its elements must lie on multiples of 4 bytes")
    if writable and not cnp.PyArray_ISWRITEABLE(array):
        raise ValueError(f"{name} must be writable")
    return Matrix(
        <float*>cnp.PyArray_DATA(array), array.shape[0], array.shape[1], array.strides[0] // 4, array.strides[1] // 4
    )


cdef cnp.ndarray _contiguous(str name, value, tuple dtypes, int ndim, bint writable=False):
    cdef cnp.ndarray array = _array(name, value, dtypes, ndim)
    if not cnp.PyArray_ISCARRAY_RO(array):
        raise ValueError(f"{name} must be aligned and C-contiguous")
    if writable and not cnp.PyArray_ISWRITEABLE(array):
        raise ValueError(f"{name} must be writable")
    return array


cdef _same_shape(str name, value, str like_name, tuple shape):
    if value.shape != shape:
        raise ValueError(f"{name} has shape {value.shape}, but {like_name} needs {shape}")


cdef _apart(str name, cnp.ndarray out, str other_name, cnp.ndarray other):
    """Their extents in memory must not overlap, even if no element is shared. None has no extent."""
    if other is None:
        return
    cdef Extent one = _extent(out), two = _extent(other)
    if out.size and other.size and one.first < two.end and two.first < one.end:
        raise ValueError(f"{name} shares memory with {other_name}: give it memory of its own")


cdef struct Extent:
    const char* first
    const char* end


cdef Extent _extent(cnp.ndarray array):
    """The bytes from an array's first one in memory to its last."""
    cdef const char* data = <const char*>cnp.PyArray_DATA(array)
    cdef Extent extent = Extent(data, data + cnp.PyArray_ITEMSIZE(array))
    cdef Py_ssize_t reach
    cdef int axis
    for axis in range(cnp.PyArray_NDIM(array)):
        reach = (array.shape[axis] - 1) * array.strides[axis]
        if reach < 0:
            extent.first += reach
        else:
            extent.end += reach
    return extent


cdef void* address(cnp.ndarray array):
    """Address of the first element; valid as long as the array lives."""
    return cnp.PyArray_DATA(array)


cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX


cdef class Buffer:
    """Memory on a cache line's boundary that lives as long as this object. Raises `MemoryError`."""

    cdef float* data
    cdef readonly Py_ssize_t nbytes
    cdef Buffer next  # of a list of idle ones

    def __cinit__(self, Py_ssize_t floats):
        cdef void* data = NULL
        # The largest networks ask for more than a size_t holds.
        if floats > PY_SSIZE_T_MAX // 4 or posix_memalign(&data, 64, 4 * max(floats, 1)):
            raise MemoryError(f"{4 * int(floats)} bytes for the kernels' workspace cannot be allocated")
        self.data = <float*>data
        self.nbytes = 4 * max(floats, 1)

    def __dealloc__(self):
        free(self.data)


cdef _check_order(order, Py_ssize_t rows):
    _contiguous("order", order, _INT64, 1)
    if order.size and (int(order.min()) < 0 or int(order.max()) >= rows):
        raise ValueError(f"order must hold row numbers from 0 to {rows - 1}")


cdef _labels(labels, Py_ssize_t rows, Py_ssize_t classes):
    _contiguous("labels", labels, _UINT8, 1)
    _same_shape("labels", labels, "one for each row", (rows,))
    if rows and int(labels.max()) >= classes:
        raise ValueError(f"labels must be below {classes}, the number of classes, not {int(labels.max())}")
