"""A product by blocks: loops over cache blocks, packing, and register tiles.

    for each block of panels (columns of B), for each block of k: pack B, if it is not packed ahead
        for each block of tiles (rows of A): pack A
            for each panel, for each tile: the register tile

The sums of a block of k are added to C before the next block, whatever the part: results do not depend on how
the work is cut into parts.
"""

from __future__ import annotations

from dataclasses import replace

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.gemm.finish import Finish, with_finish
from graphflow.compiler.codegen.gemm.pack import additions_function, pack_function
from graphflow.compiler.codegen.gemm.parts import PARAMS, Part, PartsBuilder, Shape, product_name
from graphflow.compiler.codegen.gemm.terms import Operand
from graphflow.compiler.codegen.gemm.tile import Tile, tile_function
from graphflow.compiler.loops.blocking import Blocking, heights
from graphflow.compiler.records import record


def blocked_function(module: Module, shape: Shape, blocking: Blocking, finish: Finish | None,
                     builder: type[BlockedBuilder]) -> str:
    """The name of the function for parts of a product, see parts.PARAMS."""
    name = product_name("gemm", shape, blocking, finish)
    if name not in module.functions:
        module.functions[name] = ""
        module.functions[name] = builder(module, shape, blocking, finish).text(name)
    return name


def _is_single(shape: Shape, blocking: Blocking) -> bool:
    return shape.k is not None and shape.k <= blocking.depth and not shape.add


