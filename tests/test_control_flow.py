"""Loops, conditionals and what is made of them, against Python loops, finite differences and the oracle."""

from __future__ import annotations

import collections

import numpy as np
import pytest
from control_suite import check_slope, run, way  # noqa: F401
from fresh import graph  # noqa: F401

import graphflow as tf
from graphflow.compiler import flags, oracle
from graphflow.compiler.errors import DTypeError, GraphError, ShapeError, UnsupportedError

Pair = collections.namedtuple("Pair", "a b")


# while_loop: values

def test_a_counter_and_a_value():
    i, x = tf.while_loop(lambda i, x: i < 10, lambda i, x: [i + 1, x * 2.0], [0, 1.0])
    assert run([i, x]) == [10, 1024.0]


def test_one_variable_comes_without_its_list():
    assert isinstance(tf.while_loop(lambda i: i < 3, lambda i: i + 1, [0]), tf.Tensor)
    kept = tf.while_loop(lambda i: i < 3, lambda i: [i + 1], [0], return_same_structure=True)
    assert isinstance(kept, list) and len(kept) == 1


def test_structures():
    start = (tf.constant(0), Pair(tf.constant(1.0), {"x": tf.constant([1.0, 2.0])}))

    def body(i, pair):
        return i + 1, Pair(pair.a + 1.0, {"x": pair.b["x"] * pair.a})

    i, pair = tf.while_loop(lambda i, pair: i < 3, body, start)
    assert isinstance(pair, Pair)
    found = run([i, pair.a, pair.b["x"]])
    assert found[:2] == [3, 4.0]
    np.testing.assert_array_equal(found[2], [6, 12])


def test_no_trips():
    n = tf.placeholder(tf.int32, [])
    x = tf.placeholder(tf.float32, [None, 2])
    i, y = tf.while_loop(lambda i, y: i < n, lambda i, y: [i + 1, y + x], [5, x * 2.0])
    g, = tf.gradients(y, x)
    values = np.ones((3, 2), np.float32)
    i_, y_, g_ = run([i, y, g], {n: 0, x: values})
    assert i_ == 5
    np.testing.assert_array_equal(y_, values * 2)
    np.testing.assert_array_equal(g_, values * 2)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_fed_bound_and_unknown_dims(n):
    bound = tf.placeholder(tf.int32, [])
    x = tf.placeholder(tf.float32, [None, 3])
    _, y = tf.while_loop(lambda i, y: tf.less(i, bound), lambda i, y: (i + 1, tf.tanh(y * x) + x), (0, x))
    g, = tf.gradients(tf.reduce_sum(y), x)
    at = np.random.RandomState(0).randn(4, 3).astype("f")
    y_, g_ = run([y, g], {bound: n, x: at})
    z = x
    for _ in range(n):
        z = tf.tanh(z * x) + x
    expected = run([z, tf.gradients(tf.reduce_sum(z), x)[0]], {x: at})
    np.testing.assert_allclose(y_, expected[0], rtol=1e-5)
    np.testing.assert_allclose(g_, expected[1], rtol=1e-4, atol=1e-6)


def test_variables_change_places():
    i, a, b = tf.while_loop(lambda i, a, b: i < 5, lambda i, a, b: [i + 1, b, a + b], [0, 0.0, 1.0])
    assert run([i, a, b]) == [5, 5.0, 8.0]
    x = tf.placeholder(tf.float32, [2])
    _, p, q = tf.while_loop(lambda i, p, q: i < 3, lambda i, p, q: [i + 1, q, p], [0, x, x * 2.0])
    p_, q_ = run([p, q], {x: [1, 2]})
    np.testing.assert_array_equal([p_, q_], [[2, 4], [1, 2]])


def test_the_condition_may_need_all():
    x = tf.placeholder(tf.float32, [3])
    y = tf.while_loop(lambda y: tf.reduce_max(y) < 100.0, lambda y: y * x + 1.0, [x])
    expected = np.array([1, 2, 3], np.float32)
    while expected.max() < 100:
        expected = expected * [1, 2, 3] + 1
    np.testing.assert_allclose(run(y, {x: [1, 2, 3]}), expected)


def test_what_does_not_change_and_what_is_not_used():
    x = tf.placeholder(tf.float32, [2])
    _, kept, _, y = tf.while_loop(
        lambda i, *_: i < 4, lambda i, kept, unused, y: [i + 1, kept, unused * 2.0, y + kept],
        [0, x, x, tf.zeros([2])])
    np.testing.assert_array_equal(run([y, kept], {x: [1, 2]}), [[4, 8], [1, 2]])


