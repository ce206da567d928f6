"""Promises of a run: one native call, no recompilation, order of effects, memory, threads, errors."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
from fresh import graph, session  # noqa: F401

import graphflow as tf
from graphflow.compiler import flags
from graphflow.runtime.plan import Plan


def executable(sess, fetches, feeds, targets=()):
    return sess.engine.prepare(fetches, targets, feeds)


def digits_step():
    """The example's training step."""
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))
    from digits_mlp import build

    return build(1e-3)


def test_a_training_step_is_one_call_of_few_kernels():
    net = digits_step()
    sess = session()
    run = executable(sess, [net["loss"]], [net["images"], net["labels"]], [net["train"]])
    run(np.zeros((5, 64), np.float32), np.zeros(5, np.int64))
    (program,) = run.programs
    assert 3 * len(program.calls) < program.ops
    assert program.ir.count("define ptr @program(") == 1


def test_a_new_batch_size_compiles_nothing():
    net = digits_step()
    sess = session()
    run = executable(sess, [net["loss"]], [net["images"], net["labels"]], [net["train"]])
    losses = [run(np.ones((n, 64), np.float32), np.zeros(n, np.int64))[0] for n in (50, 1, 7, 359, 2)]
    assert len(run.programs) == 1 and np.all(np.isfinite(losses))


def test_a_dim_of_one_broadcasts_where_it_was_taken_for_equal():
    x, y = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.float32, [None])
    sess = session()
    run = executable(sess, [x * y], [x, y])
    a, b = np.arange(4, dtype=np.float32), np.full(1, 2, np.float32)
    assert run(a, a)[0].tolist() == [0, 1, 4, 9]
    assert run(a, b)[0].tolist() == [0, 2, 4, 6] and run(b, a)[0].tolist() == [0, 2, 4, 6]
    assert run(b, b)[0].tolist() == [4]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"shapes \[4\] and \[3\] do not broadcast"):
        run(a, a[:3])


def test_a_placeholder_of_unknown_rank():
    x = tf.placeholder(tf.float32)
    y = tf.reduce_sum(x * 2, axis=-1)
    sess = session()
    for shape in ((3,), (2, 3), (4, 2, 3), (2, 3)):
        v = np.random.rand(*shape).astype(np.float32)
        np.testing.assert_allclose(sess.run(y, {x: v}), (2 * v).sum(-1), rtol=1e-6)


def test_shapes_from_fed_integers():
    n = tf.placeholder(tf.int32, [])
    zeros = tf.zeros([n, 2]) + 1
    sess = session()
    assert sess.run(zeros, {n: 3}).tolist() == [[1, 1]] * 3
    assert sess.run(zeros, {n: 0}).shape == (0, 2)
    assert sess.run(tf.reshape(tf.range(6), [n, -1]), {n: 2}).shape == (2, 3)
    with pytest.raises(tf.errors.InvalidArgumentError):
        sess.run(tf.reshape(tf.range(6), [n, -1]), {n: 4})


def test_shapes_that_depend_on_other_tensors():
    x = tf.placeholder(tf.float32, [None, 4])
    flat = tf.reshape(x, [tf.shape(x)[0] * 2, 2])
    noise = tf.zeros_like(x) + tf.cast(tf.shape(x)[0], tf.float32)
    sess = session()
    for n in (3, 1, 0):
        a, b = sess.run([flat, noise], {x: np.ones((n, 4))})
        assert a.shape == (2 * n, 2) and b.shape == (n, 4) and np.all(b == n)


# Order of effects

def test_reads_see_the_value_before_the_run():
    v = tf.Variable(1.0)
    double = v * 2
    step = tf.assign(v, v + 10)
    sess = session()
    assert sess.run([double, step, v]) == [2, 11, 1]
    assert sess.run([step, double]) == [21, 22]


def test_reads_after_a_write_that_they_depend_on():
    v = tf.Variable(1.0)
    first = tf.assign_add(v, 1.0)
    with tf.control_dependencies([first]):
        after = v * 100
        second = tf.assign_add(v, 5.0)
    sess = session()
    assert sess.run([after, second, v]) == [200, 7, 1]
    assert sess.run(v) == 7


def test_writes_happen_in_the_order_they_were_made():
    v = tf.Variable(0.0)
    one, two = tf.assign(v, 1.0), tf.assign(v, 2.0)
    sess = session()
    sess.run([two, one])
    assert sess.run(v) == 2


def test_variables_that_exchange_their_values():
    a, b = tf.Variable([1.0, 2.0]), tf.Variable([3.0, 4.0])
    swap = tf.group(tf.assign(a, b), tf.assign(b, a))
    sess = session()
    sess.run(swap)
    assert sess.run([a, b])[0].tolist() == [3, 4] and sess.run(b).tolist() == [1, 2]


def test_an_update_that_reads_its_variable_elsewhere():
    v = tf.Variable(np.arange(6, dtype=np.float32).reshape(2, 3))
    reverse = tf.assign(v, tf.reverse(v, [0, 1]) + tf.reduce_sum(v))
    sess = session()
    want = np.arange(6)[::-1].reshape(2, 3) + 15
    assert np.array_equal(sess.run(reverse), want) and np.array_equal(sess.run(v), want)


def test_results_are_bitwise_the_same_from_run_to_run():
    x = tf.placeholder(tf.float32, [None, 33])
    y = tf.reduce_sum(tf.exp(x)) / tf.reduce_max(tf.nn.softmax(x))
    v = np.random.RandomState(0).randn(1000, 33).astype(np.float32)
    results = {session().run(y, {x: v}).tobytes() for _ in range(3)}
    assert len(results) == 1


