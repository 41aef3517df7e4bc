"""gemm against float64, at every edge of its tiles, for any strides, and bit by bit."""

from itertools import product
from threading import Thread

import numpy as np
import pytest
from bits import same_bits
from cases import for_each
from hypothesis import given, settings
from hypothesis import strategies as st

from falcon_mnist.kernels import reference, supported, variant

EPS, SMALLEST = np.finfo(np.float32).eps, 2.0**-126
KC, NC, NARROW, B_NEAR = 400, 2048, 12, 512  # of kernels/gemm

# Around the register tiles of all variants: MR is 6 or 12, a vector 4, 8 or 16 wide, NR two vectors.
ROWS = [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 23, 25]
COLUMNS = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65]
# Few-row products take eight vectors at once: 32, 64 or 128 columns.
DEPTHS = [0, 1, 2, KC - 1, KC, KC + 1, 2 * KC + 3]
# B is read in place for 12 * MR rows, 72 or 144; MC is 24 * MR, 144 or 288.
TALL = [71, 72, 73, 143, 144, 145, 287, 288, 289]


def floats(random, *shape):
    return random.uniform(-1, 1, shape).astype(np.float32)


def assert_close(result, a, b, out=None, alpha=1.0, beta=0.0):
    """A sum of k products may be off by k roundings of the sum of their magnitudes, its scaling by a few more.

    A product or a sum that is subnormal becomes 0.
    """
    assert_all_close([result], a, b, out, alpha, beta)


def assert_all_close(results, a, b, out=None, alpha=1.0, beta=0.0):
    """What several have made of the same operands, against one result in float64."""
    expected = reference.gemm(a, b, out, alpha=alpha, beta=beta)
    magnitude = reference.gemm(
        np.abs(a), np.abs(b), None if out is None else np.abs(out), alpha=abs(alpha), beta=abs(beta)
    )
    bound = (a.shape[1] + 3) * (EPS * magnitude + SMALLEST)
    for result in results:
        assert result.dtype == np.float32
        assert result.shape == expected.shape
        assert np.all(np.abs(result - expected) <= bound)


@for_each("k", DEPTHS)
def test_matches_float64_around_tile_edges(random, k):
    for m, n in product(ROWS, COLUMNS):
        a, b = floats(random, m, k), floats(random, k, n)
        assert_all_close([variant(isa).gemm(a, b) for isa in supported()], a, b)


@for_each("m", TALL)
@for_each("n", [NARROW - 1, NARROW, NARROW + 1, 19, 70, B_NEAR, B_NEAR + 9])
@for_each("k", [31, 143, 289])
def test_matches_float64_around_a_block_of_rows(random, m, n, k):
    """And the same bits from operands that lie by columns, which are read and packed in other ways.

    One test for all instruction sets: what float64 gives takes longer than they do.
    """
    a, b = floats(random, m, k), floats(random, k, n)
    a_by_columns, b_by_columns = np.asfortranarray(a), np.asfortranarray(b)
    results = [variant(isa).gemm(a, b) for isa in supported()]
    assert_all_close(results, a, b)
    for isa, result in zip(supported(), results, strict=True):
        assert same_bits(variant(isa).gemm(a_by_columns, b), result), isa
        assert same_bits(variant(isa).gemm(a_by_columns, b_by_columns), result), isa


@for_each("m", [31, 32, 33, 64, 95, 160])
@for_each("k", [63, 64, 65, 79, 80, 128, 300])
@for_each("stride", [0, 7, 512])  # beyond k: 512 to the next multiple, where lines share few sets
@for_each("beta", [0.0, -0.5])
def test_ten_columns_have_the_bits_of_any_others(kernels, random, m, k, stride, beta):
    """A by rows is transposed on the way; by columns it lies as it is read."""
    a = floats(random, m, 512 if stride == 512 else k + stride)[:, :k]
    b, out = floats(random, k, 10), floats(random, m, 10)
    result = kernels.gemm(a, b, out.copy(), beta=beta)
    assert_close(result, a, b, out, beta=beta)
    by_columns = kernels.gemm(np.asfortranarray(a), b, out.copy(), beta=beta)
    assert same_bits(by_columns, result)
    turned = kernels.gemm(a, np.asfortranarray(b), np.asfortranarray(out), beta=beta)
    assert same_bits(turned, result)


@for_each("m", [2, 17])
@for_each("n", [NC - 1, NC, NC + 1, NC + 37])
def test_matches_float64_around_a_block_of_columns(kernels, random, m, n):
    a, b = floats(random, m, KC + 5), floats(random, KC + 5, n)
    assert_close(kernels.gemm(a, b), a, b)


