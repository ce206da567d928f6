"""Blocking: how a matrix product is cut into register tiles, cache blocks and parts for threads."""

from __future__ import annotations

from dataclasses import dataclass

from graphflow.compiler.ir.dims import Dim


@dataclass(frozen=True)
class Blocking:
    """The choice for one product of given dtype, m, n, k (ints where known).

    width          lanes of a vector
    rows, vecs     a register tile has `rows` rows of `vecs` vectors
    depth          a block of k, a multiple of `group`
    tiles, panels  a block of A has `tiles` tiles of rows, a block of B `panels` panels of columns
    pack_a, pack_b whether a block is copied into panels first, or read where it is
    parts          how many parts for threads along m and along n
    group          elements of k that a lane multiplies at once; panels then hold them together
    ahead          B lies in panels before the run: [panel, k, column], zeros beyond the last column
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
        return _rounded((count * (self.depth // self.group + more) + self.width) * lines + self.width)

    @property
    def scratch(self) -> int:
        """Elements of scratch for all parts."""
        return (self.a_room + self.b_room) * self.parts[0] * self.parts[1]


@dataclass(frozen=True)
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
    def scratch(self) -> int:
        """Elements of scratch for all parts."""
        return self.room * self.parts[0] * self.parts[1]


def heights(m: int, rows: int) -> tuple[int, int]:
    """(low, extra): of the tiles for m rows, the first `extra` have `low` + 1 rows, the others `low`."""
    count = -(-m // rows)
    return divmod(m, count) if count else (rows, 0)


def tile_count(m: Dim, rows: int) -> Dim:
    return (m + rows - 1) // rows


def _rounded(elements: int) -> int:
    return -(-elements // 64) * 64
