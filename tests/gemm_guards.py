"""Products whose operands end, or begin, at pages that must not be touched: a fault ends the process.

    cd tests; python gemm_guards.py
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
from dataclasses import replace
from typing import Any

import numpy as np
from gemm_runner import NARROW, Case, Runner, machine

from graphflow.compiler.ir.dtypes import float32, float64
from graphflow.compiler.loops.view import View, merged, steps
from graphflow.compiler.target import Target

TRANSPOSES = list(itertools.product((False, True), (False, True)))
PAGE = mmap.PAGESIZE
SHAPES = [(1, 1, 1), (3, 5, 7), (13, 33, 17), (1, 70, 130), (16, 17, 65), (70, 1, 67),
          (65, 49, 400), (5, 7, 4100), (33, 47, 530)]


def guarded(shape: tuple[int, int], dtype: Any, at_end: bool) -> Any:
    """An array between two forbidden pages, against one of them."""
    size = int(np.prod(shape)) * dtype.itemsize
    inside = -(-size // PAGE) * PAGE
    memory = mmap.mmap(-1, inside + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for page in (start, start + PAGE + inside):
        assert protect(page, PAGE, mmap.PROT_READ * 0) == 0
    offset = PAGE + (inside - size if at_end else 0)
    array = np.frombuffer(memory, np.uint8, count=size, offset=offset).view(dtype).reshape(shape)
    KEPT.append(memory)
    return array


KEPT: list[Any] = []


def check(runner: Runner, sizes: tuple[int, int, int]) -> None:
    m, n, k = sizes
    case = runner.case
    dtype = case.dtype.numpy
    for at_end in (False, True):
        a = guarded((k, m) if case.transpose_a else (m, k), case.terms.a.numpy, at_end)
        b = guarded((n, k) if case.transpose_b else (k, n), case.terms.b.numpy, at_end)
        out = guarded((m, n), dtype, at_end)
        a[...], b[...] = 1, np.arange(b.size).reshape(b.shape) % 5
        runner.run([x.ctypes.data for x in (a, b, out)], {"m": m, "n": n, "k": k})
        left, right = (a.T if case.transpose_a else a), (b.T if case.transpose_b else b)
        expected = left.astype(dtype) @ right.astype(dtype)
        assert np.array_equal(out, expected), (case, sizes)


# an image's dims, the window's, its strides and the columns of B
WINDOWS = [((2, 6, 5, 3), (3, 2), (1, 1), 17), ((1, 9, 9, 16), (3, 3), (2, 2), 33),
           ((3, 7, 1, 1), (4, 1), (1, 1), 16)]


def check_windows(dims: tuple[int, ...], size: tuple[int, int], strides: tuple[int, int], n: int,
                  small: bool) -> None:
    """Windows over a guarded image; `turned` for the sums over all of them."""
    _, high, wide, channels = dims
    pitches = (high * wide * channels, wide * channels, channels)
    counts = [(d - s) // t + 1 for d, s, t in zip(dims[1:], size, strides, strict=False)]
    steps_between = (p * t for p, t in zip(pitches[1:], strides, strict=True))
    each = ((dims[0], pitches[0]), *zip(counts, steps_between, strict=True))
    within = (*zip(size, pitches[1:], strict=True), (channels, 1))
    for rows, along in ((each, within), (within, each)):
        view = View(steps(rows), steps(merged(along)))
        m, k = (int(np.prod([e for e, _ in side])) for side in (rows, along))
        target = Target(512, l1=1 << 10, l2=1 << 12, l3=1 << 14) if small else Target(512)
        runner = Case(float32, m, n, k, target=target, view=view).compile()
        at = view.rows.offset(np.arange(m))[:, None] + view.along.offset(np.arange(k))
        for at_end in (False, True):
            a, b, out = (guarded(shape, np.dtype(np.float32), at_end) for shape in (dims, (k, n), (m, n)))
            a[...], b[...] = np.arange(a.size).reshape(dims) % 7, np.arange(b.size).reshape(b.shape) % 5
            runner.run([x.ctypes.data for x in (a, b, out)], {"m": m, "n": n, "k": k})
            assert np.array_equal(out, a.ravel()[at] @ b), (dims, size, strides, n)


def main() -> None:
    for case, small in itertools.product(WINDOWS, (False, True)):
        check_windows(*case, small)
    for sizes, (ta, tb) in itertools.product(SHAPES, TRANSPOSES):
        dtype, bits = ((float32, 512), (float64, 256))[ta ^ tb ^ (sizes[0] > 5)]
        check(Case(dtype, *sizes, ta, tb, Target(bits)).compile(), sizes)
    for ta, tb in TRANSPOSES:
        runner = Case(float32, None, None, None, ta, tb).compile()
        for sizes in SHAPES:
            check(runner, sizes)
    for ta, tb in TRANSPOSES:
        runner = Case(float32, None, 130, 65, ta, tb, Target(512, l1=1 << 10, l2=1 << 12)).compile()
        for m in (1, 2, 3, 4, 5, 15, 33):
            check(runner, (m, 130, 65))
    small = Target(512, l1=1 << 10, l2=1 << 12, l3=1 << 14)  # everything is packed, but B for few rows
    for ta, tb in TRANSPOSES:
        for sizes in ((65, 49, 400), (300, 49, 400)):
            check(Case(float32, *sizes, ta, tb, small).compile(), sizes)
    for (a, b, out), (ta, tb), dots in itertools.product(NARROW, TRANSPOSES, (False, True)):
        case = Case(out, None, None, None, ta, tb, machine(dots), operands=(a, b))
        runner = case.compile()
        for sizes in SHAPES:
            check(runner, sizes)
        if dots:
            check(replace(case, m=65, n=3 + 30 * tb, k=401).compile(), (65, 3 + 30 * tb, 401))


if __name__ == "__main__":
    main()