def _fetches(shape: Shape, blocking: Blocking) -> bool:
    """Whether the tiles of a panel ask for the next one, each for a vector of every row of it."""
    in_place = not (blocking.pack_b or blocking.ahead)
    several = shape.n is None or shape.n > blocking.columns
    all_of_it = shape.m is None or -(-shape.m // blocking.rows) >= blocking.vecs
    return in_place and several and all_of_it


class BlockedBuilder(PartsBuilder):
    """Builds the function for matrices that lie row by row."""

    def __init__(self, module: Module, shape: Shape, blocking: Blocking, finish: Finish | None) -> None:
        super().__init__(module, shape.terms.sum, blocking.width, finish)
        self.shape = shape
        self.blocking = blocking
        by_rows = not (blocking.pack_a or shape.transpose_a)
        a, b = shape.terms.left, shape.terms.right
        self.left = Side("%a", "%lda", a, shape.transpose_a)
        self.right = Side("%b", "%ldb", b, not shape.transpose_b)
        a, b = a.packed if blocking.pack_a else a, b.packed if blocking.pack_b else b
        view = None if blocking.pack_a else shape.view
        self.tile = Tile(shape.terms, a, b, blocking.rows, blocking.vecs, blocking.width, by_rows, False,
                         _is_single(shape, blocking), finish, view, fetches=_fetches(shape, blocking))
        self.m, self.n, self.k = self.sizes(shape)
        self.low, self.extra = "0", "0"
        self.all_tiles, self.all_panels = self.tile_count(), self.ceil_div(self.n, blocking.columns)

    def text(self, name: str) -> str:
        blocking = self.blocking
        with self.each_part(blocking.parts, self.all_tiles, self.all_panels) as part:
            room = blocking.a_room + blocking.b_room
            self.packed_a = self.at("%scratch", self.mul(part.number, room))
            self.packed_b = self.at(self.packed_a, blocking.a_room)
            self.part(part)
        return self.function(name, with_finish(PARAMS, self.finish))

    def tile_count(self) -> str:
        tiles = self.ceil_div(self.m, self.blocking.rows)
        if self.shape.m is not None:
            count = self.most(tiles, 1)
            self.low, self.extra = self.quotient(self.m, count), self.remainder(self.m, count)
        return tiles

    def part(self, part: Part) -> None:
        blocking, depth = self.blocking, self.most(self.k, 1)
        with (self.blocks(part.column, part.columns, blocking.panels, self.all_panels) as (panel, panels),
              self.blocks("0", depth, blocking.depth, depth) as (k, past)):
            depth = self.sub(self.least(past, self.k), k)
            more = "true" if self.shape.add else self.compare("ne", k, 0)
            self.block_of_b(part, panel, panels, k, depth, more)

    def block_of_b(self, part: Part, panel: str, panels: str, k: str, depth: str, more: str) -> None:
        columns, units = self.blocking.columns, self.units(depth)
        first = self.mul(panel, columns)
        if self.blocking.pack_b:
            count = self.sub(self.least(self.n, self.mul(panels, columns)), first)
            self.pack(self.right, first, count, k, depth, self.packed_b, columns, self.rows_of_b(units))
            if self.shape.terms.is_moved:
                name = additions_function(self.module, self.shape.terms, columns, self.width)
                self.call(name, [f"ptr {self.packed_b}", f"i64 {count}", f"i64 {units}",
                                 f"i64 {self.mul(self.rows_of_b(units), columns)}"])
        with self.blocks(part.row, part.rows, self.blocking.tiles, self.all_tiles) as (tile, tiles):
            if self.blocking.pack_a:
                self.pack_tiles(tile, tiles, k, depth)
            self.cache_block(Block(panel, panels, tile, tiles, k, depth, units, more))

    def pack(self, side: Side, first: str, count: str, k: str, depth: str, target: str, lines: int,
             rows: str) -> None:
        """Panels of so many lines, and rows of units, from lines `first` to `first` + `count`."""
        name = pack_function(self.module, side.operand, lines, self.width, side.along_lines)
        at = (self.add(self.mul(k, side.stride), first) if side.along_lines else
              self.add(self.mul(first, side.stride), k))
        self.call(name, [f"ptr {self.at(side.base, at, side.operand.dtype)}", f"i64 {side.stride}",
                         f"i64 {count}", f"i64 {depth}", f"ptr {target}", f"i64 {self.mul(rows, lines)}"])

    def rows_of_b(self, units: str) -> str:
        """Of a panel: units of k, and what moving A adds."""
        return self.add(units, int(self.shape.terms.is_moved))

    def units(self, depth: str) -> str:
        """Of so many elements along k."""
        return self.ceil_div(depth, self.blocking.group)

    def pack_tiles(self, tile: str, tiles: str, k: str, depth: str) -> None:
        rows, units = self.blocking.rows, self.units(depth)
        with self.loop(tile, tiles) as each:
            first, past = self.row_of(each.index), self.row_of(self.add(each.index, 1))
            target = self.at(self.packed_a, self.mul(self.mul(self.sub(each.index, tile), units), rows))
            self.pack(self.left, first, self.sub(past, first), k, depth, target, rows, units)

    def row_of(self, tile: str) -> str:
        """The first row of a tile, m for the one after the last."""
        if self.shape.m is not None:
            return self.add(self.mul(tile, self.low), self.least(tile, self.extra))
        return self.least(self.mul(tile, self.blocking.rows), self.m)

    # Blocks in cache

    def cache_block(self, at: Block) -> None:
        """Every panel with every tile; the last panel may be a narrower one."""
        columns, n = self.blocking.columns, self.shape.n
        whole = self.least(at.panels, self.quotient(self.n, columns))
        with self.loop(at.panel, whole) as panel:
            self.panel(at, panel.index, self.tile)
        if n is None or n % columns:
            rest = (n or -1) % columns
            vecs = -(-rest // self.width) if n is not None else self.blocking.vecs
            masked = n is None or rest % self.width != 0
            with self.when(self.compare("slt", whole, at.panels)):
                self.panel(at, whole, replace(self.tile, vecs=vecs, masked=masked))

    def panel(self, at: Block, panel: str, tile: Tile) -> None:
        columns = self.blocking.columns
        column = self.mul(panel, columns)
        if self.blocking.pack_b:
            offset = self.mul(self.mul(self.sub(panel, at.panel), columns), self.rows_of_b(at.units))
            b, stride = self.at(self.packed_b, offset), str(columns)
        elif self.blocking.ahead:
            row = self.add(self.mul(panel, self.k), at.k)
            b, stride = self.at("%b", self.mul(row, columns)), str(columns)
        else:
            at_column = self.add(self.mul(at.k, "%ldb"), column)
            b, stride = self.at("%b", at_column, self.right.operand.dtype), "%ldb"
        ahead = self.to_next_panel(at, panel) if tile.fetches else ""
        self.tiles(at, Panel(b, stride, column, self.sub(self.n, column), ahead), tile)

    def to_next_panel(self, at: Block, panel: str) -> str:
        """Elements of B from a panel to the next one, which may be the first of the next block of k."""
        columns = self.blocking.columns
        back = self.mul(self.sub(panel, at.panel), columns)
        is_last = self.compare("eq", self.add(panel, 1), at.panels)
        return self.pick(is_last, self.sub(self.mul(at.depth, "%ldb"), back), str(columns))

    def tiles(self, at: Block, panel: Panel, tile: Tile) -> None:
        """Every tile of the block with one panel."""
        if self.shape.m is not None:
            self.known_rows(at, panel, tile)
        else:
            self.run_time_rows(at, panel, tile)

    def known_rows(self, at: Block, panel: Panel, tile: Tile) -> None:
        assert self.shape.m is not None
        low, extra = heights(self.shape.m, self.blocking.rows)
        middle = at.tile
        if extra:
            middle = self.most(self.least(at.tiles, extra), at.tile)
            with self.loop(at.tile, middle) as each:
                self.one_tile(at, panel, each.index, replace(tile, rows=low + 1))
        if low:
            with self.loop(middle, at.tiles) as each:
                self.one_tile(at, panel, each.index, replace(tile, rows=low))

    def run_time_rows(self, at: Block, panel: Panel, tile: Tile) -> None:
        """One kind of tile, of which the last may have fewer rows."""
        with self.loop(at.tile, at.tiles) as each:
            self.one_tile(at, panel, each.index, replace(tile, ragged=True))

    def one_tile(self, at: Block, panel: Panel, index: str, tile: Tile) -> None:
        row, rows = self.row_of(index), self.blocking.rows
        dtype = self.left.operand.dtype
        if self.blocking.pack_a:
            offset = self.mul(self.mul(self.sub(index, at.tile), rows), at.units)
            a, stride = self.at(self.packed_a, offset), str(rows)
        elif self.shape.transpose_a:
            a, stride = self.at("%a", self.add(self.mul(at.k, "%lda"), row), dtype), "%lda"
        else:
            a, stride = self.at("%a", self.add(self.mul(row, "%lda"), at.k), dtype), "%lda"
        self.call_tile(tile, at, self.asking(panel, tile, index), a, stride, row)

    def asking(self, panel: Panel, tile: Tile, index: str) -> Panel:
        """Where the tile of this number asks for a vector of the next panel, if tiles do."""
        if not tile.fetches:
            return panel
        vector = self.remainder(index, tile.vecs)
        return replace(panel, ahead=self.add(panel.ahead, self.mul(vector, self.width)))

    def call_tile(self, tile: Tile, at: Block, panel: Panel, a: str, stride: str, row: str,
                  place: tuple[str, ...] = ()) -> None:
        """Call the function of a tile whose first row is `row`; for its finish, `place` is lines and row."""
        c = self.at("%c", self.add(self.mul(row, "%ldc"), panel.column))
        arguments = [f"ptr {a}", f"i64 {stride}", f"ptr {panel.b}", f"i64 {panel.stride}", f"ptr {c}",
                     "i64 %ldc", f"i64 {at.units}", f"i64 {panel.left}", f"i1 {at.more}"]
        if tile.ragged:
            arguments.append(f"i64 {self.least(self.sub('%m', row), tile.rows)}")
        if tile.fetches:
            arguments.append(f"i64 {panel.ahead}")
        if tile.finish is not None:
            last = self.compare("sge", self.add(at.k, at.depth), self.k)
            *lines, within = place or (row,)
            arguments += [f"i1 {last}", f"i64 {within}", f"i64 {panel.column}", *(f"i64 {i}" for i in lines),
                          *tile.finish.params]
        self.call(tile_function(self.module, tile), arguments)


@record
class Side:
    """An operand: its pointer, stride, and whether the lines of its panels lie together."""

    base: str
    stride: str
    operand: Operand
    along_lines: bool


@record
class Block:
    """Panels and tiles from the first to the one past the last, k, its depth, that in units, and whether to
    add to C.
    """

    panel: str
    panels: str
    tile: str
    tiles: str
    k: str
    depth: str
    units: str
    more: str


@record
class Panel:
    """Where a panel of B lies, its first column, the columns from there on, and how far to look ahead."""

    b: str
    stride: str
    column: str
    left: str
    ahead: str
