"""Loops whose variables change their shape: each iteration has dims of its own."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from control_suite import run, way  # noqa: F401
from fresh import graph, session  # noqa: F401

import graphflow as tf
from graphflow.compiler import flags
from graphflow.compiler.errors import UnsupportedError
from graphflow.compiler.passes import prune_regions


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


def test_loops_too_long_to_compile_one_iteration_at_a_time():
    v = tf.Variable(0)

    def body(i, y):
        with tf.control_dependencies([v.assign(i)]):
            return i + 1, tf.zeros([tf.size(y) + 1])

    y = tf.while_loop(lambda i, _: i < 2000, body, [0, tf.zeros([1])],
                      shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])])
    with pytest.raises(UnsupportedError, match="more than 1000 iterations"):
        session().run(y)


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


def _unrolled(fetches, feeds, monkeypatch):
    """The values by one program, in which the iterations follow each other."""
    with monkeypatch.context() as m:
        m.setattr(prune_regions, "may_leave", lambda *_: False)
        return session().run(fetches, feeds)


def _agree(fetches, feeds, monkeypatch, tolerance=1e-6):
    """Stages give what the oracle and the unrolled program give."""
    found = run(fetches, feeds)
    for value, expected in zip(found, _unrolled(fetches, feeds, monkeypatch), strict=True):
        np.testing.assert_allclose(value, expected, tolerance, tolerance)
    return found


def _attention(n, x, w):
    """Rows that attend to all rows before them."""
    def attend(i, y):
        weights = tf.nn.softmax(tf.matmul(y[-1:], y, transpose_b=True))
        return tf.tanh(tf.matmul(tf.matmul(weights, y), w)) + tf.cast(i, x.dtype) * 0.01
    return _grown(n, x, attend, (None, 2))


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_gradients_are_those_of_the_unrolled_loop(dtype, monkeypatch):
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(dtype, [None, 2])
    w = tf.Variable([[1.0, 2.0], [-1.0, 0.5]], dtype=dtype)
    y = _attention(n, x, w)
    loss = tf.reduce_sum(tf.square(y) * tf.reduce_mean(y))
    for count in (0, 1, 2, 7):
        _agree([loss, y, *tf.gradients(loss, [x, w])], {n: count, x: [[0.3, 0.1], [-0.2, 0.5]]}, monkeypatch)


def test_the_backward_iteration_is_compiled_once_for_all_sizes():
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float32, [None, 2])
    w = tf.Variable([[1.0, 2.0], [-1.0, 0.5]])
    slopes = tf.gradients(_attention(n, x, w), [x, w])
    sess = session()
    for count in (3, 40, 12):
        assert sess.run(slopes, {n: count, x: [[0.3, 0.1]]})[0].shape == (1, 2)
    assert len(_programs(sess)) == 8 and set(_programs(sess)) == {1}  # with the initializer's


def test_gradients_through_several_growing_loops(monkeypatch):
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float64, [None])
    w = tf.placeholder(tf.float64, [])
    y = _grown(n, x, lambda i, y: [tf.sin(tf.reduce_sum(y) * w)])
    z = _grown(n + 1, y * w, lambda i, z: z[:1] * z[-1:] + tf.reduce_mean(y))
    loss = tf.reduce_sum(z * z) * tf.reduce_prod(y[-1:])
    for count in (0, 1, 2, 7):
        _agree([loss, *tf.gradients(loss, [x, w, y])], {n: count, x: [0.3, -0.8], w: 0.7}, monkeypatch)


def test_gradients_through_an_ordinary_loop_before_a_growing_one(monkeypatch):
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float64, [None])
    z = tf.while_loop(lambda i, _: i < 4, lambda i, z: (i + 1, tf.sin(z * 0.7) + z), [0, x])[1]
    y = _grown(n, z, lambda i, y: [tf.sin(tf.reduce_sum(y) * 0.7)])
    first, = tf.gradients(z, x)
    fetches = [first, *tf.gradients(first, x), *tf.gradients(tf.square(y), x)]
    for count in (0, 1, 2, 7):
        _agree(fetches, {n: count, x: [0.3, -0.8]}, monkeypatch)


def test_gradients_through_a_growing_loop_in_a_growing_loop():
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float64, [None])

    def step(i, y):
        return tf.reduce_sum(_grown(i, tf.sin(y), lambda k, z: [tf.reduce_mean(z * y[0])]), keepdims=True)

    loss = tf.reduce_sum(tf.square(_grown(n, x, step)))
    slope, = tf.gradients(loss, x)
    start, h, sess = np.array([0.3, -0.8]), 1e-6, session()
    for count in (0, 1, 2, 5):
        high, low = ([sess.run(loss, {n: count, x: start + e}) for e in d * np.eye(2)] for d in (h, -h))
        np.testing.assert_allclose(run(slope, {n: count, x: start}), np.subtract(high, low) / (2 * h), 1e-6)


def test_gradients_where_a_computed_value_ends_the_loop():
    x = tf.placeholder(tf.float64, [None])
    y = tf.while_loop(lambda y: tf.reduce_sum(y) < 50.0, lambda y: tf.concat([y, y[-1:] * y[:1]], 0), [x],
                      shape_invariants=[tf.TensorShape([None])])
    slope, = tf.gradients(y, x)
    for first, count in ((60.0, 0), (2.0, 4), (1.5, 7)):
        found, values = run([slope, y], {x: [first]})
        powers = np.arange(1, count + 2)
        np.testing.assert_allclose(values, first**powers)
        np.testing.assert_allclose(found, [sum(powers * first**(powers - 1.0))])


def test_gradients_where_an_iteration_branches(monkeypatch):
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float64, [None])
    y = _grown(n, x, lambda i, y: tf.cond(tf.reduce_sum(y) > 0.5, lambda: tf.sin(y[-1:]), lambda: 2 * y[:1]))
    for count in (0, 1, 2, 7):
        _agree([y, *tf.gradients(tf.square(y), x)], {n: count, x: [0.3, -0.8]}, monkeypatch)


def test_iterations_of_several_lengths():
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float64, [None])
    y = _grown(n, x, lambda i, y: tf.cond(tf.reduce_sum(y) > 0.5, lambda: -y, lambda: y[:1] + 1.0))
    slope, = tf.gradients(tf.square(y), x)
    expected, lengths = np.array([0.3, -0.8]), []
    for _ in range(5):
        expected = np.append(expected, -expected if expected.sum() > 0.5 else expected[:1] + 1.0)
        lengths.append(len(expected))
    for count in (5, 0, 1, 2):
        found = run([y, slope], {n: count, x: [0.3, -0.8]})
        assert len(found[0]) == [2, *lengths][count]
    np.testing.assert_allclose(run(y, {n: 5, x: [0.3, -0.8]}), expected)


def test_a_growing_loop_in_a_branch_and_in_another_loop(monkeypatch):
    n, x, on = tf.placeholder(tf.int32, []), tf.placeholder(tf.float64, [None]), tf.placeholder(tf.bool, [])
    y = tf.cond(on, lambda: tf.reduce_sum(_grown(n, x, lambda i, y: tf.sin(y[-1:]))), lambda: x[0])
    z = tf.while_loop(lambda i, _: i < 3, lambda i, z: (
        i + 1, tf.reduce_sum(_grown(n, x * z, lambda k, y: tf.cos(y[-1:])))), [0, y])[1]
    for count in (0, 1, 2, 7):
        for branch in (True, False):
            _agree([y, z, *tf.gradients([y, z], x)], {n: count, x: [0.3, -0.8], on: branch}, monkeypatch)


def test_a_step_of_an_optimizer_through_a_growing_loop(monkeypatch):
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float32, [None, 2])
    w = tf.Variable([[1.0, 2.0], [-1.0, 0.5]])
    loss = tf.reduce_mean(tf.square(_attention(n, x, w)))
    step, feeds = tf.train.AdamOptimizer(0.1).minimize(loss), {n: 7, x: [[0.3, 0.1]]}

    def trained(sess):
        return [sess.run([loss, step], feeds)[0] for _ in range(4)], sess.run(w)

    losses, found = trained(session())
    with monkeypatch.context() as m:
        m.setattr(prune_regions, "may_leave", lambda *_: False)
        others, expected = trained(session())
    assert losses == sorted(losses, reverse=True)
    np.testing.assert_allclose(losses, others, 1e-5)
    np.testing.assert_allclose(found, expected, 1e-4)


def test_random_numbers_are_those_of_the_unrolled_loop(monkeypatch):
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float64, [None])

    def step(i, y):
        drawn = tf.random_uniform(tf.shape(y), dtype=tf.float64)
        return tf.cond(tf.reduce_sum(y) > 0, lambda: tf.reduce_sum(tf.sin(y * drawn), keepdims=True),
                       lambda: tf.random_normal([1], dtype=tf.float64) + y[:1])

    y = _grown(n, x, step)
    kept = y * tf.random_uniform(tf.shape(y), dtype=tf.float64)
    fetches = [y, kept, *tf.gradients(tf.square(kept), x)]
    for count in (0, 1, 2, 7):
        feeds, pairs = {n: count, x: [0.3, -0.8]}, []
        run(fetches, feeds)
        for unrolled in (False, True):
            with monkeypatch.context() as m:
                if unrolled:
                    m.setattr(prune_regions, "may_leave", lambda *_: False)
                sess = session()
                sess.engine._entropy = 5
                pairs.append([v for _ in range(2) for v in sess.run(fetches, feeds)])
        for value, expected in zip(*pairs, strict=True):
            np.testing.assert_allclose(value, expected, 1e-12)
        assert not np.array_equal(pairs[0][1], pairs[0][4])


@pytest.mark.parametrize("measure", [False, True])
def test_explain_shows_the_stages(measure, way):  # noqa: F811
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float32, [None, 2])
    w = tf.Variable([[1.0, 2.0], [-1.0, 0.5]])
    step = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(_attention(n, x * 2.0, w)))
    sess = session()
    found = tf.explain(step, {n: 7}, {x: (1, 2)}, session=sess, run=measure)
    printed = str(found)
    assert np.array_equal(sess.run(w)[0], [1, 2])
    assert [s.runs for s in found.stages] == [1, 1, 7, 1, 1, 7, 1]
    forward, backward = found.stages[2], found.stages[5]
    assert "an iteration of while/while (test_growing_loops.py:" in printed and ", 7 runs" in printed
    assert forward.title in printed and "gradient_loop" in backward.title
    assert all(k.launches == 7 for s in (forward, backward) for k in s.kernels)
    assert found.kernels == tuple(k for s in found.stages for k in s.kernels)
    assert found.arena_bytes == max(s.arena_bytes for s in found.stages)
    joined = next(k for k in forward.kernels if k.extents == (14,))
    assert joined.bytes_written == sum(8 * rows for rows in range(1, 8)) // 7  # what concat copies
    assert (found.seconds is not None) == (measure and way == "native" and flags.use_jit())


def test_explain_and_compare_where_a_computed_value_ends_the_loop():
    x, v = tf.placeholder(tf.float32, []), tf.Variable(3.0)
    y = tf.while_loop(lambda y: tf.reduce_sum(y) < x, lambda y: tf.concat([y, y[-1:] * 2], 0), [tf.ones([1])],
                      shape_invariants=[tf.TensorShape([None])])
    step = v.assign_add(tf.reduce_sum(y))
    sess = session()
    for limit, runs in ((0.5, 0), (100, 6)):
        found = tf.explain([y, step], {x: limit}, session=sess)
        assert sum(s.runs for s in found.stages if "iteration" in s.title) == runs
        assert tf.compare([y, step], {x: limit}, sess).max_absolute == 0
    assert sess.run(v) == 3


def test_writes_of_others_between_the_stages():
    """A loop and its gradient see a variable as it was when the loop began; a write goes by what it is."""
    n, w = tf.placeholder(tf.int32, []), tf.Variable([0.5])
    y = _grown(n, tf.ones([1]), lambda i, y: tf.sin(y[-1:] * w))
    slope, = tf.gradients(y, w)
    fetches, sess = [y, slope, w.assign_sub(slope)], session()
    expected = sess.run(fetches, {n: 3})
    executable = next(e for e in sess.engine._executables.values() if e.stages is not None)

    def disturbed(stage, feeds, rows, key):
        if stage.stages is not None:
            return stage.stages(feeds, rows, key, disturbed)
        sess.load(w, [100.0])
        return stage(*feeds, rows=rows, key=key)

    sess.load(w, [0.5])
    captured = executable.stages._before(np.int32(3))  # what a run computes first
    found = executable.stages([np.int32(3)], (), None, lambda stage, *given: captured if (
        stage is executable.stages._before) else disturbed(stage, *given))
    for value, right in zip(found, [*expected[:2], 100 - expected[1]], strict=True):
        np.testing.assert_allclose(value, right, 1e-6)


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
