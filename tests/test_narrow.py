"""Promises of products whose operands have fewer bits than their sums: halves and 8-bit integers."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from gemm_runner import NARROW, Case, machine

import graphflow as tf
from graphflow.compiler.ir.dtypes import bfloat16, float16, float32, int8, int16, int32, int64, uint8
from graphflow.runtime import cpu

TRANSPOSES = list(itertools.product((False, True), (False, True)))
WHOLE = ((int16, int16, int32), (int32, int32, int32), (int64, int64, int64))
SIZES = {"row": (1, 40, 301), "dot": (1, 1, 5000), "few rows": (3, 40, 90), "three columns": (37, 3, 203),
         "wide": (20, 1100, 30), "deep": (19, 40, 2050)}


def named(terms):
    return "-".join(t.code for t in terms)


def numbers(dtype, shape, rng):
    """All of an integer's range; halves whose products add up without rounding."""
    if dtype.is_floating:
        return rng.integers(-8, 9, shape).astype(dtype.numpy)
    return rng.integers(max(dtype.min, -1 << 30), min(int(dtype.max), 1 << 30) + 1, shape).astype(dtype.numpy)


def operands(case, m, n, k, draw=numbers, seed=0):
    rng = np.random.default_rng(seed)
    return (draw(case.terms.a, (k, m) if case.transpose_a else (m, k), rng),
            draw(case.terms.b, (n, k) if case.transpose_b else (k, n), rng))


def product(case, a, b, dtype):
    left, right = (a.T if case.transpose_a else a), (b.T if case.transpose_b else b)
    return left.astype(dtype) @ right.astype(dtype)


def check(runner, m, n, k):
    a, b = operands(runner.case, m, n, k)
    expected = product(runner.case, a, b, runner.case.dtype.numpy)
    assert np.array_equal(runner(a, b), expected), (runner.case, m, n, k)


@pytest.mark.parametrize("dots", [False, True], ids=["widened", "dots"])
@pytest.mark.parametrize("terms", [*NARROW, *WHOLE], ids=named)
def test_sizes_that_only_the_run_tells(terms, dots):
    rng = np.random.default_rng(0)
    for ta, tb in TRANSPOSES:
        runner = Case(terms[2], None, None, None, ta, tb, machine(dots), operands=terms[:2]).compile()
        for m, n, k in [*rng.integers(1, 71, (60, 3)), (1, 1, 1), (5, 7, 0), (0, 7, 3), (24, 64, 1030)]:
            check(runner, m, n, k)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("terms", NARROW[:4], ids=named)
def test_every_class_of_shapes(terms, name):
    m, n, k = SIZES[name]
    for (ta, tb), dots in itertools.product(TRANSPOSES, (False, True)):
        check(Case(terms[2], m, n, k, ta, tb, machine(dots), operands=terms[:2]).compile(), m, n, k)


@pytest.mark.parametrize("dots", [False, True], ids=["widened", "dots"])
@pytest.mark.parametrize("m, n, k", [(64, 64, 64), (50, 60, 1001), (2, 100, 3000), (3, 50, 3000)])
def test_sums_of_halves_are_as_exact_as_those_of_float32(m, n, k, dots):
    """Sums of float32, of exact products: the bound is that of float32 operands."""
    def normal(dtype, shape, rng):
        return rng.standard_normal(shape).astype(dtype.numpy)

    for dtype, tb in itertools.product((bfloat16, float16), (False, True)):
        case = Case(float32, m, n, k, False, tb, machine(dots), operands=(dtype, dtype))
        a, b = operands(case, m, n, k, normal)
        error = np.abs(case.compile()(a, b) - product(case, a, b, np.float64))
        terms = product(case, np.abs(a), np.abs(b), np.float64)
        assert np.all(error <= (2 + np.sqrt(k)) * np.finfo(np.float32).eps * terms)


