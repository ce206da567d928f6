"""Sorting and what is made of it, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from fresh import graph, session  # noqa: F401

import graphflow as tf

RNG = np.random.default_rng(0)
X = RNG.integers(0, 9, (3, 50, 4)).astype(np.float32)


def value(t, feeds=None):
    return session().run(t, feeds)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("direction, sign", [("ASCENDING", 1), ("DESCENDING", -1)])
def test_sort_along_any_axis(axis, direction, sign):
    found, order = value([tf.sort(X, axis, direction), tf.argsort(X, axis, direction)])
    assert np.array_equal(found, sign * np.sort(sign * X, axis)) and order.dtype == np.int32
    assert np.array_equal(order, np.argsort(sign * X, axis, kind="stable"))


@pytest.mark.parametrize("k", [1, 5, 64, 65, 1000])
def test_the_k_largest_and_their_gradient(k):
    x = tf.placeholder(tf.float32, [None, 1000])
    values, indices = tf.nn.top_k(x, k)
    data = RNG.integers(0, 200, (4, 1000)).astype(np.float32)
    gradient = tf.gradients(values * values, x)[0]
    found, places, slope = value([values, indices, gradient], {x: data})
    expected = np.argsort(-data, axis=-1, kind="stable")[:, :k]
    assert np.array_equal(places, expected)
    assert np.array_equal(found, np.take_along_axis(data, expected, -1))
    wanted = np.zeros_like(data)
    np.put_along_axis(wanted, expected, 2 * found, -1)
    assert np.array_equal(slope, wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.int64])
@pytest.mark.parametrize("n", [1, 2, 3, 8, 32, 33, 64, 65])
def test_the_k_largest_of_short_rows(n, dtype):
    data = RNG.integers(-5, 5, (7, n)).astype(dtype)
    wanted = np.argsort(-data, axis=-1, kind="stable")
    for k in {0, 1, n // 2, n}:
        found, places = value(tf.nn.top_k(data, k))
        assert np.array_equal(places, wanted[:, :k])
        assert np.array_equal(found, np.take_along_axis(data, wanted[:, :k], -1))


def test_permutations():
    p = RNG.permutation(20)
    x = tf.constant(np.arange(2000))
    inverse, shuffled, again = value([tf.invert_permutation(p), tf.random_shuffle(x), tf.random_shuffle(x)])
    assert np.array_equal(inverse[p], np.arange(20)) and not np.array_equal(shuffled, again)
    assert np.array_equal(np.sort(shuffled), np.arange(2000))
    assert abs(np.corrcoef(shuffled, again)[0, 1]) < 0.1


def test_crops_are_blocks_of_all_places():
    x = tf.constant(np.arange(35).reshape(5, 7))
    sess, crop = session(), tf.random_crop(x, [2, 7])
    found = [sess.run(crop) for _ in range(200)]
    assert {int(c[0, 0]) for c in found} == {0, 7, 14, 21}
    assert all(np.array_equal(c, c[0, 0] + np.arange(14).reshape(2, 7)) for c in found)
    with pytest.raises(ValueError, match="larger than"):
        tf.random_crop(x, [6, 1])


def test_reversed_sequences():
    x = np.arange(24).reshape(2, 4, 3)
    found = value(tf.reverse_sequence(x, [3, 4], seq_axis=1, batch_axis=0))
    assert np.array_equal(found, np.stack([x[0][[2, 1, 0, 3]], x[1][::-1]]))
    turned = value(tf.reverse_sequence(x.transpose(1, 0, 2), [3, 4], 0, 1))
    assert np.array_equal(turned.transpose(1, 0, 2), found)


@pytest.mark.parametrize("lower, upper", [(0, 0), (-1, 0), (1, -1), (0, 2), (-1, -1)])
def test_bands_of_matrices(lower, upper):
    x = RNG.normal(size=(2, 4, 5)).astype(np.float32)
    expected = np.tril(np.triu(x, -lower if lower >= 0 else -9), upper if upper >= 0 else 9)
    assert np.array_equal(value(tf.matrix_band_part(x, lower, upper)), expected)


def test_counts():
    labels, predictions = RNG.integers(0, 3, 50), RNG.integers(0, 3, 50)
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (labels, predictions), 1)
    found = value(tf.confusion_matrix(labels, predictions, 3))
    assert np.array_equal(found, expected) and found.dtype == np.int32
    data = [-1.0, 0.0, 1.5, 2.0, 5.0, 15.0]
    assert value(tf.histogram_fixed_width(data, [0.0, 5.0], nbins=5)).tolist() == [2, 1, 1, 0, 2]


def test_bits():
    a, b = np.array([12, -5, 7], np.int32), np.array([10, 3, 1], np.int32)
    found = value([tf.bitwise.bitwise_and(a, b), tf.bitwise.bitwise_or(a, b), tf.bitwise.bitwise_xor(a, b),
                   tf.bitwise.invert(a), tf.bitwise.left_shift(a, b), tf.bitwise.right_shift(a, b)])
    for f, e in zip(found, [a & b, a | b, a ^ b, ~a, a << b, a >> b], strict=True):
        assert np.array_equal(f, e)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", [tf.float32, tf.int32, tf.uint32, tf.float16, tf.uint8, tf.int8, tf.float64,
                                   tf.int64, tf.uint64], ids=lambda d: d.name)
def test_orders_are_stable_at_all_lengths(dtype, descending):
    x = tf.placeholder(dtype, [None, None])
    order = tf.argsort(x, direction="DESCENDING" if descending else "ASCENDING")
    sess, rng = tf.Session(), np.random.default_rng(0)
    for n in (0, 1, 2, 17, 127, 128, 129, 1000, 5000):
        values = rng.integers(-40, 40, (3, n)).astype(dtype.as_numpy_dtype)
        if dtype.is_floating and n > 2:
            values[:, ::5] *= -0.0
            values[1, ::7], values[2, 1::3], values[0, 2] = np.nan, -np.nan, np.inf
            values[0, 1] = -np.inf
        keys = values.astype(np.float64) if dtype.is_floating else values.astype(object)
        wanted = np.argsort(-keys if descending else keys, -1, kind="stable")
        assert np.array_equal(sess.run(order, {x: values}), wanted)
        known = tf.argsort(tf.constant(values), direction="DESCENDING" if descending else "ASCENDING")
        assert np.array_equal(sess.run(known), wanted)


@pytest.mark.parametrize("whole, real", [(tf.int32, tf.float32), (tf.int64, tf.float64)], ids=str)
@pytest.mark.parametrize("count", [100, 70_000])
def test_all_bits_of_keys_count(count, whole, real):
    values = np.random.default_rng(0).integers(whole.min, whole.max, count, whole.numpy)
    floats = values.view(real.numpy)
    x, y = tf.placeholder(whole, [None]), tf.placeholder(real, [None])
    found = tf.Session().run([tf.sort(x), tf.sort(y)], {x: values, y: floats})
    assert np.array_equal(found[0], np.sort(values))
    assert np.array_equal(found[1], np.sort(floats), equal_nan=True)


def test_each_nan_is_different_from_all():
    found = tf.unique_with_counts(tf.constant([np.nan, 1.0, np.nan, 1.0, 0.0]))
    y, idx, count = tf.Session().run(found)
    np.testing.assert_array_equal(y, np.float32([np.nan, 1, np.nan, 0]))
    assert (idx.tolist(), count.tolist()) == ([0, 1, 2, 1, 3], [1, 2, 1, 1])
