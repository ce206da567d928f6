"""Loops whose variables change their shape: each iteration has dims of its own."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from control_suite import run, way  # noqa: F401
from fresh import graph  # noqa: F401

import graphflow as tf
from graphflow.compiler.errors import UnsupportedError


def test_a_variable_that_grows():
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float64, [None])
    v = tf.Variable(0)

    def body(i, y):
        with tf.control_dependencies([v.assign_add(1)]):
            return i + 1, tf.concat([y, [tf.reduce_sum(y) * tf.cast(i, tf.float64)]], 0)

    i, y = tf.while_loop(lambda i, _: i < n, body, [2, x],
                         shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])])
    sess = tf.Session()
    sess.run(v.initializer)
    for count, start in ((5, [1, 2]), (0, [1, 2]), (3, [1, 2, 3])):
        expected = list(start)
        for k in range(2, count):
            expected.append(sum(expected) * k)
        found = sess.run([i, y * 2], {n: count, x: start})
        assert found[0] == max(count, 2) and found[1].tolist() == [2 * e for e in expected]
    assert sess.run(v) == 4


def test_gradients_of_variables_that_grow():
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float64, [None])
    w = tf.placeholder(tf.float64, [])
    _, y = tf.while_loop(lambda i, _: i < n, lambda i, y: (
        i + 1, tf.concat([y, [tf.reduce_sum(tf.sin(y * w)) * y[0]]], 0)), [0, x],
        shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])])
    loss = tf.reduce_sum(tf.square(y) * 0.5)
    slopes = tf.gradients(loss, [x, w])
    sess = tf.Session()
    for count in (0, 1, 4):
        def at(start, factor, count=count):
            return sess.run(loss, {n: count, x: start, w: factor})

        start, h = np.array([0.3, -0.8]), 1e-6
        expected = [(at(start + e, 0.7) - at(start - e, 0.7)) / (2 * h) for e in h * np.eye(2)]
        gx, gw = sess.run(slopes, {n: count, x: start, w: 0.7})
        np.testing.assert_allclose(gx, expected, 1e-7)
        np.testing.assert_allclose(gw, (at(start, 0.7 + h) - at(start, 0.7 - h)) / (2 * h), 1e-7, 1e-9)
    with pytest.raises(UnsupportedError, match="only a first gradient"):
        sess.run(tf.gradients(slopes[0], x), {n: 3, x: start, w: 0.7})


def test_loops_too_long_to_run_one_iteration_at_a_time():
    y = tf.while_loop(lambda i, _: i < 2000, lambda i, y: (i + 1, tf.random_uniform([tf.size(y) + 1])),
                      [0, tf.zeros([1])], shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])])
    with pytest.raises(UnsupportedError, match="more than 1000 iterations"):
        tf.Session().run(y)


def test_a_variable_that_shrinks_until_its_size_ends_the_loop():
    x = tf.placeholder(tf.float32, [None, 2])
    halved = tf.while_loop(lambda y: tf.shape(y)[0] > 1, lambda y: y[::2] + tf.random_uniform([1, 2]), [x],
                           shape_invariants=[tf.TensorShape([None, 2])])
    _, drawn = tf.while_loop(
        lambda i, r: i < 4, lambda i, r: (i + 1, tf.concat([r, tf.random_uniform([1])], 0)),
        [0, tf.zeros([0])], shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])])
    found, numbers = tf.Session().run([halved, drawn], {x: np.zeros((9, 2))})
    assert found.shape == (1, 2) and (found > 0).all() and (found < 4).all()
    assert len(set(numbers.tolist())) == 4


def _grown(n, x, step, shape=(None,)):
    """x, and n times one more row."""
    return tf.while_loop(lambda i, _: i < n, lambda i, y: (i + 1, tf.concat([y, step(i, y)], 0)), [0, x],
                         shape_invariants=[tf.TensorShape([]), tf.TensorShape(shape)])[1]


def _programs(sess):
    return [len(e.programs) for e in sess.engine._executables.values() if e.stages is None]


def test_an_iteration_is_compiled_once_for_all_sizes():
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float32, [None, 2])
    w = tf.Variable([[1.0, 2.0], [-1.0, 0.5]])

    def attend(i, y):
        weights = tf.nn.softmax(tf.matmul(y[-1:], y, transpose_b=True))
        return tf.tanh(tf.matmul(tf.matmul(weights, y), w)) + tf.cast(i, tf.float32)

    y = _grown(n, x, attend, (None, 2))
    start = np.array([[0.3, 0.1]], np.float32)
    for count in (0, 1, 7):
        assert run([y, tf.reduce_sum(y)], {n: count, x: start})[0].shape == (1 + count, 2)
    sess = tf.Session()
    sess.run(w.initializer)
    for count in (3, 40, 12):
        assert sess.run(y, {n: count, x: np.tile(start, (2, 1))}).shape == (2 + count, 2)
    assert set(_programs(sess)) == {1}


def test_what_comes_before_and_after_a_growing_loop_happens_once():
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float64, [None])
    v = tf.Variable(5.0, dtype=tf.float64)
    scaled = tf.exp(x) * v
    y = _grown(n, scaled, lambda i, y: [tf.reduce_sum(y) * scaled[0]])
    z = _grown(2, y, lambda i, y: y[:1] + v)
    step = v.assign_add(tf.reduce_sum(z) + scaled[-1])
    sess = tf.Session()
    sess.run(v.initializer)
    for before in (5.0, None):
        before = sess.run(v) if before is None else before
        given = np.exp([0.1, -0.2]) * before
        expected = list(given)
        for _ in range(3):
            expected.append(sum(expected) * given[0])
        expected += [expected[0] + before] * 2
        found, other, _ = sess.run([z, scaled, step.op], {n: 3, x: [0.1, -0.2]})
        np.testing.assert_allclose(found, expected, 1e-12)
        np.testing.assert_allclose(other, given, 1e-15)
        np.testing.assert_allclose(sess.run(v), before + sum(expected) + given[-1], 1e-12)


def test_a_computed_value_ends_a_growing_loop():
    x = tf.placeholder(tf.float32, [])
    y = tf.while_loop(lambda y: tf.reduce_sum(y) < x, lambda y: tf.concat([y, y[-1:] * 2], 0), [tf.ones([1])],
                      shape_invariants=[tf.TensorShape([None])])
    for limit, count in ((0.5, 1), (2, 2), (1000, 10), (100, 7)):
        assert tf.Session().run(y, {x: limit}).tolist() == [2**k for k in range(count)]


def test_a_growing_loop_in_a_growing_loop():
    n = tf.placeholder(tf.int32, [])
    y = _grown(n, tf.zeros([0]), lambda i, y: tf.reduce_sum(
        _grown(i, tf.ones([1]), lambda k, z: [tf.reduce_sum(z)]), keepdims=True))
    sess = tf.Session()
    for count in (0, 1, 5):
        assert sess.run(y, {n: count}).tolist() == [2.0**k for k in range(count)]
    call = sess.make_callable(y, [n])
    assert call(np.int32(2)).tolist() == [1, 2]
    sess.close()
    with pytest.raises(RuntimeError, match="closed"):
        call(np.int32(2))


def test_errors_in_a_growing_loop_have_the_line():
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.int32, [None])
    y = _grown(n, x, lambda i, y: [10 // (y[-1] - i)])
    sess = tf.Session()
    assert sess.run(y, {n: 2, x: [5]}).tolist() == [5, 2, 10]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"test_growing_loops.py:\d+.*division by zero"):
        sess.run(y, {n: 2, x: [10]})


def test_locked_writes_of_growing_loops_are_not_lost():
    n, v = tf.placeholder(tf.int32, []), tf.Variable(0.0)
    y = _grown(n, tf.zeros([1]) + v, lambda i, y: y[:1])
    step, sess = tf.assign(v, y[0] + 1.0, use_locking=True), tf.Session()
    sess.run(v.initializer)
    sess.run(step, {n: 2})
    workers = [threading.Thread(target=lambda: [sess.run(step, {n: 2}) for _ in range(50)]) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sess.run(v) == 101
