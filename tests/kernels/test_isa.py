"""Which instruction set is chosen, and how it is asked for: in a process of its own, for it is chosen at import."""

import os
import subprocess
import sys

import pytest

from falcon_mnist.kernels import UnsupportedIsaError, isa, supported, variant

KNOWN = ["avx512", "avx2", "baseline"]


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={name: value for name, value in os.environ.items() if name != "FALCON_MNIST_ISA"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


SHOW = "from falcon_mnist import kernels as k; print(k.isa(), k.gemm == k.variant(k.isa()).gemm)"


@pytest.mark.parametrize("name", supported())
def test_the_variable_forces_a_variant(name):
    result = python(SHOW, FALCON_MNIST_ISA=f" {name} ")
    assert (result.stdout, result.stderr) == (f"{name} True\n", "")


@pytest.mark.parametrize("environment", [{}, {"FALCON_MNIST_ISA": ""}], ids=["unset", "empty"])
def test_without_it_the_best_is_chosen(environment):
    assert python(SHOW, **environment).stdout == f"{supported()[0]} True\n"


@pytest.mark.parametrize("name", sorted({*KNOWN, "sse9", "AVX2", "reference"} - set(supported())))
def test_what_cannot_run_here_is_refused_in_one_sentence(name):
    result = python(SHOW, FALCON_MNIST_ISA=name)
    assert result.returncode == 1
    *_, last = result.stderr.splitlines()
    sentence = f"FALCON_MNIST_ISA asks for {name!r}, which this machine cannot run: it has {', '.join(supported())}"
    assert last == f"falcon_mnist.kernels.UnsupportedIsaError: {sentence}"
    with pytest.raises(UnsupportedIsaError, match=f"'{name}'"):
        variant(name)


def test_what_is_supported():
    assert list(supported()) == [name for name in KNOWN if name in supported()]  # best first
    assert supported()[-1] == "baseline"
    assert isa() in supported()
    assert issubclass(UnsupportedIsaError, ImportError)