@for_each("shape", [(0, 0, 0), (0, 5, 3), (4, 0, 3), (4, 5, 0), (0, 0, 7), (0, 6, 0)])
def test_empty_operands(kernels, random, shape):
    m, n, k = shape
    a, b = floats(random, m, k), floats(random, k, n)
    assert_close(kernels.gemm(a, b), a, b)
    out = floats(random, m, n)
    before = out.copy()
    assert_close(kernels.gemm(a, b, out, beta=-0.5), a, b, before, beta=-0.5)


@for_each("alpha", [1.0, -1.0, 0.37, -2.5, 0.0])
@for_each("beta", [0.0, 1.0, -1.0, 0.7])
@for_each("shape", [(1, 37, 5), (3, 70, 300), (7, 18, 21), (25, 65, 300)])
def test_alpha_and_beta(kernels, random, shape, alpha, beta):
    m, n, k = shape
    a, b, out = floats(random, m, k), floats(random, k, n), floats(random, m, n)
    before = out.copy()
    assert kernels.gemm(a, b, out, alpha=alpha, beta=beta) is out
    assert_close(out, a, b, before, alpha, beta)


# How a matrix (m, n) may lie in memory: each gives the whole of it and the part that is the matrix.
def _part(rows, columns, index, transpose=False):
    whole = np.full((rows, columns), GUARD, dtype=np.float32)
    part = whole[index]
    return whole, part.T if transpose else part


LAYOUTS = {
    "plain": lambda m, n: _part(m, n, np.s_[:, :]),
    "transposed": lambda m, n: _part(n, m, np.s_[:, :], True),
    "inside": lambda m, n: _part(m + 3, n + 4, np.s_[2 : m + 2, 3 : n + 3]),
    "transposed inside": lambda m, n: _part(n + 3, m + 4, np.s_[2 : n + 2, 3 : m + 3], True),
    "every second column": lambda m, n: _part(m, 2 * n + 1, np.s_[:, 1::2]),
    "every third row": lambda m, n: _part(3 * m + 2, n, np.s_[2::3]),
    "rows backwards": lambda m, n: _part(m, n, np.s_[::-1]),
    "columns backwards": lambda m, n: _part(m, n, np.s_[:, ::-1]),
    "transposed, backwards, apart": lambda m, n: _part(2 * n, 3 * m, np.s_[::-2, ::-3], True),
}
GUARD = 12345.5


def laid_out(layout, values):
    whole, part = LAYOUTS[layout](*values.shape)
    part[:] = values
    return whole, part


SHAPES = [(1, 9, 4), (2, 40, 9), (3, 67, 257), (5, 1, 8), (13, 33, 20), (31, 18, 258), (40, 10, 430)]


@for_each("shape", SHAPES)
def test_operands_of_any_strides_give_the_same_bits(kernels, random, shape):
    m, n, k = shape
    a, b = floats(random, m, k), floats(random, k, n)
    plain = kernels.gemm(a, b)
    for one, other in product(LAYOUTS, LAYOUTS):
        (_, a_view), (_, b_view) = laid_out(one, a), laid_out(other, b)
        assert same_bits(kernels.gemm(a_view, b_view), plain), (one, other)


@for_each("layout", LAYOUTS)
@for_each("shape", SHAPES)
@for_each("beta", [0.0, 1.0, -0.3])
def test_out_of_any_strides_gets_the_same_bits_and_nothing_around_it_changes(kernels, random, shape, layout, beta):
    m, n, k = shape
    a, b, start = floats(random, m, k), floats(random, k, n), floats(random, m, n)
    plain = kernels.gemm(a, b, start.copy(), alpha=0.5, beta=beta)
    whole, out = laid_out(layout, start)
    assert kernels.gemm(a, b, out, alpha=0.5, beta=beta) is out
    assert same_bits(np.ascontiguousarray(out), plain)
    out[:] = GUARD
    assert np.all(whole == GUARD)


@for_each("shape", SHAPES)
def test_the_plain_product_leaves_what_lies_around_out(kernels, random, shape):
    m, n, k = shape
    a, b = floats(random, m, k), floats(random, k, n)
    whole, out = LAYOUTS["inside"](m, n)
    assert_close(kernels.gemm(a, b, out), a, b)
    out[:] = GUARD
    assert np.all(whole == GUARD)


@for_each("m", [2, 14])
def test_operands_may_repeat_by_a_stride_of_0(kernels, random, m):
    row, column = floats(random, 1, 33), floats(random, 33, 1)
    for a in (np.broadcast_to(row, (m, 33)), np.broadcast_to(column[:m], (m, 33))):
        for b in (np.broadcast_to(row, (33, 33)), np.broadcast_to(column, (33, 33))):
            assert same_bits(kernels.gemm(a, b), kernels.gemm(a.copy(), b.copy()))


