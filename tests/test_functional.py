"""map_fn, scan, folds and TensorArray, against Python loops."""

from __future__ import annotations

import numpy as np
import pytest
from control_suite import check_slope, run, way  # noqa: F401
from fresh import graph  # noqa: F401

import graphflow as tf
from graphflow.compiler.errors import DTypeError, InvalidArgumentError, ShapeError, UnsupportedError

# map_fn, scan, foldl, foldr

def test_map_fn():
    x = tf.placeholder(tf.float64, [None, 2, 2])
    w = tf.constant([[1.0, 2.0], [3.0, 4.0]], tf.float64)
    y = tf.map_fn(lambda m: tf.matmul(m, w), x)
    g, = tf.gradients(tf.reduce_sum(y * y), x)
    at = np.random.RandomState(0).randn(3, 2, 2)
    expected = at @ [[1.0, 2.0], [3.0, 4.0]]
    found = run([y, g], {x: at})
    np.testing.assert_allclose(found[0], expected)
    np.testing.assert_allclose(found[1], 2 * expected @ np.transpose([[1.0, 2.0], [3.0, 4.0]]))


def test_map_fn_of_structures():
    a, b = tf.constant([1, 2, 3]), tf.constant([4.0, 5.0, 6.0])
    y = tf.map_fn(lambda p: (p[0] * 2, {"x": p[1] + tf.cast(p[0], tf.float32)}), (a, b),
                  dtype=(tf.int32, {"x": tf.float32}))
    assert y[0].shape.as_list() == [3]
    found = run([y[0], y[1]["x"]])
    np.testing.assert_array_equal(found[0], [2, 4, 6])
    np.testing.assert_array_equal(found[1], [5, 7, 9])
    with pytest.raises(DTypeError, match="int32 is needed"):
        tf.map_fn(lambda x: tf.cast(x, tf.float32), a)
    assert run(tf.map_fn(lambda x: tf.cast(x, tf.float32), a, dtype=tf.float32)).dtype == np.float32


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("started", [False, True])
def test_scan(reverse, started):
    x = tf.placeholder(tf.float64, [4])
    start = tf.constant(2.0, tf.float64) if started else None
    y = tf.scan(lambda a, e: a * e + 1.0, x, start, reverse=reverse)
    assert y.shape.as_list() == [4]
    at = np.array([0.5, -1.0, 2.0, 0.3])
    order = at[::-1] if reverse else at
    values, a = [], 2.0
    for k, e in enumerate(order):
        a = a * e + 1 if started or k else e
        values.append(a)
    np.testing.assert_allclose(run(y, {x: at}), values[::-1] if reverse else values)
    total = tf.reduce_sum(y * y)
    z, parts = start, []
    for e in tf.unstack(x)[::-1 if reverse else 1]:
        z = e if z is None else z * e + 1.0
        parts.append(z)
    plain = tf.add_n([p * p for p in parts])

    def slopes(y):
        g, = tf.gradients(y, x)
        return [g, *tf.gradients(tf.reduce_sum(g), x)]

    np.testing.assert_allclose(run(slopes(total), {x: at}), run(slopes(plain), {x: at}), rtol=1e-9)


def test_scan_of_structures_with_vectors():
    x = tf.placeholder(tf.float32, [None, 3])
    h, c = tf.scan(lambda s, e: (tf.tanh(s[0] + e), s[1] + 1), x, (tf.zeros([3]), tf.constant(0)))
    at = np.random.RandomState(0).randn(5, 3).astype("f")
    h_, c_ = run([h, c], {x: at})
    s = np.zeros(3, np.float32)
    for k in range(5):
        s = np.tanh(s + at[k])
        np.testing.assert_allclose(h_[k], s, rtol=1e-5)
    np.testing.assert_array_equal(c_, [1, 2, 3, 4, 5])


