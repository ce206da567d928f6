"""Where buffers lie in the arena, once their sizes are known."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from graphflow.compiler.program import Buffer

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
_MOST_BY_SIZE = 600  # buffers, 10 ms: placing by size compares all pairs

Lives = Sequence[tuple[int, int]]


def place_arena(buffers: Sequence[Buffer], sizes: Sequence[int]) -> tuple[tuple[int, ...], int]:
    """`place` for the arena's buffers among all, whose sizes in bytes are known."""
    arena = [k for k, b in enumerate(buffers) if b.role == "arena"]
    offsets, total = place([sizes[k] for k in arena], [(buffers[k].first, buffers[k].last) for k in arena])
    return tuple(offsets), total


def place(sizes: Sequence[int], lives: Lives) -> tuple[list[int], int]:
    """Offsets in bytes for buffers of given sizes and lives (first and last launch), and the arena's size.

    Two buffers alive in one launch never overlap. Buffers take their places in order of first use; if that
    leaves holes at the peak, in order of size too, and the smaller arena is taken.
    """
    rounded = [_rounded(s) for s in sizes]
    offsets, total = _by_first_use(rounded, lives)
    if total > most_alive(rounded, lives) and len(sizes) <= _MOST_BY_SIZE:
        others, other_total = _by_size(rounded, lives)
        if other_total < total:
            return others, other_total
    return offsets, total


def most_alive(sizes: Sequence[int], lives: Lives) -> int:
    """The most bytes alive in one launch."""
    return max(alive_by_launch(sizes, lives), default=0)


def alive_by_launch(sizes: Sequence[int], lives: Lives) -> list[int]:
    """The bytes alive in each launch."""
    change = [0] * (max((last for _, last in lives), default=-1) + 2)
    for size, (first, last) in zip(sizes, lives, strict=True):
        change[first] += size
        change[last + 1] -= size
    total = 0
    return [total := total + c for c in change[:-1]]


def _by_first_use(sizes: Sequence[int], lives: Lives) -> tuple[list[int], int]:
    """The smallest gap that is large enough; else the end, together with the gap before it."""
    offsets = [0] * len(sizes)
    gaps: list[tuple[int, int]] = []   # (offset, end), ascending, none touching another
    total = 0
    ends = sorted(range(len(sizes)), key=lambda b: lives[b][1])
    done = 0
    for k in sorted(range(len(sizes)), key=lambda b: (lives[b][0], -sizes[b])):
        while lives[ends[done]][1] < lives[k][0]:
            b = ends[done]
            _free(gaps, offsets[b], offsets[b] + sizes[b])
            done += 1
        fitting = [(end - at, g) for g, (at, end) in enumerate(gaps) if end - at >= sizes[k]]
        if fitting:
            g = min(fitting)[1]
            at, end = gaps.pop(g)
            if end - at > sizes[k]:
                gaps.insert(g, (at + sizes[k], end))
        else:
            at = gaps.pop()[0] if gaps and gaps[-1][1] == total else total
            total = at + sizes[k]
        offsets[k] = at
    return offsets, total


def _free(gaps: list[tuple[int, int]], at: int, end: int) -> None:
    """Add a gap, joined with those that it touches."""
    k = bisect_left(gaps, (at, end))
    if k < len(gaps) and gaps[k][0] == end:
        end = gaps.pop(k)[1]
    if k and gaps[k - 1][1] == at:
        at = gaps.pop(k - 1)[0]
        k -= 1
    gaps.insert(k, (at, end))


def _by_size(sizes: Sequence[int], lives: Lives) -> tuple[list[int], int]:
    """The largest first, each in the smallest gap between those placed that live at the same time."""
    offsets = [0] * len(sizes)
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first and last launch
    total = 0
    for k in sorted(range(len(sizes)), key=lambda b: (-sizes[b], lives[b][0])):
        size, (first, last) = sizes[k], lives[k]
        best, best_gap, end = -1, 0, 0
        for at, past, since, until in placed:
            if since <= last and first <= until:
                gap = at - end
                if gap >= size and (best < 0 or gap < best_gap):
                    best, best_gap = end, gap
                end = max(end, past)
        offsets[k] = at = end if best < 0 else best
        total = max(total, at + size)
        row = (at, at + size, first, last)
        placed.insert(bisect_left(placed, row), row)
    return offsets, total


def _rounded(size: int) -> int:
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
