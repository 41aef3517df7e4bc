# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""JSON documents whose arrays of numbers become float32 arrays while they are read."""

include "json/decimal.pxi"
include "json/numbers.pxi"
include "json/rows.pxi"
include "json/document.pxi"
include "json/faults.pxi"
