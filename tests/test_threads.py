"""Promises of the thread pool: every index once, whoever calls, at any time; and peace when idle."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fresh import graph  # noqa: F401
from hypothesis import given, settings
from hypothesis import strategies as st

import graphflow as tf
from graphflow.runtime import blas, plan, threads
from graphflow.runtime.blas import _thread_setting
from graphflow.runtime.jit import function_addresses
from graphflow.runtime.threads import Pool, pool_addresses, session_threads

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the pool has POSIX threads only")

# count: adds 1 to block[i] for each i; meet: returns once `frame[0]` calls of it are under way
KERNELS = """
define internal void @count(ptr %frame, ptr %block, i64 %begin, i64 %end) {
entry:
  br label %loop
loop:
  %i = phi i64 [%begin, %entry], [%i1, %loop]
  %at = getelementptr i32, ptr %block, i64 %i
  %old = load i32, ptr %at
  %new = add i32 %old, 1
  store i32 %new, ptr %at
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}
define internal void @meet(ptr %frame, ptr %block, i64 %begin, i64 %end) {
entry:
  %wanted = load i64, ptr %frame
  %mine = atomicrmw add ptr %block, i64 1 seq_cst
  br label %loop
loop:
  %come = load atomic i64, ptr %block seq_cst, align 8
  %all = icmp sge i64 %come, %wanted
  br i1 %all, label %done, label %loop
done:
  ret void
}
define internal void @repeat(ptr %for, ptr %handle, ptr %function, ptr %block, i64 %count, i64 %chunk,
                             i64 %times) {
entry:
  br label %loop
loop:
  %k = phi i64 [0, %entry], [%k1, %loop]
  call void %for(ptr %handle, ptr %function, ptr %handle, ptr %block, i64 %count, i64 %chunk)
  %k1 = add i64 %k, 1
  %more = icmp slt i64 %k1, %times
  br i1 %more, label %loop, label %done
done:
  ret void
}
define internal void @nested(ptr %frame, ptr %block, i64 %begin, i64 %end) {
  %for = load ptr, ptr %frame
  %handle.at = getelementptr ptr, ptr %frame, i64 1
  %handle = load ptr, ptr %handle.at
  %function.at = getelementptr ptr, ptr %frame, i64 2
  %function = load ptr, ptr %function.at
  %mine = getelementptr i32, ptr %block, i64 %begin
  %size = sub i64 %end, %begin
  call void %for(ptr %handle, ptr %function, ptr %frame, ptr %mine, i64 %size, i64 3)
  ret void
}
"""
POINTER, INT = ctypes.c_void_p, ctypes.c_int64
WORKERS = 3


@pytest.fixture(scope="module")
def kernels() -> dict[str, int]:
    names = ("count", "meet", "repeat", "nested")
    return dict(zip(names, function_addresses(KERNELS, names), strict=True))


@pytest.fixture(params=["futex", "condition"])
def pool(request):
    if request.param == "futex" and sys.platform != "linux":
        pytest.skip("futexes are Linux's")
    made = Pool(WORKERS, request.param == "futex")
    assert made.workers == WORKERS
    yield made
    made.close()


def run(pool: Pool, function: int, block: np.ndarray, count: int, chunk: int, threads: int = WORKERS + 1,
        frame: np.ndarray | None = None, times: int = 1, repeat: int = 0) -> None:
    where = None if frame is None else frame.ctypes.data
    if repeat:
        types = (POINTER, POINTER, POINTER, POINTER, INT, INT, INT)
        ctypes.CFUNCTYPE(None, *types)(repeat)(pool.parallel_for, pool.handle(threads), function,
                                               block.ctypes.data, count, chunk, times)
    else:
        types = (POINTER, POINTER, POINTER, POINTER, INT, INT)
        ctypes.CFUNCTYPE(None, *types)(pool.parallel_for)(pool.handle(threads), function, where,
                                                          block.ctypes.data, count, chunk)


def counts(pool: Pool, kernels: dict[str, int], count: int, chunk: int,
           threads: int = WORKERS + 1) -> list[int]:
    block = np.zeros(count + 1, np.int32)
    run(pool, kernels["count"], block, count, chunk, threads)
    assert block[count] == 0
    return np.unique(block[:count]).tolist()


def test_every_index_once(pool, kernels):
    for count in (1, 2, 3, 7, 64, 1000, 12345):
        for chunk in (1, 2, 3, 63, 64, 1000, 12344, 12345, 1 << 62):
            for use in (1, 2, WORKERS + 1, 1000):
                assert counts(pool, kernels, count, chunk, use) == [1], (count, chunk, use)
    assert counts(pool, kernels, 0, 4) == []


def test_any_count_and_chunk(kernels):
    pool = Pool(WORKERS)

    @settings(max_examples=300, deadline=None)
    @given(st.integers(1, 5000), st.integers(1, 6000), st.integers(1, WORKERS + 2))
    def check(count: int, chunk: int, use: int) -> None:
        assert counts(pool, kernels, count, chunk, use) == [1]

    check()
    pool.close()


def test_pieces_run_on_as_many_threads_as_allowed(pool, kernels):
    for use in (1, 2, WORKERS + 1):
        meeting, frame = np.zeros(1, np.int64), np.array([use], np.int64)
        run(pool, kernels["meet"], meeting, use, 1, use, frame)  # hangs if fewer threads take part
        assert meeting[0] == use
    time.sleep(0.01)  # the workers sleep by now
    meeting, frame = np.zeros(1, np.int64), np.array([WORKERS + 1], np.int64)
    run(pool, kernels["meet"], meeting, WORKERS + 1, 1, frame=frame)
    assert meeting[0] == WORKERS + 1


def test_many_small_jobs(pool, kernels):
    block = np.zeros(50, np.int32)
    run(pool, kernels["count"], block, 50, 7, times=20_000, repeat=kernels["repeat"])
    assert np.unique(block).tolist() == [20_000]


def test_jobs_at_the_pace_of_sleeping_workers(pool, kernels):
    """Gaps around the time that a worker spins: some find it awake, some asleep, some in between."""
    block = np.zeros(40, np.int32)
    rng = np.random.default_rng(0)
    for gap in rng.uniform(0, 120e-6, 1500):
        run(pool, kernels["count"], block, 40, 3)
        end = time.perf_counter() + gap
        while time.perf_counter() < end:
            pass
    assert np.unique(block).tolist() == [1500]


def test_many_callers_at_once(pool, kernels):
    wrong = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(300):
            found = counts(pool, kernels, int(rng.integers(1, 3000)), int(rng.integers(1, 300)))
            if found != [1]:
                wrong.append(found)

    callers = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in callers:
        t.start()
    for t in callers:
        t.join()
    assert not wrong


def test_a_job_inside_a_job(pool, kernels):
    block = np.zeros(1000, np.int32)
    frame = np.array([pool.parallel_for, pool.handle(WORKERS + 1), kernels["count"]], np.int64)
    run(pool, kernels["nested"], block, 1000, 10, frame=frame)
    assert np.unique(block).tolist() == [1]


def test_after_close(pool, kernels):
    pool.close()
    assert pool.workers == 0 and counts(pool, kernels, 1000, 7) == [1]
    pool.close()


def test_closed_while_at_work(kernels):
    pool = Pool(WORKERS)
    wrong = []

    def work() -> None:
        for _ in range(500):
            if counts(pool, kernels, 2000, 20) != [1]:
                wrong.append(1)

    caller = threading.Thread(target=work)
    caller.start()
    time.sleep(0.005)
    pool.close()
    caller.join()
    assert not wrong


def in_child(pool: Pool, kernels: dict[str, int], deeper: int) -> None:
    ok = pool.workers == 0 and counts(pool, kernels, 1000, 7) == [1]
    if ok and deeper:
        ok = forked(pool, kernels, deeper - 1)
    sys.exit(0 if ok else 1)


def forked(pool: Pool, kernels: dict[str, int], deeper: int) -> bool:
    child = multiprocessing.get_context("fork").Process(target=in_child, args=(pool, kernels, deeper))
    child.start()
    child.join(30)
    if child.exitcode is None:
        child.kill()
    return child.exitcode == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_forked_children_run_alone(pool, kernels):
    assert counts(pool, kernels, 1000, 7) == [1]
    assert forked(pool, kernels, 1)
    assert pool.workers == WORKERS and counts(pool, kernels, 1000, 7) == [1]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_forked_while_other_threads_run(kernels):
    pool = Pool(WORKERS)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            counts(pool, kernels, 3000, 10)

    counts(pool, kernels, 3000, 10)  # numpy imports what this takes: no thread must be about it at a fork
    callers = [threading.Thread(target=work) for _ in range(2)]
    for t in callers:
        t.start()
    fine = [forked(pool, kernels, 0) for _ in range(10)]
    stop.set()
    for t in callers:
        t.join()
    pool.close()
    assert all(fine)


FORK = """
import faulthandler, numpy as np, os, sys, threading, time
import graphflow as tf
x, w = tf.placeholder(tf.float32, [None, 2000]), tf.Variable(np.ones((2000, 2000), np.float32))
y = tf.matmul(x, tf.matmul(w, w))
for k in range({layers}):
    y = tf.cumsum(tf.tanh(y) * k, axis=1)