@pytest.mark.parametrize("m, n", [(2, 20), (30, 40)])
@pytest.mark.parametrize("left, right", [(-128, -128), (-128, 127), (127, 127), (255, -128), (255, 255)])
def test_sums_of_bytes_neither_saturate_nor_stop_at_32_bits(left, right, m, n):
    terms = tuple(uint8 if v > 127 else int8 for v in (left, right))
    k = 70_001  # 255 * 255 * k is more than 2**32
    for tb, dots in itertools.product((False, True), (False, True)):
        case = Case(int32, m, n, k, False, tb, machine(dots), operands=terms)
        a = np.full((m, k), left, terms[0].numpy)
        b = np.full((n, k) if tb else (k, n), right, terms[1].numpy)
        expected = np.array(left * right * k).astype(np.int32)
        assert np.all(case.compile()(a, b) == expected)


@pytest.mark.parametrize("m, n, k", [(30, 40, 21), (2, 40, 91), (1, 40, 91), (60, 40, 1201)])
@pytest.mark.parametrize("dtype", [bfloat16, float16], ids=lambda d: d.code)
def test_nan_and_infinity_reach_the_result_and_no_other(dtype, m, n, k):
    for (ta, tb), dots in itertools.product(TRANSPOSES, (False, True)):
        case = Case(float32, m, n, k, ta, tb, machine(dots), operands=(dtype, dtype))
        a, b = operands(case, m, n, k)
        rows, columns = (a.T if ta else a), (b.T if tb else b)
        rows[0, k - 1], rows[m - 1, 0], columns[:, n - 1] = np.nan, 0, 0
        columns[0, 1] = np.inf
        with np.errstate(invalid="ignore"):
            expected = product(case, a, b, np.float32)
        assert np.array_equal(case.compile()(a, b), expected, equal_nan=True)


@pytest.mark.parametrize("terms", NARROW[:4], ids=named)
@pytest.mark.parametrize("m, n, k, tb", [(200, 300, 1503, False), (64, 2000, 63, True), (3, 3000, 801, True),
                                         (8, 2048, 901, False), (3000, 3, 301, False)])
def test_results_do_not_depend_on_how_the_work_is_cut(terms, m, n, k, tb):
    alone = Case(terms[2], m, n, k, False, tb, machine(True), operands=terms[:2])
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(t.numpy) if t.is_floating else numbers(t, s, rng)
            for t, s in zip(terms, ((m, k), (n, k) if tb else (k, n)), strict=False))
    expected = alone.compile()(a, b)
    for threads in (2, 3):
        runner = replace(alone, target=machine(True, threads)).compile()
        count = runner.product.parts
        for ends in ((count,), range(1, count + 1)):
            assert runner(a, b, tuple(ends)).tobytes() == expected.tobytes()


def test_subnormal_numbers_count_as_zero_in_pairs_of_bfloat16():
    if not cpu.host_target().dots_bf16:
        pytest.skip("this CPU multiplies no pairs of bfloat16")
    case = Case(float32, 20, 40, 30, target=machine(True), operands=(bfloat16, bfloat16))
    a, b = np.full((20, 30), 1e-39, bfloat16.numpy), np.ones((30, 40), bfloat16.numpy)
    a[:, 0] = 2.0 ** -126
    assert np.all(case.compile()(a, b) == np.float32(2.0 ** -126))


def test_pairs_of_bfloat16_are_added_as_float32_multiply_adds_are_the_second_first():
    if not cpu.host_target().dots_bf16:
        pytest.skip("this CPU multiplies no pairs of bfloat16")
    case = Case(float32, 20, 40, 37, target=machine(True), operands=(bfloat16, bfloat16))
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(bfloat16.numpy).astype(np.float64) for s in ((20, 37), (37, 40)))
    total = np.zeros((20, 40), np.float32)
    for k in (j for i in range(0, 37, 2) for j in (i + 1, i) if j < 37):
        total = (total + np.outer(a[:, k], b[k])).astype(np.float32)  # exact in float64 up to here
    assert np.array_equal(case.compile()(a.astype(bfloat16.numpy), b.astype(bfloat16.numpy)), total)


# Through a session

