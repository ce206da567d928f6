"""cond and case: values, gradients, writes, and what only one branch may do."""

from __future__ import annotations

import numpy as np
import pytest
from control_suite import check_slope, run, way  # noqa: F401
from fresh import graph  # noqa: F401

import graphflow as tf
from graphflow.compiler.errors import DTypeError


@pytest.mark.parametrize("p", [True, False])
def test_cond(p):
    pred = tf.placeholder(tf.bool, [])
    x = tf.placeholder(tf.float64, [3])
    y = tf.cond(pred, lambda: tf.sin(x) * 2.0, lambda: x * x)
    g, = tf.gradients(y, x)
    gg, = tf.gradients(g, x)
    at = np.array([0.1, 0.5, 2.0])
    found = run([y, g, gg], {pred: p, x: at})
    expected = (2 * np.sin(at), 2 * np.cos(at), -2 * np.sin(at)) if p else (at * at, 2 * at, np.full(3, 2.0))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_only_one_branch_runs():
    x = tf.placeholder(tf.float32, [3])
    k = tf.placeholder(tf.int32, [])
    y = tf.cond(k < 3, lambda: tf.gather(x, k), lambda: tf.constant(-1.0))
    assert tf.Session().run(y, {x: [1, 2, 3], k: 7}) == -1
    assert tf.Session().run(y, {x: [1, 2, 3], k: 2}) == 3


def test_cond_of_structures_and_outer_tensors():
    pred = tf.placeholder(tf.bool, [])
    x, y = tf.constant([1.0, 2.0]), tf.constant(3)
    found = tf.cond(pred, lambda: {"a": x, "b": (y, y + 1)}, lambda: {"a": x * 2.0, "b": (y - 1, y)})
    a, b, c = run([found["a"], *found["b"]], {pred: False})
    np.testing.assert_array_equal(a, [2, 4])
    assert (b, c) == (2, 3)
    assert isinstance(tf.cond(pred, lambda: [x], lambda: [x]), tf.Tensor)


@pytest.mark.parametrize("p, expected", [(True, 6.0), (False, 5.0)])
def test_cond_that_writes(p, expected):
    pred = tf.placeholder(tf.bool, [])
    v = tf.Variable(5.0)
    change = tf.cond(pred, lambda: v.assign_add(1.0), lambda: tf.identity(v))
    step = tf.cond(pred, lambda: v.assign_add(1.0).op, tf.no_op)
    sess = tf.Session()
    sess.run(tf.global_variables_initializer())
    assert sess.run(change, {pred: p}) == expected
    assert sess.run(v) == expected
    sess.run(step, {pred: p})
    assert sess.run(v) == 2 * expected - 5


def test_cond_in_a_loop_with_gradient():
    a = tf.placeholder(tf.float64, [])

    def body(i, x):
        return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: x * a, lambda: tf.sin(x) + a)

    _, x = tf.while_loop(lambda i, x: i < 7, body, [0, tf.constant(1.0, tf.float64)])
    check_slope(x, a, 0.8)


def test_a_loop_in_cond():
    pred = tf.placeholder(tf.bool, [])
    x = tf.placeholder(tf.float64, [])
    y = tf.cond(pred, lambda: tf.while_loop(lambda i, y: i < 4, lambda i, y: [i + 1, y * x], [0, x])[1],
                lambda: x)
    g, = tf.gradients(y, x)
    assert run([y, g], {pred: True, x: 2.0}) == [32.0, 80.0]
    assert run([y, g], {pred: False, x: 2.0}) == [2.0, 1.0]


def test_cond_errors():
    with pytest.raises(TypeError, match="Python bool"):
        tf.cond(True, lambda: 1, lambda: 2)
    pred = tf.placeholder(tf.bool, [])
    with pytest.raises(DTypeError, match="one branch"):
        tf.cond(pred, lambda: tf.constant(1), lambda: tf.constant(1.0))
    with pytest.raises(ValueError):
        tf.cond(pred, lambda: [tf.constant(1), tf.constant(1)], lambda: tf.constant(1))
    with pytest.raises(DTypeError, match="not bool"):
        tf.cond(tf.constant(1), lambda: 1, lambda: 2)


@pytest.mark.parametrize("x, expected", [(0, "a"), (1, "b"), (2, "c")])
def test_case(x, expected):
    t = tf.placeholder(tf.int32, [])
    values = {"a": 10.0, "b": 20.0, "c": 30.0}
    y = tf.case([(tf.equal(t, 0), lambda: tf.constant(10.0)), (tf.equal(t, 1), lambda: tf.constant(20.0))],
                default=lambda: tf.constant(30.0))
    assert run(y, {t: x}) == values[expected]


def test_a_branch_that_is_not_chosen_finds_no_fault():
    d = tf.placeholder(tf.int32, [])
    y = tf.cond(tf.not_equal(d, 0), lambda: 12 // d, lambda: tf.constant(-1))
    sess = tf.Session()
    assert [sess.run(y, {d: k}) for k in (0, 5)] == [-1, 2]


def test_a_fault_that_only_a_control_dependency_sees():
    def body(i):
        with tf.control_dependencies([10 // (i - 1)]):
            return i + 1

    with pytest.raises(tf.errors.InvalidArgumentError, match="division by zero"):
        tf.Session().run(tf.while_loop(lambda i: i < 4, body, [0]))
