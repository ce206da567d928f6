"""Generated products of every size from 1 to 70 in each dimension, against exact ones.

    cd tests; python -m exhaustive.gemm_sizes [--most 70] [--step 1] [--own-step 1]

Operands are small integers, so that every sum is exact and results must be equal. First kernels whose sizes
only the run tells, at all sizes; then a kernel of its own for each m and n, at several k; f32 and f64, all
transposes.
"""

from __future__ import annotations

import argparse
import itertools
import time
from typing import Any

import numpy as np
from gemm_runner import Case, Runner

from graphflow.compiler.ir.dtypes import DType, float32, float64

Array = np.ndarray[Any, Any]
FEW = (1, 2, 15, 16, 17, 64, 70)


def check(runner: Runner, left: Array, right: Array, m: int, n: int, k: int) -> None:
    case = runner.case
    a = np.ascontiguousarray(left[:k, :m] if case.transpose_a else left[:k, :m].T)
    b = np.ascontiguousarray(right[:k, :n].T if case.transpose_b else right[:k, :n])
    expected = left[:k, :m].T @ right[:k, :n]
    assert np.array_equal(runner(a, b), expected), (case, m, n, k)


def all_sizes(dtype: DType, ta: bool, tb: bool, sizes: range, own_sizes: range) -> int:
    rng = np.random.default_rng(0)
    left, right = (rng.integers(-9, 10, (sizes[-1], sizes[-1])).astype(dtype.numpy) for _ in "ab")
    runner = Case(dtype, None, None, None, ta, tb).compile()
    for m, n, k in itertools.product(sizes, sizes, sizes):
        check(runner, left, right, m, n, k)
    own = 0
    for m, n in itertools.product(own_sizes, own_sizes):
        for k in (FEW[(m + n) % len(FEW)], None):
            runner = Case(dtype, m, n, k, ta, tb).compile()
            own += 1
            for each in FEW if k is None else (k,):
                if each <= sizes[-1]:
                    check(runner, left, right, m, n, each)
    return own


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=int, default=70)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--own-step", type=int, default=1)
    options = parser.parse_args()
    own_sizes = range(1, options.most + 1, options.own_step)
    sizes = range(1, options.most + 1, options.step)
    for dtype, ta, tb in itertools.product((float32, float64), (False, True), (False, True)):
        start = time.perf_counter()
        own = all_sizes(dtype, ta, tb, sizes, own_sizes)
        print(f"{dtype.code} {'nt'[ta]}{'nt'[tb]}: {len(sizes) ** 3} sizes by one kernel, {own} kernels of "
              f"their own: all equal, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
