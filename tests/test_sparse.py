"""Promises of joined tensors and of updates of few rows: exact, in place, linear in the number of parts."""

from __future__ import annotations

import time

import numpy as np
import pytest
from fresh import graph, session  # noqa: F401

import graphflow as tf

ROWS, WIDTH = 40, 6


def table():
    return np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)


def embedding_loss(uses: int):
    """A loss over looked-up rows; with more uses the table is read at several places."""
    ids, target = tf.placeholder(tf.int32, [None]), tf.placeholder(tf.float32, [None, WIDTH])
    w = tf.Variable(table(), name="w")
    rows = tf.nn.embedding_lookup(w, ids)
    loss = tf.reduce_sum(tf.square(rows - target))
    if uses > 1:
        loss += 3 * tf.reduce_sum(tf.gather(w, tf.reshape(ids, [-1, 2])))
    return ids, target, w, loss


def dense_gradient(w, ids, target, uses):
    g = np.zeros_like(w)
    np.add.at(g, ids, 2 * (w[ids] - target) + (3 if uses > 1 else 0))
    return g


def sgd(w, slot, g):
    return w - 0.1 * g, slot


def adagrad(w, slot, g):
    slot = slot + g * g
    return w - 0.1 * g / np.sqrt(slot), slot


def momentum(w, slot, g):
    slot = 0.9 * slot + g
    return w - 0.1 * slot, slot


OPTIMIZERS = {"sgd": (lambda: tf.train.GradientDescentOptimizer(0.1), sgd, 0.0),
              "adagrad": (lambda: tf.train.AdagradOptimizer(0.1, 0.5), adagrad, 0.5),
              "momentum": (lambda: tf.train.MomentumOptimizer(0.1, 0.9), momentum, 0.0)}


@pytest.mark.parametrize("mode", ["", "GRAPHFLOW_CHECK", "GRAPHFLOW_JIT"])
@pytest.mark.parametrize("uses", [1, 2])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_on_rows_is_the_dense_step(name, uses, mode, monkeypatch):
    if mode:
        monkeypatch.setenv(mode, "1" if mode == "GRAPHFLOW_CHECK" else "0")
    make, step, start = OPTIMIZERS[name]
    ids, target, w, loss = embedding_loss(uses)
    train = make().minimize(loss)
    sess, rng = session(), np.random.default_rng(1)
    expected, slot = table().astype(np.float64), np.full((ROWS, WIDTH), start)
    for n in (8, 2, 0, 64):
        i, t = rng.integers(0, ROWS, n), rng.normal(size=(n, WIDTH)).astype(np.float32)
        sess.run(train, {ids: i, target: t})
        expected, slot = step(expected, slot, dense_gradient(expected, i, t, uses))
    np.testing.assert_allclose(sess.run(w), expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("uses", [1, 2])
@pytest.mark.parametrize("name", ["sgd", "adagrad"])
def test_a_step_on_rows_touches_no_other_row(name, uses):
    ids, target, w, loss = embedding_loss(uses)
    train = OPTIMIZERS[name][0]().minimize(loss)
    sess = session()
    run = sess.engine.prepare([loss], [train], [ids, target])
    run(np.array([3, 3], np.int32), np.zeros((2, WIDTH), np.float32))
    (program,) = run.programs
    large = [b for b in program.buffers if b.role == "arena" and b.size == ROWS * WIDTH]
    assert not program.copies and not large
    assert not any(f"< {ROWS * WIDTH}:" in str(c.nest) for c in program.calls)
    after, before = sess.run(w), table()
    assert np.array_equal(np.delete(after, 3, 0), np.delete(before, 3, 0)) and (after[3] != before[3]).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_bad_index_changes_nothing(name):
    ids, target, w, loss = embedding_loss(1)
    train = OPTIMIZERS[name][0]().minimize(loss)
    sess = session()
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"embedding_lookup.*index {ROWS} is not in"):
        sess.run(train, {ids: [1, ROWS], target: np.zeros((2, WIDTH))})
    assert np.array_equal(sess.run(w), table())


def test_two_tables_are_both_updated_in_place():
    ids = tf.placeholder(tf.int32, [None, 2])
    a, b = tf.Variable(table(), name="a"), tf.Variable(table(), name="b")
    rows = tf.reduce_sum(tf.gather(a, ids) * tf.gather(b, ids[:, :1]))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(rows)
    sess = session()
    run = sess.engine.prepare([rows, a.value()], [train], [ids])
    total, before = run(np.array([[1, 2], [1, 5]], np.int32))
    assert not run.programs[0].copies and np.array_equal(before, table())
    w = table().astype(np.float64)
    np.testing.assert_allclose(total, np.sum(w[[1, 1]] * w[[1, 1]] + w[[2, 5]] * w[[1, 1]]), rtol=1e-5)
    g = np.zeros_like(w)
    np.add.at(g, np.array([1, 2, 1, 5]), w[[1, 1, 1, 1]])
    np.testing.assert_allclose(sess.run(a), w - 0.1 * g, rtol=1e-5)


