"""Ctrl-C within a run: its exception comes out, variables are as before, the session goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import numpy as np
import pytest
from fresh import graph, session  # noqa: F401

import graphflow as tf
from graphflow.compiler import flags
from graphflow.runtime import locks, objects

pytestmark = pytest.mark.skipif(not flags.use_jit(), reason="Python ends by itself; loops of 2^29 iterations")


@contextlib.contextmanager
def _alarm(seconds, handler=signal.default_int_handler):
    """A signal after some time; pytest's own handler of SIGINT stays out of it."""
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _scalars(limit, v):
    """One kernel."""
    return tf.while_loop(lambda i, s: i < limit, lambda i, s: [i + 1, tf.sin(s) + v],
                         [tf.constant(0, tf.int64), tf.constant(0.5)])[1]


def _nested(limit, v):
    step = tf.while_loop
    return step(lambda i, s: i < limit, lambda i, s: [
        i + 1, step(lambda j, t: j < 100, lambda j, t: [j + 1, tf.sin(t) + v], [tf.constant(0), s])[1]],
        [tf.constant(0, tf.int64), tf.constant(0.5)])[1]


def _matrices(size):
    """Launches from iteration to iteration."""
    def make(limit, v):
        w = tf.constant(np.full((size, size), 1 / size, np.float32))
        return tf.reduce_sum(tf.while_loop(lambda i, s: i < limit, lambda i, s: [
            i + 1, tf.matmul(tf.tanh(s), w) + v], [tf.constant(0, tf.int64), w])[1])
    return make


LOOPS = [_scalars, _nested, _matrices(4), _matrices(200)]


@pytest.mark.parametrize("make", LOOPS, ids=["scalars", "nested", "small", "large"])
def test_a_loop_ends_at_a_signal(make):
    limit, v, w = tf.placeholder(tf.int64, []), tf.Variable(0.1), tf.Variable([1.0, 2.0])
    before = w.assign_add([1.0, 1.0])
    with tf.control_dependencies([before]):
        change = v.assign(make(limit, v.read_value()))
    sess = session()
    start = time.perf_counter()
    with _alarm(0.2), pytest.raises(KeyboardInterrupt):
        sess.run([before, change], {limit: 1 << 60})
    assert time.perf_counter() - start < 5
    assert sess.run(v) == np.float32(0.1) and sess.run(w).tolist() == [1, 2]
    sess.run([before, change], {limit: 3})
    assert sess.run(v) != np.float32(0.1) and sess.run(w).tolist() == [2, 3]


def test_handlers_that_raise_nothing_run_and_the_run_goes_on():
    limit, seen = tf.placeholder(tf.int64, []), []
    y = tf.while_loop(lambda i: i < limit, lambda i: i + 1, [tf.constant(0, tf.int64)])
    other = tf.constant(2) * 3
    sess = session()
    sess.run([y, other], {limit: 1})
    with _alarm(0.05, lambda number, frame: seen.append(sess.run(other))):
        assert sess.run(y, {limit: 1 << 29}) == 1 << 29
    assert seen == [6]


def test_a_handler_may_run_the_session_while_held_values_are_computed():
    x, w = tf.placeholder(tf.float32, [None, 1500]), tf.Variable(np.ones((1500, 1500), np.float32))
    y, a, seen = tf.matmul(x, tf.matmul(w, w)), np.ones((2, 1500), np.float32), []
    sess = session()
    expected = sess.run(y, {x: a})
    for k in range(8):
        sess.run(w.initializer)
        with _alarm(0.002 * (k + 1), lambda number, frame: seen.append(sess.run(y, {x: a}))):
            seen.append(sess.run(y, {x: a}))
            time.sleep(0.02)
    assert len(seen) == 16 and all(np.array_equal(s, expected) for s in seen)


def test_a_load_that_ends_at_a_signal_is_seen():
    """The copy is whole, so nothing that is held of the old value may stay."""
    n = 2000
    x, w = tf.placeholder(tf.float32, [None, n]), tf.Variable(np.zeros((n, n), np.float32))
    y, a, sess = tf.matmul(x, w), np.ones((30, n), np.float32), session()
    for k in range(40):
        value = np.full((n, n), k + 1, np.float32)
        with contextlib.suppress(KeyboardInterrupt), _alarm(0.0001 * (k + 1)):
            w.load(value, sess)
        assert sess.run(y, {x: a})[0, 0] == n * sess.run(w)[0, 0]