sess, a = tf.Session(), np.ones((2, 2000), np.float32)
sess.run(w.initializer)
if not {layers}:
    sess.run(y, {{x: a}})
    sess.run(w.initializer)
t = threading.Thread(target=sess.run, args=(y, {{x: a}}))
t.start()
time.sleep({seconds})
pid = os.fork()
if pid == 0:
    faulthandler.dump_traceback_later(30, exit=True)
    sess.run(tf.exp(x) if {layers} else y, {{x: a}})
    os._exit(0)
t.join()
sys.exit(os.waitpid(pid, 0)[1] != 0)
"""


@pytest.mark.parametrize(("layers", "seconds"), [(0, 0.02), (20, 0.2), (20, 0.4)])
def test_forked_while_another_thread_compiles_or_computes_what_is_held(layers, seconds):
    code = FORK.format(layers=layers, seconds=seconds)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True,
                          timeout=120, env={**os.environ, "GRAPHFLOW_CACHE": "0"})
    assert done.returncode == 0, done.stderr


def test_an_idle_pool_takes_no_time(pool, kernels):
    counts(pool, kernels, 1000, 7)
    time.sleep(0.02)
    start = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - start < 0.05


END = """
import ctypes, numpy as np, os, sys
from graphflow.runtime.threads import Pool
pool = Pool(3)
if {fork}:
    pid = os.fork()
    if pid == 0:
        sys.exit(0)
    os.waitpid(pid, 0)