def test_a_clipped_norm_of_rows_is_that_of_the_table():
    ids, target, w, loss = embedding_loss(2)
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    grads, variables = zip(*optimizer.compute_gradients(loss), strict=True)
    clipped, norm = tf.clip_by_global_norm(grads, 1.0)
    train = optimizer.apply_gradients(zip(clipped, variables, strict=True))
    i, t = np.array([4, 4, 9, 4]), np.ones((4, WIDTH), np.float32)
    found, _ = (sess := session()).run([norm, train], {ids: i, target: t})
    g = dense_gradient(table().astype(np.float64), i, t, 2)
    np.testing.assert_allclose(found, np.linalg.norm(g), rtol=1e-5)
    np.testing.assert_allclose(sess.run(w), table() - 0.1 * g / np.linalg.norm(g), rtol=1e-4, atol=1e-6)


# Joined tensors

@pytest.mark.parametrize("mode", ["", "GRAPHFLOW_CHECK", "GRAPHFLOW_JIT"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_joined_parts_of_every_kind(axis, mode, monkeypatch):
    """Fed, constant, computed, a variable, a view, a part given twice, a joined tensor and a product."""
    if mode:
        monkeypatch.setenv(mode, "1" if mode == "GRAPHFLOW_CHECK" else "0")
    x = tf.placeholder(tf.float32, [None, 3, 3])
    v, c = tf.Variable(np.ones((2, 3, 3), np.float32)), tf.constant(np.full((2, 3, 3), 2, np.float32))
    y = tf.exp(x)
    parts = [x, c, y, v, tf.transpose(x, [0, 2, 1]), y, tf.stack([x[0], x[1] * 2]), tf.matmul(x, x)]
    joined = tf.concat([*parts, tf.concat(parts[:2], axis)], axis)
    sess, value = session(), np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32)
    fetches = [joined, tf.reduce_sum(joined * joined), tf.stack(parts, axis)]
    first, twice, stacked = sess.run(fetches, {x: value})
    e = np.exp(value)
    arrays = [value, np.full((2, 3, 3), 2), e, np.ones((2, 3, 3)), value.transpose(0, 2, 1), e,
              np.stack([value[0], value[1] * 2]), value @ value]
    np.testing.assert_allclose(first, np.concatenate([*arrays, *arrays[:2]], axis), rtol=1e-5)
    np.testing.assert_allclose(stacked, np.stack(arrays, axis), rtol=1e-5)
    np.testing.assert_allclose(twice, np.sum(np.square(first)), rtol=1e-4)


def test_a_variable_set_to_its_own_parts_in_another_order():
    w = tf.Variable(np.arange(6, dtype=np.float32))
    sess = session()
    sess.run(w.assign(tf.concat([w[4:], w[:2], w[2:4]], 0)))
    assert sess.run(w).tolist() == [4, 5, 0, 1, 2, 3]


@pytest.mark.parametrize("join", [lambda p: tf.concat(p, 0), lambda p: tf.concat(p, 1), tf.stack, tf.add_n],
                         ids=["concat", "columns", "stack", "add_n"])
def test_a_thousand_parts_compile_at_once(join):
    parts = [tf.placeholder(tf.float32, [4, 5]) for _ in range(1000)]
    values = np.random.default_rng(0).normal(size=(1000, 4, 5)).astype(np.float32)
    out, sess = join(parts), session()
    start = time.perf_counter()
    result = sess.run(out, dict(zip(parts, values, strict=True)))
    assert time.perf_counter() - start < 5  # 0.2 s on a machine with nothing else to do
    expected = {"ConcatV2": lambda: np.concatenate(values, 0 if out.shape[1] == 5 else 1),
                "Pack": lambda: values, "AddN": lambda: values.sum(0)}[out.op.type]()
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_kernels_of_unrolled_steps_are_one():
    x = tf.placeholder(tf.float32, [50, 3, 8])
    w, state, states = tf.Variable(np.eye(8, dtype=np.float32)), tf.zeros([3, 8]), []
    for step in tf.unstack(x):
        state = tf.tanh(tf.matmul(state, w) + step)
        states.append(state)
    loss = tf.reduce_sum(tf.stack(states) ** 2)
    sess = session()
    run = sess.engine.prepare([loss, *tf.gradients(loss, [x, w])], [], [x])
    run(np.ones((50, 3, 8), np.float32))
    (program,) = run.programs
    assert len(program.calls) > 90 and len({c.function for c in program.calls}) < 30