def test_a_first_load_that_ends_at_a_signal_counts(monkeypatch):
    w, sess = tf.Variable(0.0), tf.Session()
    copy = np.copyto

    def interrupted(*args):
        copy(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "copyto", interrupted)
    with pytest.raises(KeyboardInterrupt):
        w.load(2.0, sess)
    assert sess.run(w) == 2


def test_other_threads_are_not_interrupted():
    limit, results = tf.placeholder(tf.int64, []), []
    y = _matrices(100)(limit, tf.constant(0.1))
    call = session().make_callable(y, [limit])
    expected = call(np.array(3000))
    thread = threading.Thread(target=lambda: results.append(call(np.array(3000))))
    with _alarm(0.02), pytest.raises(KeyboardInterrupt):
        thread.start()
        time.sleep(10)
    thread.join()
    assert results == [expected]


def test_many_kernels_end_at_a_signal_before_a_variable_changes():
    x, v = tf.placeholder(tf.float32, [None, None]), tf.Variable(1.0)
    y = x
    for _ in range(200):
        y = tf.matmul(y, x)
    train = v.assign_add(tf.reduce_sum(y))
    sess = session()
    big = np.full((1500, 1500), 1 / 1500, np.float32)
    sess.run(train, {x: big[:2, :2]})
    before = sess.run(v)
    start = time.perf_counter()
    with _alarm(0.2), pytest.raises(KeyboardInterrupt):
        sess.run(train, {x: big})
    assert time.perf_counter() - start < 3 and sess.run(v) == before


@pytest.mark.parametrize("x", [0.5])
def test_short_programs_do_not_look(x):
    a = tf.placeholder(tf.float32, [None, 8])
    run = session().engine.prepare([tf.nn.softmax(a)], [], [a])
    run(np.full((3, 8), x, np.float32))
    assert "@look(" not in run.programs[0].ir


def test_other_threads_run_during_a_long_loop():
    limit, ticks = tf.placeholder(tf.int64, []), []
    y = tf.while_loop(lambda i: i < limit, lambda i: i + 1, [tf.constant(0, tf.int64)])
    sess, done = session(), threading.Event()
    sess.run(y, {limit: 1})

    def tick():
        while not done.wait(0.01):
            ticks.append(time.perf_counter())

    ticker = threading.Thread(target=tick)
    ticker.start()
    start = time.perf_counter()
    sess.run(y, {limit: 1 << 29})
    end = time.perf_counter()
    done.set()
    ticker.join()
    assert sum(start < t < end for t in ticks) > 2


def test_a_compilation_is_broken_off_at_once_and_a_fork_waits_for_its_threads():
    ended = []

    def work(seconds):
        time.sleep(float(seconds))
        ended.append(seconds)
        return b""

    start = time.perf_counter()
    with _alarm(0.1), pytest.raises(KeyboardInterrupt):
        objects._at_once(work, ["0.8", "0.9"])
    assert time.perf_counter() - start < 0.6 and not ended
    assert objects._at_once(str.encode, ["a", "b"]) == [b"a", b"b"]  # beside them
    pid = os.fork()
    if not pid:
        os._exit(len(ended) + 10 * len(objects._at_once(str.encode, ["a", "b"])))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 22 and ended == ["0.8", "0.9"]


def test_what_a_part_raises_comes_out():
    def work(item):
        raise ValueError(item)

    with pytest.raises(ValueError, match=r"^a$"):
        objects._at_once(work, ["a", "b"])


def test_ctrl_c_while_llvm_compiles():
    """The session goes on: what was broken off is compiled again."""
    x = tf.placeholder(tf.float32, [None, 20])
    y = x
    for k in range(40):
        y = tf.sort(tf.sin(y) * (k + 1.5), axis=-1)
    sess, emitted, times = session(), objects._emitted, []

    def emit(*args):
        times.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGALRM)
        code = emitted(*args)
        times.append(time.perf_counter())
        return code

    with pytest.MonkeyPatch.context() as patch, _alarm(100):
        patch.setenv("GRAPHFLOW_CACHE", "0")
        patch.setattr(objects, "_emitted", emit)
        with pytest.raises(KeyboardInterrupt):
            sess.run(y, {x: np.ones((3, 20))})
        times.insert(0, time.perf_counter())
    with locks.COMPILING.changed:
        assert locks.COMPILING.changed.wait_for(lambda: not locks.COMPILING.threads, 60)
    assert times[0] < times[-1]
    assert sess.run(y, {x: np.ones((3, 20))}).shape == (3, 20)
