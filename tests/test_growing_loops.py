"""Loops whose variables change their shape: each iteration has dims of its own."""

from __future__ import annotations

import numpy as np
import pytest
from control_suite import way  # noqa: F401
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
    y = tf.while_loop(lambda i, _: i < 2000, lambda i, y: (i + 1, tf.zeros([tf.size(y) + 1])),
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
