"""A product whose left side is a view: register tiles, each within one run of rows, read it where it lies.

Or from panels, where units are not its elements as they lie: these are of another dtype, or in groups that
lie apart.
"""

from __future__ import annotations

from dataclasses import replace

from graphflow.compiler.codegen.gemm.blocked import Block, BlockedBuilder, Panel, Side
from graphflow.compiler.codegen.gemm.pack import pack_function
from graphflow.compiler.codegen.gemm.tile import Tile
from graphflow.compiler.loops.blocking import heights
from graphflow.compiler.loops.view import View
from graphflow.compiler.records import record


class ViewBuilder(BlockedBuilder):
    """Builds the function for a view; k is cut into blocks of whole runs."""

    @property
    def view(self) -> View:
        assert self.shape.view is not None
        return self.shape.view

    @property
    def tiles_per_run(self) -> int:
        return -(-self.view.rows.length // self.blocking.rows)

    def units(self, depth: str) -> str:
        """Each run ends with a whole unit."""
        return self.mul(self.quotient(depth, self.view.along.length), self.units_per_run)

    @property
    def units_per_run(self) -> int:
        return -(-self.view.along.length // self.blocking.group)

    def tile_count(self) -> str:
        return self.mul(self.quotient(self.m, self.view.rows.length), self.tiles_per_run)

    def place_of(self, tile: str) -> _Place:
        low, extra = heights(self.view.rows.length, self.blocking.rows)
        run, number = self.quotient(tile, self.tiles_per_run), self.remainder(tile, self.tiles_per_run)
        first = self.add(self.mul(number, low), self.least(number, extra))
        return _Place(tile, run, first, self.compare("slt", number, extra) if extra else "", low)

    def offset_of(self, place: _Place) -> str:
        """Of a tile's first element in A."""
        rows = self.view.rows
        return self.add(self.run_offset(place.run, rows), self.mul(place.first, rows.step))

    # Packing, run by run along k: a unit does not go beyond a run

    def pack(self, side: Side, first: str, count: str, k: str, depth: str, target: str, lines: int,
             rows: str) -> None:
        if self.view.along.length % self.blocking.group == 0:
            super().pack(side, first, count, k, depth, target, lines, rows)
            return
        length, units = self.view.along.length, self.units_per_run
        with self.loop("0", self.quotient(depth, length)) as runs:
            here = self.at(target, self.mul(self.mul(runs.index, units), lines))
            super().pack(side, first, count, self.add(k, self.mul(runs.index, length)), str(length), here,
                         lines, rows)

    def pack_tiles(self, tile: str, tiles: str, k: str, depth: str) -> None:
        """Rows that lie together are copied along them, others are read along k, by whichever step is 1."""
        along, lines, units = self.view.along, self.blocking.rows, self.units_per_run
        across = self.view.rows.step == 1
        stride = along.step if across else self.view.rows.step
        name = pack_function(self.module, self.left.operand, lines, self.width, across)
        with self.loop(tile, tiles) as each:
            place = self.place_of(each.index)
            start, count = self.offset_of(place), self.height(place)
            target = self.at(self.packed_a, self.packed_offset(each.index, tile, self.units(depth)))
            with self.loop("0", self.quotient(depth, along.length)) as runs:
                run = self.add(self.quotient(k, along.length), runs.index)
                a = self.at("%a", self.add(start, self.run_offset(run, along)), self.left.operand.dtype)
                here = self.at(target, self.mul(runs.index, units * lines))
                self.call(name, [f"ptr {a}", f"i64 {stride}", f"i64 {count}", f"i64 {along.length}",
                                 f"ptr {here}", f"i64 {units * lines}"])

    def height(self, place: _Place) -> str:
        return self.pick(place.higher, str(place.low + 1), str(place.low)) if place.higher else str(place.low)

    def packed_offset(self, tile: str, first: str, units: str) -> str:
        return self.mul(self.mul(self.sub(tile, first), units), self.blocking.rows)

    # Tiles

    def tiles(self, at: Block, panel: Panel, tile: Tile) -> None:
        with self.loop(at.tile, at.tiles) as each:
            place = self.place_of(each.index)
            if not place.higher:
                self.tile_at(at, panel, place, replace(tile, rows=place.low))
                return
            with self.when(place.higher):
                self.tile_at(at, panel, place, replace(tile, rows=place.low + 1))
            with self.when(self.em.raw(f"xor i1 {place.higher}, true")):
                self.tile_at(at, panel, place, replace(tile, rows=place.low))

    def tile_at(self, at: Block, panel: Panel, place: _Place, tile: Tile) -> None:
        rows, along = self.view.rows, self.view.along
        if self.blocking.pack_a:
            a = self.at(self.packed_a, self.packed_offset(place.tile, at.tile, at.units))
            stride = str(self.blocking.rows)
        else:
            a = self.at("%a", self.offset_of(place), self.left.operand.dtype)
            stride = self.quotient(at.k, along.length)
        row = self.add(self.mul(place.run, rows.length), place.first)
        self.call_tile(tile, at, self.asking(panel, tile, place.tile), a, stride, row,
                       (*self.digits(place.run, rows), place.first))


@record
class _Place:
    """A tile's number, its run of rows, its first row in it, and its height.

    higher  whether it has a row more than `low`; "" where none has
    """

    tile: str
    run: str
    first: str
    higher: str
    low: int
