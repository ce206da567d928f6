"""A product by dot products: C[i, j] = sum_k A[i, k] * B[j, k], for operands whose rows run along k.

It reads each operand where it lies, which is best when one has few rows: nothing pays for packing the other.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.gemm.builder import Builder
from graphflow.compiler.codegen.gemm.finish import Finish, with_finish
from graphflow.compiler.codegen.gemm.parts import PARAMS, Part, PartsBuilder, Shape, product_name
from graphflow.compiler.codegen.gemm.terms import (
    Terms,
    corrected,
    load_units,
    moving_units,
    multiply_add,
)
from graphflow.compiler.codegen.values import Value
from graphflow.compiler.ir.dtypes import BY_CODE
from graphflow.compiler.loops.blocking import Dots
from graphflow.compiler.loops.view import View
from graphflow.compiler.records import record

TILE_PARAMS = ("ptr noalias %a", "i64 %as", "ptr noalias %b", "i64 %bs", "ptr noalias %c", "i64 %cs",
               "i64 %k", "i1 %more")
AHEAD = "i64 %ahead"
FINISH_TILES = 64  # whose sums are kept on the stack


@record
class DotTile:
    """rows x columns dot products at once.

    fetches  along B's first row it asks for the one that lies %ahead elements on
    view     the steps by which A lies: %a is where it begins, %as the number of the tile's first row
    dense    the rows of sums follow one another
    """

    terms: Terms
    rows: int
    columns: int
    width: int
    fetches: bool
    view: View | None = None
    dense: bool = False

    @property
    def name(self) -> str:
        more = ".f" * self.fetches + ".d" * self.dense + (f".v{self.view.code}" if self.view else "")
        return f"gf.dot.{self.terms.code}.{self.rows}x{self.columns}.{self.width}{more}"


def dot_tile_function(module: Module, tile: DotTile) -> str:
    """The name of the function of a tile; `more` adds to what C holds."""
    if tile.name not in module.functions:
        module.functions[tile.name] = ""
        module.functions[tile.name] = _DotTileBuilder(module, tile).text()
    return tile.name


class _DotTileBuilder(Builder):
    def __init__(self, module: Module, tile: DotTile) -> None:
        super().__init__(module, tile.terms.sum, tile.width)
        self.tile = tile

    def text(self) -> str:
        tile, terms = self.tile, self.tile.terms
        b = [self.at("%b", self.mul("%bs", j), terms.b) for j in range(tile.columns)]
        zeros = self.zeros((tile.rows + terms.is_moved) * tile.columns)
        if tile.view is None:
            a = [self.at("%a", self.mul("%as", i), terms.a) for i in range(tile.rows)]
            sums = self.along(a, b, "%k", zeros)
        else:
            sums = self.along_runs(tile.view, b, zeros)
        count = tile.rows * tile.columns
        sums = corrected(self, sums[:count], sums[count:])
        each, stride = (tile.width, str(tile.width)) if tile.dense else (tile.columns, "%cs")
        for i in range(0, count, each):
            row = self.across_lanes(sums[i:i + each])
            self.store_row(row, self.at("%c", self.mul(stride, i // each)))
        return self.function(tile.name, (*TILE_PARAMS, *[AHEAD] * tile.fetches))

    def along_runs(self, view: View, b: list[str], zeros: list[Value]) -> list[Value]:
        """The sums of a view's rows, run by run."""
        terms, length = self.tile.terms, view.along.length
        starts = [self.step_offset(self.add("%as", i), view.rows) for i in range(self.tile.rows)]
        with self.loop("0", self.quotient("%k", length), starts=zeros) as runs:
            offset, k = self.run_offset(runs.index, view.along), self.mul(runs.index, length)
            a = [self.at("%a", self.add(start, offset), terms.a) for start in starts]
            runs.next = self.along(a, [self.at(row, k, terms.b) for row in b], str(length), runs.now)
        return runs.after

    def along(self, a: list[str], b: list[str], count: str, sums: list[Value]) -> list[Value]:
        """The sums with so many more products each."""
        tile, elements = self.tile, self.tile.width * self.tile.terms.group
        left = self.remainder(count, elements)
        whole = self.sub(count, left)
        with self.loop("0", whole, elements, sums) as loop:
            if tile.fetches:
                self.prefetch(self.at("%b", self.add(loop.index, "%ahead"), tile.terms.b), to_write=False)
            loop.next = self.step(a, b, loop.index, loop.now, None)
        return self.replaced(self.compare("sgt", left, 0), loop.after,
                             lambda: self.step(a, b, whole, loop.after, self.first_lanes(left, elements)))

    def step(self, a: list[str], b: list[str], k: str, sums: list[Value], mask: Value | None) -> list[Value]:
        """If the left operand is moved, what that adds is one more row."""
        terms = self.tile.terms
        ys = [load_units(self, terms.right, self.at(row, k, terms.b), self.width, mask) for row in b]
        xs = (load_units(self, terms.left, self.at(row, k, terms.a), self.width, mask) for row in a)
        moving = [moving_units(self.width)] if terms.is_moved else []
        found = []
        for i, x in enumerate(itertools.chain(xs, moving)):
            found += [multiply_add(self, terms, x, y, sums[i * len(b) + j]) for j, y in enumerate(ys)]
        return found

    def across_lanes(self, sums: list[Value]) -> Value:
        """One vector with the sum over the lanes of each."""
        count, segment = len(sums), self.width
        sums = sums + self.zeros((1 << (count - 1).bit_length()) - count)
        while segment > 1:
            if len(sums) > 1:
                sums = [self.halves(x, y, segment) for x, y in zip(sums[::2], sums[1::2], strict=True)]
            else:
                sums = [self.halves(sums[0], None, segment)]
            segment //= 2
        if count == sums[0].lanes:
            return sums[0]
        order = ", ".join(f"i32 {k}" for k in range(count))
        text = f"shufflevector {sums[0]}, {sums[0].type} poison, <{count} x i32> <{order}>"
        return self.em.instruction(text, self.dtype, count)

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