# Memory

def test_fetched_arrays_are_the_callers_own():
    x = tf.placeholder(tf.float32, [3])
    v = tf.Variable([1.0, 2.0, 3.0])
    c = tf.constant([5.0, 6.0])
    sess = session()
    fed = np.zeros(3, np.float32)
    for value in sess.run([x, v, c, tf.reshape(v, [3, 1]), v], {x: fed}):
        value += 1
    assert fed.tolist() == [0, 0, 0]
    assert sess.run(v).tolist() == [1, 2, 3] and sess.run(c).tolist() == [5, 6]


def test_read_only_strided_and_foreign_feeds():
    x = tf.placeholder(tf.float32, [None, 2])
    sess = session()
    base = np.arange(12, dtype=np.float32).reshape(6, 2)
    frozen = base.copy()
    frozen.flags.writeable = False
    foreign = (base.astype(">f4"), base.astype(np.float64), base.tolist())
    for v in (frozen, base[::2], np.asfortranarray(base), *foreign):
        assert np.array_equal(sess.run(x + 1, {x: v}), np.asarray(v, np.float32) + 1)


@pytest.mark.skipif(not flags.use_jit(), reason="the interpreter makes no functions of its own")
def test_programs_in_a_cycle_are_collected():
    """CPython reads a function's definition when the function goes: no other garbage may have freed it."""
    x = tf.placeholder(tf.float32, [2])
    session().run(x + 1, {x: [1, 2]})
    programs = [f for f in gc.get_objects() if type(f) is type(len) and f.__name__ == "program"]
    assert programs
    for f in programs:
        _, definition = f.__self__
        assert type(definition) is bytes


def test_concurrent_runs():
    x = tf.placeholder(tf.float32, [None, 64])
    w = tf.Variable(np.random.RandomState(0).randn(64, 64).astype(np.float32) / 8)
    y = x
    for _ in range(6):
        y = tf.tanh(tf.matmul(y, w))
    sess = session()
    inputs = [np.random.RandomState(k).randn(200 + k, 64).astype(np.float32) for k in range(8)]
    expected = [sess.run(y, {x: v}) for v in inputs]
    wrong = []

    def work(k: int) -> None:
        for _ in range(20):
            if not np.array_equal(sess.run(y, {x: inputs[k]}), expected[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_heavy_runs_let_other_threads_in():
    x = tf.placeholder(tf.float32, [None])
    sess = session()
    run = executable(sess, [tf.exp(x)], [x])
    run(np.zeros(10, np.float32))
    run(np.zeros(10_000_000, np.float32))
    (light,), (heavy,) = run._plans.values()
    assert isinstance(light, Plan) and light.new_slot().frame[5] == 0 and heavy.new_slot().frame[5] == 1


# Errors

def test_feed_errors():
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    k = tf.placeholder(tf.int32, [2], name="k")
    sess = session()
    with pytest.raises(ValueError, match=r"shape \(2, 4\) for 'x:0'.*test_engine.py"):
        sess.run(x + 1, {x: np.zeros((2, 4))})
    with pytest.raises(ValueError, match="shape"):
        sess.run(x + 1, {x: np.zeros(3)})
    change = r"cannot feed 1.5 for 'k:0', which is i32\[2\], made at .*test_engine.py:\d+: it would become 1"
    with pytest.raises(TypeError, match=change):
        sess.run(k + 1, {k: [1.5, 2]})
    with pytest.raises(TypeError, match="'x:0'"):
        sess.run(x + 1, {x: [["a", "b", "c"]]})
    missing = r"feed a value for placeholder 'x:0'.*test_engine.py"
    with pytest.raises(tf.errors.InvalidArgumentError, match=missing):
        sess.run(x + 1)


def test_uninitialized_variables():
    v = tf.Variable([1.0], name="v")
    with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized variable 'v'"):
        tf.Session().run(v + 1)


def test_an_index_out_of_range_names_the_operation():
    i = tf.placeholder(tf.int32, [None])
    y = tf.gather(tf.constant([1.0, 2.0, 3.0]), i, name="pick")
    sess = session()
    assert sess.run(y, {i: [2, 0]}).tolist() == [3, 1]
    for bad, shown in (([0, 3], "3"), ([-1], "-1"), (list(range(3)) * 9 + [7], "7")):
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"pick.*{shown} is not in \[0, 3\)"):
            sess.run(y, {i: bad})
    assert sess.run(y, {i: [1]}).tolist() == [2]


def test_shapes_that_need_a_computed_value_are_refused_with_a_way_out():
    x = tf.placeholder(tf.int32, [4])
    y = tf.zeros([tf.reduce_max(x)])
    with pytest.raises(NotImplementedError, match=r"(?s)depends on the computed value.*feed it"):
        session().run(y, {x: [1, 2, 3, 4]})


def test_a_chain_of_many_operations():
    x = tf.placeholder(tf.float32, [4])
    y = x
    for _ in range(1500):
        y = tf.tanh(y * 1.01)
    g, = tf.gradients(y, x)
    sess = session()
    v = np.linspace(-1, 1, 4).astype(np.float32)
    a, b = sess.run([y, g], {x: v})
    want, slope = v.astype(np.float64), np.ones(4)
    for _ in range(1500):
        want = np.tanh(want * 1.01)
        slope = slope * 1.01 * (1 - want * want)
    np.testing.assert_allclose(a, want, rtol=1e-4)
    np.testing.assert_allclose(b, slope, rtol=1e-2, atol=1e-30)
