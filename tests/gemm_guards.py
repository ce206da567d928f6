"""Products whose operands end, or begin, at pages that must not be touched: a fault ends the process.

    cd tests; python gemm_guards.py
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
from typing import Any

import numpy as np
from gemm_runner import Case, Runner

from graphflow.compiler.ir.dtypes import float32, float64
from graphflow.compiler.target import Target

TRANSPOSES = list(itertools.product((False, True), (False, True)))
PAGE = mmap.PAGESIZE
SHAPES = [(1, 1, 1), (3, 5, 7), (13, 33, 17), (1, 70, 130), (16, 17, 65), (70, 1, 67),
          (65, 49, 400), (5, 7, 4100)]


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
        a = guarded((k, m) if case.transpose_a else (m, k), dtype, at_end)
        b = guarded((n, k) if case.transpose_b else (k, n), dtype, at_end)
        out = guarded((m, n), dtype, at_end)
        a[...], b[...] = 1, np.arange(b.size).reshape(b.shape) % 5
        runner.run([x.ctypes.data for x in (a, b, out)], {"m": m, "n": n, "k": k})
        expected = (a.T if case.transpose_a else a) @ (b.T if case.transpose_b else b)
        assert np.array_equal(out, expected), (case, sizes)


def main() -> None:
    for sizes, (ta, tb) in itertools.product(SHAPES, TRANSPOSES):
        dtype, bits = ((float32, 512), (float64, 256))[ta ^ tb ^ (sizes[0] > 5)]
        check(Case(dtype, *sizes, ta, tb, Target(bits)).compile(), sizes)
    for ta, tb in TRANSPOSES:
        runner = Case(float32, None, None, None, ta, tb).compile()
        for sizes in SHAPES:
            check(runner, sizes)
    small = Target(512, l1=1 << 10, l2=1 << 12, l3=1 << 14)  # everything is packed
    for ta, tb in TRANSPOSES:
        check(Case(float32, 65, 49, 400, ta, tb, small).compile(), (65, 49, 400))


if __name__ == "__main__":
    main()
