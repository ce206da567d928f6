"""A product of few rows, only the run tells how many: B is read where it lies, by wide register tiles.

There are two kinds of these, of several rows and of one: more of them would take their time to compile.
"""

from __future__ import annotations

from dataclasses import replace

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.gemm.finish import Finish, with_finish
from graphflow.compiler.codegen.gemm.parts import PARAMS, PartsBuilder, Shape, product_name
from graphflow.compiler.codegen.gemm.tile import Tile, tile_function
from graphflow.compiler.loops.blocking import SEVERAL, FewRows
from graphflow.compiler.records import record


def few_rows_function(module: Module, shape: Shape, form: FewRows, finish: Finish | None) -> str:
    """The name of the function for parts of a product, see parts.PARAMS."""
    even = shape.n is not None and shape.n % form.unit == 0
    name = product_name("few", shape, form, finish)
    if name not in module.functions:
        module.functions[name] = ""
        module.functions[name] = _FewRowsBuilder(module, shape, form, finish, even).text(name)
    return name


class _FewRowsBuilder(PartsBuilder):
    """Sums are finished when all of k is added: tiles without a finish serve every product of the module.

    even  whether there are only whole tiles along the columns
    """

    def __init__(self, module: Module, shape: Shape, form: FewRows, finish: Finish | None,
                 even: bool) -> None:
        super().__init__(module, shape.terms.sum, form.width, finish)
        self.shape = shape
        self.form = form
        self.even = even

    def text(self, name: str) -> str:
        unit = self.form.unit
        with self.each_part((1, self.form.count), "1", self.ceil_div("%n", unit)) as part:
            first = self.mul(part.column, unit)
            past = self.least(self.mul(part.columns, unit), "%n")
            with self.loop(first, past, self.form.columns) as outer:
                end = self.least(self.add(outer.index, self.form.columns), past)
                with self.loop("0", self.most("%k", 1), self.form.depth) as along:
                    depth = self.least(self.sub("%k", along.index), self.form.depth)
                    self.cache_block(_Block(outer.index, end, along.index, depth,
                                            self.compare("ne", along.index, 0)))
            if self.finish is not None:
                self.finish_rows(self.at("%c", first), "%ldc", "0", "%m", first, self.sub(past, first))
        return self.function(name, with_finish(PARAMS, self.finish))

    def cache_block(self, block: _Block) -> None:
        alone = self.em.raw(f"and i64 %m, {SEVERAL - 1}")
        several = self.pick(self.compare("eq", alone, 1), self.sub("%m", 1), "%m")
        self.across(block, "0", several, self.tile(SEVERAL, self.form.vecs))
        self.across(block, several, "%m", self.tile(1, self.form.vecs_alone))

    def tile(self, rows: int, vecs: int) -> Tile:
        terms, by_rows = self.shape.terms, not self.shape.transpose_a
        return Tile(terms, terms.left, terms.right, rows, vecs, self.width, by_rows, False, False, None,
                    ragged=rows > 1)

    def across(self, block: _Block, row: str, past: str, tile: Tile) -> None:
        """Tiles of one kind on these rows, and all columns of the block."""
        columns = tile.vecs * tile.width
        whole = self.sub(block.columns, self.remainder(self.sub(block.columns, block.column), columns))
        with self.loop(block.column, whole, columns) as panel, self.loop(row, past, tile.rows) as each:
            self.one_tile(block, each.index, past, panel.index, tile)
        if not self.even:
            with (self.when(self.compare("slt", whole, block.columns)),
                  self.loop(row, past, tile.rows) as each):
                self.one_tile(block, each.index, past, whole, replace(tile, masked=True))

    def one_tile(self, block: _Block, row: str, past: str, column: str, tile: Tile) -> None:
        along = ("%lda", block.k, row) if self.shape.transpose_a else ("%lda", row, block.k)
        a = self.at("%a", self.add(self.mul(along[1], along[0]), along[2]))
        b = self.at("%b", self.add(self.mul(block.k, "%ldb"), column))
        c = self.at("%c", self.add(self.mul(row, "%ldc"), column))
        self.call(tile_function(self.module, tile), [
            f"ptr {a}", "i64 %lda", f"ptr {b}", "i64 %ldb", f"ptr {c}", "i64 %ldc", f"i64 {block.depth}",
            f"i64 {self.sub(block.columns, column)}", f"i1 {block.more}",
            *[f"i64 {self.least(self.sub(past, row), SEVERAL)}"] * tile.ragged])


@record
class _Block:
    """Columns from the first to the one past the last, k and its depth, and whether to add to C."""

    column: str
    columns: str
    k: str
    depth: str
    more: str