@pytest.mark.parametrize("most, expected", [(3, 3), (100, 10), (0, 0)])
def test_maximum_iterations(most, expected):
    i = tf.while_loop(lambda i: i < 10, lambda i: i + 1, [0], maximum_iterations=most)
    assert run(i) == expected


def test_nested_loops():
    def outer(i, total):
        _, inner = tf.while_loop(lambda j, s: j < i + 1, lambda j, s: [j + 1, s + tf.cast(i * j, tf.float32)],
                                 [0, total])
        return i + 1, inner

    _, total = tf.while_loop(lambda i, t: i < 5, outer, [0, 0.0])
    assert run(total) == sum(i * j for i in range(5) for j in range(i + 1))


def test_a_loop_in_a_loop_with_matrices():
    x = tf.placeholder(tf.float32, [3, 3])

    def outer(i, m):
        _, m = tf.while_loop(lambda j, m: j < 2, lambda j, m: [j + 1, tf.tanh(tf.matmul(m, x))], [0, m])
        return i + 1, m + x

    _, m = tf.while_loop(lambda i, m: i < 3, outer, [0, x])
    g, = tf.gradients(tf.reduce_sum(m), x)
    z = x
    for _ in range(3):
        for _ in range(2):
            z = tf.tanh(tf.matmul(z, x))
        z = z + x
    at = np.random.RandomState(1).randn(3, 3).astype("f")
    found = run([m, g], {x: at})
    expected = run([z, tf.gradients(tf.reduce_sum(z), x)[0]], {x: at})
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-5)


def test_dtypes():
    i, b, h, d = tf.while_loop(lambda i, *_: i < 3, lambda i, b, h, d: [
                                   i + 1, tf.logical_not(b), h * 2, d + tf.cast(i, tf.float64)],
                               [tf.constant(0, tf.int64), tf.constant(True), tf.constant(1.0, tf.float16),
                                tf.constant(0.0, tf.float64)])
    assert run([i, b, h, d]) == [3, False, 8.0, 3.0]


def test_variables_are_read_and_made_in_the_body():
    v = tf.Variable(2.0)

    def body(i, x):
        with tf.variable_scope("layer", reuse=tf.AUTO_REUSE):
            w = tf.get_variable("w", [], initializer=tf.constant_initializer(3.0))
        return i + 1, x * v + w

    _, x = tf.while_loop(lambda i, x: i < 3, body, [0, 1.0])
    w = tf.global_variables()[-1]
    values = run([x, *tf.gradients(x, [v, w])])
    assert values == [8 + 3 * 7, 3 * 4 + 3 * (1 + 2 * 2), 7]


def test_variables_are_written_in_the_body():
    v = tf.Variable(1.0)

    def body(i):
        with tf.control_dependencies([v.assign_add(tf.cast(i, tf.float32))]):
            return i + 1

    i = tf.while_loop(lambda i: i < 4, body, [0])
    with tf.control_dependencies([i]):
        after = v.read_value()
    sess = tf.Session()
    sess.run(tf.global_variables_initializer())
    assert sess.run([i, after]) == [4, 7.0]
    assert sess.run(v) == 7.0


def test_training_in_the_graph():
    """Steps of an optimizer as iterations, its slots included."""
    rng = np.random.RandomState(0)
    x, y = rng.randn(20, 3).astype("f"), rng.randn(20).astype("f")
    results = []
    for looped in (True, False):
        with tf.Graph().as_default():
            w = tf.Variable(np.zeros((3, 1), np.float32))
            optimizer = tf.train.AdamOptimizer(0.1)

            def step(w=w, optimizer=optimizer):
                loss = tf.reduce_mean(tf.square(tf.matmul(x, w)[:, 0] - y))
                return optimizer.minimize(loss)

            def body(i, step=step):
                with tf.control_dependencies([step()]):
                    return i + 1

            train = tf.while_loop(lambda i: i < 5, body, [0]) if looped else step()
            sess = tf.Session()
            sess.run(tf.global_variables_initializer())
            for _ in range(1 if looped else 5):
                sess.run(train)
            results.append(sess.run(tf.global_variables()))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_random_numbers_differ_between_iterations():
    def body(i, a, b):
        x = tf.random_uniform([])
        return i + 1, tf.minimum(a, x), tf.maximum(b, x)

    _, low, high = tf.while_loop(lambda i, a, b: i < 50, body, [0, 1.0, 0.0])
    low, high = run([low, high])
    assert 0 <= low < 0.2 and 0.8 < high < 1