def test_folds():
    x = tf.constant([1.0, 2.0, 3.0])
    assert run(tf.foldl(lambda a, e: a * 2.0 + e, x)) == (1 * 2 + 2) * 2 + 3
    assert run(tf.foldr(lambda a, e: a * 2.0 + e, x)) == (3 * 2 + 2) * 2 + 1
    assert run(tf.foldl(lambda a, e: a - e, x, tf.constant(10.0))) == 4.0
    g, = tf.gradients(tf.foldl(lambda a, e: a * e, x), x)
    np.testing.assert_allclose(run(g), [6, 3, 2])


def test_functions_of_no_rows():
    x = tf.placeholder(tf.float32, [None, 2])
    y = tf.map_fn(lambda r: r * 2.0, x)
    assert run(y, {x: np.zeros((0, 2), np.float32)}).shape == (0, 2)
    with pytest.raises(ShapeError, match="first axis"):
        tf.map_fn(lambda r: r, tf.constant(1.0))


@pytest.mark.parametrize("size", [None, 0])
@pytest.mark.parametrize("fold", [tf.foldl, tf.foldr, tf.scan])
def test_folds_of_no_rows_lack_a_first_value(fold, size):
    x = tf.placeholder(tf.float32, [size, 3])
    y = fold(lambda a, b: a + b, x)
    with pytest.raises(InvalidArgumentError, match=r"fold|scan"), tf.Session() as sess:
        sess.run(y, {x: np.zeros((0, 3))})


def test_functions_in_functions():
    x = tf.placeholder(tf.float64, [None, 4])
    y = tf.map_fn(lambda row: tf.scan(lambda a, e: a * e + 1.0, row), x)
    g, = tf.gradients(tf.reduce_sum(y * y), x)
    rows = []
    at = np.random.RandomState(0).randn(3, 4)
    for k in range(3):
        parts = [x[k, 0]]
        for j in range(1, 4):
            parts.append(parts[-1] * x[k, j] + 1.0)
        rows.append(tf.stack(parts))
    z = tf.stack(rows)
    found, expected = run([y, g], {x: at}), run([z, tf.gradients(tf.reduce_sum(z * z), x)[0]], {x: at})
    np.testing.assert_allclose(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1])


# TensorArray

