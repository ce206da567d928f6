"""The frame: the int64 array through which a program and its caller talk.

It starts with fixed slots:

    ERROR_CHECK         1 + the check that failed, 0 for none
    ERROR_INDEX         the index that failed it
    ERROR_EXTENT        the extent that the index is not in
    GEMM_F32, GEMM_F64  addresses of two library routines
    RELEASE_LOCK        whether to release the interpreter lock
    POOL, PARALLEL_FOR  the thread pool, and the function that runs a kernel's parts in it
    THREAD_STATE        the thread's state while the interpreter lock is released
    WORK_LEFT           how much work to do until the next look for signals
    ERROR_PART          the part of the kernel that told the error
    ERROR_LOCK          the lock of those who tell one

Then comes a block for each launch: the addresses of its buffers, its run-time integers, the number of its
first check, its work, and for a parallel kernel the iterations of its outermost loop and of one part, and a 0
in which parts may count. Then from, to and bytes of each copy made at the end, the same for each move, and
the address of each flag that is tested. The caller fills in all of it once, but for the addresses of feeds
and outputs, which the entry puts where they belong at each call.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.compiler.program import Action, Call, moves, tested

(ERROR_CHECK, ERROR_INDEX, ERROR_EXTENT, GEMM_F32, GEMM_F64, RELEASE_LOCK, POOL, PARALLEL_FOR, THREAD_STATE,
 WORK_LEFT, ERROR_PART, ERROR_LOCK) = range(12)
FIRST_BLOCK = 12
INTERRUPTED = -1  # in place of a check that failed: a signal's handler has raised an exception
ARRAY_DATA = 16  # bytes into a numpy array object (after the object header) where its data pointer lies


def block_starts(calls: Sequence[Call]) -> list[int]:
    """The slot at which each launch's block starts, and last the first slot after all of them."""
    starts = [FIRST_BLOCK]
    for c in calls:
        starts.append(starts[-1] + block_size(c))
    return starts


def slots_of(calls: Sequence[Call], steps: Sequence[Action],
             copies: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """(slot, buffer) wherever the frame holds the address of a buffer."""
    starts = block_starts(calls)
    found = [(start + k, number) for c, start in zip(calls, starts, strict=False)
             for k, number in enumerate(c.buffers)]
    pairs = [*copies, *((m.source, m.target) for m in moves(steps))]
    for k, pair in enumerate(pairs):
        found += zip((starts[-1] + 3 * k, starts[-1] + 3 * k + 1), pair, strict=True)
    first = starts[-1] + 3 * len(pairs)
    return [*found, *((first + k, t.flag) for k, t in enumerate(tested(steps)))]


def time_slots(calls: Sequence[Call], steps: Sequence[Action], copies: Sequence[tuple[int, int]]) -> int:
    """The first slot after all others: an entry that takes times has two per launch there."""
    return block_starts(calls)[-1] + 3 * (len(copies) + len(moves(steps))) + len(tested(steps))


def work_slot(c: Call) -> int:
    """Where in its block a launch keeps its work, in additions of vector lanes."""
    return len(c.buffers) + len(c.symbols) + 1


def range_slot(c: Call) -> int:
    """Where in its block a parallel launch keeps its iterations, next those of one part, and a counter."""
    return work_slot(c) + 1


def block_size(c: Call) -> int:
    return range_slot(c) + (3 if c.nest.parallel else 0)
