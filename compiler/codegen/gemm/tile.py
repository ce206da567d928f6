"""The register tile: C[rows, vecs * width] (+)= A[rows, k] @ B[k, vecs * width], accumulated in registers."""

from __future__ import annotations

from dataclasses import dataclass

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.gemm.builder import Builder
from graphflow.compiler.codegen.values import Value
from graphflow.compiler.ir.dtypes import DType

PARAMS = ("ptr noalias %a", "i64 %as", "ptr noalias %b", "i64 %bs", "ptr noalias %c", "i64 %cs", "i64 %k",
          "i64 %cols", "i1 %more")


@dataclass(frozen=True)
class Tile:
    """One micro-kernel.

    by_rows  element (i, k) of A lies at i*as + k, else at k*as + i, as in packed panels
    masked   only the first `cols` columns of B and C exist
    """

    dtype: DType
    rows: int
    vecs: int
    width: int
    by_rows: bool
    masked: bool

    @property
    def name(self) -> str:
        kind = ("r" if self.by_rows else "c") + ("m" if self.masked else "")
        return f"gf.tile.{self.dtype.code}.{self.rows}x{self.vecs * self.width}{kind}"


def tile_function(module: Module, tile: Tile) -> str:
    """The name of the function of a tile, defined once; element (k, j) of B lies at k*bs + j.

    `more` adds to what C holds, else C is overwritten; k may be 0.
    """
    if tile.name not in module.functions:
        module.functions[tile.name] = ""  # its place, before what it needs
        module.functions[tile.name] = _TileBuilder(module, tile).text()
    return tile.name


class _TileBuilder(Builder):
    def __init__(self, module: Module, tile: Tile) -> None:
        super().__init__(module, tile.dtype, tile.width)
        self.tile = tile
        self.masks: list[Value | None] = [None] * tile.vecs

    def text(self) -> str:
        tile = self.tile
        if tile.masked:
            self.masks = [self.first_lanes(self.sub("%cols", j * tile.width)) for j in range(tile.vecs)]
        rows = [self.at("%c", self.mul("%cs", i)) for i in range(tile.rows)]
        targets = [[self.at(row, j * tile.width) for j in range(tile.vecs)] for row in rows]
        for address in (address for row in targets for address in row):
            self.prefetch(address)
        sums = self.accumulate()
        sums = self.add_to_memory(sums, targets)
        for i, row in enumerate(targets):
            for j, address in enumerate(row):
                self.put(sums[i * tile.vecs + j], address, self.masks[j])
        return self.function(tile.name, PARAMS)

    def accumulate(self) -> list[Value]:
        tile = self.tile
        starts = [self.at("%a", self.mul("%as", i) if tile.by_rows else i) for i in range(tile.rows)]
        with self.loop("0", "%k", starts=self.zeros(tile.rows * tile.vecs)) as loop:
            b = self.at("%b", self.mul(loop.index, "%bs"))
            vectors = [self.fetch(self.at(b, j * tile.width), tile.width, self.masks[j])
                       for j in range(tile.vecs)]
            along = loop.index if tile.by_rows else self.mul(loop.index, "%as")
            for i, start in enumerate(starts):
                one = self.em.widen(self.fetch(self.at(start, along)), tile.width)
                for j, v in enumerate(vectors):
                    loop.next.append(self.fma(one, v, loop.now[i * tile.vecs + j]))
        return loop.after

    def add_to_memory(self, sums: list[Value], targets: list[list[str]]) -> list[Value]:
        """The sums, on top of what C holds if there is something."""
        tile = self.tile
        places = [(address, mask) for row in targets for address, mask in zip(row, self.masks, strict=True)]
        return self.replaced("%more", sums, lambda: [
            self.em.call("add", [self.fetch(address, tile.width, mask), s], tile.dtype)
            for (address, mask), s in zip(places, sums, strict=True)])
