"""Float32 kernels, in Cython and without the GIL, compiled once for each instruction set.

The variant is chosen once, at import: the best that was built and that the CPU has, or the one that
`FALCON_MNIST_ISA` names. `isa()` tells which; `variant(name)` gives another one, as the tests need.
`reference` holds a NumPy twin of each kernel.

    interface/   what Python calls: checks, networks, workspaces, optimizers; one extension, `_interface`
    json/        JSON with its arrays of numbers to float32; one extension, `_json`
    gemm/ sparse/ layers/ optimizers/ threads/ training/ data/    the kernels, one extension for each instruction set
    isa/         vector types, and the table of C functions through which the interface calls a variant
"""

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from ._interface import (
    MAX_THREADS,
    Network,
    Noise,
    Optimizer,
    Packed,
    Variant,
    Workspace,
    cpu_variants,
    use,
)
from ._json import TooManyError, read_json
from .steps import Batches, Steps

__all__ = [
    "MAX_THREADS",
    "Batches",
    "Network",
    "Noise",
    "Optimizer",
    "Packed",
    "Steps",
    "TooManyError",
    "Variant",
    "Workspace",
    "read_json",
]

_VARIABLE = "FALCON_MNIST_ISA"


class UnsupportedIsaError(ImportError):
    """The requested instruction set cannot be used here; the message is one sentence."""


def supported() -> tuple[str, ...]:
    """Names of the variants that were built and that this CPU can run, best first."""
    return tuple(name for name in cpu_variants() if find_spec(f"{__name__}._{name}"))


@cache
def variant(name: str) -> Variant:
    """The kernels of one instruction set. Raises `UnsupportedIsaError` if it cannot run here."""
    if name not in supported():
        raise UnsupportedIsaError(
            f"{_VARIABLE} asks for {name!r}, which this machine cannot run: it has {', '.join(supported())}"
        )
    return Variant(name, import_module(f"{__name__}._{name}").table)


_kernels = variant(os.environ.get(_VARIABLE, "").strip() or supported()[0])
use(_kernels)


def isa() -> str:
    """The instruction set of the kernels in use: `avx512`, `avx2` or `baseline`."""
    return _kernels.isa


gemm = _kernels.gemm
relu = _kernels.relu
relu_backward = _kernels.relu_backward
sigmoid = _kernels.sigmoid
sigmoid_backward = _kernels.sigmoid_backward
tanh = _kernels.tanh
tanh_backward = _kernels.tanh_backward
softmax = _kernels.softmax
argmax = _kernels.argmax
softmax_backward = _kernels.softmax_backward
softmax_cross_entropy = _kernels.softmax_cross_entropy
add_bias = _kernels.add_bias
bias_backward = _kernels.bias_backward
apply_update = _kernels.apply_update
fma_peak = _kernels.fma_peak
cache_bandwidth = _kernels.cache_bandwidth
narrow = _kernels.narrow
within = _kernels.within
augment = _kernels.augment
random_words = _kernels.random_words
