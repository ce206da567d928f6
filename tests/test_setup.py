"""Promises of what is held between runs: computed once, and never older than the variables it comes from."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
from fresh import graph, session  # noqa: F401

import graphflow as tf
from graphflow.compiler import pipeline
from graphflow.compiler.passes.hoist import hoist
from graphflow.compiler.passes.prune import Signature, prune
from graphflow.runtime.setup import Setup

RNG = np.random.default_rng(0)


def values(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


@pytest.fixture(autouse=True)
def generated(monkeypatch):
    """Products are graphflow's own: the library's take nothing in panels."""
    monkeypatch.delenv("GRAPHFLOW_GEMM", raising=False)


@pytest.fixture
def computed(monkeypatch):
    """The programs of the setups that ran."""
    ran = []
    original = Setup.values

    def counted(self):
        before = self._made
        found = original(self)
        if self._made is not before:
            ran.append(self.plan.program)
        return found

    monkeypatch.setattr(Setup, "values", counted)
    return ran


def programs(sess, fetch, *feeds):
    return sess.engine.prepare([fetch], [], feeds).programs


def held(program):
    return [b for b in program.buffers if b.role == "held"]


def layer(n=200, m=5):
    """x @ w, and what it is of."""
    x = tf.placeholder(tf.float32, [None, n], name="x")
    w = tf.Variable(values(n, n), name="w")
    return x, w, tf.matmul(x, w), values(m, n)


# Once

def test_weights_are_packed_once(computed):
    x, w, y, a = layer()
    sess = session()
    run, b = sess.make_callable(y, [x]), sess.run(w)
    for rows in (a, a, a[:2], np.tile(a, (50, 1))):
        np.testing.assert_allclose(run(rows), rows @ b, rtol=1e-3, atol=1e-3)
    assert len(computed) == 1
    (program,) = programs(sess, y, x)
    assert [(p.name, p.size) for p in held(program)] == [("w", 200 * 256)]
    assert program.setup.reads == (w.handle,) and not program.setup.feeds


def test_signatures_share_what_they_hold_alike(computed):
    x, _, y, a = layer()
    sess = session()
    first, second = sess.run(y, {x: a}), sess.run(tf.nn.relu(y), {x: a})
    np.testing.assert_array_equal(np.maximum(first, 0), second)
    assert len(computed) == 1


def test_constants_are_packed_once(computed):
    x = tf.placeholder(tf.float32, [None, 300])
    weights, a = values(300, 260), values(7, 300)
    run = session().make_callable(tf.matmul(x, tf.constant(weights)), [x])
    for _ in range(3):
        np.testing.assert_allclose(run(a), a @ weights, rtol=1e-3, atol=1e-3)
    assert len(computed) == 1


def test_a_product_of_weights_is_held():
    """Of which one is a constant: the setup itself holds nothing."""
    x, w, c = tf.placeholder(tf.float32, [None, 50]), tf.Variable(values(50, 300)), values(300, 280)
    y, a, sess = tf.matmul(x, tf.matmul(w, tf.constant(c))), values(4, 50), session()
    for _ in range(2):
        np.testing.assert_allclose(sess.run(y, {x: a}), a @ (sess.run(w) @ c), rtol=1e-3, atol=5e-3)
        sess.run(w.assign(w * 0.5))
    (program,) = programs(sess, y, x)
    assert len(program.calls) == len(held(program)) == 1


def test_a_scale_of_channels_is_computed_once(computed):
    """What batch norm makes of its variables, and not its product with x."""
    n = 3000
    x = tf.placeholder(tf.float32, [None, n], name="x")
    gamma, variance = (tf.Variable(np.full(n, v, np.float32)) for v in (3.0, 4.0))
    y = x * (gamma * tf.rsqrt(variance))
    sess = session()
    run = sess.make_callable(y, [x])
    for _ in range(2):
        np.testing.assert_allclose(run(np.ones((2, n), np.float32)), 1.5, rtol=1e-6)
    (program,) = programs(sess, y, x)
    assert len(computed) == 1 and [b.size for b in held(program)] == [n]
    sess.run(variance.assign(np.full(n, 9, np.float32)))
    np.testing.assert_allclose(run(np.ones((2, n), np.float32)), 1.0, rtol=1e-6)


def test_filters_are_turned_once(computed):
    """The gradient of a convolution to its input takes the filters reversed and transposed."""
    g = tf.placeholder(tf.float32, [2, 8, 8, 40])
    filters = tf.Variable(values(3, 3, 36, 40))
    y = tf.nn.conv2d_transpose(g, filters, [2, 8, 8, 36], strides=[1, 1, 1, 1])
    sess = session()
    a = values(2, 8, 8, 40)
    run = sess.make_callable(y, [g])
    first = run(a)
    np.testing.assert_array_equal(first, run(a))
    assert len(computed) == 1
    sess.run(filters.assign(filters * 2.0))
    np.testing.assert_allclose(run(a), 2 * first, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("jit", ["1", "0"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("known", [True, False])
def test_products_of_all_shapes_take_panels(monkeypatch, jit, dtype, known):
    monkeypatch.setenv("GRAPHFLOW_JIT", jit)
    cases = [(m, n, k, transposed) for m in (2, 17, 70) for n, k in ((140, 3), (200, 129), (131, 400))
             for transposed in (False, True)]
    feeds, fetches, expected = {}, [], []
    for m, n, k, transposed in cases:
        a, b = values(m, k, dtype=dtype), values(*((n, k) if transposed else (k, n)), dtype=dtype)
        x = tf.placeholder(dtype, [m if known else None, k])
        feeds[x] = a
        fetches.append(tf.nn.relu(tf.matmul(x, tf.Variable(b), transpose_b=transposed)))
        expected.append(np.maximum(a @ (b.T if transposed else b), 0))
    sess = session()
    for _ in range(2):
        for got, wanted in zip(sess.run(fetches, feeds), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-3)
    (program,) = sess.engine.prepare(fetches, [], sorted(feeds, key=lambda t: t.op.id)).programs
    assert len(held(program)) > len(cases) // 2


@pytest.mark.parametrize("jit", ["1", "0"])
def test_batches_of_matrices_take_panels(monkeypatch, jit):
    monkeypatch.setenv("GRAPHFLOW_JIT", jit)
    x, b, c = tf.placeholder(tf.float32, [2, 3, 5, 40]), values(3, 40, 170), values(3, 170, 40)
    fetches = [tf.matmul(x, tf.Variable(b)), tf.tanh(tf.matmul(x, tf.Variable(c), transpose_b=True))]
    a, sess = values(2, 3, 5, 40), session()
    first, second = sess.run(fetches, {x: a})
    np.testing.assert_allclose(first, a @ b, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(second, np.tanh(a @ np.swapaxes(c, 1, 2)), rtol=1e-3, atol=1e-3)
    (program,) = sess.engine.prepare(fetches, [], [x]).programs
    assert [p.size for p in held(program)] == [3 * 40 * 192] * 2


# Never out of date

def _by_load(sess, w, value):
    w.load(value, sess)


def _by_assign(sess, w, value):
    sess.run(w.assign(value))


def _by_two_assigns(sess, w, value):
    with tf.control_dependencies([w.assign_add(value)]):
        sess.run(w.assign(value))


def _by_add(sess, w, value):
    sess.run(w.assign_add(value - sess.run(w)))


def _by_optimizer(sess, w, value):
    loss = tf.reduce_sum(w * (sess.run(w) - value))
    sess.run(tf.train.GradientDescentOptimizer(1.0).minimize(loss))


def _by_rows(sess, w, value):
    """A gradient of looked-up rows is written in place."""
    loss = tf.reduce_sum(tf.gather(w, np.arange(len(value))) * (sess.run(w) - value))
    sess.run(tf.train.GradientDescentOptimizer(1.0).minimize(loss))


def _by_loop(sess, w, value):
    def body(i):
        with tf.control_dependencies([w.assign(value * tf.cast(i + 1, tf.float32))]):
            return tf.identity(i + 1)
    sess.run(tf.while_loop(lambda i: i < 1, body, [0]))


def _by_callable(sess, w, value):
    sess.make_callable(w.assign(value))()



WRITES = (_by_load, _by_assign, _by_two_assigns, _by_add, _by_optimizer, _by_rows, _by_loop, _by_callable)


@pytest.mark.parametrize("write", WRITES, ids=lambda f: f.__name__[1:])
def test_a_run_sees_what_was_written(write):
    x, w, y, a = layer()
    sess = session()
    run = sess.make_callable(y, [x])
    for _ in range(3):
        run(a)
        value = values(200, 200)
        write(sess, w, value)
        np.testing.assert_allclose(sess.run(w), value, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(run(a), a @ sess.run(w), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(sess.run(y, {x: a}), a @ sess.run(w), rtol=1e-3, atol=1e-3)


def test_initializing_again_is_seen():
    x, w, y, a = layer()
    sess = session()
    first = sess.run(y, {x: a})
    sess.run(w.assign(values(200, 200)))
    assert not np.allclose(sess.run(y, {x: a}), first)
    sess.run(tf.global_variables_initializer())
    np.testing.assert_array_equal(sess.run(y, {x: a}), first)


def test_a_writer_that_ran_before_tells_of_later_writes():
    """Its slot was bound when nothing was held yet."""
    x, w, y, a = layer()
    sess = session()
    double = sess.make_callable(w.assign(w * 2.0))
    double()
    run = sess.make_callable(y, [x])
    before = run(a)
    double()
    np.testing.assert_allclose(run(a), 2 * before, rtol=1e-6)


def test_other_variables_may_be_written(computed):
    x, _, y, a = layer()
    counter = tf.Variable(0.0)
    sess = session()
    count = counter.assign_add(1.0)
    for _ in range(3):
        sess.run(y, {x: a})
        sess.run(count)
    assert len(computed) == 1


def test_a_program_holds_nothing_of_what_it_writes():
    x, w, y, a = layer()
    step = tf.train.GradientDescentOptimizer(0.01).minimize(tf.reduce_sum(y * y))
    sess = session()
    run = sess.engine.prepare([y], [step], [x])
    run(a)
    (program,) = run.programs
    assert program.setup is None and w.handle in program.writes


def test_training_and_inference_take_turns():
    x, w, y, a = layer()
    step = tf.train.GradientDescentOptimizer(1e-4).minimize(tf.reduce_sum(y * y))
    sess = session()
    train, infer = sess.make_callable(step, [x]), sess.make_callable(y, [x])
    for _ in range(5):
        train(a)
        np.testing.assert_allclose(infer(a), a @ sess.run(w), rtol=1e-3, atol=1e-3)


def test_sessions_hold_their_own():
    x, w, y, a = layer()
    one, two = session(), session()
    other = values(200, 200)
    w.load(other, two)
    first = one.run(y, {x: a})
    np.testing.assert_allclose(two.run(y, {x: a}), a @ other, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(one.run(y, {x: a}), first)


def test_compare_and_explain_leave_the_values():
    x, w, y, a = layer()
    sess = session()
    before = sess.run(y, {x: a})
    found = tf.explain(y, {x: a}, session=sess, run=True)
    step = w.assign(w * 3.0)
    tf.explain(step, session=sess, run=True)
    np.testing.assert_array_equal(sess.run(y, {x: a}), before)
    assert found.held_bytes == 4 * 200 * 256 and "held between runs 200.0 KiB" in str(found)
    assert [h.name for h in found.held] == ["w"]


def test_a_variable_without_a_value_is_an_error_as_ever():
    x, w, y, a = layer()
    sess = tf.Session()
    run = sess.make_callable(y, [x])
    for _ in range(2):
        with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized variable 'w'"):
            run(a)
    sess.run(tf.global_variables_initializer())
    np.testing.assert_allclose(run(a), a @ sess.run(w), rtol=1e-3, atol=1e-3)


def test_threads_never_see_less_than_what_was_written():
    """Weights that count up: a run that starts after a write gives that number, or a later one."""
    n, last = 160, 150
    x, w = tf.placeholder(tf.float32, [None, n]), tf.Variable(np.zeros((n, n), np.float32))
    y, count = tf.matmul(x, w), w.assign_add(np.ones((n, n), np.float32))
    sess = session()
    run, write = sess.make_callable(y, [x]), sess.make_callable(count)
    ones = np.full((3, n), 1 / n, np.float32)
    written, faults = [0], []

    def read():
        while written[0] < last and not faults:
            low = written[0]
            found = run(ones)
            if found.min() < low - 0.01:
                faults.append((low, found.min()))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for t in readers:
        t.start()
    for k in range(1, last + 1):
        write()
        written[0] = k
    for t in readers:
        t.join()
    assert not faults
    np.testing.assert_allclose(run(ones), last, rtol=1e-5)


# In loops and conditionals

def test_a_loop_takes_captured_weights_in_panels(computed):
    x, w, _, a = layer()
    _, y = tf.while_loop(lambda i, h: i < 3, lambda i, h: (i + 1, tf.tanh(tf.matmul(h, w))), [0, x])
    sess = session()
    b = sess.run(w)
    for scale in (1.0, 0.5):
        sess.run(w.assign(b * scale))
        expected = a
        for _ in range(3):
            expected = np.tanh(expected @ (b * np.float32(scale)))
        np.testing.assert_allclose(sess.run(y, {x: a}), expected, rtol=1e-2, atol=1e-2)
    (program,) = programs(sess, y, x)
    assert len(held(program)) == 1 and len(computed) == 2


def test_a_branch_takes_captured_weights_in_panels():
    x, w, _, a = layer()
    which = tf.placeholder(tf.bool, [])
    z = tf.cond(which, lambda: tf.matmul(x, w), lambda: x - 1.0)
    sess = session()
    b = sess.run(w)
    for flag, expected in ((True, a @ b), (False, a - 1)):
        np.testing.assert_allclose(sess.run(z, {x: a, which: flag}), expected, rtol=1e-3, atol=1e-3)
    assert len(held(programs(sess, z, x, which)[0])) == 1


def test_weights_written_in_a_loop_are_not_held():
    x, w, _, a = layer()

    def body(i, h):
        with tf.control_dependencies([w.assign(w * 0.5)]):
            return i + 1, tf.matmul(h, w.read_value())

    _, y = tf.while_loop(lambda i, h: i < 2, body, [0, x])
    sess = session()
    b = sess.run(w)
    np.testing.assert_allclose(sess.run(y, {x: a}), a @ (b / 2) @ (b / 4), rtol=1e-2, atol=1e-2)
    assert programs(sess, y, x)[0].setup is None


# What is worth it

def hoisted(fetch, *feeds):
    types = tuple(t.type for t in feeds)
    return hoist(prune(Signature((fetch,), (), feeds, types)).graph)


def test_hoist_takes_out_what_variables_alone_decide():
    x = tf.placeholder(tf.float32, [4, 5000], name="x")
    v = tf.Variable(np.ones(5000, np.float32), name="v")
    found = hoisted(x * tf.exp(v), x)
    lines = [line.split("  #")[0].rstrip() for line in str(found.graph).splitlines()]
    assert lines == ["graph(x: f32[4,5000], v: f32[5000], Exp: f32[5000]) -> %0",
                     "  %0 = mul(x, Exp) : f32[4,5000]"]
    assert [t.op.opdef.name for t in found.origins] == ["input", "input", "exp"]


def test_hoist_leaves_what_is_not_worth_it():
    x = tf.placeholder(tf.float32, [64, 64], name="x")
    v, small = tf.Variable(np.ones(64, np.float32)), tf.Variable(2.0)
    row = tf.placeholder(tf.int32, [])
    for y in (x * tf.tile(tf.exp(v)[:, None], [1, 64]),           # little work
              x + tf.broadcast_to(small, [64, 64]),                 # much larger than the variable
              x + tf.random_uniform([64, 64]) * v,                  # other numbers in each run
              x + tf.gather(v, row)):                               # depends on what is fed
        feeds = [t for t in (x, row) if t in (x,) or y.op.inputs[1].op.type.startswith("Gather")]
        found = hoisted(y, *feeds)
        assert not any(t.op.kind == "held" for t in found.graph.inputs), str(found.graph)


def test_what_fails_does_so_in_each_run():
    n = 5000
    x, v = tf.placeholder(tf.float32, [n]), tf.Variable(np.ones(n, np.float32))
    at = tf.Variable(np.full(n, n, np.int32))
    y = x * tf.exp(tf.gather(tf.exp(v), at))
    sess = session()
    for _ in range(2):
        with pytest.raises(tf.errors.InvalidArgumentError, match="index 5000 is not in"):
            sess.run(y, {x: np.ones(n)})
    at.load(np.zeros(n, np.int32), sess)
    np.testing.assert_allclose(sess.run(y, {x: np.ones(n)}), np.exp(np.e), rtol=1e-5)


# Kept and freed

def test_a_known_program_comes_out_of_the_cache_with_its_setup(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHFLOW_CACHE", str(tmp_path))
    for name in ("GRAPHFLOW_CHECK", "GRAPHFLOW_JIT"):  # they compile anew each time
        monkeypatch.delenv(name, raising=False)
    x, _, y, a = layer()
    init = tf.global_variables_initializer()
    found = []
    for _ in range(2):
        sess = tf.Session()
        sess.run(init)
        found += [sess.run(y, {x: a}), sess.run(y, {x: a})]
        monkeypatch.setattr(pipeline, "compile_signature", None)
    assert all(np.array_equal(f, found[0]) for f in found)


def test_a_closed_session_frees_what_it_held():
    x, _, y, a = layer()
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(y, {x: a})
        (setup,) = sess.engine._setups.values()
    gone = weakref.ref(setup.values()[0])
    del sess, setup
    gc.collect()
    assert gone() is None
