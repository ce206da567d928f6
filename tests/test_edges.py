"""Promises at the edges, each broken once: stores happen once, failures change nothing, sizes may be 0."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from fresh import graph, session  # noqa: F401

import graphflow as tf
from graphflow.compare import _difference
from graphflow.compiler.ir.dtypes import ALL
from graphflow.compiler.loops.numeric import cast_array
from graphflow.lacking import LACKING


def test_a_write_happens_once_however_wide_its_reader_is():
    v = tf.Variable(np.arange(1, 5, dtype=np.float32))
    x = tf.placeholder(tf.float32, [None, 4])
    y = x + v.assign(v * 2.0)
    sess = session()
    assert sess.run(y, {x: np.zeros((3, 4))}).tolist() == [[2, 4, 6, 8]] * 3
    assert sess.run(v).tolist() == [2, 4, 6, 8]


def test_a_write_happens_when_its_reader_is_empty():
    v = tf.Variable(np.ones(4, np.float32))
    w, x = tf.placeholder(tf.float32, [4]), tf.placeholder(tf.float32, [None, 4])
    a = w * 2.0 + 1.0
    step = v.assign(v + 1.0)
    sess = session()
    empty = np.zeros((0, 4))
    assert sess.run([x + a, a], {x: empty, w: np.ones(4)})[1].tolist() == [3] * 4
    assert sess.run([tf.reduce_sum(x * a, 1), a], {x: empty, w: np.ones(4)})[1].tolist() == [3] * 4
    sess.run(x * step, {x: empty})
    assert sess.run(v).tolist() == [2] * 4


def test_a_run_that_fails_leaves_variables_alone():
    table = tf.Variable(np.ones((4, 2), np.float32))
    step = tf.Variable(0, trainable=False)
    i = tf.placeholder(tf.int32, [None])
    rows = tf.gather(table, i)
    train = tf.train.AdamOptimizer(0.1).minimize(tf.reduce_sum(rows * rows), global_step=step)
    sess = session()
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"index 9 is not in \[0, 4\)"):
        sess.run(train, {i: [0, 9]})
    assert sess.run(table).tolist() == [[1, 1]] * 4 and sess.run(step) == 0
    sess.run(train, {i: [0, 3]})
    assert sess.run(step) == 1 and sess.run(table)[1].tolist() == [1, 1] and sess.run(table)[0][0] < 1


@pytest.mark.parametrize("k", [-20, -10, -3, -1, 0, 3, 10, 25])
def test_slices_with_fed_bounds_are_pythons(k):
    x, n = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.int32, [])
    v = np.arange(10, dtype=np.float32)
    found = session().run([x[n:], x[:n], x[n:n + 2], x[2:n], x[::2][n:]], {x: v, n: k})
    for value, want in zip(found, [v[k:], v[:k], v[k:k + 2], v[2:k], v[::2][k:]], strict=True):
        assert value.tolist() == want.tolist()


def test_slices_with_bounds_from_shapes_are_pythons():
    x = tf.placeholder(tf.float32, [None, None])
    v = np.arange(24, dtype=np.float32).reshape(6, 4)
    a, b = session().run([x[:, :tf.shape(x)[1] - 5], x[tf.shape(x)[0] - 8:]], {x: v})
    assert a.tolist() == v[:, :-1].tolist() and b.tolist() == v[-2:].tolist()


@pytest.mark.parametrize("make", [
    lambda x, n: tf.slice(x, [n], [2]), lambda x, n: tf.pad(x, [[n, 0]]), lambda x, n: tf.fill([n], 1.0),
    lambda x, n: tf.split(x, [n, 3 - n])[0], lambda x, n: x[n + 20]])
def test_impossible_fed_sizes_are_errors(make):
    x, n = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.int32, [])
    y = make(x, n)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r":0  -1 for i32\[\]|19 is not in"):
        session().run(y, {x: [1, 2, 3], n: -1})


def test_kernels_divide_as_the_host_does():
    n = tf.placeholder(tf.int32, [])
    y = tf.fill([n // 100 + 50], 1.0)
    sess = session()
    for k in (-4999, -4950, -101, -100, -1, 0, 99):
        assert sess.run(y, {n: k}).tolist() == [1.0] * (k // 100 + 50)


def test_indices_into_nothing():
    x, i = tf.placeholder(tf.float32, [None, 3]), tf.placeholder(tf.int32, [None])
    n = tf.placeholder(tf.int32, [])
    sess = session()
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"not in \[0, 0\)"):
        sess.run(tf.gather(x, i) * 2, {x: np.zeros((0, 3)), i: [0]})
    assert sess.run(tf.gather(x, i), {x: np.zeros((0, 3)), i: []}).shape == (0, 3)
    assert sess.run(tf.unsorted_segment_sum(x, i, n), {x: np.zeros((0, 3)), i: [], n: 0}).shape == (0, 3)
    with pytest.raises(tf.errors.InvalidArgumentError):
        sess.run(tf.argmax(x[:, 0]), {x: np.zeros((0, 3))})


def test_fed_variables_are_what_every_read_sees():
    v = tf.Variable(1.0, name="v")
    fetches = [v, v * 2, v.read_value()]
    sess = session()
    assert sess.run(fetches, {v: 9.0}) == [9, 18, 9] and sess.run(fetches, {"v:0": 9.0}) == [9, 18, 9]
    assert sess.run(fetches) == [1, 2, 1]
    with tf.Graph().as_default():
        foreign = tf.Variable(1.0)
    with pytest.raises(ValueError, match="another"):
        sess.run(v, {foreign: 2.0})


def test_long_float_sums_keep_their_accuracy():
    x = tf.placeholder(tf.float32, [None])
    mean = session().run(tf.reduce_mean(x), {x: np.full(4_000_000, 0.1, np.float32)})
    assert abs(mean - 0.1) < 2e-6


def test_half_sums_do_not_overflow_on_the_way():
    x = tf.placeholder(tf.float16, [None])
    mean = tf.reduce_mean(x)
    slope, = tf.gradients(mean, x)
    sess = session()
    assert sess.run(mean, {x: np.full(10_000, 20.0)}) == 20 and sess.run(mean, {x: np.ones(70_000)}) == 1
    assert sess.run(slope, {x: np.ones(70_000)})[0] > 0
    for dtype in (tf.float16, tf.bfloat16):
        assert sess.run(tf.reduce_max(tf.cast(tf.random_uniform([100_000], dtype=dtype), tf.float32))) < 1


def test_zeros_of_both_signs_stay_apart():
    x = tf.placeholder(tf.float32, [1])
    a, b = (1 / tf.pad(x, [[1, 0]], constant_values=z) for z in (0.0, -0.0))
    p, q = session().run([a, b], {x: [1]})
    assert p[0] == np.inf and q[0] == -np.inf


def test_a_costly_row_is_not_computed_again_for_each_row():
    x, w = tf.placeholder(tf.float32, [None, 16]), tf.placeholder(tf.float32, [16])
    row = w
    for _ in range(6):
        row = tf.exp(tf.sin(row))
    sess = session()
    run = sess.engine.prepare([x * row], [], [x, w])
    run(np.ones((3, 16), np.float32), np.ones(16, np.float32))
    assert run.programs[0].calls[0].nest.body[0].extent == 16


def test_a_closed_session_runs_nothing():
    x = tf.placeholder(tf.float32, [1])
    sess = session()
    call = sess.make_callable(x + 1, [x])
    assert call(np.zeros(1, np.float32)).tolist() == [1]
    sess.close()
    for run in (lambda: call(np.zeros(1, np.float32)), lambda: sess.run(x + 1, {x: [1]})):
        with pytest.raises(RuntimeError, match="closed"):
            run()


def test_clear_errors_for_what_cannot_be_built():
    x = tf.placeholder(tf.float32, [3])
    for make in (lambda: tf.concat([], 0), lambda: tf.stack([]), lambda: x[[0, 1]]):
        with pytest.raises(ValueError, match=r"at least one|gather"):
            make()


@pytest.mark.parametrize(("module", "name", "text"), [
    (tf, "reduce_men", r"graphflow has no 'reduce_men', nor has TensorFlow 1; did you mean tf.reduce_mean "),
    (tf, "softmax", r"nor has TensorFlow 1; did you mean tf.nn.softmax\?$"),
    (tf, "InvalidArgumentError", r"did you mean tf.errors.InvalidArgumentError\?$"),
    (tf, "invert", r"did you mean tf.bitwise.invert\?$"), (tf, "Sesion", r"did you mean tf.Session\?$"),
    (tf.nn, "rlu", "did you mean tf.nn.relu "), (tf.math, "reduce_suum", r"mean tf.math.reduce_sum\?$"),
    (tf.math, "softmax", "graphflow.math has no 'softmax' yet, but there is tf.nn.softmax: README.md"),
    (tf.random, "shufle", r"did you mean tf.random.shuffle \(not there yet\)\?$"),
    (tf.initializers, "zeroes", r"tf.initializers.zeros\?$"),
    (tf, "py_func", "graphflow has no 'py_func' yet: README.md lists"),
    (tf.nn, "sofmax", "graphflow.nn has no 'sofmax', nor has TensorFlow 1; did you mean tf.nn.softmax.$"),
    (tf.nn, "dynamic_rnn", "graphflow.nn has no 'dynamic_rnn' yet"),
    (tf.nn, "dinamic_rnn", r"did you mean tf.nn.dynamic_rnn \(not there yet\)\?$"),
    (tf.train, "AdamOptimiser", r"did you mean tf.train.AdamOptimizer\?$"),
    (tf.math, "xyz123", "nor has TensorFlow 1$")])
def test_a_name_that_is_not_there(module, name, text):
    with pytest.raises(AttributeError, match=text):
        getattr(module, name)


@pytest.mark.parametrize(("module", "name", "hidden"), [
    (tf.linalg, "eithr", "either"), (tf.nn, "as_tenser", "as_tensor"),
    (tf.math, "missing_name", "missing_names"), (tf.math, "anotations", "annotations"),
    (tf.linalg, "name_scop", "linalg.name_scope"), (tf, "pausd", "paused")])
def test_what_a_module_imports_for_itself_is_not_told(module, name, hidden):
    with pytest.raises(AttributeError) as found:
        getattr(module, name)
    assert f"{hidden} " not in str(found.value) and f"{hidden}?" not in str(found.value)


def test_what_is_said_to_be_lacking_is():
    for module, names in LACKING.items():
        assert not set(names.split()) & vars(sys.modules[module]).keys(), module


@pytest.mark.parametrize(("window", "chosen"), [
    ([1, np.nan, 3, 2], 1), ([np.nan, 1, 3, np.nan], 0), ([2, 3, 3, 1], 1), ([-np.inf] * 4, 0)])
def test_the_gradient_of_a_pooled_window_goes_to_its_first_maximum_or_nan(window, chosen):
    x = tf.constant(np.reshape(np.array(window, np.float32), (1, 2, 2, 1)))
    y = tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "VALID")
    top, place = tf.nn.max_pool_with_argmax(x, [1, 2, 2, 1], [1, 2, 2, 1], "VALID")
    found = tf.Session().run([y, top, place, *tf.gradients(y, x), *tf.gradients(top, x)])
    slope = np.arange(4) == chosen
    for value, expected in zip(found, (window[chosen], window[chosen], chosen, slope, slope), strict=True):
        np.testing.assert_array_equal(value.ravel(), expected)


@pytest.mark.parametrize(("value", "expected", "relative", "ulp"), [
    ([4, 0, 2], [4, 1e-10, 2], 2.5e-11, 1e-10 / 2**-21), ([4, 0, 2], [4, 0, 2], 0, 0), ([0], [0], 0, 0),
    ([], [], 0, 0), ([1e-10], [0], 1, 1e-10 / 2**-57), ([np.inf, np.nan, 8], [np.inf, np.nan, 4], 0.5, 2**22),
    ([np.inf], [3], np.inf, np.inf), ([np.nan], [np.inf], np.nan, np.nan)])
def test_errors_are_told_against_the_scale_of_the_whole(value, expected, relative, ulp):
    t = tf.placeholder(tf.float32, [None])
    found = _difference(t, np.array(value), np.array(expected))
    np.testing.assert_allclose([found.max_relative, found.max_ulp], [relative, ulp], 1e-6)


def test_a_root_by_pow_is_the_same_for_constants():
    x = np.array([-np.inf, -0.0, 2.0], np.float32)
    fed = tf.placeholder(tf.float32, [3])
    folded, run = session().run([tf.pow(tf.constant(x), 0.5), tf.pow(fed, 0.5)], {fed: x})
    assert folded.tobytes() == run.tobytes()


@pytest.mark.parametrize("jit", ["1", "0", "numba"])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64, tf.float16, tf.bfloat16], ids=lambda d: d.name)
def test_remainders_by_large_quotients_are_numpys(dtype, jit, monkeypatch):
    """By numbers of any size, and by one; the gradients are 1 and what was subtracted."""
    monkeypatch.setenv("GRAPHFLOW_JIT", jit)
    rng, x, y = np.random.default_rng(7), tf.placeholder(dtype, [None]), tf.placeholder(dtype, [None])
    a, b = (rng.normal(size=1000) * 2.0**rng.integers(-12, 12, 1000) for _ in range(2))
    a, b = (v.astype(dtype.as_numpy_dtype) for v in (a * 2.0**rng.choice([0, 3], 1000), b))
    wide = np.float64 if dtype is tf.float64 else np.float32
    by_one, out = tf.floormod(x, tf.constant(0.1, dtype)), x % y
    found = session().run([out, by_one, *tf.gradients(out, [x, y])], {x: a, y: b})
    p, q, one = (v.astype(wide) for v in (a, b, np.asarray(0.1, dtype.as_numpy_dtype)))
    for got, want in zip(found, [np.mod(p, q), np.mod(p, one), p * 0 + 1, -np.floor(p / q)], strict=True):
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(got, want.astype(dtype.as_numpy_dtype))
    if dtype in (tf.float32, tf.float64):
        a, b = (np.array(v, wide) for v in ([1e10, 1, -1e30, 6, -0.0], [0.1, 1.4e-45, 0.7, -3, 3]))
        got, want = session().run(out, {x: a, y: b}), np.mod(a, b)
        assert got.tobytes() == want.tobytes()


_REALS = [*(s * (2.0**k + d) for k in (0, 7, 8, 15, 16, 31, 32, 63, 64) for s in (1, -1)
            for d in (-1, -0.5, 0, 0.5)), 0.0, -0.0, np.nan, np.inf, -np.inf, 0.99, -0.99, 65519.99, 1e300,
          -1e-300, 1 + 2**-8 + 2**-40, 1 + 2**-11 + 2**-40, -1 - 2**-11 + 2**-40, 2**-25 + 2**-60, 2**-149]


@pytest.mark.parametrize("jit", ["1", "0"])
@pytest.mark.parametrize("source", ALL, ids=lambda d: d.name)
def test_casts_between_all_dtypes(source, jit, monkeypatch):
    """Integers wrap; floats saturate to integers, NaN gives 0; halves of doubles are rounded once."""
    monkeypatch.setenv("GRAPHFLOW_JIT", jit)
    x = tf.placeholder(source, [None])
    targets = [d for d in ALL if d is not source]
    with np.errstate(over="ignore"):
        values = _REALS if source.is_floating else [source.min, 0, 1, source.max // 3, source.max]
        a = np.array(values, np.float64 if source.is_floating else source.numpy).astype(source.numpy)
        for d, got in zip(targets, session().run([tf.cast(x, d) for d in targets], {x: a}), strict=True):
            pair = got, cast_array(a, d)
            assert got.dtype == d.numpy
            np.testing.assert_array_equal(*(v.astype(float) if d.is_floating else v for v in pair), d.name)