def test_an_operand_may_be_both_and_read_only(kernels, random):
    a = floats(random, 15, 15)
    a.flags.writeable = False
    assert_close(kernels.gemm(a, a), a, a)
    assert_close(kernels.gemm(a.T, a), a.T, a)


@for_each("bad", [np.nan, np.inf])
@for_each("layout", ["plain", "transposed"])
@for_each("m", [1, 3, 6, 13])
@for_each("k", [0, 5, 300])
def test_with_beta_0_out_is_not_read(kernels, random, bad, layout, m, k):
    a, b = floats(random, m, k), floats(random, k, 37)
    _, out = laid_out(layout, np.full((m, 37), bad, dtype=np.float32))
    assert_close(kernels.gemm(a, b, out), a, b)


def test_with_alpha_0_the_operands_are_not_read(kernels):
    nan = np.full((9, 9), np.nan, dtype=np.float32)
    out = np.full((9, 9), 3, dtype=np.float32)
    assert np.all(kernels.gemm(nan, nan, out, alpha=0, beta=2) == 6)
    assert np.all(kernels.gemm(nan, nan, out, alpha=0) == 0)


def test_a_nan_stays_in_its_row_and_column(kernels, random):
    """The surplus of a packed edge panel must not reach a result."""
    a, b = floats(random, 14, 300), floats(random, 300, 37)
    expected = kernels.gemm(a, b)
    a[13, 7], b[299, 36] = np.nan, np.inf
    result = kernels.gemm(a, b)
    assert np.isnan(result[13]).all()
    assert not np.isfinite(result[:, 36]).any()
    assert same_bits(result[:13, :36].copy(), expected[:13, :36].copy())


@for_each("n", [1, 10, 37, 130])
@for_each("transposed", [False, True])
def test_a_row_has_the_same_bits_whatever_stands_beside_it(kernels, random, n, transposed):
    k = KC + 44
    a = floats(random, 64, k)
    b = floats(random, n, k).T if transposed else floats(random, k, n)
    whole = kernels.gemm(a, b)
    for m in range(1, 21):
        assert same_bits(kernels.gemm(a[:m], b), whole[:m]), m
    chosen = random.permutation(64)[:29]
    assert same_bits(kernels.gemm(a[chosen], b), whole[chosen])


@for_each("m", [1, 3, 7, 30])
def test_a_column_has_the_same_bits_whatever_stands_beside_it(kernels, random, m):
    a, b = floats(random, m, 70), floats(random, 70, 140)
    whole = kernels.gemm(a, b)
    for n in [*range(1, 35), 63, 64, 65, 128, 129]:
        assert same_bits(kernels.gemm(a, b[:, :n]), whole[:, :n].copy()), n


@for_each("shape", [(1, 37), (3, 12), (8, 37), (26, 70)])
@for_each("alpha", [1.0, 0.6])
def test_a_sum_over_k_may_be_cut_anywhere(kernels, random, shape, alpha):
    """So the gradients of a batch do not depend on its micro-batches."""
    (m, n), k = shape, 2 * KC + 30
    a, b = floats(random, m, k), floats(random, k, n)
    whole = kernels.gemm(a, b, alpha=alpha)
    for cut in [0, 1, 2, 17, KC - 1, KC, KC + 1, 400, k - 1, k]:
        out = kernels.gemm(a[:, :cut], b[:cut], alpha=alpha)
        kernels.gemm(a[:, cut:], b[cut:], out, alpha=alpha, beta=1)
        assert same_bits(out, whole), cut


@given(data=st.data())
@settings(deadline=None, derandomize=True)  # under an emulator these tests have no conftest.py but their own
@pytest.mark.parametrize("isa", supported())
def test_any_shape_any_strides_any_factors(isa, data):
    kernels = variant(isa)
    m, n, k = (data.draw(st.integers(0, side), label) for side, label in ((40, "m"), (70, "n"), (40, "k")))
    layouts = [data.draw(st.sampled_from(sorted(LAYOUTS)), label) for label in ("a", "b", "out")]
    factor = st.sampled_from([0.0, 1.0, -1.0]) | st.floats(-4, 4, width=32)
    alpha, beta = data.draw(factor, "alpha"), data.draw(factor, "beta")
    random = np.random.default_rng(data.draw(st.integers(0, 2**32), "seed"))
    a, b, start = floats(random, m, k), floats(random, k, n), floats(random, m, n)
    (_, a_view), (_, b_view), (whole, out) = map(laid_out, layouts, (a, b, start))
    kernels.gemm(a_view, b_view, out, alpha=alpha, beta=beta)
    assert_close(out, a, b, start, alpha, beta)
    out[:] = GUARD
    assert np.all(whole == GUARD)


