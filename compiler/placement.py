"""Where buffers lie in the arena, once their sizes are known."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Sequence

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


def place(sizes: Sequence[int], lives: Sequence[tuple[int, int]]) -> tuple[list[int], int]:
    """Offsets in bytes for buffers of given sizes and lives (first and last launch), and the arena's size.

    In order of first use, each takes the smallest free gap that holds it, else the end. Two buffers alive in
    one launch never overlap.
    """
    offsets = [0] * len(sizes)
    free: list[tuple[int, int]] = []   # (size, offset), ascending
    ends: list[tuple[int, int]] = []   # (last launch, buffer), a heap
    total = 0
    for k in sorted(range(len(sizes)), key=lambda b: lives[b][0]):
        while ends and ends[0][0] < lives[k][0]:
            done = heapq.heappop(ends)[1]
            insort(free, (_rounded(sizes[done]), offsets[done]))
        size = _rounded(sizes[k])
        at = bisect_left(free, (size, -1))
        if at < len(free):
            gap, offsets[k] = free.pop(at)
            if gap > size:
                insort(free, (gap - size, offsets[k] + size))
        else:
            offsets[k], total = total, total + size
        heapq.heappush(ends, (lives[k][1], k))
    return offsets, total


def _rounded(size: int) -> int:
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
