"""What TF1 refuses in a run is refused, whatever the compiler makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from fresh import graph, session  # noqa: F401

import graphflow as tf

MODES = pytest.mark.parametrize("jit", ["1", "0"])
BY_ZERO = [lambda x, y: x // y, lambda x, y: x % y, tf.div, lambda x, y: tf.reduce_sum(x // y * 0)]


@MODES
@pytest.mark.parametrize("function", BY_ZERO)
@pytest.mark.parametrize("dtype", [tf.int32, tf.int64, tf.uint8])
def test_integer_division_by_zero(function, dtype, jit, monkeypatch):
    monkeypatch.setenv("GRAPHFLOW_JIT", jit)
    x, y = tf.placeholder(dtype, [None]), tf.placeholder(dtype, [None])
    out, sess = function(x, y), session()
    values = np.arange(1, 40)
    sess.run(out, {x: values, y: values})  # the lanes beyond the end hold zeros
    values[33] = 0
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"test_failures.py:\d+.*division by zero"):
        sess.run(out, {x: values, y: values})
    sess.run(out, {x: [], y: []})


@MODES
def test_an_integer_to_a_negative_power(jit, monkeypatch):
    monkeypatch.setenv("GRAPHFLOW_JIT", jit)
    x = tf.placeholder(tf.int32, [None])
    out, sess = tf.pow(2, x), session()
    assert sess.run(out, {x: [0, 1, 10]}).tolist() == [1, 2, 1024]
    with pytest.raises(tf.errors.InvalidArgumentError, match="negative integer powers"):
        sess.run(out, {x: [3, -1]})


def test_constants_divided_by_zero_fail_in_the_run_not_before():
    out = tf.constant([1, 2]) // tf.constant(0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="division by zero"):
        session().run(out)


def test_a_divisor_that_is_a_constant_needs_no_check():
    x = tf.placeholder(tf.int32, [None])
    sess = session()
    run = sess.engine.prepare([x // 3, x % 3, x ** 2], [], [x])
    run(np.arange(-9, 9, dtype=np.int32))
    assert not run.programs[0].checks


def test_what_is_only_a_control_input_or_a_target_runs():
    index, v = tf.placeholder(tf.int32, []), tf.Variable([1.0, 2.0])
    row = tf.gather(tf.constant([1.0, 2.0]), index)
    with tf.control_dependencies([row]):
        after, change = tf.constant(3.0) + 1, v.assign_add([1.0, 1.0])
    sess = session()
    for fetch in (after, change, row.op):
        sess.run(fetch, {index: 1})
        with pytest.raises(tf.errors.InvalidArgumentError, match="index 2 is not in"):
            sess.run(fetch, {index: 2})
    assert sess.run(v).tolist() == [2, 3]


def test_what_cannot_fail_and_is_not_used_is_left_out():
    x = tf.placeholder(tf.float32, [None])
    with tf.control_dependencies([tf.exp(x)]):
        y = x + 1
    run = session().engine.prepare([y], [], [x])
    run(np.ones(3, np.float32))
    assert "exp" not in run.programs[0].calls[0].fused


@pytest.mark.parametrize("width", [1, 3])
def test_of_many_faults_the_first_is_told_however_many_threads_look(width):
    x, i = tf.placeholder(tf.float32, [7, width]), tf.placeholder(tf.int32, [None])
    out, sess = tf.exp(tf.gather(x, i)) + tf.to_float(i)[:, None], session()
    indices = np.zeros(600_000, np.int32)
    indices[300_005:] = np.arange(20, 20 + len(indices) - 300_005)
    indices[77] = -1
    for first in (77, 300_005, 599_999):
        indices[77:first] = 0
        for _ in range(10):
            with pytest.raises(tf.errors.InvalidArgumentError, match=rf"index {indices[first]} is not"):
                sess.run(out, {x: np.ones((7, width)), i: indices})


@pytest.mark.parametrize("n", [2**24, 2**31 - 1, 2**62])  # beyond addresses, and beyond 64 bits
def test_tensors_too_large_for_memory(n):
    count, x = tf.placeholder(tf.int64, [], name="count"), tf.placeholder(tf.float32, [None])
    sess = session()
    wide = tf.ones([count, count], name="wide")
    for out in (wide, tf.cumsum(wide), tf.cumsum(wide * 2.0, name="wide")):
        for _ in range(2):
            with pytest.raises(tf.errors.ResourceExhaustedError, match=r"(?s)test_failures.py.*count:0  \d+"):
                sess.run(out, {count: n})
    outer = tf.expand_dims(x, 0) * tf.expand_dims(x, 1)
    for _ in range(2):
        with pytest.raises(tf.errors.ResourceExhaustedError, match=r"1048576.0 GiB\nfed:\n.*f32\[1677"):
            sess.run(outer, {x: np.zeros(2**24, np.float32)})
    assert sess.run(outer, {x: [1, 2]}).tolist() == [[1, 2], [2, 4]]


@pytest.mark.parametrize("make", [
    tf.random_normal, tf.truncated_normal, tf.random_uniform,
    lambda dims, name: tf.nn.softmax(tf.ones(dims, name="other"), name=name)])
def test_what_is_too_large_has_the_name_that_the_user_gave_it(make):
    n = tf.placeholder(tf.int64, [])
    out = make([n, n], name="wide")
    text = r"'wide' \(made at .*test_failures.py"
    with pytest.raises(tf.errors.ResourceExhaustedError, match=text) as found:
        session().run(out, {n: 2**30})
    assert found.value.op is out.op


@MODES
def test_a_label_that_is_no_class(jit, monkeypatch):
    monkeypatch.setenv("GRAPHFLOW_JIT", jit)
    labels, logits = tf.placeholder(tf.int32, [None]), tf.placeholder(tf.float32, [None, 5])
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits, name="loss")
    for fetch in (loss, tf.gradients(loss, logits)[0]):
        text = r"'loss' \(made at .*failures.py.*: a label of sparse_soft.*: index 9 is not in \[0, 5\)"
        with pytest.raises(tf.errors.InvalidArgumentError, match=text):
            session().run(fetch, {labels: [1, 9, 2], logits: np.zeros((3, 5))})
