"""Memory of results: the caller's own while anything looks into it, and used again afterwards."""

import gc
import mmap
import os
import sys
import threading

import numpy as np
import pytest

import graphflow as tf
from graphflow.compiler import flags
from graphflow.runtime import executable, memory, pages
from graphflow.runtime.cpu import host_target

SHAPE = (600, 500)


def test_a_result_is_the_callers_own_while_any_view_of_it_lives():
    first = memory.result_array(SHAPE, np.dtype(np.float32))
    address = first.ctypes.data
    first[:] = 7
    views = [first[3:].T, np.frombuffer(memoryview(first), np.float32)]
    del first
    second = memory.result_array(SHAPE, np.dtype(np.float32))
    assert second.ctypes.data != address
    second[:] = 1
    assert all((v == 7).all() for v in views)
    del views, second
    gc.collect()
    addresses = {memory.result_array(SHAPE, np.dtype(np.float32)).ctypes.data for _ in range(3)}
    assert len(addresses) == 1


def test_what_is_kept_for_later_runs_is_bounded():
    blocks = memory._Blocks()
    for k in range(100):
        blocks.give_back(np.empty(memory.MOST_FREE // 16 + 4096 * k, np.uint8))
    kept = sum(b.size for of_size in blocks._free.values() for b in of_size)
    assert kept == blocks._bytes <= memory.MOST_FREE


def test_arrays_in_one_piece_do_not_overlap():
    forms = [((3, 5), np.dtype(np.float32)), ((), np.dtype(np.int8)), ((0, 4), np.dtype(np.float64)),
             ((2, 1 << 20), np.dtype(np.float32)), ((7,), np.dtype(bool))]
    for arrays in (pages.in_one_piece(forms), pages.aligned_arrays(forms), pages.in_one_piece([])):
        for k, a in enumerate(arrays):
            a.fill(k % 2)
        assert [(a.shape, a.dtype) for a in arrays] == forms[:len(arrays)]
        assert all((a == k % 2).all() and a.ctypes.data % 64 == 0 for k, a in enumerate(arrays))


def _resident_bytes():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux" or not flags.use_jit(), reason="native code, of Linux")
def test_pages_come_in_while_others_write_them():
    fresh = [mmap.mmap(-1, size << 20) for size in (2, 6, 24)]  # numpy's memory may be there already
    arrays = [np.frombuffer(m, np.int64) for m in fresh] + [np.empty(0)]
    before, known = _resident_bytes(), set(threading.enumerate())
    memory.bring_in(arrays, threads=2)
    arrays[2][:1000] = range(1000)
    for thread in set(threading.enumerate()) - known:
        thread.join()
    assert _resident_bytes() - before > 30 << 20
    assert (arrays[2][:1000] == np.arange(1000)).all()


@pytest.mark.parametrize("threads, size", [(1, 1 << 24), (2, 1 << 20)])
def test_pages_come_in_by_themselves_where_that_pays(threads, size, monkeypatch):
    monkeypatch.setattr(memory, "shared_pool", lambda: pytest.fail("a thread was asked"))
    memory.bring_in(pages.in_one_piece([((size,), np.dtype(np.uint8))]), threads)


def _grows(x):
    """With values between kernels: a sum along each axis, one of them of what the other gave."""
    return tf.reduce_sum(tf.nn.softmax(x, 0) / tf.reduce_sum(x, 1, keepdims=True), 0)


def test_runs_of_all_shapes_and_programs_take_one_arena():
    with tf.Graph().as_default(), tf.Session() as sess:
        x = tf.placeholder(tf.float32, [None, 64])
        y, z = _grows(x), _grows(tf.exp(x))
        given = [np.random.default_rng(n).uniform(1, 2, (n, 64)).astype(np.float32) for n in (900, 7, 400)]
        first = [sess.run(t, {x: a}) for a in given for t in (y, z)]
        (arena,) = sess.engine.arenas.free.values()
        assert arena.size > given[0].nbytes // 2
        again = [sess.run(t, {x: a}) for a in given for t in (y, z)]
        assert all((a == b).all() for a, b in zip(first, again, strict=True))
        assert next(iter(sess.engine.arenas.free.values())) is arena


def test_plans_for_many_shapes_are_bounded(monkeypatch):
    monkeypatch.setattr(executable, "_PLAN_BYTES", 0)
    monkeypatch.setattr(executable, "_LEAST_PLANS", 8)
    with tf.Graph().as_default(), tf.Session() as sess:
        x = tf.placeholder(tf.float32, [None])
        total = sess.make_callable(tf.reduce_sum(x), [x])
        for _ in range(2):
            assert [total(np.ones(n, np.float32)) for n in range(1, 30)] == list(range(1, 30))
        (found,) = sess.engine._executables.values()
        assert len(found._plans) == len(found._runs) == 8


def test_runs_do_not_share_results():
    with tf.Graph().as_default(), tf.Session() as sess:
        x = tf.placeholder(tf.float32, SHAPE)
        y = x + 1.0
        results = [sess.run(y, {x: np.full(SHAPE, k, np.float32)}) for k in range(4)]
        assert [float(r.min()) for r in results] == [float(r.max()) for r in results] == [1, 2, 3, 4]
        results[0][:] = 9
        assert float(sess.run(y, {x: np.zeros(SHAPE, np.float32)}).max()) == 1


@pytest.mark.parametrize("shape", [(1 << 24,), (1 << 14, 1 << 10), ((1 << 14) + 1, 1025), (1000,)], ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_what_no_cache_holds_is_written_past_it(shape, threads):
    values = np.random.RandomState(0).standard_normal(shape).astype(np.float32)
    config = tf.ConfigProto(intra_op_parallelism_threads=threads)
    with tf.Graph().as_default(), tf.Session(config=config) as sess:
        x = tf.placeholder(tf.float32, shape)
        run = sess.engine.prepare([-x, tf.reduce_max(x * 2.0)], [], [x], whole=True)
        negative, most = run(values)
        (program,) = run.programs
    np.testing.assert_array_equal(negative, -values)
    assert most == values.max() * 2
    streamed = any(p.streamed for c in program.calls for p in c.nest.params)
    assert streamed == (values.nbytes >= host_target().l3 // 2)
    assert (", !nontemporal" in program.ir) == streamed
