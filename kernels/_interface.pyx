# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What Python sees of the kernels: every argument is checked here, then a variant's C functions compute."""

from .steps import Batches, Steps

include "isa/table.pxi"
include "interface/validation.pxi"
include "interface/augment.pxi"
include "interface/noise.pxi"
include "interface/variant.pxi"
include "interface/optimizer.pxi"
include "interface/workspace.pxi"
include "interface/network.pxi"