def test_an_array_written_in_a_loop():
    x = tf.placeholder(tf.float64, [None, 3])
    n = tf.shape(x)[0]
    array = tf.TensorArray(tf.float64, size=n)

    def body(i, h, array):
        h = tf.tanh(h + x[i])
        return i + 1, h, array.write(i, h)

    _, _, array = tf.while_loop(lambda i, *_: i < n, body, [0, tf.zeros([3], tf.float64), array])
    y = array.stack()
    assert y.shape.as_list() == [None, 3]
    h, parts = tf.zeros([3], tf.float64), []
    for i in range(4):
        h = tf.tanh(h + x[i])
        parts.append(h)
    z = tf.stack(parts)
    at = np.random.RandomState(0).randn(4, 3)

    def slopes(y):
        g, = tf.gradients(tf.reduce_sum(y * y), x)
        return [y, g, *tf.gradients(tf.reduce_sum(g * g), x)]

    for found, expected in zip(run(slopes(y), {x: at}), run(slopes(z), {x: at}), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_dynamic_rnn_like():
    """Inputs unstacked, states written, masked by length."""
    x = tf.placeholder(tf.float32, [None, None, 4])
    lengths = tf.placeholder(tf.int32, [None])
    w = tf.Variable(np.random.RandomState(1).randn(8, 4).astype("f") * 0.4)
    steps, batch = tf.shape(x)[1], tf.shape(x)[0]
    inputs = tf.TensorArray(tf.float32, size=steps).unstack(tf.transpose(x, [1, 0, 2]))

    def body(t, h, outputs):
        new = tf.tanh(tf.matmul(tf.concat([inputs.read(t), h], 1), w))
        new = tf.where(t < lengths, new, h)
        return t + 1, new, outputs.write(t, new)

    _, last, outputs = tf.while_loop(lambda t, *_: t < steps, body,
                                     (0, tf.zeros([batch, 4]), tf.TensorArray(tf.float32, steps)))
    y = tf.transpose(outputs.stack(), [1, 0, 2])
    loss = tf.reduce_sum(y * y) + tf.reduce_sum(last)
    slopes = tf.gradients(loss, [x, w])
    at, long = np.random.RandomState(0).randn(2, 5, 4).astype("f"), [3, 5]
    y_, last_, gx, gw = run([y, last, *slopes], {x: at, lengths: long})
    h, parts = tf.zeros([2, 4]), []
    for t in range(5):
        new = tf.tanh(tf.matmul(tf.concat([x[:, t], h], 1), w))
        h = tf.where(t < lengths, new, h)
        parts.append(h)
    z = tf.stack(parts, 1)
    expected = run([z, h, *tf.gradients(tf.reduce_sum(z * z) + tf.reduce_sum(h), [x, w])],
                   {x: at, lengths: long})
    for a, b in zip((y_, last_, gx, gw), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_an_array_that_is_read_back():
    a = tf.placeholder(tf.float64, [])
    array = tf.TensorArray(tf.float64, 8, clear_after_read=False).write(0, a).write(1, a * a)
    _, array = tf.while_loop(lambda i, t: i < 8, lambda i, t: (i + 1, t.write(
        i, tf.sin(t.read(i - 1)) + a * t.read(i - 2))), (2, array))
    check_slope(tf.reduce_sum(array.stack()), a, 0.6)


def test_array_methods():
    array = tf.TensorArray(tf.float32, 3, element_shape=[2])
    assert run(array.stack()).shape == (3, 2)
    array = array.write(0, [1.0, 2.0]).write(2, [5.0, 6.0])
    np.testing.assert_array_equal(run(array.read(2)), [5, 6])
    np.testing.assert_array_equal(run(array.gather([2, 0])), [[5, 6], [1, 2]])
    np.testing.assert_array_equal(run(array.concat()), [1, 2, 0, 0, 5, 6])
    assert run(array.size()) == 3
    np.testing.assert_array_equal(run(array.scatter([1], [[3.0, 4.0]]).stack()), [[1, 2], [3, 4], [5, 6]])
    parts = tf.TensorArray(tf.float32, 2).split(tf.range(4.0), [2, 2])
    np.testing.assert_array_equal(run(parts.read(1)), [2, 3])
    grown = tf.TensorArray(tf.int32, 0, dynamic_size=True).write(0, 4).write(1, 5)
    np.testing.assert_array_equal(run(grown.stack()), [4, 5])


def test_an_array_that_grows_in_a_loop():
    n = tf.placeholder(tf.int32, [])
    array = tf.TensorArray(tf.float32, 0, dynamic_size=True)
    _, array = tf.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, a.write(i, [tf.cast(i, tf.float32)])),
                             (0, array))
    np.testing.assert_array_equal(run(array.stack(), {n: 3}), [[0], [1], [2]])
    early = tf.TensorArray(tf.float32, 0, dynamic_size=True)
    _, early = tf.while_loop(lambda i, a: tf.logical_and(i < n, i < 2), lambda i, a: (i + 1, a.write(i, 1.0)),
                             (0, early))
    with pytest.raises(UnsupportedError, match="give the array a size"):
        tf.Session().run(early.stack(), {n: 3})


def test_array_errors():
    array = tf.TensorArray(tf.float32, 3)
    with pytest.raises(DTypeError, match="float32"):
        array.write(0, tf.constant(1))
    with pytest.raises(ShapeError, match=r"value of shape \(3,\)"):
        array.write(0, [1.0, 2.0]).write(1, [1.0, 2.0, 3.0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="before anything is written"):
        tf.Session().run(array.stack())
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"index 7 is not in \[0, 3\)"):
        tf.Session().run(array.write(7, 1.0).stack())
    with pytest.raises(UnsupportedError, match=r"tf\.gradients"):
        array.grad("source")
    with pytest.raises(TypeError, match="but the body gives"):
        tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, tf.constant(1.0)), (0, array))
