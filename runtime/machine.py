"""What this machine can do at most: multiply-adds and memory traffic, measured with kernels of our own.

Other programs at work can only make it look slower. So the best of several rounds counts, it is kept in the
cache for later processes, and what a program exceeds is measured once more.
"""

from __future__ import annotations

import ctypes
import functools
import json
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.compiler.codegen.limits import COPY_STEP, LIMIT_KERNELS, flops_each, limits_ir, tick_counter
from graphflow.compiler.records import record
from graphflow.runtime import cache, cpu
from graphflow.runtime.jit import function_addresses
from graphflow.runtime.pages import aligned_empty
from graphflow.runtime.threads import machine_name, pool_addresses

_COPIES = (1 << 15, 1 << 18, 1 << 22, 1 << 24, 1 << 27)  # bytes read and written: in caches, then in memory
_LEAST_BYTES = 1 << 24
_LEAST_SECONDS = 1e-3
_ROUNDS, _REPEATS = 3, 3
_Kernel = Callable[[Any, int], None]


@record
class Limits:
    """What up to so many threads attain together.

    flops       float32 operations a second, a multiply-add being two
    bandwidths  (bytes, bytes a second) for copies that read and write so much in all, over and over
    """

    threads: int
    flops: float
    bandwidths: tuple[tuple[int, float], ...]

    def bandwidth(self, size: int) -> float:
        """Bytes a second for a kernel that touches so many bytes."""
        return next((rate for most, rate in self.bandwidths if size <= most), self.bandwidths[-1][1])

    def best_with(self, other: Limits) -> Limits:
        """The higher of both in everything."""
        pairs = zip(self.bandwidths, other.bandwidths, strict=True)
        return Limits(self.threads, max(self.flops, other.flops),
                      tuple((size, max(a, b)) for (size, a), (_, b) in pairs))


_FOUND: dict[int, Limits] = {}


def limits(threads: int) -> Limits:
    """Out of the cache, or measured in about a second."""
    if threads not in _FOUND:
        _FOUND[threads] = _kept(threads) or measured_anew(threads)
    return _FOUND[threads]


def measured_anew(threads: int) -> Limits:
    """The limits, measured now; what was found before counts where it is higher."""
    known = _FOUND.get(threads) or _kept(threads)
    rounds = [_measured(threads) for _ in range(_ROUNDS)]
    _FOUND[threads] = best = functools.reduce(Limits.best_with, [known, *rounds] if known else rounds)
    store = cache.current()
    if store is not None:
        store.write(_key(threads), json.dumps([best.flops, best.bandwidths]).encode())
    return best


@functools.lru_cache(maxsize=8)
def measured_again(threads: int) -> Limits:
    """The same, but once in each process."""
    return measured_anew(threads)


def _kept(threads: int) -> Limits | None:
    store = cache.current()
    text = store and store.read(_key(threads))
    if not text:
        return None
    flops, bandwidths = json.loads(text)
    return Limits(threads, flops, tuple((size, rate) for size, rate in bandwidths))


def _key(threads: int) -> str:
    """Of this machine, and of how it is measured."""
    machine = f"{platform.node()} {cpu.model()} {cpu.target()} {cpu.host_target()}"
    return cache.key_of("limits", machine, f"{threads} {_COPIES}", _ir())


def _measured(threads: int) -> Limits:
    multiply_add, *copies, _ = _kernels()
    flops = _flops(_spread(multiply_add, threads), threads)
    rates = ((s, max(_bandwidth(_spread(c, threads), s, threads) for c in copies)) for s in _COPIES)
    return Limits(threads, flops, tuple(rates))


@functools.lru_cache(maxsize=1)
def ticks_per_second() -> float:
    """Of the counter that times launches; 0 where the CPU has none that programs may read."""
    tick = ctypes.CFUNCTYPE(ctypes.c_uint64)(_kernels()[-1])
    start, first = time.perf_counter(), int(tick())
    time.sleep(0.01)
    return (int(tick()) - first) / (time.perf_counter() - start)


@functools.lru_cache(maxsize=1)
def _kernels() -> list[int]:
    return function_addresses(_ir(), LIMIT_KERNELS)


def _ir() -> str:
    return limits_ir(cpu.vector_bits(), tick_counter(machine_name()))


def _spread(kernel: int, threads: int) -> _Kernel:
    """The kernel on a block, so many iterations, the same number on each thread."""
    handle, parallel_for = pool_addresses(threads)
    p, i = ctypes.c_void_p, ctypes.c_int64
    if not handle:
        alone = ctypes.CFUNCTYPE(None, p, p, i, i)(kernel)
        return lambda block, count: alone(None, block, 0, count)
    run = ctypes.CFUNCTYPE(None, p, p, p, p, i, i)(parallel_for)
    return lambda block, count: run(handle, kernel, None, block, count, -(-count // threads))


def _flops(kernel: _Kernel, threads: int) -> float:
    count = 1000 * threads
    while True:
        seconds = _best(functools.partial(kernel, None, count))
        if seconds >= _LEAST_SECONDS:
            return count * flops_each(cpu.vector_bits()) / seconds
        count *= 4


def _bandwidth(kernel: _Kernel, size: int, threads: int) -> float:
    """Each thread copies in a region of its own, so often that starting it takes no time."""
    count = max(1, size // (8 * threads) // COPY_STEP) * COPY_STEP
    memory = aligned_empty((2 * count * threads,), np.dtype(np.float32))
    memory[:] = 0
    rounds = max(1, _LEAST_BYTES // size)
    block = np.array([memory.ctypes.data, count, rounds], np.int64)
    return rounds * memory.nbytes / _best(lambda: kernel(block.ctypes.data, threads))


def _best(work: Callable[[], None]) -> float:
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
