"""The threads that help with compiled kernels: one pool for the whole process.

The workers are POSIX threads without a Python state: they never want the interpreter lock, block all
signals, do not change under monkey patching (gevent), and are joined when the interpreter ends. A process
forked from this one has no workers; there each job runs on the thread that brings it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphflow.compiler.codegen import pool
from graphflow.compiler.errors import InvalidArgumentError
from graphflow.runtime.locks import Locked
from graphflow.runtime.pages import aligned_empty

_LINGER = 50e-6  # seconds that an idle worker spins before it sleeps: jobs of one program are this close
_TRIAL = 1000  # spins whose time is taken


class Pool:
    """Worker threads, asleep while there is nothing to do.

    Native code calls `parallel_for` (the address of a C function, see codegen.pool) with a handle.
    """

    def __init__(self, workers: int, has_futex: bool = sys.platform == "linux") -> None:
        self.parallel_for, worker, stop, spin, touch = _functions(has_futex)
        self._touch = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(touch)
        self._memory = aligned_empty((pool.POOL_BYTES // 8,), np.dtype(np.int64), pool.LINE)
        self._memory[:] = 0
        self._address = self._memory.ctypes.data
        self._handles: dict[int, Any] = {}
        self._memory[pool.SPINS] = _spins(spin, self._memory)
        threads = _start(worker, self._address, workers, has_futex)
        self._memory[pool.WORKERS] = len(threads)
        # the functions and the memory are arguments, so that they live until the workers are gone
        self.close = weakref.finalize(self, _close, stop, self._memory, threads, os.getpid())
        _POOLS.add(self)

    @property
    def workers(self) -> int:
        """How many threads can help a caller; 0 once closed, and in a forked process."""
        return int(self._memory[pool.WORKERS])

    def handle(self, threads: int) -> int:
        """What `parallel_for` takes to use so many threads, the caller among them; 0 (null) for one."""
        if threads <= 1:
            return 0
        helpers = min(threads - 1, pool.MOST_HELPERS)
        words = self._handles.setdefault(helpers, (ctypes.c_int64 * 2)(self._address, helpers))
        return ctypes.addressof(words)

    def bring_in(self, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
        """Have another thread touch all pages of arrays, which keep their values meanwhile."""
        pieces = np.array([(a.ctypes.data, a.ctypes.data + a.nbytes) for a in arrays], np.int64)

        def touch(_: object) -> None:  # the arrays: they live until they were touched
            self._touch(pieces.ctypes.data, len(pieces))

        threading.Thread(target=touch, args=(arrays,), daemon=True).start()


def session_threads(asked: int) -> int:
    """How many threads `ConfigProto.intra_op_parallelism_threads` stands for; 0 is all usable cores."""
    if asked < 0:
        raise InvalidArgumentError(None, None, f"intra_op_parallelism_threads is {asked}: "
                                               f"give a number of threads, or 0 for one per core")
    return min(asked or usable_cores(), usable_cores())


def pool_addresses(threads: int) -> tuple[int, int]:
    """What the frame of a program holds: a handle and the address of `parallel_for`; nulls for one thread."""
    return (shared_pool().handle(threads), shared_pool().parallel_for) if threads > 1 else (0, 0)


def shared_pool() -> Pool:
    """The pool of this process, made when first needed."""
    with _SHARED.lock:
        return _SHARED.pools.get(0) or _SHARED.pools.setdefault(0, Pool(usable_cores() - 1))


class _Shared(Locked):
    """Programs keep addresses of the pool's memory: there is one, and it stays.

    It is set in one step: a signal's handler that comes while it is made makes one, too, and that is it then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pools: dict[int, Pool] = {}


_SHARED = _Shared()


@functools.lru_cache(maxsize=1)
def usable_cores() -> int:
    """The cores that this process may use: by its affinity, and by a container's share of processor time.

    1 where there are no POSIX threads, since the pool has no others.
    """
    if os.name != "posix":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError), open("/sys/fs/cgroup/cpu.max", encoding="ascii") as f:
        quota, period = map(int, f.read().split())  # the text is "max 100000" where there is no limit
        cores = min(cores, -(-quota // period))
    return max(cores, 1)


def machine_name() -> str:
    """The kind of CPU, "x86_64" and "aarch64" on all systems."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


@functools.lru_cache(maxsize=2)
def _functions(has_futex: bool) -> list[int]:
    from graphflow.runtime.jit import function_addresses

    return function_addresses(pool.pool_ir(machine_name(), has_futex), pool.POOL_FUNCTIONS)


def _spins(spin: int, memory: np.ndarray[Any, Any]) -> int:
    """How often to spin for `_LINGER`: a pause takes from 4 to 140 cycles, by the CPU."""
    wait = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32)(spin)
    memory[pool.SPINS] = _TRIAL
    times = []
    for _ in range(3):
        start = time.perf_counter()
        wait(memory.ctypes.data, memory.ctypes.data, 0)
        times.append(time.perf_counter() - start)
    return max(1, round(_LINGER * _TRIAL / min(times)))


def _start(worker: int, memory: int, count: int, has_futex: bool) -> list[int]:
    """Start the workers, or as many as the system gives."""
    libc, pointer = ctypes.CDLL(None), ctypes.c_void_p
    if not has_futex:
        libc.pthread_mutex_init(pointer(memory + pool.MUTEX), None)
        libc.pthread_cond_init(pointer(memory + pool.CONDITION), None)
    threads: list[int] = []
    with _signals_blocked():
        for k in range(min(count, pool.MOST_HELPERS)):
            thread = ctypes.c_size_t()
            if libc.pthread_create(ctypes.byref(thread), None, pointer(worker), pointer(memory)):
                break
            if sys.platform == "linux":
                libc.pthread_setname_np(thread, f"graphflow-{k}".encode())
            threads.append(thread.value)
    return threads


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Threads started inside block all signals: these are for Python's threads."""
    import signal

    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _close(stop: int, memory: np.ndarray[Any, Any], threads: list[int], process: int) -> None:
    """Send the workers home and wait until they have left; runs at the interpreter's end at the latest."""
    if os.getpid() != process:
        return
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(stop)(memory.ctypes.data)
    for thread in threads:
        ctypes.CDLL(None).pthread_join(ctypes.c_size_t(thread), None)


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()


def _after_fork() -> None:
    for p in _POOLS:
        p._memory[pool.WORKERS] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