def dots_function(module: Module, shape: Shape, blocking: Dots, finish: Finish | None) -> str:
    """The name of the function for parts of a product, see parts.PARAMS."""
    name = product_name("dots", shape, blocking, finish)
    if name not in module.functions:
        module.functions[name] = ""
        module.functions[name] = _DotsBuilder(module, shape, blocking, finish).text(name)
    return name


class _DotsBuilder(PartsBuilder):
    """With a finish, the sums of some rows and columns are kept on the stack until all of k is added.

    even  whether there are only whole tiles along the rows
    rest  the sum of all powers of two that columns beyond whole tiles may consist of
    """

    def __init__(self, module: Module, shape: Shape, blocking: Dots, finish: Finish | None) -> None:
        super().__init__(module, shape.terms.sum, blocking.width, finish)
        rows, columns, m = blocking.rows, blocking.columns, shape.m
        self.m = m
        self.terms = shape.terms
        self.blocking = blocking
        self.even = m is not None and m % rows == 0 and blocking.parts[0] == 1
        self.rest = (1 << (columns - 1).bit_length()) - 1 if shape.n is None else shape.n % columns
        self.b, self.ldb = "%b", "%ldb"
        self.view = shape.view
        fetches = m is not None and m // rows >= columns and not blocking.pack_b
        self.tile = DotTile(shape.terms, rows, columns, blocking.width, fetches, shape.view)
        apart = shape.n if finish is None else self.at_once[1]
        self.tile = replace(self.tile, dense=apart == columns)

    def text(self, name: str) -> str:
        finish, unit = self.finish, self.tile.columns
        with self.each_part(self.blocking.parts, "%m", self.ceil_div("%n", unit)) as units:
            part = replace(units, column=self.mul(units.column, unit),
                           columns=self.least(self.mul(units.columns, unit), "%n"))
            if self.blocking.pack_b:
                self.transpose_b(self.at("%scratch", self.mul(part.number, self.blocking.room)))
            if finish is None:
                self.all_of_k(part.row, part.rows, part.column, part.columns)
            else:
                self.in_blocks(part)
        return self.function(name, with_finish(PARAMS, finish))

    def transpose_b(self, target: str) -> None:
        """Copy B, which has few columns, so that they run along k."""
        whole = self.em.raw(f"and i64 %k, {-self.width}")
        with self.loop("0", whole, self.width) as along:
            self.transpose_rows(target, along.index, None)
        left = self.sub("%k", whole)
        with self.when(self.compare("sgt", left, 0)):
            self.transpose_rows(target, whole, left)
        self.b, self.ldb = target, "%k"

    def transpose_rows(self, target: str, k: str, left: str | None) -> None:
        """As many rows of B as a vector has lanes, if no more than `left` are there."""
        bits, columns = BY_CODE[f"i{8 * self.terms.b.size}"], self.blocking.columns
        lanes = columns * self.width
        there = self.first_lanes(self.mul(left, columns), lanes) if left else None
        rows = self.fetch(self.at("%b", self.mul(k, columns), bits), lanes, there, bits)
        for j in range(columns):
            order = ", ".join(f"i32 {at}" for at in range(j, lanes, columns))
            text = f"shufflevector {rows}, {rows.type} poison, <{self.width} x i32> <{order}>"
            self.put(self.em.instruction(text, bits, self.width),
                     self.at(target, self.add(self.mul(str(j), "%k"), k), bits),
                     self.first_lanes(left) if left else None)

    def in_blocks(self, part: Part) -> None:
        rows, columns = self.at_once
        self.reserve("%sums", rows * columns)
        with self.loop(part.column, part.columns, columns) as j:
            past_j = self.least(self.add(j.index, columns), part.columns)
            with self.loop(part.row, part.rows, rows) as i:
                past_i = self.least(self.add(i.index, rows), part.rows)
                self.all_of_k(i.index, past_i, j.index, past_j)
                self.finish_rows("%sums", columns, i.index, self.sub(past_i, i.index), j.index,
                                 self.sub(past_j, j.index))

    @property
    def at_once(self) -> tuple[int, int]:
        """Rows and columns whose sums are finished together: all rows, if few, so that B is read once."""
        high = min(max(1, -(-self.m // self.tile.rows)), FINISH_TILES) if self.m is not None else 1
        return high * self.tile.rows, max(1, FINISH_TILES // high) * self.tile.columns

    def all_of_k(self, row: str, rows: str, column: str, columns: str) -> None:
        """Blocks of k outermost; groups of B's rows; in them groups of A's."""
        most = self.tile.columns
        whole = self.sub(columns, self.remainder(self.sub(columns, column), most))
        with self.loop("0", self.most("%k", 1), self.blocking.depth) as along:
            depth = self.least(self.sub("%k", along.index), self.blocking.depth)
            more = self.compare("ne", along.index, 0)
            at = _At(row, rows, column, along.index, depth, more)
            with self.loop(column, whole, most) as group:
                self.rows(at, group.index, self.tile)
            start, left = whole, self.sub(columns, whole)
            for each in (e for e in (8, 4, 2, 1) if e & self.rest):
                past = self.add(start, self.em.raw(f"and i64 {left}, {each}"))
                with self.when(self.compare("ne", start, past)):
                    self.rows(at, start, replace(self.tile, columns=each))
                start = past

    def rows(self, at: _At, column: str, tile: DotTile) -> None:
        whole = self.sub(at.rows, self.remainder(self.sub(at.rows, at.row), tile.rows))
        with self.loop(at.row, whole, tile.rows) as group:
            self.one_tile(at, group.index, column, tile)
        if tile.rows > 1 and not self.even:
            with self.loop(whole, at.rows) as one:
                self.one_tile(at, one.index, column, replace(tile, rows=1))

    def one_tile(self, at: _At, row: str, column: str, tile: DotTile) -> None:
        a, stride_a = self.at("%a", self.add(self.mul(row, "%lda"), at.k), self.terms.a), "%lda"
        if self.view is not None:
            a, stride_a = "%a", row
        b = self.at(self.b, self.add(self.mul(column, self.ldb), at.k), self.terms.b)
        c, stride = self.at("%c", self.add(self.mul(row, "%ldc"), column)), "%ldc"
        if self.finish is not None:
            stride, above = str(self.at_once[1]), self.sub(row, at.row)
            c = self.at("%sums", self.add(self.mul(above, stride), self.sub(column, at.column)))
        ahead = [f"i64 {self.to_next_rows(at, row, tile)}"] if tile.fetches else []
        self.call(dot_tile_function(self.module, tile), [
            f"ptr {a}", f"i64 {stride_a}", f"ptr {b}", f"i64 {self.ldb}", f"ptr {c}", f"i64 {stride}",
            f"i64 {at.depth}", f"i1 {at.more}", *ahead])

    def place_row(self, row: str) -> None:
        if self.view is None:
            super().place_row(row)
            return
        assert self.finish is not None
        product, length = self.finish.product, self.view.rows.length
        run, within = self.quotient(row, length), self.remainder(row, length)
        places = *self.digits(run, self.view.rows), within
        for index, place in zip((*product.lines, product.row), places, strict=True):
            self.place(index, place)

    def to_next_rows(self, at: _At, row: str, tile: DotTile) -> str:
        """Elements from a group of B's rows to that row of the next one for which this tile of A's asks."""
        number = self.remainder(self.quotient(self.sub(row, at.row), tile.rows), tile.columns)
        return self.mul(self.add(number, tile.columns), self.ldb)


@record
class _At:
    """Rows of A from the first to the one past the last, the first column, k, its depth, whether to add."""

    row: str
    rows: str
    column: str
    k: str
    depth: str
    more: str
