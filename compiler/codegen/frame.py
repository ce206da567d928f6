"""The frame: the int64 array through which a program and its caller talk.

It starts with fixed slots: three for an error (1 + the check that failed, the index, the extent), the
addresses of two library routines, whether to release the interpreter lock, and the thread pool with the
function that runs a kernel's parts in it. Then comes a block for each launch: the addresses of its
buffers, its run-time integers, the number of its first check, and for a parallel kernel the iterations of its
outermost loop and of one part. The caller fills in all of it once, but for the addresses of feeds and
outputs, which the entry puts into the blocks at each call.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.compiler.program import Call

ERROR_CHECK, ERROR_INDEX, ERROR_EXTENT, GEMM_F32, GEMM_F64, RELEASE_LOCK, POOL, PARALLEL_FOR = range(8)
FIRST_BLOCK = 8
ARRAY_DATA = 16  # bytes into a numpy array object (after the object header) where its data pointer lies


def block_starts(calls: Sequence[Call]) -> list[int]:
    """The slot at which each launch's block starts, and last the first slot after all of them."""
    starts = [FIRST_BLOCK]
    for c in calls:
        starts.append(starts[-1] + block_size(c))
    return starts


def range_slot(c: Call) -> int:
    """Where in its block a parallel launch keeps its iterations, and next those of one part."""
    return len(c.buffers) + len(c.symbols) + 1


def block_size(c: Call) -> int:
    return range_slot(c) + (2 if c.nest.parallel else 0)
