"""Blocking: how a matrix product is cut into register tiles, cache blocks and parts for threads."""

from __future__ import annotations

import math
from typing import ClassVar, TypeAlias

from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.records import record

SEVERAL = 4  # rows at once, where only the run tells how many there are, and they are few


@record
class Blocking:
    """The choice for one product of given dtype, m, n, k (ints where known).

    width          lanes of a vector
    rows, vecs     a register tile has `rows` rows of `vecs` vectors
    depth          a block of k, a multiple of `group`
    tiles, panels  a block of A has `tiles` tiles of rows, a block of B `panels` panels of columns
    pack_a, pack_b whether a block is copied into panels first, or read where it is
    parts          how many parts for threads along m and along n
    group          elements of k that a lane multiplies at once; panels then hold them together
    ahead          B lies in panels before the run: [panel, k, column], zeros beyond the last column; groups
                   of k divide it, and lie together
    run            of A's elements along k so many lie together: a group does not go beyond them; 0 for all
    """

    width: int
    rows: int
    vecs: int
    depth: int
    tiles: int
    panels: int
    pack_a: bool
    pack_b: bool
    parts: tuple[int, int] = (1, 1)
    group: int = 1
    ahead: bool = False
    run: int = 0

    @property
    def count(self) -> int:
        """Parts that may run at the same time."""
        return self.parts[0] * self.parts[1]

    @property
    def units(self) -> int:
        """Groups of k in a block."""
        run = self.run or self.depth
        return self.depth // run * -(-run // self.group)

    def keeps_sums(self, k: Dim) -> bool:
        """Whether sums wait in the result's memory until all of k is added."""
        return not (isinstance(k, int) and k <= self.depth)

    @property
    def columns(self) -> int:
        """Columns of a register tile."""
        return self.vecs * self.width

    @property
    def a_room(self) -> int:
        """Elements for a packed block of A."""
        return self._room(self.tiles, self.rows) if self.pack_a else 0

    @property
    def b_room(self) -> int:
        """Elements for a packed block of B."""
        return self._room(self.panels, self.columns, self.group == 4) if self.pack_b else 0

    def _room(self, count: int, lines: int, more: int = 0) -> int:
        """Packing goes on to the next multiple of the width along k, and stores whole vectors of lines.

        more  rows of a panel besides those along k
        """
        return _rounded((count * (self.units + more) + self.width) * lines + self.width)

    @property
    def scratch(self) -> int:
        """Elements of scratch for all parts."""
        return (self.a_room + self.b_room) * self.count


@record
class Dots:
    """A product by dot products along k: `rows` rows of A with `columns` of B at once, B transposed.

    group   elements of k that a lane multiplies at once
    pack_b  B is not transposed, and is copied so that it is; `room` is the elements for that
    """

    width: int
    rows: int
    columns: int
    depth: int
    parts: tuple[int, int] = (1, 1)
    pack_b: bool = False
    room: int = 0
    group: int = 1

    @property
    def count(self) -> int:
        """Parts that may run at the same time."""
        return self.parts[0] * self.parts[1]

    def keeps_sums(self, k: Dim) -> bool:
        """Whether sums wait in the result's memory until all of k is added."""
        return False

    @property
    def scratch(self) -> int:
        """Elements of scratch for all parts."""
        return self.room * self.count


@record
class Chunks:
    """A product of few `elements` whose long k is cut in chunks: its parts, each with sums of its own.

    each   how one chunk is computed
    count  chunks, fewer where they would have less than `least` elements of k
    """

    each: Blocking | Dots
    count: int
    least: int
    elements: int

    def keeps_sums(self, k: Dim) -> bool:
        """Whether sums wait in the result's memory until all of k is added."""
        return False

    @property
    def group(self) -> int:
        """Elements of k that a lane multiplies at once."""
        return self.each.group

    @property
    def room(self) -> int:
        """Elements of scratch for the sums of a chunk."""
        return _rounded(self.elements + self.each.width)

    @property
    def scratch(self) -> int:
        """Elements of scratch for all parts."""
        return (self.room + self.each.scratch) * self.count


@record
class FewRows:
    """A product of few rows, only the run tells how many; B is read where it lies.

    width           lanes of a vector
    vecs            vectors of a register tile of SEVERAL rows
    vecs_alone      of one of a row alone
    depth, columns  a block of B
    count           parts for threads, along n, cut at multiples of `unit` columns
    """

    width: int
    vecs: int
    vecs_alone: int
    depth: int
    columns: int
    count: int = 1
    scratch: ClassVar[int] = 0
    group: ClassVar[int] = 1  # elements of k that a lane multiplies at once

    @property
    def unit(self) -> int:
        """A number of columns that every tile divides."""
        return math.lcm(self.vecs, self.vecs_alone) * self.width

    def keeps_sums(self, k: Dim) -> bool:
        """Whether sums wait in the result's memory until all of k is added."""
        return True


@record
class ByRows:
    """`few` for up to `most` rows, `many` for more, where only the run tells how many there are."""

    few: FewRows | Dots | Blocking
    many: Blocking | ByRows
    most: int
    group: ClassVar[int] = 1

    @property
    def count(self) -> int:
        """Parts that may run at the same time."""
        return max(self.few.count, self.many.count)

    @property
    def scratch(self) -> int:
        """Elements of scratch for all parts."""
        return max(self.few.scratch, self.many.scratch)

    def keeps_sums(self, k: Dim) -> bool:
        """Whether sums wait in the result's memory until all of k is added."""
        return self.few.keeps_sums(k) or self.many.keeps_sums(k)


Form: TypeAlias = "Blocking | Dots | Chunks | FewRows | ByRows"


def heights(m: int, rows: int) -> tuple[int, int]:
    """(low, extra): of the tiles for m rows, the first `extra` have `low` + 1 rows, the others `low`."""
    count = -(-m // rows)
    return divmod(m, count) if count else (rows, 0)


def tile_count(m: Dim, rows: int) -> Dim:
    return (m + rows - 1) // rows


def _rounded(elements: int) -> int:
    return -(-elements // 64) * 64
