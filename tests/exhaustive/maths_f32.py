"""The largest error of every float32 function over all 2^32 inputs, or every n-th.

    cd tests; python -m exhaustive.maths_f32 [--stride N] [--processes N] [function ...]

The reference is the float64 function of the same name, which tests/test_maths.py holds to mpmath; function,
reference and error are one native loop, 10 to 45 seconds a function and core. `exact` says whether the
special values, and every result among them that float32 holds exactly, are as numpy has them. maths_f32.txt
is the last table. lgamma and digamma are the float64 functions rounded: their rows measure the rounding.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from dataclasses import dataclass
from functools import cache

import numpy as np
from exhaustive.native import Native
from exhaustive.reference import BINARY, WIDE, special_values

from graphflow.compiler.ir.dtypes import float32, float64, uint64
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, select

BLOCK = 1 << 16  # inputs that stay in the second-level cache
TASK = 1 << 26  # inputs of one task
UNARY = tuple(name for name in WIDE if name not in BINARY)


def error_expression(name: str, x: Expr) -> Expr:
    """The error of a float32 function, by the float64 one."""
    return error_of(E.call(name, x), E.call(name, E.cast(x, float64)))


def error_of(result: Expr, exact: Expr) -> Expr:
    """The error of a float32 in units in the last place of the exact float64.

    Infinity stands for 2^128. A wrong NaN or a wrong sign of zero is an infinite error.
    """
    got, want = (select(E.call("abs", v) > 2.0**128, E.call("copysign", E.const(2.0**128, float64), v), v)
                 for v in (E.cast(result, float64), exact))
    exponent = E.bitcast(want, uint64) & (0x7FF << 52)
    least, most = (1023 - 126) << 52, (1023 + 127) << 52
    exponent = select(exponent < least, least, select(exponent > most, E.const(most, uint64), exponent))
    unit = E.bitcast(E.const((2046 + 23) << 52, uint64) - exponent, float64)  # 1 / ulp
    error = E.call("abs", got - want) * unit
    bad = E.isnan(result) ^ E.isnan(exact)
    signs = E.bitcast(got, uint64) ^ E.bitcast(want, uint64)
    bad = bad | (E.eq(got, 0.0) & (signs >= 1 << 63))
    error = select(bad, E.const(np.inf, float64), select(E.isnan(exact), 0.0, error))
    return E.cast(error, float32)


@cache
def errors_of(name: str) -> Native:
    return Native(lambda x: error_expression(name, x), float32)


@dataclass(frozen=True)
class Found:
    """What a run over some inputs of a function found: where the error is largest, how many exceed 1."""

    name: str
    worst: float = -1.0
    where: float = 0.0
    over: int = 0
    count: int = 0

    def __add__(self, other: Found) -> Found:
        most = max(self, other, key=lambda f: f.worst)
        return Found(self.name, most.worst, most.where, self.over + other.over, self.count + other.count)


def sweep(name: str, first: int, last: int, stride: int = 1) -> Found:
    """Every `stride`-th input from the bits `first` on, up to `last`."""
    fn, out = errors_of(name), np.empty(BLOCK, np.float32)
    steps = (np.arange(BLOCK, dtype=np.uint64) * stride).astype(np.uint32)
    worst, where, over, count = -1.0, 0.0, 0, 0
    for start in range(first, last, BLOCK * stride):
        x = (steps + np.uint32(start)).view(np.float32)
        fn.run([x], out)
        size = min(BLOCK, -(-(last - start) // stride))
        top = float(out[:size].max())
        count += size
        if top > 1:
            over += int(np.count_nonzero(out[:size] > 1))
        if top > worst:
            worst, where = top, float(x[int(out[:size].argmax())])
    return Found(name, worst, where, over, count)


def specials_exact(name: str) -> bool:
    """Whether results that float32 holds exactly, special values among them, have the bits of numpy's."""
    x = special_values(np.float32)
    got = Native(name, float32)(x)
    with np.errstate(all="ignore"):
        exact = np.asarray(WIDE[name](x.astype(np.float64)))
        want = exact.astype(np.float32)
    held = (want == exact) | np.isnan(exact)
    same = (got == want) & (np.signbit(got) == np.signbit(want)) | np.isnan(got) & np.isnan(want)
    return bool(np.all(same[held]))


def _run(task: tuple[str, int, int, int]) -> Found:
    return sweep(*task)


def tasks(names: list[str], stride: int) -> list[tuple[str, int, int, int]]:
    step = TASK * stride
    return [(name, first, min(first + step, 2**32), stride) for name in names
            for first in range(0, 2**32, step)]


def row(found: Found) -> str:
    exact = "yes" if specials_exact(found.name) else "NO"
    return f"{found.name:10} {found.worst:8.4f} {found.over:10} {found.count:11} {exact:>5}  {found.where!r}"


HEADING = f"{'function':10} {'max ulp':>8} {'above 1':>10} {'inputs':>11} {'exact':>5}  at"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("functions", nargs="*")
    options = parser.parse_args()
    names = options.functions or list(UNARY)
    todo = tasks(names, options.stride)
    each = len(todo) // len(names)
    print(HEADING, flush=True)
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        total: Found | None = None
        for done, found in enumerate(pool.imap(_run, todo), 1):
            total = found if total is None else total + found
            if sys.stderr.isatty():
                print(f"\r{found.name} {100 * done // len(todo)}%  ", end="", file=sys.stderr, flush=True)
            if done % each == 0:
                print(row(total), flush=True)
                total = None


if __name__ == "__main__":
    main()
