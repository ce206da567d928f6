"""A product whose left side is a view: register tiles, each within one run of rows, read it where it lies."""

from __future__ import annotations

from dataclasses import replace

from graphflow.compiler.codegen.gemm.blocked import Block, BlockedBuilder, Panel
from graphflow.compiler.codegen.gemm.tile import Tile
from graphflow.compiler.loops.blocking import heights
from graphflow.compiler.loops.view import View


class ViewBuilder(BlockedBuilder):
    """Builds the function for a view; k is cut into blocks of whole runs."""

    @property
    def view(self) -> View:
        assert self.shape.view is not None
        return self.shape.view

    @property
    def tiles_per_run(self) -> int:
        return -(-self.view.rows.length // self.blocking.rows)

    def tile_count(self) -> str:
        return self.mul(self.quotient(self.m, self.view.rows.length), self.tiles_per_run)

    def tiles(self, at: Block, panel: Panel, tile: Tile) -> None:
        low, extra = heights(self.view.rows.length, self.blocking.rows)
        with self.loop(at.tile, at.tiles) as each:
            run = self.quotient(each.index, self.tiles_per_run)
            number = self.remainder(each.index, self.tiles_per_run)
            first = self.add(self.mul(number, low), self.least(number, extra))
            if not extra:
                self.tile_of_run(at, panel, run, first, replace(tile, rows=low))
                return
            higher = self.compare("slt", number, extra)
            with self.when(higher):
                self.tile_of_run(at, panel, run, first, replace(tile, rows=low + 1))
            with self.when(self.em.raw(f"xor i1 {higher}, true")):
                self.tile_of_run(at, panel, run, first, replace(tile, rows=low))

    def tile_of_run(self, at: Block, panel: Panel, run: str, first: str, tile: Tile) -> None:
        """The tile from row `first` of a run on."""
        rows, along = self.view.rows, self.view.along
        start = self.add(self.run_offset(run, rows), self.mul(first, rows.step))
        place = (*self.digits(run, rows), first)
        a = self.at("%a", start, self.left.operand.dtype)
        self.call_tile(tile, at, panel, a, self.quotient(at.k, along.length),
                       self.add(self.mul(run, rows.length), first), place)
