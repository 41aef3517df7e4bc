"""Who is compared: these kernels for each instruction set, NumPy, and the peers that are installed.

A contender makes calls to be timed: each of its methods takes NumPy arrays, prepares what a user would
prepare once, and returns a function without arguments, whose result `as_numpy` turns back. What a contender
does not offer, it does not define. `use()` sets its number of threads, which another's may have changed.
"""

from __future__ import annotations

import functools
import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from falcon_mnist import kernels

CPUS = os.cpu_count() or 1
THREADS: list[int | None] = sorted({1, max(1, CPUS // 2), CPUS})

# Module to import, module of this package, thread counts to try (None: the library decides).
LIBRARIES: dict[str, tuple[str, str, list[int | None]]] = {
    "NumPy": ("numpy", "with_numpy", THREADS),
    "PyTorch": ("torch", "with_torch", THREADS),
    "JAX": ("jax", "with_jax", [None]),
    "scikit-learn": ("sklearn", "with_sklearn", [1]),
}


def installed() -> list[str]:
    """The libraries that can be compared with."""
    return [name for name, (module, _, _) in LIBRARIES.items() if find_spec(module)]


def missing() -> list[str]:
    """Those that cannot."""
    return [name for name in LIBRARIES if name not in installed()]


def variants(library: str) -> list[Any]:
    """An installed library as a contender with each of its thread counts."""
    _, ours, thread_counts = LIBRARIES[library]
    make = import_module(f"contenders.{ours}").Contender
    return [make(threads) for threads in thread_counts]


@functools.cache
def contenders() -> tuple[Any, ...]:
    """All of them; this project's first, best instruction set first."""
    from contenders.ours import Ours

    return (*map(Ours, kernels.supported()), *(each for library in installed() for each in variants(library)))


def offering(what: str) -> list[Any]:
    """The contenders that have an operation; ours may share training and augmentation among threads as well."""
    from contenders.ours import Ours

    shared = [Ours(kernels.isa(), CPUS)] if what in ("training", "augmentation") and CPUS > 1 else []
    return [*(each for each in contenders() if hasattr(each, what)), *shared]
