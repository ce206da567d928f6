"""Shapes at which fusing, sharing memory or cutting into parts once went wrong."""

import numpy as np
import pytest
from fresh import graph, session  # noqa: F401

import graphflow as tf

DRAW = np.random.RandomState(0)


def run(fetches, feeds=None):
    return session().run(fetches, feeds)


def table_slope(shape, row):
    """The gradient of the sum of one looked-up row, which the compiler keeps as rows; and its value."""
    table = tf.Variable(np.ones(shape, np.float32))
    exact = np.zeros(shape)
    exact[row] = 1
    return tf.gradients(tf.reduce_sum(tf.gather(table, [row])), table)[0], exact


@pytest.mark.parametrize("variable, table", [((4, 3), (1, 3)), ((3,), (4, 3)), ((4, 3), (4, 1)),
                                             ((1, 3), (4, 3))], ids=str)
def test_rows_that_are_broadcast_update_nothing_in_place(variable, table):
    w = tf.Variable(np.zeros(variable, np.float32))
    g, exact = table_slope(table, 0)
    other, other_exact = table_slope((4, 3), 2)
    found = run([w - g, w + g, other + g])
    zeros = np.zeros(variable)
    for value, wanted in zip(found, [zeros - exact, zeros + exact, other_exact + exact], strict=True):
        np.testing.assert_array_equal(value, wanted)


def test_a_number_reduced_from_what_is_summed_over_rows():
    x = DRAW.standard_normal((300, 100)).astype(np.float32)
    value = run(tf.reduce_sum(tf.constant(x) - tf.reduce_max(tf.constant(x)), 0))
    np.testing.assert_allclose(value, (x - x.max()).sum(0), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("a, b, transpose", [((2000, 100), (100, 3), False), ((3, 100), (2000, 100), True),
                                             ((1, 64), (5000, 64), True)], ids=str)
def test_dot_products_in_parts_with_what_follows_them(a, b, transpose, dtype):
    a, b = DRAW.standard_normal(a).astype(dtype), DRAW.standard_normal(b).astype(dtype)
    x, y = tf.placeholder(dtype, a.shape), tf.placeholder(dtype, b.shape)
    value = run(tf.tanh(tf.matmul(x, y, transpose_b=transpose) * 0.01), {x: a, y: b})
    np.testing.assert_allclose(value, np.tanh(a @ (b.T if transpose else b) * 0.01), rtol=1e-4, atol=1e-5)


def test_a_loop_within_a_loop_that_starts_from_a_kernel():
    start = DRAW.standard_normal((128, 128)) * 0.1

    def outer(i, a):
        inner = tf.while_loop(lambda j, _: j < 2, lambda j, b: [j + 1, tf.matmul(b, b) * 0.1],
                              [0, tf.tanh(a)])
        return [i + 1, inner[1]]

    x = tf.placeholder(tf.float64, start.shape)
    value = run(tf.while_loop(lambda i, _: i < 3, outer, [0, x * 1.0])[1], {x: start})
    wanted = start
    for _ in range(3):
        wanted = np.tanh(wanted)
        for _ in range(2):
            wanted = wanted @ wanted * 0.1
    np.testing.assert_allclose(value, wanted, rtol=1e-10, atol=1e-300)


def test_products_without_elements():
    a, b = tf.placeholder(tf.float32, [64, 100]), tf.placeholder(tf.float32, [100, 0])
    product = tf.matmul(a, b)
    values = run([product, tf.nn.relu(product), tf.reduce_sum(product, 1)],
                 {a: np.ones((64, 100)), b: np.ones((100, 0))})
    assert [v.shape for v in values] == [(64, 0), (64, 0), (64,)] and not values[2].any()
    a, b = tf.placeholder(tf.float32, [None, 0]), tf.placeholder(tf.float32, [64, None])
    both = tf.matmul(a, b, transpose_a=True, transpose_b=True)
    assert run(both, {a: np.ones((5, 0)), b: np.ones((64, 5))}).shape == (0, 64)


def test_a_product_of_one_number_in_the_interpreter(monkeypatch):
    monkeypatch.setenv("GRAPHFLOW_JIT", "0")
    x, w = tf.placeholder(tf.float64, [None, 1]), tf.placeholder(tf.float64, [1, 1])
    y = tf.while_loop(lambda i, h: i < 2, lambda i, h: (i + 1, tf.tanh(tf.matmul(h, w))), [0, x])[1]
    (slope,) = run(tf.gradients(y, [w]), {x: np.ones((8, 1)), w: np.ones((1, 1))})
    assert slope.item() == pytest.approx(5.55636603)


def test_sizes_that_are_no_whole_numbers_are_refused():
    with pytest.raises(ValueError, match="whole numbers"):
        tf.nn.max_pool(np.ones((1, 8, 8, 1), np.float32), [1, 2.5, 2, 1], [1, 1, 1, 1], "SAME")


def test_switches_that_do_not_exist_are_refused(monkeypatch):
    monkeypatch.setenv("GRAPHFLOW_GEMM", "bogus")
    with pytest.raises(ValueError, match="GRAPHFLOW_GEMM"):
        x = tf.placeholder(tf.float32, [2, 2])
        run(tf.matmul(x, x), {x: np.ones((2, 2))})


def test_a_check_in_what_follows_a_product_tells_its_first_element():
    """The product is in parts for threads; what follows it looks up rows, of which some do not exist."""
    x, w = tf.placeholder(tf.float32, [256, 128]), tf.ones([128, 256])
    i = tf.placeholder(tf.int32, [256, 256])
    y = tf.matmul(x, w) * tf.gather(tf.range(10.0), i)
    index = np.zeros((256, 256), np.int32)
    values = np.ones((256, 128), np.float32)
    sess = tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=2))
    np.testing.assert_array_equal(sess.run(y, {x: values, i: index}), 0)
    index[40, 3], index[200, 7] = 77, 99
    with pytest.raises(tf.errors.InvalidArgumentError, match="77"):
        sess.run(y, {x: values, i: index})