def test_seeded_random_numbers_repeat():
    tf.set_random_seed(3)
    _, x = tf.while_loop(lambda i, x: i < 5, lambda i, x: [i + 1, x + tf.random_normal([2])],
                         [0, tf.zeros([2])])
    first, second = tf.Session(), tf.Session()
    a, b = first.run(x), first.run(x)
    assert np.any(a != b)
    np.testing.assert_array_equal([a, b], [second.run(x), second.run(x)])


# while_loop: gradients

def test_a_scalar_recurrence():
    a = tf.placeholder(tf.float64, [])
    one = tf.constant(1.0, tf.float64)
    _, x = tf.while_loop(lambda i, x: i < 20, lambda i, x: [i + 1, tf.sin(a * x) + 0.1 * x], [0, one])
    check_slope(x, a, 1.3)


def test_the_counter_takes_part():
    a = tf.placeholder(tf.float64, [])
    _, x = tf.while_loop(lambda i, x: i > 0, lambda i, x: [i - 2, x * a + tf.cast(i, tf.float64)], [9, a])
    found = check_slope(x, a, 0.7)
    expected, i = 0.7, 9
    while i > 0:
        expected, i = expected * 0.7 + i, i - 2
    assert found[0] == pytest.approx(expected)


def test_gradients_reach_through_two_variables():
    a = tf.placeholder(tf.float64, [])
    one = tf.constant(1.0, tf.float64)
    _, x, y = tf.while_loop(lambda i, x, y: i < 6, lambda i, x, y: [i + 1, x + a * y, tf.cos(x) * y],
                            [0, one, one * a])
    check_slope(x + y * y, a, 0.4)


def test_gradient_with_respect_to_rows_of_an_outer_tensor():
    x = tf.placeholder(tf.float64, [5])
    _, y = tf.while_loop(lambda i, y: i < 5, lambda i, y: [i + 1, y * x[i] + x[4 - i]],
                         [0, tf.constant(1.0, tf.float64)])
    g, = tf.gradients(y, x)
    at = np.array([0.5, 1.5, -0.3, 0.8, 1.1])
    z = tf.constant(1.0, tf.float64)
    for i in range(5):
        z = z * x[i] + x[4 - i]
    found, expected = run([y, g], {x: at}), run([z, tf.gradients(z, x)[0]], {x: at})
    np.testing.assert_allclose(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1])


