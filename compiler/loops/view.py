"""View: a matrix that lies in memory by several steps along each side, as the windows over an image do.

The element in row i and column k is at rows.offset(i) + along.offset(k). Windows need no copy then: in a row
of them each begins some elements after the one before it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, TypeAlias

from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.records import record

Side: TypeAlias = "tuple[tuple[Dim, int], ...]"  # extent and pitch of a position's digits


@record
class Steps:
    """Where positions along a side lie: `step` apart, in runs of `length` that begin where their number says.

    pitches  of the digits of a run's number, outermost first
    counts   extents of the digits but for the first, which is as large as it needs to be
    """

    length: int
    step: int
    pitches: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()

    def offset(self, position: Any) -> Any:
        """The offset of a position, or of an array of them."""
        run, within = position // self.length, position % self.length
        total = within * self.step
        for digit, pitch in zip(self.digits(run), self.pitches, strict=True):
            total = total + digit * pitch
        return total

    def digits(self, run: Any) -> list[Any]:
        """The digits of a run's number, outermost first."""
        found: list[Any] = []
        for count in reversed(self.counts):
            found.insert(0, run % count)
            run = run // count
        return [run, *found] if self.pitches else []

    def cut(self, most: int) -> Steps:
        """The same positions in runs of at most so many, where their length has such a divisor.

        Of runs of even length, and of a multiple of 4, pieces are such too.
        """
        unit = math.gcd(self.length, 4)
        lengths = range(min(most, self.length) // unit * unit, 0, -unit)
        length = next((d for d in lengths if self.length % d == 0), self.length)
        if length == self.length or 4 * length < most:
            return self
        pieces = self.length // length
        counts = (*self.counts, pieces) if self.pitches else ()
        return replace(self, length=length, pitches=(*self.pitches, length * self.step), counts=counts)

    def __str__(self) -> str:
        outer = "".join(f"{pitch}" + (f"<{count}" if count else "") + "+"
                        for pitch, count in zip(self.pitches, (0, *self.counts), strict=False))
        return f"{outer}{self.step}<{self.length}"


@record
class View:
    """A matrix by the steps of its two sides."""

    rows: Steps
    along: Steps

    @property
    def code(self) -> str:
        """All of it, as part of a name."""
        numbers = ((s.length, s.step, *s.pitches, *s.counts) for s in (self.rows, self.along))
        return ".".join("_".join(map(str, side)) for side in numbers)

    def __str__(self) -> str:
        return f"({self.rows}; {self.along})"


def steps(side: Side) -> Steps:
    """A side whose runs are of the last digit alone, or of one position where its extent is not known."""
    if not isinstance(side[-1][0], int):
        side = (*side, (1, 0))
    (length, step), outer = side[-1], side[:-1]
    return Steps(_int(length), step, tuple(p for _, p in outer), tuple(_int(e) for e, _ in outer[1:]))


def merged(side: Side) -> Side:
    """Digits joined wherever the outer one goes on where the inner one ends, the innermost first."""
    while len(side) > 1 and is_one(*side[-2:]):
        side = (*side[:-2], join(*side[-2:]))
    return side


def runs(side: Side) -> Side:
    """The same, but for an outermost digit of unknown extent."""
    return merged(side) if isinstance(side[0][0], int) else (side[0], *merged(side[1:]))


def is_one(outer: tuple[Dim, int], inner: tuple[Dim, int]) -> bool:
    """Whether two digits step through memory as one does."""
    return bool(outer[1] == inner[0] * inner[1])


def join(outer: tuple[Dim, int], inner: tuple[Dim, int]) -> tuple[Dim, int]:
    return outer[0] * inner[0], inner[1]


def _int(extent: Dim) -> int:
    assert isinstance(extent, int), "only the outermost extent may be unknown"
    return extent
