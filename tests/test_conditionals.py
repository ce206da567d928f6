"""cond and case: values, gradients, writes, and what only one branch may do."""

from __future__ import annotations

import numpy as np
import pytest
from control_suite import check_slope, run, way  # noqa: F401
from fresh import graph  # noqa: F401

import graphflow as tf
from graphflow.compiler.errors import DTypeError, ShapeError


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
    with pytest.raises(ShapeError, match=r"\['i32\[\]', 'f32\[2\]'\] and false_fn i32\[\]\n.*py:"):
        tf.cond(pred, lambda: [tf.constant(1), tf.zeros(2)], lambda: tf.constant(1))
    with pytest.raises(ShapeError, match="one structure"):
        tf.cond(pred, lambda: {"a": 1, "b": 2}, lambda: [1, 2])
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


@pytest.mark.parametrize("p", [True, False])
def test_branches_of_different_shapes_where_the_predicate_is_fed(p):
    pred = tf.placeholder(tf.bool, [])
    x, y = tf.placeholder(tf.float64, [None]), tf.placeholder(tf.float64, [None])
    out = tf.cond(pred, lambda: x[1:] * 2.0, lambda: tf.concat([x, y], 0) * 3.0)
    g, = tf.gradients(tf.reduce_sum(out * out), x)
    assert out.shape.as_list() == [None]
    found, slope = run([out, g], {pred: p, x: np.array([2.0, 3.0, 4.0]), y: np.array([5.0])})
    assert found.tolist() == ([6, 8] if p else [6, 9, 12, 15])
    assert slope.tolist() == ([0, 24, 32] if p else [36, 54, 72])


def test_one_function_runs_both_branches_at_any_size():
    pred, x = tf.placeholder(tf.bool, []), tf.placeholder(tf.float32, [None])
    call = tf.Session().make_callable(tf.cond(pred, lambda: x[1:], lambda: tf.stack([x, x])), [pred, x])
    for k in (3, 4):
        shapes = [call(np.array(q), np.ones(k, np.float32)).shape for q in (True, False, True)]
        assert shapes == [(k - 1,), (2, k), (k - 1,)]


def test_predicates_made_of_fed_numbers_and_sizes():
    n, x = tf.placeholder(tf.int32, [2]), tf.placeholder(tf.float32, [None])
    long = tf.logical_and(tf.greater(tf.size(x), 3), tf.less(n[0], n[1] * 2))
    v = tf.Variable(0)

    def short():
        with tf.control_dependencies([v.assign_add(1)]):
            return tf.gather(x, [0]) + tf.random_uniform([1])

    out = tf.cond(long, lambda: x, short) + 1.0
    sess = tf.Session()
    sess.run(v.initializer)
    assert sess.run(out, {x: np.ones(5), n: [1, 1]}).shape == (5,)
    assert sess.run(v) == 0
    assert sess.run(out, {x: np.ones(5), n: [2, 1]}).shape == sess.run(out, {x: [1], n: [1, 1]}).shape == (1,)
    assert sess.run(v) == 2


def test_different_shapes_in_a_loop_and_a_fault_in_the_branch_that_runs():
    pred, k = tf.placeholder(tf.bool, []), tf.placeholder(tf.int32, [])
    x = tf.placeholder(tf.float32, [4])

    def body(i, s):
        part = tf.cond(pred, lambda: x[:2], lambda: x)
        return [i + 1, s + tf.reduce_sum(part) + tf.gather(x, k)]

    total = tf.while_loop(lambda i, s: i < 2, body, [0, 0.0])[1]
    with tf.control_dependencies([tf.cond(pred, lambda: tf.gather(x, [k]), lambda: tf.gather(x, [0, 1]))]):
        y = tf.identity(x)
    sess = tf.Session()
    assert sess.run(total, {pred: True, x: np.ones(4), k: 0}) == 6
    assert sess.run(total, {pred: False, x: np.ones(4), k: 0}) == 10
    sess.run(y, {pred: False, x: np.ones(4), k: 9})
    with pytest.raises(tf.errors.InvalidArgumentError, match="index 9"):
        sess.run(y, {pred: True, x: np.ones(4), k: 9})


def test_different_shapes_by_a_computed_predicate():
    x, n = tf.placeholder(tf.float64, [None]), tf.Variable(0)
    y = tf.cond(tf.reduce_sum(x) > 0, lambda: tf.square(x), lambda: x[:1]) * 2.0
    g, = tf.gradients(tf.reduce_sum(y), x)
    with tf.control_dependencies([y]):
        count = n.assign_add(1)
    sess = tf.Session()
    sess.run(n.initializer)
    for k, v in enumerate(([1.0, 2.0], [-1.0, -2.0], [3.0, 4.0], [-5.0, 1.0], [1.0, 2.0, 3.0]), 1):
        found = sess.run([y, g, count], {x: v})
        positive = sum(v) > 0
        assert found[0].tolist() == [2 * e * e if positive else 2 * e for e in (v if positive else v[:1])]
        assert found[1].tolist() == [4 * e if positive else 2 * (not j) for j, e in enumerate(v)]
        assert found[2] == k  # a guess that was wrong writes nothing