def test_second_order_of_matrices():
    x = tf.placeholder(tf.float64, [2, 2])
    w = tf.constant([[0.3, -0.2], [0.5, 0.1]], tf.float64)
    _, h = tf.while_loop(lambda i, h: i < 4, lambda i, h: [i + 1, tf.tanh(tf.matmul(h, w) + x)], [0, x])
    z = x
    for _ in range(4):
        z = tf.tanh(tf.matmul(z, w) + x)
    at = np.array([[0.3, 0.2], [-0.4, 0.9]])

    def slopes(y):
        g, = tf.gradients(tf.reduce_sum(y * y), x)
        return [g, *tf.gradients(tf.reduce_sum(g * g), x)]

    for found, expected in zip(run(slopes(h), {x: at}), run(slopes(z), {x: at}), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_gradient_of_a_trip_count_unknown_before():
    x = tf.placeholder(tf.float64, [])
    y = tf.while_loop(lambda y: y < 50.0, lambda y: y * x + 1.0, [x], maximum_iterations=100)
    check_slope(y, x, 1.7)


@pytest.mark.parametrize("at, trips", [(1.5, 9), (1.001, 3913)])
def test_gradient_without_a_limit_of_the_trips(at, trips):
    """The run starts again with more room when there are more iterations than it was made for."""
    x = tf.placeholder(tf.float64, [])
    i, y = tf.while_loop(lambda i, y: y < 50.0, lambda i, y: [i + 1, y * x], [0, x])
    slopes = tf.gradients(y, x)
    sess = tf.Session()
    for _ in range(2):
        count, value, slope = sess.run([i, y, *slopes], {x: at})
        assert count == trips
        assert value == pytest.approx(at ** (trips + 1), rel=1e-9)
        assert slope == pytest.approx((trips + 1) * at ** trips, rel=1e-9)


def test_second_order_without_a_limit_with_vectors_and_a_variable():
    x = tf.placeholder(tf.float64, [3])
    v = tf.Variable(1.0, dtype=tf.float64)
    y = tf.while_loop(lambda y: tf.reduce_sum(y) < 50.0, lambda y: y * x * v + 0.1, [x])
    first, = tf.gradients(tf.reduce_sum(y), x)
    second, = tf.gradients(tf.reduce_sum(first * first), x)
    values = run([y, first, second, *tf.gradients(tf.reduce_sum(y), v)], {x: [1.1, 1.2, 0.9]})
    z = x
    while tf.Session().run(tf.reduce_sum(z), {x: [1.1, 1.2, 0.9]}) < 50.0:
        z = z * x + 0.1
    first, = tf.gradients(tf.reduce_sum(z), x)
    expected = run([z, first, *tf.gradients(tf.reduce_sum(first * first), x)], {x: [1.1, 1.2, 0.9]})
    for a, b in zip(values, expected, strict=False):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_gradient_inside_the_body():
    """Gradient descent in the graph, and its derivative by the step."""
    step = tf.placeholder(tf.float64, [])
    w = tf.constant(2.0, tf.float64)

    def body(i, x):
        g, = tf.gradients(tf.square(x - w) + 0.1 * x, x)
        return i + 1, x - step * g

    _, x = tf.while_loop(lambda i, x: i < 10, body, [0, tf.constant(0.0, tf.float64)])
    check_slope(x, step, 0.1)


def test_back_prop_false():
    a = tf.placeholder(tf.float32, [])
    _, x = tf.while_loop(lambda i, x: i < 3, lambda i, x: [i + 1, x * a], [0, a], back_prop=False)
    assert tf.gradients(x, a) == [None]


def test_gradients_draw_the_random_numbers_of_each_iteration_again():
    x = tf.placeholder(tf.float64, [3])

    def drawn():
        return tf.random_uniform([3], 0.5, 1.5, dtype=tf.float64)

    def body(i, y):
        z = tf.cond(tf.equal(i % 2, 0), lambda: tf.sin(y * drawn()), lambda: tf.cos(y + drawn()))
        _, z = tf.while_loop(lambda k, _: k < 2, lambda k, z: (k + 1, tf.sin(z * drawn()) + z), [0, z])
        return i + 1, z

    y = tf.while_loop(lambda i, _: i < 3, body, [0, x])[1]
    first, = tf.gradients(y, x)
    second, = tf.gradients(first, x)

    def at(value):
        sess = tf.Session()
        sess.engine._entropy = 5
        return sess.run([y, first, second], {x: value})

    start, h = np.array([0.3, 1.0, 2.0]), 1e-6
    (high, high_slope, _), (low, low_slope, _), found = at(start + h), at(start - h), at(start)
    np.testing.assert_allclose(found[1], (high - low) / (2 * h), 1e-6)
    np.testing.assert_allclose(found[2], (high_slope - low_slope) / (2 * h), 1e-6)


# while_loop: errors

def test_a_shape_that_changes():
    with pytest.raises(ShapeError, match=r"enters the body with shape \(2,\), but has shape \(4,\)"):
        tf.while_loop(lambda x: tf.reduce_sum(x) < 10.0, lambda x: tf.concat([x, x], 0), [tf.ones([2])])
    x = tf.placeholder(tf.float32, [None])
    y = tf.while_loop(lambda y: tf.reduce_sum(y) < 10.0, lambda y: tf.concat([y, y], 0), [x],
                      shape_invariants=[tf.TensorShape([None])])
    assert tf.Session().run(y, {x: [1, 2]}).tolist() == [1, 2] * 4
    with pytest.raises(UnsupportedError, match=r"(?s)fed numbers and by sizes when it ends.*py:"):
        tf.Session().run(tf.gradients(tf.gradients(y * y, x), x), {x: [1, 2]})


def test_other_errors():
    with pytest.raises(DTypeError, match="expected int32"):
        tf.while_loop(lambda i: i < 3, lambda i: 1.5, [0])
    with pytest.raises(DTypeError, match="cond must give a bool scalar"):
        tf.while_loop(lambda i: i, lambda i: i + 1, [0])
    with pytest.raises(ValueError, match="nested alike"):
        tf.while_loop(lambda i: i < 3, lambda i: [i, i], [0])
    with pytest.raises(ValueError, match="at least one"):
        tf.while_loop(lambda: True, lambda: [], [])


def test_inner_tensors_cannot_be_fetched():
    inner = []
    tf.while_loop(lambda i: i < 3, lambda i: inner.append(i * 2) or i + 1, [0])
    with pytest.raises(GraphError, match="only inside a loop"):
        tf.Session().run(inner[0])


def test_an_index_out_of_range_in_a_loop():
    x = tf.placeholder(tf.float32, [3])
    _, y = tf.while_loop(lambda i, y: i < 5, lambda i, y: [i + 1, y + tf.gather(x, i)], [0, 0.0])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"index 3 is not in \[0, 3\)"):
        tf.Session().run(y, {x: [1, 2, 3]})


