"""Feeds whose sizes break a rule: the error is that of a graph of these shapes, with the feeds."""

from __future__ import annotations

import numpy as np
import pytest
from fresh import graph, session  # noqa: F401

import graphflow as tf


def _open(*shape, dtype=tf.float32, name=None):
    return tf.placeholder(dtype, shape, name=name)


def _error(fetch, feeds) -> tf.errors.InvalidArgumentError:
    with pytest.raises(tf.errors.InvalidArgumentError) as found:
        session().run(fetch, {t: np.zeros(s) if isinstance(s, tuple) else s for t, s in feeds.items()})
    return found.value


def test_the_operation_the_lines_the_feeds_and_the_numbers_are_named():
    a, b = _open(None, None, name="a"), _open(None, 7, name="b")
    y = tf.matmul(tf.exp(a), b * 2, name="y")
    e = _error(y, {a: (2, 3), b: (4, 7)})
    assert e.op is y.op and "k is 3 in a but 4 in b" in e.message
    assert e.message.count("test_misfits.py") == 5 and "  Exp:0  f32[2,3]" in e.message
    assert "fed:\n  a:0  f32[2,3] for f32[?,?]" in e.message and "  b:0  f32[4,7] for f32[?,7]" in e.message
    assert "n0" not in e.message and "n1" not in e.message


@pytest.mark.parametrize(("make", "shape", "text"), [
    (lambda x: tf.reshape(x, [-1, 4]), (2, 3), r"6 elements do not fill shape [-1, 4]"),
    (lambda x: tf.reshape(x, [3, 4]), (2, 3), r"6 elements do not fill shape [3, 4], which has 12"),
    (lambda x: tf.split(x, 2, 1), (2, 3), "axis 1 of f32[2,3] does not split into 2"),
    (lambda x: tf.slice(x, [0, 2], [2, 4]), (2, 3), "begin 2 with size 4 leaves axis 1, whose dim is 3"),
    (lambda x: x[5], (2, 3), "index 5 is outside of an axis with dim 2"),
    (lambda x: tf.squeeze(x, 1), (2, 3), "axis 1 is squeezed, so it must be 1, but it is 3"),
    (lambda x: tf.nn.top_k(x, 5)[0], (2, 3), "k is 5, but the last axis has 3 elements"),
    (lambda x: tf.concat([x, tf.transpose(x)], 0), (2, 3), "but for axis 0, but [2,3] is not [3,2]"),
    (lambda x: tf.stack([x[0], x[:, 0]]), (2, 3), "[3] is not [2]"),
    (lambda x: tf.while_loop(lambda y: True, lambda y: y + x[0], [x[:, 0]]), (2, 3), "[2] and [3]"),
    (lambda x: tf.assign(tf.Variable(np.zeros((2, 2), np.float32)), x), (2, 3), "f32[2,3]")])
def test_each_rule_says_its_numbers(make, shape, text):
    x = _open(None, None, name="x")
    e = _error(make(x), {x: shape})
    assert text in e.message and "  x:0  f32[2,3] for f32[?,?]" in e.message and "n0" not in e.message


def test_ranks_that_the_run_decides():
    a, b = tf.placeholder(tf.float32), tf.placeholder(tf.float32)
    assert "b has rank 1, but rank 2 or more" in _error(tf.matmul(a, b), {a: (3, 2), b: (3,)}).message


@pytest.mark.parametrize("make", [
    lambda n: tf.fill([n], 1.0), lambda n: tf.zeros([2, n]), lambda n: tf.random_uniform([n]),
    lambda n: tf.one_hot([1, 2], n)])
def test_fed_sizes_below_0(make):
    n = _open(dtype=tf.int32, name="n")
    y = make(n)
    e = _error(y, {n: -1})
    assert "with a dim below 0" in e.message and "  n:0  -1 for i32[]" in e.message and e.op is not None


def test_a_rule_of_an_op_that_a_pass_made():
    x, s = _open(None, None, None, None), _open(None)
    y = tf.nn.fused_batch_norm(x, s, s)[0]
    assert "[3] is not [4]" in _error(tf.gradients(y, x), {x: (1, 2, 2, 3), s: (4,)}).message


def test_a_misfit_is_found_again_in_a_program_that_ran():
    a, b = _open(None), _open(None)
    sess = session()
    run = sess.make_callable(a + b, [a, b])
    assert run(np.ones(3), np.ones(3)).tolist() == [2, 2, 2]
    for _ in range(2):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[3\] and \[4\] do not broadcast"):
            run(np.ones(3), np.ones(4))


def test_a_transposed_convolution_has_the_name_of_its_call():
    size = tf.placeholder(tf.int32, [4], name="size")
    y = tf.nn.conv2d_transpose(_open(None, 4, 4, 3), np.zeros((3, 3, 2, 3), np.float32), size, 2)
    e = _error(y, {y.op.operands[0]: (1, 4, 4, 3), size: np.array([1, 9, 9, 2])})
    assert e.message.startswith("conv2d_transpose (C7)") and "convolution_input_grad" not in e.message