def test_computed_predicates_one_after_another():
    x = tf.placeholder(tf.float32, [None])
    a = tf.cond(tf.reduce_sum(x) > 0, lambda: x, lambda: tf.concat([x, x], 0))
    b = tf.cond(tf.reduce_max(a) > 3, lambda: a[:2], lambda: tf.stack([a, a]))
    c = tf.cond(tf.reduce_min(b) > -3, lambda: tf.reduce_sum(b), lambda: b)
    call = tf.Session().make_callable([a, b, c], [x])
    for v in ([1, 2], [5, 1, 1], [-1, -1, -1], [-9, 4, 1], [2, 1], [-7, 1], [1, 2]) * 2:
        v = np.array(v, np.float32)
        p = v if v.sum() > 0 else np.concatenate([v, v])
        q = p[:2] if p.max() > 3 else np.stack([p, p])
        r = q.sum() if q.min() > -3 else q
        for found, expected in zip(call(v), (p, q, r), strict=True):
            assert np.array_equal(found, expected)


def test_what_only_one_branch_fits_is_judged_by_the_branch_that_runs():
    x, z = tf.placeholder(tf.float32, [4]), tf.placeholder(tf.float32, [None])
    y = tf.cond(tf.reduce_sum(x) > 0, lambda: x[:3], lambda: x[:2]) + z
    sess = tf.Session()
    for v, n in ((1, 3), (-1, 2), (-1, 2), (1, 3), (1, 1), (-1, 1)):
        assert sess.run(y, {x: np.full(4, v), z: np.ones(n)}).tolist() == [v + 1] * (3 if v > 0 else 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="3"):
        sess.run(y, {x: np.ones(4), z: np.ones(2)})


def test_branches_that_turn_out_to_differ_in_shape():
    a, b = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.float32, [None])
    y = tf.cond(tf.reduce_sum(a) > 0, lambda: a * 2.0, lambda: b + 1.0)
    sess = tf.Session()
    for v, n, m in ((1, 3, 3), (1, 3, 5), (-1, 3, 5), (-1, 2, 2), (1, 4, 1), (1, 3, 5)):
        found = sess.run(y, {a: np.full(n, v), b: np.zeros(m)})
        assert found.tolist() == ([2] * n if v > 0 else [1] * m)


def test_random_predicates_keep_their_chances():
    p = tf.random_uniform([]) < 0.3
    y = tf.cond(p, lambda: tf.zeros([2]), lambda: tf.zeros([3]))
    call = tf.Session().make_callable([p, y])
    runs = [call() for _ in range(2000)]
    assert all(len(v) == (2 if q else 3) for q, v in runs)
    assert 0.25 < np.mean([q for q, _ in runs]) < 0.35


def test_a_predicate_that_writes_writes_once():
    v = tf.Variable(0.0)
    y = tf.cond(v.assign_add(1.0) < 3.0, lambda: tf.zeros([2]), lambda: tf.zeros([3]))
    sess = tf.Session()
    sess.run(v.initializer)
    assert [len(sess.run(y)) for _ in range(4)] == [2, 2, 3, 3]
    assert sess.run(v) == 4


def test_a_computed_predicate_in_a_loop():
    x = tf.placeholder(tf.float32, [4])
    fixed = tf.reduce_sum(x) > 0

    def body(i, s):
        return i + 1, s + tf.reduce_sum(tf.cond(fixed, lambda: x[:2], lambda: x))

    total = tf.while_loop(lambda i, s: i < 3, body, [0, 0.0])[1]
    sess = tf.Session()
    assert [sess.run(total, {x: np.full(4, v)}) for v in (1, -1, 1)] == [6, -12, 6]
    v = tf.Variable(0.0)

    def changing(writes):
        def body(i, s):
            with tf.control_dependencies([v.assign(s)] if writes else []):
                return i + 1, s + tf.reduce_sum(tf.cond(s > 1, lambda: x[:2], lambda: x))
        return tf.while_loop(lambda i, s: i < 3, body, [0, 0.0])[1]

    apart, together = changing(False), changing(True)
    assert sess.run(apart, {x: np.ones(4)}) == 8  # an iteration is a program of its own
    with pytest.raises(ShapeError, match=r"(?s)f32\[2\] in one branch.*all iterations"):
        sess.run(together, {x: np.ones(4)})


def test_eager_mode_takes_the_computed_branch():
    x = tf.placeholder(tf.float32, [3])
    y = tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2.0, lambda: x[:1])
    session = tf.Session()
    assert [tf.compare([y], {x: [k, -2, 3]}, session).max_absolute for k in (1, -9)] == [0, 0]
