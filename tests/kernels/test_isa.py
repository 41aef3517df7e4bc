"""Which instruction set is chosen, and how it is asked for: in a process of its own, for it is chosen at import."""

import os
import re
import subprocess
import sys

import pytest

from falcon_mnist.kernels import UnsupportedIsaError, isa, supported, variant

KNOWN = ["avx512", "avx2", "baseline"]


# Tells what is chosen for each value. Each is told by a process that has imported NumPy: that takes most of the time.
SHOW = """
import os, sys, numpy
for value in sys.argv[1:]:
    if os.fork() == 0:
        os.environ["FALCON_MNIST_ISA"] = value
        from falcon_mnist import kernels as k
        print(k.isa(), k.gemm == k.variant(k.isa()).gemm)
        break
    print(end=f"{os.waitstatus_to_exitcode(os.wait()[1])} ", file=sys.stderr)
"""


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={name: value for name, value in os.environ.items() if name != "FALCON_MNIST_ISA"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_variable_forces_a_variant_and_where_it_is_empty_the_best_is_chosen():
    result = python(SHOW, *(f" {name} " for name in supported()), "")
    assert result.stdout == "".join(f"{name} True\n" for name in (*supported(), supported()[0]))
    assert result.stderr.split() == ["0"] * (len(supported()) + 1)


def test_without_it_the_best_is_chosen():
    result = python("from falcon_mnist import kernels as k; print(k.isa(), k.gemm == k.variant(k.isa()).gemm)")
    assert (result.stdout, result.stderr) == (f"{supported()[0]} True\n", "")


def test_what_cannot_run_here_is_refused_in_one_sentence():
    names = sorted({*KNOWN, "sse9", "AVX2", "reference"} - set(supported()))
    result = python(SHOW, *names)
    ends = re.findall(r"^falcon_mnist.kernels.UnsupportedIsaError: (.*)\n1 ", result.stderr, flags=re.M)
    has = f"which this machine cannot run: it has {', '.join(supported())}"
    assert ends == [f"FALCON_MNIST_ISA asks for {name!r}, {has}" for name in names]
    for name in names:
        with pytest.raises(UnsupportedIsaError, match=f"'{name}'"):
            variant(name)


def test_what_is_supported():
    assert list(supported()) == [name for name in KNOWN if name in supported()]  # best first
    assert supported()[-1] == "baseline"
    assert isa() in supported()
    assert issubclass(UnsupportedIsaError, ImportError)