print(pool.workers)
"""


@pytest.mark.parametrize("fork", [False, True])
def test_the_interpreter_ends_with_workers_about(fork):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", END.format(fork=fork)],
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "3"), done.stderr


def test_a_pool_that_nobody_holds_ends(kernels):
    def os_threads() -> int:
        return len(os.listdir("/proc/self/task"))

    if not os.path.isdir("/proc/self/task"):
        pytest.skip("no /proc")
    before = os_threads()
    pool = Pool(WORKERS)
    assert os_threads() == before + WORKERS
    del pool
    assert os_threads() == before


def test_workers_leave_signals_to_python(pool):
    if sys.platform != "linux":
        pytest.skip("no /proc")
    status = [Path(f"/proc/self/task/{t}/status").read_text() for t in os.listdir("/proc/self/task")]
    masks = [dict(line.split(":\t", 1) for line in s.splitlines() if ":\t" in line) for s in status]
    workers = [m for m in masks if m["Name"].startswith("graphflow-")]
    assert len(workers) >= WORKERS
    assert all(int(m["SigBlk"], 16) & (1 << 1) for m in workers), "SIGINT"


# Sessions

def test_how_many_threads_a_session_has(monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 8)
    assert [session_threads(n) for n in (0, 1, 3, 8, 100)] == [8, 1, 3, 8, 8]
    assert pool_addresses(1) == (0, 0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="intra_op_parallelism_threads is -2"):
        tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=-2))


def test_sessions_share_one_pool(monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)
    monkeypatch.setattr(threads, "_SHARED", threads._Shared())
    handles = [pool_addresses(n) for n in (4, 4, 2, 2)]
    assert handles[0] == handles[1] != handles[2] == handles[3]
    assert threads.shared_pool().workers == 3
    threads.shared_pool().close()


def test_threads_that_come_first_together_get_one_pool(monkeypatch):
    monkeypatch.setattr(threads, "_SHARED", threads._Shared())
    start, found = threading.Barrier(8), []

    def work() -> None:
        start.wait()
        found.append(threads.shared_pool())

    callers = [threading.Thread(target=work) for _ in range(8)]
    for t in callers:
        t.start()
    for t in callers:
        t.join()
    assert len(set(map(id, found))) == 1
    found[0].close()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
def test_a_signals_handler_may_come_at_any_step(monkeypatch):
    """What the handler does must neither wait for what it interrupts nor mislead it."""
    setting, limit, seen = [7], blas._Limit(), []

    def limited_run() -> None:
        run = object()
        try:
            limit.enter(run, lambda: setting[0], lambda n: setting.__setitem__(0, n), 2)
            assert setting[0] <= 7
        finally:
            limit.leave(run, lambda n: setting.__setitem__(0, n))

    def handler(*_: object) -> None:
        limited_run()
        seen.append(threads.shared_pool())

    monkeypatch.setattr(threads, "Pool", lambda workers: object())
    before = signal.signal(signal.SIGALRM, handler)
    try:
        for k in range(4000):  # one signal at a time: handlers within handlers would have no end
            monkeypatch.setattr(threads, "_SHARED", threads._Shared())
            seen.clear()
            signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + k % 40))
            limited_run()
            assert setting == [7] and limit.saved is None and not limit.runs
            pool = threads.shared_pool()
            assert all(found is pool for found in seen)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(_thread_setting() is None, reason="numpy's BLAS has no threads that we know")
def test_matrix_products_obey_the_session_and_numpy_stays_as_it_was(monkeypatch):
    monkeypatch.setattr(plan, "usable_cores", lambda: 2)
    monkeypatch.setenv("GRAPHFLOW_GEMM", "blas")
    get_threads, set_threads = _thread_setting()
    before = get_threads()
    set_threads(2)
    x = tf.placeholder(tf.float32, [700, 700])
    y = tf.matmul(x, x)
    v = np.random.RandomState(0).rand(700, 700).astype(np.float32)
    sess = tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=1))
    np.testing.assert_allclose(sess.run(y, {x: v}), v @ v, rtol=1e-4)
    seen = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.add(get_threads())

    watcher = threading.Thread(target=watch)
    watcher.start()
    runners = [threading.Thread(target=lambda: [sess.run(y, {x: v}) for _ in range(10)]) for _ in range(3)]
    for t in runners:
        t.start()
    for t in runners:
        t.join()
    done.set()
    watcher.join()
    assert 1 in seen and get_threads() == 2
    set_threads(before)


@pytest.mark.parametrize("count", [1_000_003, 3_000_000])
def test_runs_are_bitwise_the_same_on_any_number_of_threads(count, monkeypatch):
    x = tf.placeholder(tf.float32, [None, 3])
    y = [tf.tanh(x) * 2, tf.reduce_sum(tf.exp(x), axis=1)]
    v = np.random.RandomState(0).randn(count // 3, 3).astype(np.float32)
    results = []
    for cores in (1, 2, 4):
        for module in (threads, plan):
            monkeypatch.setattr(module, "usable_cores", lambda cores=cores: cores)
        monkeypatch.setattr(threads, "_SHARED", threads._Shared())
        results.append([a.tobytes() for a in tf.Session().run(y, {x: v})])
    assert results[0] == results[1] == results[2]
