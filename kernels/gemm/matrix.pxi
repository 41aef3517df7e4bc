cdef struct Matrix:
    # Element (i, j) lies at `data[i * rs + j * cs]`: a transpose only swaps the strides.
    float* data
    Py_ssize_t rows
    Py_ssize_t columns
    Py_ssize_t rs
    Py_ssize_t cs
