# Products that skip the zeros of their left operand: four in five pixels of MNIST are background, and relu zeroes half of
# a layer and of its gradient.
#
#   forward    Y (rows, outputs) = X (rows, inputs) @ W
#   d_input    D' (rows, inputs) = D (rows, outputs) @ W.T
#   d_weight   G (inputs, outputs) = X.T @ D                 X of a micro-batch is transposed for it
#
# In each, A @ B, the non-zeros of a row of A pick rows of B. Every fma loads a vector of B, and the element of A: loads
# are the limit. So B has to come from the first-level cache, and a tile sums many vectors at once.
#
# Forward and d_input: a block of B is K_BLOCK rows by a tile's columns, 40 KiB at most. All rows of A go through it one
# by one; between blocks their sums lie in memory of the thread's own, or its part of `halves`, not in the output
# (`sparse_block`).
#
# d_weight: a sum ends with the update of its parameter, so B is all of D, for fewer columns: up to four panels of W. Pixels go
# through it in pairs of inputs, and each row of B that one of the two needs is loaded once for both: neighbours are alike
# (of 64 rows 14 are needed by either, 12 by each). Other inputs are paired only where B exceeds the first-level cache
# (`sparse_tile`).
#
# There are no index lists: the next element of a mask is two instructions away, hidden behind the arithmetic. The end of
# the loop over a mask is mispredicted; so that nothing else waits then, masks are computed one row ahead.
#
# Every element is summed over k in order, one fma at a time, in two such sums in the first layer's forward pass. So do the
# dense products, which also add products with 0. Those change at most the sign of a sum that is 0, and no such sign reaches
# a result: `bias_and_activations` and `apply_update` make it +. So the bits are the same with and without skipping, if all
# operands are finite.

cdef extern from *:
    """
    #define TILE_VECTORS 8
    #define WIDEST_TILE 10
    #define HALF_TILE (TILE_VECTORS / 2)
    #define SPARSE_TILE (WIDEST_TILE * LANES)
    """
    enum:
        TILE_VECTORS  # vectors that are summed at once, of one row
        WIDEST_TILE  # where that saves a tile, and so a walk over all masks
        HALF_TILE  # of the gradient of one image, or of many
        SPARSE_TILE  # the widest sparse tile, in columns


cdef inline Py_ssize_t place(int v, Py_ssize_t panel) noexcept nogil:
    """Floats from the first vector of a tile to vector v, if panels of two lie `panel` floats apart."""
    return v // 2 * panel + v % 2 * LANES


cdef inline int vectors_of(int most, Py_ssize_t columns) noexcept nogil:
    """How many vectors the next tile sums at once, `most` at most: tiles are alike, and begin with a panel."""
    cdef Py_ssize_t left = columns // LANES, tiles = (left + most - 1) // most
    cdef Py_ssize_t vectors = (left + tiles - 1) // tiles
    return <int>min(left, vectors + vectors % 2)


cdef inline int tile_vectors(Py_ssize_t columns) noexcept nogil:
    """Vectors of the next tile of a forward pass, or of d_input: of 144 columns nine at once, of 192 twice six."""
    cdef Py_ssize_t left = columns // LANES
    if (left + WIDEST_TILE - 1) // WIDEST_TILE < (left + TILE_VECTORS - 1) // TILE_VECTORS:
        return vectors_of(WIDEST_TILE, columns)
    return vectors_of(TILE_VECTORS, columns)