def run(shapes, dtypes, output_type=None, **flags):
    """The product by graphflow, and the operands."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(d.numpy) if d.is_floating else numbers(d, s, rng)
              for s, d in zip(shapes, dtypes, strict=True)]
    with tf.Graph().as_default():
        x, y = (tf.placeholder(d, s) for d, s in zip(dtypes, shapes, strict=True))
        z = tf.matmul(x, y, output_type=output_type, **flags)
        sess = tf.Session()
        program = sess.engine.prepare([z], (), [x, y])
        return program(*arrays)[0], arrays, program.programs[0]


@pytest.mark.parametrize("jit", ["1", "0"])
@pytest.mark.parametrize("gemm", ["", "blas"])
@pytest.mark.parametrize("shapes", [((4, 5, 6), (4, 6, 7)), ((2, 3, 5, 6), (6, 7)), ((0, 5, 6), (0, 6, 7)),
                                    ((3, 70, 81), (3, 81, 50)), ((5, 0), (0, 3)), ((7, 33), (33, 1))])
def test_batches_of_narrow_matrices(monkeypatch, jit, gemm, shapes):
    monkeypatch.setenv("GRAPHFLOW_JIT", jit)
    monkeypatch.setenv("GRAPHFLOW_GEMM", gemm)
    for dtype in (bfloat16, float16):
        found, (a, b), _ = run(shapes, (dtype, dtype))
        assert found.dtype == dtype.numpy
        expected = np.matmul(a.astype(np.float64), b.astype(np.float64))
        tolerance = 0.01 if dtype is bfloat16 else 0.001
        np.testing.assert_allclose(found.astype(np.float64), expected, rtol=tolerance, atol=tolerance)
        unrounded, _, _ = run(shapes, (dtype, dtype), tf.float32)
        assert unrounded.dtype == np.float32
        np.testing.assert_allclose(unrounded, expected, rtol=1e-4, atol=1e-4)
    for left, right in itertools.product((int8, uint8), repeat=2):
        found, (a, b), _ = run(shapes, (left, right), tf.int32)
        assert found.dtype == np.int32 and np.array_equal(found, np.matmul(a.astype("i4"), b.astype("i4")))
    for dtype in (int8, uint8, int16, int32, int64):
        found, (a, b), _ = run(shapes, (dtype, dtype))
        assert found.dtype == dtype.numpy and np.array_equal(found, np.matmul(a, b))


@pytest.mark.parametrize("dtype", [bfloat16, float16], ids=lambda d: d.code)
def test_halves_are_rounded_once_and_never_widened_in_memory(dtype):
    for shapes in (((30, 301), (301, 50)), ((5, 30, 40), (40, 7)), ((1, 40), (40, 50))):
        found, _, program = run(shapes, (dtype, dtype))
        sums, _, _ = run(shapes, (dtype, dtype), tf.float32)
        assert np.array_equal(found, sums.astype(dtype.numpy))
        assert len(program.calls) == 1
        assert all(buffer.dtype is dtype for buffer in program.buffers if buffer.role in ("feed", "output"))


def test_gradients_of_narrow_products():
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(bfloat16.numpy) for s in ((9, 20), (20, 7)))
    for output_type, (ta, tb) in itertools.product((None, tf.float32), TRANSPOSES):
        with tf.Graph().as_default():
            x, y = tf.constant(a.T if ta else a), tf.constant(b.T if tb else b)
            z = tf.cast(tf.matmul(x, y, ta, tb, output_type=output_type), tf.float32)
            gx, gy = tf.gradients(tf.reduce_sum(z * z), [x, y])
            assert gx.dtype is gy.dtype is bfloat16
            found = tf.Session().run([gx, gy])
        g = 2 * (a.astype("f8") @ b.astype("f8"))
        wanted_grads = g @ b.astype("f8").T, a.astype("f8").T @ g
        for grad, wanted, t in zip(found, wanted_grads, (ta, tb), strict=True):
            np.testing.assert_allclose(grad.astype("f8"), wanted.T if t else wanted, rtol=0.03, atol=1)


def test_operands_may_differ_only_where_their_sums_are_asked_for():
    x, y = tf.placeholder(tf.uint8, [2, 3]), tf.placeholder(tf.int8, [3, 4])
    assert tf.matmul(x, y, output_type=tf.int32).dtype is int32
    assert tf.matmul(x, np.ones((3, 4), np.int8), output_type="int32").dtype is int32
    with pytest.raises(TypeError, match="one dtype"):
        tf.matmul(x, y)
    for other in (tf.int16, tf.float32, tf.int64):
        with pytest.raises(TypeError, match=f"cannot be {other.name} for a product of uint8 by int8"):
            tf.matmul(x, y, output_type=other)
        with pytest.raises(TypeError, match=r"hint: output_type=tf\.int32"):
            tf.matmul(x, y, output_type=other)
    f = tf.placeholder(tf.float32, [3, 3])
    assert tf.matmul(f, f, output_type=tf.float32).dtype is float32


def test_a_layer_of_halves_is_one_kernel():
    rng = np.random.default_rng(0)
    a, w, bias = (rng.standard_normal(s).astype(bfloat16.numpy) for s in ((33, 1500), (1500, 47), (47,)))
    with tf.Graph().as_default():
        x = tf.placeholder(tf.bfloat16, [None, 1500])
        y = tf.nn.relu(tf.matmul(x, tf.constant(w)) + tf.constant(bias))
        program = tf.Session().engine.prepare([y], (), [x])
        found = program(a)[0]
        assert len(program.programs[0].calls) == 1
    expected = np.maximum(a.astype("f8") @ w.astype("f8") + bias.astype("f8"), 0)
    np.testing.assert_allclose(found.astype("f8"), expected, rtol=0.02, atol=0.5)


@pytest.mark.parametrize("held", [False, True], ids=["fed", "held"])
@pytest.mark.parametrize("m", [1, 3, 20, 100, None])
@pytest.mark.parametrize("narrow", [bfloat16, float16, int8, uint8, int16], ids=lambda d: d.code)
def test_matrices_are_widened_by_the_products_that_read_them(narrow, m, held):
    rng = np.random.default_rng(0)
    k, n = 70, 1100
    for wide, tb in itertools.product((tf.float32, tf.float64), (False, True)):
        a = rng.standard_normal((m or 5, k)).astype(wide.numpy)
        b = numbers(narrow, (n, k) if tb else (k, n), rng)
        with tf.Graph().as_default(), tf.Session() as sess:
            x = tf.placeholder(wide, [m, k])
            w = tf.Variable(b, dtype=narrow) if held else tf.placeholder(narrow, b.shape)
            y = tf.matmul(x, tf.cast(w, wide), transpose_b=tb)
            sess.run(tf.global_variables_initializer())
            feeds = {x: a} if held else {x: a, w: b}
            found = sess.run(y, feeds)
            kernels = tf.explain(y, feeds, session=sess).kernels
        expected = a.astype("f8") @ (b.T if tb else b).astype("f8")
        scale = np.abs(a).astype("f8") @ np.abs((b.T if tb else b).astype("f8"))
        assert np.all(np.abs(found - expected) <= 2 * k * np.finfo(wide.numpy).eps * scale)
        assert len(kernels) == 1


def test_only_what_loses_nothing_is_widened_by_a_product():
    for narrow, wide in ((int32, tf.float32), (int64, tf.float64), (tf.bool, tf.float32),
                         (tf.float64, tf.float32)):
        x, w = tf.placeholder(wide, [2, 3]), tf.placeholder(narrow, [3, 4])
        sess = tf.Session()
        y = tf.matmul(x, tf.cast(w, wide))
        a, b = np.ones((2, 3), wide.numpy), np.full((3, 4), 1, narrow.numpy)
        assert sess.run(y, {x: a, w: b}).tolist() == [[3.0] * 4] * 2
        assert len(tf.explain(y, {x: a, w: b}, session=sess).kernels) == 2


@pytest.mark.parametrize("narrow", [int8, uint8], ids=lambda d: d.code)
@pytest.mark.parametrize("half", [bfloat16, float16], ids=lambda d: d.code)
def test_bytes_are_cast_to_halves_before_a_product(half, narrow):
    x, w = tf.placeholder(half, [3, 20]), tf.placeholder(narrow, [20, 5])
    a, b = np.ones((3, 20), half.numpy), np.full((20, 5), 2, narrow.numpy)
    found = tf.Session().run(tf.matmul(x, tf.cast(w, half)), {x: a, w: b})
    assert found.dtype == half.numpy and np.all(found == 40)
