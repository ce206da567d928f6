"""What this machine can do on the cores that are measured: the limits that figures are compared with."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

ROUNDS = 7


def measure(cores: int) -> dict[str, float]:
    """Bytes and float32 operations a second: of copies beyond any cache, and of numpy's matrix product."""
    return {"bandwidth": _bandwidth(cores), "flops": _flops()}


def _bandwidth(cores: int) -> float:
    size = 1 << 28
    pairs = [(np.zeros(size // cores, np.uint8), np.ones(size // cores, np.uint8)) for _ in range(cores)]
    with ThreadPoolExecutor(cores) as pool:
        return 2 * size / _fastest(lambda: list(pool.map(lambda pair: np.copyto(*pair), pairs)))


def _flops() -> float:
    n = 2048
    a, out = np.ones((n, n), np.float32), np.empty((n, n), np.float32)
    return 2.0 * n ** 3 / _fastest(lambda: np.matmul(a, a, out=out))


def _fastest(run: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
