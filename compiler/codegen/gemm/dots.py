"""A product by dot products: C[i, j] = sum_k A[i, k] * B[j, k], for operands whose rows run along k.

It reads each operand where it lies, which is best when one has few rows: nothing pays for packing the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.gemm.builder import Builder
from graphflow.compiler.codegen.values import Value
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.loops.blocking import Dots

PARAMS = ("ptr noalias %a", "i64 %lda", "ptr noalias %b", "i64 %ldb", "ptr noalias %c", "i64 %ldc",
          "i64 %m", "i64 %n", "i64 %k", "i64 %row", "i64 %rows", "i64 %column", "i64 %columns")
TILE_PARAMS = ("ptr noalias %a", "i64 %as", "ptr noalias %b", "i64 %bs", "ptr noalias %c", "i64 %cs",
               "i64 %k", "i1 %more")


@dataclass(frozen=True)
class DotTile:
    """rows x columns dot products at once; columns are a power of two."""

    dtype: DType
    rows: int
    columns: int
    width: int

    @property
    def name(self) -> str:
        return f"gf.dot.{self.dtype.code}.{self.rows}x{self.columns}.{self.width}"


def dot_tile_function(module: Module, tile: DotTile) -> str:
    """The name of the function of a tile; `more` adds to what C holds."""
    if tile.name not in module.functions:
        module.functions[tile.name] = ""
        module.functions[tile.name] = _DotTileBuilder(module, tile).text()
    return tile.name


class _DotTileBuilder(Builder):
    def __init__(self, module: Module, tile: DotTile) -> None:
        super().__init__(module, tile.dtype, tile.width)
        self.tile = tile

    def text(self) -> str:
        tile = self.tile
        a = [self.at("%a", self.mul("%as", i)) for i in range(tile.rows)]
        b = [self.at("%b", self.mul("%bs", j)) for j in range(tile.columns)]
        whole = self.em.raw(f"and i64 %k, {-tile.width}")
        with self.loop("0", whole, tile.width, self.zeros(tile.rows * tile.columns)) as loop:
            loop.next = self.step(a, b, loop.index, loop.now, None)
        left = self.sub("%k", whole)
        sums = self.replaced(self.compare("sgt", left, 0), loop.after,
                             lambda: self.step(a, b, whole, loop.after, self.first_lanes(left)))
        for i in range(tile.rows):
            row = self.across_lanes(sums[i * tile.columns:(i + 1) * tile.columns])
            self.store_row(row, self.at("%c", self.mul("%cs", i)))
        return self.function(tile.name, TILE_PARAMS)

    def step(self, a: list[str], b: list[str], k: str, sums: list[Value], mask: Value | None) -> list[Value]:
        ys = [self.fetch(self.at(row, k), self.width, mask) for row in b]
        found = []
        for i, row in enumerate(a):
            x = self.fetch(self.at(row, k), self.width, mask)
            found += [self.fma(x, y, sums[i * len(b) + j]) for j, y in enumerate(ys)]
        return found

    def across_lanes(self, sums: list[Value]) -> Value:
        """One vector with the sum over the lanes of each."""
        segment = self.width
        while segment > 1:
            if len(sums) > 1:
                sums = [self.halves(x, y, segment) for x, y in zip(sums[::2], sums[1::2], strict=True)]
            else:
                sums = [self.halves(sums[0], None, segment)]
            segment //= 2
        return sums[0]

    def halves(self, x: Value, y: Value | None, segment: int) -> Value:
        """Add the halves of each segment of lanes: those of x, then those of y."""
        half = segment // 2
        low = [k for k in range(x.lanes) if not k & half]
        low += [x.lanes + k for k in low] if y is not None else []
        parts = []
        for picks in (low, [k + half for k in low]):
            order = ", ".join(f"i32 {p}" for p in picks)
            other = str(y) if y is not None else f"{x.type} poison"
            parts.append(self.em.instruction(
                f"shufflevector {x}, {other}, <{len(picks)} x i32> <{order}>", x.dtype, len(picks)))
        if parts[0].lanes == 1:
            parts = [self.em.instruction(f"extractelement <1 x {self.scalar}> {p.ref}, i64 0", p.dtype, 1)
                     for p in parts]
        return self.em.call("add", parts, x.dtype)

    def store_row(self, row: Value, address: str) -> None:
        total, = self.replaced("%more", [row], lambda: [
            self.em.call("add", [self.fetch(address, row.lanes), row], row.dtype)])
        self.put(total, address)


def dots_function(module: Module, dtype: DType, blocking: Dots) -> str:
    """The name of the function for rows [row, rows) and columns [column, columns) of a product."""
    name = f"gf.dots.{dtype.code}.{blocking.rows}x{blocking.columns}.{blocking.width}.{blocking.depth}"
    if name not in module.functions:
        module.functions[name] = ""
        module.functions[name] = _DotsBuilder(module, dtype, blocking).text(name)
    return name


class _DotsBuilder(Builder):
    def __init__(self, module: Module, dtype: DType, blocking: Dots) -> None:
        super().__init__(module, dtype, blocking.width)
        self.blocking = blocking
        self.tile = DotTile(dtype, blocking.rows, blocking.columns, blocking.width)

    def text(self, name: str) -> str:
        """Blocks of k outermost; groups of B's rows; in them groups of A's."""
        whole = self.sub("%columns", self.remainder(self.sub("%columns", "%column"), self.tile.columns))
        with self.loop("0", self.most("%k", 1), self.blocking.depth) as along:
            depth = self.least(self.sub("%k", along.index), self.blocking.depth)
            more = self.compare("ne", along.index, 0)
            with self.loop("%column", whole, self.tile.columns) as group:
                self.rows(along.index, depth, more, group.index, self.tile)
            start, columns = whole, self.tile.columns // 2
            while columns:
                past = self.add(start, self.em.raw(f"and i64 {self.sub('%columns', whole)}, {columns}"))
                with self.when(self.compare("ne", start, past)):
                    self.rows(along.index, depth, more, start, replace(self.tile, columns=columns))
                start, columns = past, columns // 2
        return self.function(name, PARAMS)

    def rows(self, k: str, depth: str, more: str, column: str, tile: DotTile) -> None:
        whole = self.sub("%rows", self.remainder(self.sub("%rows", "%row"), tile.rows))
        with self.loop("%row", whole, tile.rows) as group:
            self.one_tile(k, depth, more, group.index, column, tile)
        if tile.rows > 1:
            with self.loop(whole, "%rows") as one:
                self.one_tile(k, depth, more, one.index, column, replace(tile, rows=1))

    def one_tile(self, k: str, depth: str, more: str, row: str, column: str, tile: DotTile) -> None:
        a = self.at("%a", self.add(self.mul(row, "%lda"), k))
        b = self.at("%b", self.add(self.mul(column, "%ldb"), k))
        c = self.at("%c", self.add(self.mul(row, "%ldc"), column))
        self.call(dot_tile_function(self.module, tile), [
            f"ptr {a}", "i64 %lda", f"ptr {b}", "i64 %ldb", f"ptr {c}", "i64 %ldc", f"i64 {depth}",
            f"i1 {more}"])
