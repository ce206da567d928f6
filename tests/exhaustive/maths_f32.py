"""The largest error of every float32 function over all 2^32 inputs (or every n-th), and its speed.

    python tests/exhaustive/maths_f32.py [--stride N] [function ...]

About a minute a function at stride 1. Functions of two arguments take as many random pairs.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from native import Array, Native
from reference import WIDE, ulps_f32

from graphflow.compiler.ir.dtypes import float32
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.maths import expand_math

BINARY = {"pow", "atan2"}
CHUNK = 1 << 21


def pairs(count: int, seed: int) -> tuple[Array, Array]:
    """A third of any bits, a third whose power is in range, a third near 1."""
    rng = np.random.default_rng(seed)
    part = count // 3
    bits = rng.integers(0, 2**32, (2, part), dtype=np.uint32).view(np.float32)
    log = np.concatenate([rng.uniform(-88, 88, part), rng.normal(size=part) * 1e-3])
    y = rng.uniform(-104, 89, 2 * part) / log
    return (np.concatenate([bits[0], np.exp(log).astype(np.float32)]),
            np.concatenate([bits[1], y.astype(np.float32)]))


def speed(fn: Native, arity: int) -> float:
    """Nanoseconds an element on arrays in the second-level cache."""
    inputs = [np.random.default_rng(0).uniform(0.01, 0.99, 1 << 14).astype(np.float32) for _ in range(arity)]
    out = np.empty_like(inputs[0])
    best = np.inf
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(50):
            fn.run(inputs, out)
        best = min(best, time.perf_counter() - start)
    return float(best / 50 / out.size * 1e9)


def largest_error(name: str, stride: int) -> tuple[float, tuple[np.float32, ...], Native]:
    """(error, where, the function)."""
    arity = 2 if name in BINARY else 1
    fn = Native(name, float32, arity)
    worst: tuple[float, tuple[np.float32, ...]] = (-1.0, ())
    for first in range(0, 2**32, CHUNK * stride):
        bits = np.arange(first, min(first + CHUNK * stride, 2**32), stride, dtype=np.uint64).astype(np.uint32)
        inputs = pairs(CHUNK, first) if arity == 2 else (bits.view(np.float32),)
        with np.errstate(all="ignore"):
            error = ulps_f32(fn(*inputs), WIDE[name](*(v.astype(np.float64) for v in inputs)))
        k = int(np.argmax(error))
        if error[k] > worst[0]:
            worst = float(error[k]), tuple(v[k] for v in inputs)
    return *worst, fn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("functions", nargs="*", default=list(WIDE))
    options = parser.parse_args()
    print(f"{'function':10} {'max ulp':>8} {'nodes':>6} {'ns':>6}  at")
    for name in options.functions or WIDE:
        error, where, fn = largest_error(name, options.stride)
        expand = expand_math(name, float32)
        assert expand is not None
        arity = len(where)
        nodes = len(E.walk(expand(*(E.temp(f"a{k}", float32) for k in range(arity)))))
        at = ", ".join(repr(float(v)) for v in where)
        print(f"{name:10} {error:8.3f} {nodes:6} {speed(fn, arity):6.3f}  {at}", flush=True)


if __name__ == "__main__":
    main()