def misaligned(m, n):
    return np.zeros(4 * m * n + 1, dtype=np.uint8)[1:].view(np.float32).reshape(m, n)


def of_records(m, n):
    """Floats 5 bytes apart: the first is aligned, the second is not."""
    return np.zeros((m, n), dtype=[("x", np.float32), ("y", np.uint8)])["x"]


@for_each("name", ["a", "b", "out"])
@for_each(
    "value, error, words",
    [
        ([[1.0] * 3] * 3, TypeError, "2-D float32 array, not list"),
        (np.zeros((3, 3)), TypeError, "not a 2-D float64 array"),
        (np.zeros((3, 3), dtype=">f4"), TypeError, "not a 2-D >f4 array"),
        (np.zeros(3, dtype=np.float32), TypeError, "not a 1-D float32 array"),
        (np.zeros((3, 3, 1), dtype=np.float32), TypeError, "not a 3-D float32 array"),
        (misaligned(3, 3), ValueError, "must be aligned"),
        (of_records(3, 3), ValueError, "must be aligned"),
    ],
)
def test_what_is_no_float32_matrix_is_refused_by_name(kernels, name, value, error, words):
    good = np.zeros((3, 3), dtype=np.float32)
    with pytest.raises(error, match=f"^{name} .*{words}"):
        kernels.gemm(**({"a": good, "b": good} | {name: value}))


def test_shapes_that_do_not_fit_are_refused_with_both(kernels):
    a, b = np.zeros((3, 4), dtype=np.float32), np.zeros((5, 6), dtype=np.float32)
    with pytest.raises(ValueError, match=r"a has shape \(3, 4\) and b \(5, 6\)"):
        kernels.gemm(a, b)
    with pytest.raises(ValueError, match=r"out has shape \(5, 6\), but the product needs \(3, 6\)"):
        kernels.gemm(a, b[:4], b)


def test_beta_without_out_is_refused(kernels):
    a = np.zeros((3, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="beta is not 0, but there is no out"):
        kernels.gemm(a, a, beta=1)


def test_out_must_be_writable_memory_of_its_own(kernels):
    memory = np.zeros((9, 9), dtype=np.float32)
    a, b = memory[:3, :3], memory[3:6, :3]
    for out, other in ((memory[1:4, :3], "a"), (memory[5:8, 2:5], "b"), (a.T, "a"), (b, "b")):
        with pytest.raises(ValueError, match=f"out shares memory with {other}"):
            kernels.gemm(a, b, out)
    out = memory[6:, :3]
    assert kernels.gemm(a, b, out) is out
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writable"):
        kernels.gemm(a, b, out)
    repeating = np.lib.stride_tricks.as_strided(memory[6:], (3, 3), (0, 4))
    with pytest.raises(ValueError, match="out has elements that share memory"):
        kernels.gemm(a, b, repeating)


def test_out_is_refused_where_its_bounds_meet_an_operand_and_nowhere_else(kernels, random):
    """NumPy's `may_share_memory` is the oracle, for views of one memory with strides of either sign."""
    memory = np.zeros((40, 40), dtype=np.float32)
    met = 0
    for _ in range(300):
        m, n, k = random.integers(0, 5, 3)
        views = []
        for rows, columns in ((m, k), (k, n), (m, n)):
            top, left = random.integers(0, 40 - 8, 2)
            view = memory[top : top + 2 * rows : random.integers(1, 3), left : left + 2 * columns][:rows, :columns]
            views.append(view[:: random.choice([-1, 1]), :: random.choice([-1, 1])])
        a, b, out = views
        if a.shape[1] != b.shape[0] or out.shape != (a.shape[0], b.shape[1]):
            continue
        if np.may_share_memory(out, a) or np.may_share_memory(out, b):
            met += 1
            with pytest.raises(ValueError, match="out shares memory with"):
                kernels.gemm(a, b, out)
        else:
            assert kernels.gemm(a, b, out) is out
    assert met > 20


def test_many_threads_at_once(kernels, random):
    """Each call packs into memory of its own."""
    jobs = [(floats(random, m, 270), floats(random, 270, n)) for m, n in product((5, 30, 70), (10, 40, 300))]
    alone = [kernels.gemm(a, b) for a, b in jobs]
    wrong = []

    def work():
        for _ in range(20):
            for (a, b), expected in zip(jobs, alone, strict=True):
                if not same_bits(kernels.gemm(a, b), expected):
                    wrong.append((a.shape, b.shape))

    threads = [Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
