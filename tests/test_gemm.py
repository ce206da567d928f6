"""Promises of generated matrix products: values, edges, memory, parts, bodies."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gemm_runner import Case, column_index, row_index

import graphflow as tf
from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.gemm.choose import Extents, choose
from graphflow.compiler.codegen.gemm.parts import Shape
from graphflow.compiler.codegen.gemm.product import product_function
from graphflow.compiler.codegen.gemm.terms import Terms
from graphflow.compiler.ir.dims import sym
from graphflow.compiler.ir.dtypes import bfloat16, float32, float64
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.blocking import Blocking, ByRows
from graphflow.compiler.loops.nest import Let, Store
from graphflow.compiler.target import Target
from graphflow.runtime.threads import usable_cores

TRANSPOSES = list(itertools.product((False, True), (False, True)))
CLASSES = {
    "one": (1, 1, 1), "row": (1, 300, 70), "column": (300, 1, 70), "dot": (1, 1, 5000), "outer": (50, 70, 1),
    "small": (13, 29, 31), "few rows": (7, 200, 150), "few columns": (150, 10, 90), "long": (33, 89, 700),
    "three columns": (37, 3, 90), "half a vector": (60, 8, 50), "two by two": (2, 2, 5000),
    "thin": (40, 1100, 4), "tall": (500, 33, 40), "wide": (20, 1100, 30), "deep": (19, 40, 1000),
    "large": (200, 170, 410)}
PACKED = Target(512, l1=1 << 10, l2=1 << 14, l3=1 << 20)  # caches so small that operands are packed


def operands(case, m, n, k, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((k, m) if case.transpose_a else (m, k)).astype(case.dtype.numpy)
    b = rng.standard_normal((n, k) if case.transpose_b else (k, n)).astype(case.dtype.numpy)
    return a, b


def exact(case, a, b):
    """The product in float64, and the sum of the absolute values of its terms."""
    a, b = (a.T if case.transpose_a else a), (b.T if case.transpose_b else b)
    a, b = a.astype(np.longdouble), b.astype(np.longdouble)
    return a @ b, np.abs(a) @ np.abs(b)


def check(case, m, n, k):
    a, b = operands(case, m, n, k)
    value, terms = exact(case, a, b)
    error = np.abs(case.compile()(a, b) - value)
    assert np.all(error <= (2 + np.sqrt(k)) * np.finfo(case.dtype.numpy).eps * terms), (case, m, n, k)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.code)
def test_every_class_of_shapes(name, dtype):
    m, n, k = CLASSES[name]
    for ta, tb in TRANSPOSES:
        check(Case(dtype, m, n, k, ta, tb), m, n, k)


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_every_width_of_vectors(bits):
    for dtype in (float32, float64):
        check(Case(dtype, 37, 45, 50, target=Target(bits)), 37, 45, 50)
        check(Case(dtype, 3, 45, 50, transpose_b=True, target=Target(bits)), 3, 45, 50)
        check(Case(dtype, 70, 45, 500, True, True, Target(bits, l2=1 << 14)), 70, 45, 500)


@pytest.mark.parametrize("ta, tb", TRANSPOSES)
def test_packed_blocks(ta, tb):
    for m, n, k in ((300, 1200, 70), (290, 40, 900), (257, 47, 385)):
        case = Case(float32, m, n, k, ta, tb, PACKED)
        blocking = case.product()[0].blocking
        assert blocking.pack_a or blocking.pack_b
        check(case, m, n, k)


@pytest.mark.parametrize("ta", [False, True])
def test_rows_of_b_are_read_ahead_where_they_lie(ta):
    for m, n, k in ((100, 1200, 70), (60, 140, 900), (49, 147, 385)):
        case = Case(float32, m, n, k, ta, False, PACKED)
        assert not case.product()[0].blocking.pack_b
        assert "@llvm.prefetch" in case.compile().ir
        check(case, m, n, k)


@pytest.mark.parametrize("ta, tb", TRANSPOSES)
def test_a_result_beyond_the_cache_is_computed_row_after_row(ta, tb):
    for m, n, k in ((480, 520, 40), (132, 1300, 16)):
        case = Case(float32, m, n, k, ta, tb, Target(512, l2=1 << 18, threads=2))
        blocking = case.product()[0].blocking
        assert blocking.pack_b and blocking.tiles == 1 and blocking.parts == (2, 1)
        check(case, m, n, k)


@pytest.mark.parametrize("ta, tb", TRANSPOSES)
def test_one_kernel_for_sizes_that_only_the_run_tells(ta, tb):
    runner = Case(float32, None, None, None, ta, tb).compile()
    rng = np.random.default_rng(0)
    for m, n, k in [*rng.integers(1, 71, (300, 3)), (1, 1, 1), (12, 32, 384), (24, 64, 385)]:
        a = rng.integers(-8, 9, (k, m) if ta else (m, k)).astype(np.float32)
        b = rng.integers(-8, 9, (n, k) if tb else (k, n)).astype(np.float32)
        assert np.array_equal(runner(a, b), (a.T if ta else a) @ (b.T if tb else b)), (m, n, k)


def test_functions_of_one_name_are_one_function():
    """Products of a program share functions by name: each made alone must give the same text."""
    sizes = (None, 1, 3, 4, 16, 17, 24, 33, 34, 47, 64, 100, 131, 300, 1024, 5000)
    rng, texts = random.Random(5), {}
    for _ in range(400):
        target = Target(512, threads=rng.choice((1, 2)))
        e = Extents(Terms(float32, float32, float32), *(rng.choice(sizes) for _ in range(3)),
                    rng.random() < 0.3, rng.random() < 0.4)
        form, module = choose(e, target), Module()
        product_function(module, Shape(e.terms, e.m, e.n, e.k, e.transpose_a, e.transpose_b), form, None)
        for name, text in module.functions.items():
            assert texts.setdefault(name, text) == text, name


@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.code)
@pytest.mark.parametrize("n, k", [(384, 300), (250, 390), (1600, 130), (160, 520)])
@pytest.mark.parametrize("ta, tb", TRANSPOSES)
def test_few_and_many_rows_that_only_the_run_tells(dtype, n, k, ta, tb):
    target = Target(512, l1=1 << 12, l2=1 << 16, l3=1 << 20, threads=2)
    runner, rng = Case(dtype, None, n, k, ta, tb, target).compile(), np.random.default_rng(0)
    assert isinstance(runner.product.blocking, ByRows) == (not (ta and tb))
    for m in (0, 1, 2, 3, 4, 5, 7, 8, 11, 16, 17, 23, 40, 64, 65, 77, 256, 257, 300):
        a = rng.integers(-8, 9, (k, m) if ta else (m, k)).astype(dtype.numpy)
        b = rng.integers(-8, 9, (n, k) if tb else (k, n)).astype(dtype.numpy)
        expected = (a.T if ta else a) @ (b.T if tb else b)
        for ends in ((2,), (1, 2)):
            assert np.array_equal(runner(a, b, ends), expected), m


@pytest.mark.parametrize("tb, k, tiers", [(False, 1024, [24, 256]), (True, 1024, [64]), (True, 200, [16])])
def test_b_is_packed_for_more_rows_than_read_it_faster_where_it_lies(tb, k, tiers):
    form, limits = Case(float32, None, 1024, k, transpose_b=tb).product()[0].blocking, []
    while isinstance(form, ByRows):
        limits.append(form.most)
        form = form.many
    assert limits == tiers and form.pack_b


def test_a_sample_of_small_sizes_known_beforehand():
    rng = np.random.default_rng(1)
    for m, n, k, ta, tb in zip(*rng.integers(1, 71, (3, 40)), *rng.integers(0, 2, (2, 40)), strict=True):
        check(Case(float32, int(m), int(n), int(k), bool(ta), bool(tb)), int(m), int(n), int(k))


@pytest.mark.parametrize("known", [True, False])
def test_sizes_of_zero(known):
    for ta, tb in TRANSPOSES:
        runner = Case(float32, None, None, None, ta, tb).compile()
        for m, n, k in ((5, 7, 0), (0, 7, 3), (5, 0, 3), (1, 40, 0), (0, 0, 0), (40, 1, 0)):
            case = Case(float32, m, n, k, ta, tb)
            a, b = operands(case, m, n, k)
            assert np.array_equal((case.compile() if known else runner)(a, b), np.zeros((m, n), np.float32))


@pytest.mark.parametrize("m, n, k", [(30, 40, 20), (3, 40, 90), (1, 40, 90), (60, 40, 900)])
def test_nan_and_infinity_reach_the_result(m, n, k):
    for ta, tb in TRANSPOSES:
        case = Case(float32, m, n, k, ta, tb)
        a, b = operands(case, m, n, k)
        rows, columns = (a.T if ta else a), (b.T if tb else b)
        rows[0, k - 1], rows[m - 1, 0], columns[:, n - 1] = np.nan, 0, 0
        columns[0, 1] = np.inf
        with np.errstate(invalid="ignore"):
            expected = rows @ columns
        assert np.array_equal(np.isnan(case.compile()(a, b)), np.isnan(expected))
        assert np.isnan(expected[0]).all() and np.isnan(expected[m - 1, 1])


def test_nothing_outside_of_the_operands_is_touched():
    here = Path(__file__).resolve().parent
    done = subprocess.run([sys.executable, "gemm_guards.py"], cwd=here, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(here.parent)})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("m, n, k, ta, tb", [(200, 300, 500, False, False), (64, 2000, 64, False, True),
                                             (1, 3000, 800, False, True), (8, 2048, 900, False, False),
                                             (2000, 64, 400, True, False), (3000, 3, 300, False, False),
                                             (60, 70, 8200, True, False), (7, 9, 5000, False, False),
                                             (1, 1, 90_000, False, True), (50, 333, 600, False, True)])
def test_results_do_not_depend_on_how_the_work_is_cut(m, n, k, ta, tb):
    alone = Case(float32, m, n, k, ta, tb, PACKED)
    a, b = operands(alone, m, n, k)
    expected = alone.compile()(a, b)
    for threads in (2, 3, 4):
        case = Case(float32, m, n, k, ta, tb, Target(512, PACKED.l1, PACKED.l2, PACKED.l3, threads))
        runner = case.compile()
        count = runner.product.parts
        assert count > 1
        for ends in ((count,), range(1, count + 1), (1, count)):
            assert runner(a, b, tuple(ends)).tobytes() == expected.tobytes()


def test_errors_are_no_larger_than_those_of_openblas():
    for m, n, k in ((64, 64, 64), (200, 200, 1000), (4, 100, 5000), (1, 1, 100_000)):
        case = Case(float32, m, n, k)
        a, b = operands(case, m, n, k)
        value = exact(case, a, b)[0]
        ours, theirs = (float(np.sqrt(np.mean((x - value) ** 2))) for x in (case.compile()(a, b), a @ b))
        assert ours <= 1.1 * theirs, (m, n, k, ours, theirs)


def finished(dtype, m, n, k, known, target, out, turned=False):
    """tanh(relu(sum + bias) * scale + residual), and the sums themselves."""
    rows, columns = (m, n) if known else (sym("m"), sym("n"))
    i, j = row_index(rows), column_index(columns)
    total = E.temp("sum", dtype)
    value = E.maximum(total + E.load("bias", j, dtype), 0.0) * E.load("scale", i, dtype)
    value = E.call("tanh", value + E.load("residual", i * columns + j, dtype))
    body = (Let("v", value), Store("y", i * columns + j, E.cast(E.temp("v", dtype), out)),
            Store("total", i * columns + j, total))
    more = (("bias", dtype), ("scale", dtype), ("residual", dtype), ("y", out), ("total", dtype))
    sizes = (m, n, k) if known else (None,) * 3
    return Case(dtype, *sizes, transpose_b=turned, target=target, body=body, more=more)


@pytest.mark.parametrize("m, n, k", [(5, 7, 3), (1, 1, 9), (1, 40, 70), (40, 33, 500), (3, 50, 4200),
                                     (9, 50, 90), (23, 301, 600)])
@pytest.mark.parametrize("dtype, out", [(float32, float32), (float32, bfloat16), (float64, float64)],
                         ids=lambda d: d.code)
def test_what_follows_a_product_is_computed_on_its_sums(m, n, k, dtype, out):
    rng = np.random.default_rng(0)
    for known, threads, turned in itertools.product((True, False), (1, 2), (False, True)):
        case = finished(dtype, m, n, k, known, Target(512, threads=threads), out, turned)
        a, b = operands(case, m, n, k)
        bias, scale, residual = (rng.standard_normal(s).astype(dtype.numpy) for s in (n, m, (m, n)))
        y, sums, unfinished = (np.empty((m, n), t.numpy) for t in (out, dtype, dtype))
        buffers = (a, b, unfinished, bias, scale, residual, y, sums)
        case.compile().run([x.ctypes.data for x in buffers], {"m": m, "n": n, "k": k})
        total = exact(case, a, b)[0].astype(np.float64)
        tolerance = 1e-2 if out is bfloat16 else 2e-4 if dtype is float32 else 1e-11
        np.testing.assert_allclose(sums, total, rtol=0, atol=1e-3 if dtype is float32 else 1e-11)
        expected = np.tanh(np.maximum(total + bias, 0) * scale[:, None] + residual)
        np.testing.assert_allclose(y.astype(np.float64), expected, rtol=0, atol=tolerance)


def test_a_tile_may_have_any_form():
    for rows, vecs, pack_a, pack_b in itertools.product((1, 5, 12), (1, 2, 3), (False, True), (False, True)):
        blocking = Blocking(16, rows, vecs, 24, 2, 2, pack_a, pack_b)
        check(Case(float32, 31, 101, 50, blocking=blocking), 31, 101, 50)


# Through a session

def test_sums_of_chunks_are_the_same_for_any_number_of_threads():
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((33, 20_000), (20_000, 50)))
    found = set()
    for threads in range(1, 9):
        with tf.Graph().as_default():
            x, y = (tf.placeholder(tf.float32, [None, None]) for _ in "ab")
            x.set_shape(a.shape)
            y.set_shape([None, 50])
            sess = tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=threads))
            run = sess.make_callable([tf.matmul(x, y), tf.nn.relu(tf.matmul(x, y) * 2.0)], [x, y])
            found |= {b"".join(v.tobytes() for v in run(a, b)) for _ in range(20)}
    assert len(found) == 1


BATCHES = [((4, 5, 6), (4, 6, 7)), ((3, 1, 5, 6), (2, 6, 7)), ((2, 3, 5, 6), (6, 7)), ((5, 6), (3, 6, 7)),
           ((0, 5, 6), (0, 6, 7)), ((3, 130, 140), (3, 140, 150)), ((7, 1, 6), (7, 6, 1))]


@pytest.mark.parametrize("jit", ["1", "0"])
@pytest.mark.parametrize("gemm", ["", "blas"])
def test_batches_broadcast(monkeypatch, jit, gemm):
    monkeypatch.setenv("GRAPHFLOW_JIT", jit)
    monkeypatch.setenv("GRAPHFLOW_GEMM", gemm)
    rng = np.random.default_rng(0)
    for left, right in BATCHES:
        a, b = (rng.standard_normal(s).astype(np.float32) for s in (left, right))
        for shape_a, shape_b in ((left, right), ([None] * len(left), [None] * len(right))):
            with tf.Graph().as_default():
                x, y = tf.placeholder(tf.float32, shape_a), tf.placeholder(tf.float32, shape_b)
                result = tf.Session().run(tf.matmul(x, y), {x: a, y: b})
            np.testing.assert_allclose(result, np.matmul(a, b), rtol=1e-4, atol=1e-4)


LAYERS = [((9, 20), (20, 33)), ((4, 3, 20), (20, 33)), ((4, 3, 20), (4, 20, 33)), ((9, 20), (20, 1)),
          ((1, 20), (20, 33)), ((300, 900), (900, 40)), ((1, 1), (1, 1)), ((0, 20), (20, 3)),
          ((6, 0), (0, 3))]


@pytest.mark.parametrize("shape, weights", LAYERS)
@pytest.mark.parametrize("fed", [True, False], ids=["known", "unknown"])
def test_bias_activation_and_residual_are_one_kernel(shape, weights, fed):
    rng = np.random.default_rng(0)
    a, w = (rng.standard_normal(s).astype(np.float32) for s in (shape, weights))
    result = (*shape[:-1], weights[-1])
    bias, residual = (rng.standard_normal(s).astype(np.float32) for s in (weights[-1:], result))
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, shape if fed else [None] * len(shape))
        r = tf.placeholder(tf.float32, result)
        y = tf.nn.relu(tf.matmul(x, tf.constant(w)) + bias) * 2.0 + r
        sess = tf.Session()
        run = sess.engine.prepare([y], (), [x, r])
        np.testing.assert_allclose(run(a, residual)[0], np.maximum(np.matmul(a, w) + bias, 0) * 2 + residual,
                                   rtol=1e-4, atol=1e-4)
        assert len(run.programs[0].calls) == (1 if 0 not in result else 2)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("shape, weights, tb", [
    ((7, 70, 900), (7, 900, 80), False), ((5, 60, 80), (5, 90, 80), True),
    ((3, 2, 64, 700), (3, 2, 700, 64), False)])
def test_a_batch_of_packed_products_runs_in_parts(shape, weights, tb, known):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-4, 5, s).astype(np.float32) for s in (shape, weights))
    product = np.matmul(a, np.swapaxes(b, -1, -2) if tb else b)
    found = set()
    for threads in (1, 2):
        with tf.Graph().as_default():
            x = tf.placeholder(tf.float32, shape if known else [None, *shape[1:]])
            y = tf.placeholder(tf.float32, weights if known else [None, *weights[1:]])
            sess = tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=threads))
            z = tf.matmul(x, y, transpose_b=tb)
            for fetch, expected in ((z, product), (tf.nn.relu(z) + 1.0, np.maximum(product, 0) + 1)):
                run = sess.engine.prepare([fetch], (), [x, y], whole=True)
                for _ in range(5):
                    assert np.array_equal(run(a, b)[0], expected)
                found |= {c.nest.parallel for c in run.programs[0].calls}
    assert found == {usable_cores() > 1} or not tb


def test_a_variable_is_updated_where_its_gradient_is_computed():
    rng = np.random.default_rng(0)
    x, g, w = (rng.standard_normal(s).astype(np.float32) for s in ((500, 30), (500, 40), (30, 40)))
    with tf.Graph().as_default():
        v = tf.Variable(w)
        step = tf.assign_sub(v, 0.1 * tf.matmul(tf.constant(x), tf.constant(g), transpose_a=True))
        sess = tf.Session()
        sess.run(tf.global_variables_initializer())
        run = sess.engine.prepare((), [step.op], ())
        run()
        np.testing.assert_allclose(sess.run(v), w - 0.1 * (x.T @ g), rtol=1e-4, atol=1e-4)
        assert len(run.programs[0].calls) == 1 and not run.programs[0].copies


def test_a_variable_that_the_product_reads_is_not_overwritten_too_early():
    rng = np.random.default_rng(0)
    w = rng.standard_normal((40, 40)).astype(np.float32)
    with tf.Graph().as_default():
        v = tf.Variable(w)
        step = tf.assign_sub(v, tf.matmul(v, v))
        sess = tf.Session()
        sess.run(tf.global_variables_initializer())
        sess.run(step)
        np.testing.assert_allclose(sess.run(v), w - w @ w, rtol=1e-4, atol=1e-4)


def test_two_products_of_one_sum_and_values_by_row():
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal((30, 30)).astype(np.float32) for _ in range(3))
    with tf.Graph().as_default():
        x, y, z = (tf.placeholder(tf.float32, [None, 30]) for _ in range(3))
        scale = tf.exp(tf.reduce_max(z, axis=1, keepdims=True))
        both = tf.tanh((tf.matmul(x, y) + tf.matmul(y, z)) / scale) + tf.transpose(x)
        result = tf.Session().run([both, tf.reduce_sum(both, axis=0)], {x: a, y: b, z: c})
    expected = np.tanh((a @ b + b @ c) / np.exp(c.max(1, keepdims=True))) + a.T
    np.testing.assert_allclose(result[0], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(result[1], expected.sum(0), rtol=1e-3, atol=1e-3)


def test_an_index_that_fails_in_what_follows_a_product_is_reported():
    with tf.Graph().as_default():
        x, rows = tf.placeholder(tf.float32, [4, 4]), tf.placeholder(tf.int32, [4])
        y = tf.matmul(x, x) + tf.gather(x, rows)
        sess = tf.Session()
        eye = np.eye(4, dtype=np.float32)
        assert np.array_equal(sess.run(y, {x: eye, rows: [3, 2, 1, 0]}), eye + eye[::-1])
        with pytest.raises(tf.errors.InvalidArgumentError, match="7"):
            sess.run(y, {x: eye, rows: [3, 7, 1, 0]})


def test_a_part_of_a_product_is_not_its_loop():
    """Columns that another kernel copies do not make the product run over those alone, or past them."""
    draw = np.random.RandomState(0)
    a, b = draw.standard_normal((2, 4)).astype("f"), draw.standard_normal((4, 8)).astype("f")
    with tf.Graph().as_default(), tf.Session() as sess:
        x = tf.placeholder(tf.float32, [None, 4])
        y = tf.matmul(x, tf.constant(b))
        fetches = [y[:, :4] + 1.0, y[:, 4:] * 2.0, y[:1] - 1.0]
        c = a @ b
        for found, wanted in zip(sess.run(fetches, {x: a}), (c[:, :4] + 1, c[:, 4:] * 2, c[:1] - 1),
                                 strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-5)
