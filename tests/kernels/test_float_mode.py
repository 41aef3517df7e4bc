"""Subnormal numbers count as 0 whatever mode the caller's thread is in, and that mode is restored."""

import ctypes
import platform

import numpy as np
import pytest
from bits import sgd_train, state_of
from cases import for_each

LIBM = ctypes.CDLL(None)
# Where fenv_t has the control register, and its bits that flush subnormal results and operands.
FIELDS = {"x86_64": (slice(28, 32), 0x8040), "aarch64": (slice(0, 4), 1 << 24)}
FIELD, FLUSH = FIELDS.get(platform.machine(), (slice(0), 0))
pytestmark = pytest.mark.skipif(platform.machine() not in FIELDS, reason="the layout of fenv_t is not known here")


def environment():
    buffer = ctypes.create_string_buffer(64)
    LIBM.fegetenv(buffer)
    return buffer


@pytest.fixture(params=[False, True], ids=["kept by the caller", "flushed by the caller"])
def flushing(request):
    """The calling thread keeps or flushes subnormal numbers."""
    before, wanted = environment(), environment()
    control = int.from_bytes(before.raw[FIELD], "little")
    control = control | FLUSH if request.param else control & ~FLUSH
    wanted[FIELD] = control.to_bytes(4, "little")
    LIBM.fesetenv(wanted)
    yield request.param
    after = environment()
    LIBM.fesetenv(before)
    assert (int.from_bytes(after.raw[FIELD], "little") & FLUSH != 0) == request.param


def test_no_result_depends_on_the_mode_of_the_caller(kernels, random, flushing):
    tiny = np.full((3, 40), 1e-30, np.float32)
    assert not kernels.gemm(tiny, np.full((40, 20), 1e-12, np.float32)).any()  # 1e-42 each, if kept
    assert not kernels.softmax(np.array([[0, -87, -87.5]], np.float32))[0, 2:].any()
    velocity = np.full(21, 1.5e-38, np.float32)
    optimizer = kernels.Optimizer("sgd", momentum=0.5)
    kernels.apply_update(np.zeros(21, np.float32), np.zeros(21, np.float32), state_of(velocity), optimizer, 0.1)
    assert not velocity.any()


@for_each("threads", [1, 3])
def test_no_pass_depends_on_the_mode_of_the_caller(kernels, random, flushing, threads):
    net = kernels.Network([("linear", 64, 128), ("sigmoid", 128, 128), ("linear", 128, 10)])
    parameters = np.full(net.parameter_count, 1e-30, np.float32)
    images = np.full((48, 64), 1e-12, np.float32)
    gradient, workspace = np.empty_like(parameters), kernels.Workspace(net, 16, training=True)
    net.gradients(parameters, images, np.zeros(48, np.uint8), None, gradient, workspace, threads=threads)
    assert not np.any((gradient != 0) & (np.abs(gradient.astype(float)) < 2.0**-126))
    velocity = np.full_like(parameters, 1.2e-38)
    sgd_train(
        kernels, net, parameters, velocity, images, np.zeros(48, np.uint8), None, 48, 0.1, 0.5, workspace,
        threads=threads,
    )  # fmt: skip
    assert not np.any((velocity != 0) & (np.abs(velocity.astype(float)) < 2.0**-126))


def test_narrow_keeps_subnormal_numbers(kernels, flushing):
    doubles, out = np.array([1e-40, 2.0**-149, 1.0]), np.empty(3, np.float32)
    expected = [71362, 1, 0x3F800000]  # as bits: NumPy's own conversion depends on the mode
    assert kernels.narrow(doubles, out)
    assert out.view(np.int32).tolist() == expected