def test_programs_with_loops_are_kept_on_disk(tmp_path, monkeypatch):
    """The second session finds the program, with its steps and the room that it guessed."""
    from graphflow.compiler import pipeline

    monkeypatch.setenv("GRAPHFLOW_CACHE", str(tmp_path))
    monkeypatch.setenv("GRAPHFLOW_CHECK", "0")
    results, compiled = [], []
    plain = pipeline.compile_signature
    monkeypatch.setattr(pipeline, "compile_signature", lambda *a, **k: compiled.append(1) or plain(*a, **k))

    def looped(x):
        return tf.while_loop(lambda y: tf.reduce_sum(y) < 5e4, lambda y: tf.cond(
            y[0] < 9.0, lambda: tf.reverse(y, [0]) * x + 0.5, lambda: y * 1.01), [x])

    for _ in range(2):
        with tf.Graph().as_default():
            x = tf.placeholder(tf.float32, [3], name="x")
            y = looped(x)
            results.append(tf.Session().run([y, *tf.gradients(y, x)], {x: [1.0, 1.5, 1.2]}))
    np.testing.assert_array_equal(*results)
    assert len(compiled) == (1 if flags.use_jit() else 2)


def test_user_graphs_run_in_the_oracle():
    x = tf.constant(2.0)
    _, y = tf.while_loop(lambda i, y: i < 3, lambda i, y: [i + 1, y * x], [0, x])
    g, = tf.gradients(y, x)
    assert oracle.run([y, g], {}) == [16.0, 32.0]


@pytest.mark.parametrize(("faulty", "make"), [
    (8, tf.gather), (0, lambda x, k: tf.to_float(7 // k)), (8, lambda x, k: tf.gather_nd(x, [[k]])[0]),
    (8, lambda x, k: tf.unsorted_segment_sum(x, [k, 0, 0], 2)[0]),
    (8, lambda x, k: tf.to_float(tf.pow(2, k - 9))),
    (0, lambda x, k: tf.cond(k > 0, lambda: tf.gather(x, k), lambda: tf.to_float(7 // k))),
    (8, lambda x, k: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[k], logits=[x])[0])])
def test_what_may_fail_runs_in_a_loop_only_when_its_iterations_do(faulty, make):
    n, k, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.int32, []), tf.placeholder(tf.float32, [3])
    y = tf.while_loop(lambda i, s: i < n, lambda i, s: [i + 1, s + make(x, k)], [0, 0.0])[1]
    sess = tf.Session()
    assert sess.run(y, {n: 0, k: faulty, x: np.ones(3)}) == 0
    with pytest.raises(tf.errors.InvalidArgumentError):
        sess.run(y, {n: 2, k: faulty, x: np.ones(3)})


def test_what_cannot_fail_leaves_a_loop_and_so_does_its_limit():
    n, k, x = tf.placeholder(tf.int32, [2]), tf.placeholder(tf.int32, []), tf.placeholder(tf.float32, [3])
    one, two, three = tf.constant(1), tf.constant(2.0), tf.constant(3)

    def body(i, s):
        return [i + (k // three + one), s + tf.reduce_sum(x) // two]

    y = tf.while_loop(lambda i, s: i < tf.gather(n, k), body, [0, 0.0])[1]
    loop = next(op for op in y.graph.get_operations() if op.type == "While")
    assert {op.opdef.name for op in loop.body.operations} == {"input", "add"}
    assert run(y, {n: [9, 4], k: 1, x: np.ones(3)}) == 4
