"""Matrix multiplication, in the shapes that training calls first.

    pytest bench/bench_gemm.py --benchmark-columns=median,iqr
    pytest bench/bench_gemm.py -k 64x784x128

Against OpenBLAS held to AVX2 the pairs are taken in a process of its own, since it chooses its kernels once.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import paired
import pytest
from contenders import offering, with_numpy
from contenders.ours import Ours

from falcon_mnist import kernels

pytestmark = pytest.mark.benchmark(disable_gc=True, max_time=0.3, min_rounds=5)


class Shape(NamedTuple):
    """C (m, n) = A (m, k) @ B (k, n); a transposed operand lies in memory as its transpose."""

    m: int
    k: int
    n: int
    transposed: str = ""

    def __str__(self) -> str:
        a, b = ("T" if name in self.transposed else "" for name in "ab")
        return f"{self.m}x{self.k}{a}x{self.n}{b}"

    @property
    def flop(self) -> int:
        return 2 * self.m * self.k * self.n

    def operands(self) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(1)
        sides = (("a", self.m, self.k), ("b", self.k, self.n))
        a, b = (
            random.standard_normal((columns, rows) if name in self.transposed else (rows, columns), np.float32)
            for name, rows, columns in sides
        )
        return a.T if "a" in self.transposed else a, b.T if "b" in self.transposed else b

    def check(self, result: np.ndarray) -> None:
        """Within the bound of a sum of k rounded products."""
        a, b = (operand.astype(np.float64) for operand in self.operands())
        bound = 2 * self.k * np.finfo(np.float32).eps * (np.abs(a) @ np.abs(b))
        assert (np.abs(result - a @ b) <= bound).all()


SHAPES = (
    # 784-128-10 in batches of 64: the layers forward, the gradients of their weights, and of what goes into the second
    Shape(64, 784, 128),
    Shape(784, 64, 128, "a"),
    Shape(64, 128, 10),
    Shape(128, 64, 10, "a"),
    Shape(64, 10, 128, "b"),
    # inference
    Shape(1, 784, 128),
    Shape(512, 784, 128),
    # wider networks
    Shape(512, 784, 512),
    Shape(64, 1024, 1024),
    Shape(64, 1024, 1024, "b"),
    Shape(1024, 1024, 1024),
)


@pytest.mark.parametrize("contender", offering("gemm"), ids=lambda each: each.name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def bench_gemm(compare: Callable[..., None], shape: Shape, contender: Any) -> None:
    a, b = shape.operands()
    compare(contender, lambda each: each.gemm(a, b), shape.check, group=f"gemm {shape}", flop=shape.flop)


@pytest.mark.skipif("avx2" not in kernels.supported(), reason="there is no AVX2 here")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def bench_gemm_held_to_avx2(benchmark: Any, shape: Shape) -> None:
    ours = Ours("avx2").gemm(*shape.operands())
    shape.check(ours())
    benchmark.group = f"gemm {shape}, AVX2"
    benchmark(ours)
    command = [sys.executable, __file__, str(SHAPES.index(shape))]
    held = subprocess.run(
        command, env=os.environ | {"OPENBLAS_CORETYPE": "Haswell"}, capture_output=True, check=True, timeout=60
    )
    facts = {"contender": "falcon-mnist, avx2", "isa": "avx2", "threads": 1, "flop": shape.flop}
    benchmark.extra_info |= facts | {"paired": json.loads(held.stdout)}


def main(index: str) -> None:
    """Print the pairs of one shape, both contenders on AVX2 and one thread."""
    shape = SHAPES[int(index)]
    assert "Haswell" in with_numpy.blas()
    theirs = with_numpy.Contender(1)
    theirs.use()
    calls = [each.gemm(*shape.operands()) for each in (Ours("avx2"), theirs)]
    for call in calls:
        shape.check(call())
    print(json.dumps(paired.paired(*calls)._asdict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
