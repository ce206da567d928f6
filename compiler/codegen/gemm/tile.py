"""The register tile: C[rows, vecs * width] (+)= A[rows, k] @ B[k, vecs * width], accumulated in registers."""

from __future__ import annotations

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.gemm.finish import Finish, FinishingBuilder, with_finish
from graphflow.compiler.codegen.gemm.terms import Operand, Terms, corrected, load_units, multiply_add
from graphflow.compiler.codegen.values import Value
from graphflow.compiler.loops.view import View
from graphflow.compiler.records import record

PARAMS = ("ptr noalias %a", "i64 %as", "ptr noalias %b", "i64 %bs", "ptr noalias %c", "i64 %cs", "i64 %k",
          "i64 %columns", "i1 %more")
AHEAD_PARAMS = ("i64 %ahead",)
RAGGED_PARAMS = ("i64 %rows",)
FINISH_PARAMS = ("i1 %last", "i64 %row", "i64 %column")


@record
class Tile:
    """One micro-kernel.

    a, b     the operands: where they are packed, in units
    by_rows  element (i, k) of A lies at i*as + k, else at k*as + i, as in packed panels
    masked   only the first `columns` columns of B and C exist
    single   all of k comes at once: C holds nothing to add to
    view     the steps by which A lies: %a is where its first row is, %as the number of the first run along k
    finish   what becomes of the sums, if they are not to be stored to C
    ragged   only the first %rows rows exist: the others are the last one once more
    fetches  with each row of B it asks for the vector that lies %ahead elements on, in the next panel
    """

    terms: Terms
    a: Operand
    b: Operand
    rows: int
    vecs: int
    width: int
    by_rows: bool
    masked: bool
    single: bool
    finish: Finish | None
    view: View | None = None
    ragged: bool = False
    fetches: bool = False

    @property
    def name(self) -> str:
        flags = {"m": self.masked, "s": self.single, "g": self.ragged, "f": self.fetches}
        kind = "cr"[self.by_rows] + "".join(letter for letter, flag in flags.items() if flag)
        view = ".v" + "_".join(map(str, _steps_of(self.view))) if self.view else ""
        finish = f".{self.finish.key}" if self.finish else ""
        read = "".join(f".{x.code}" for x in (self.a, self.b) if x.dtype is not self.terms.sum)
        size = f"{self.rows}x{self.vecs}x{self.width}"
        return f"gf.tile.{self.terms.code}{read}.{size}.{kind}{view}{finish}"


def _steps_of(view: View) -> tuple[int, ...]:
    """All that a tile needs to know of a view."""
    along = view.along
    return (view.rows.step, along.step, along.length, *along.pitches, *along.counts)


def tile_function(module: Module, tile: Tile) -> str:
    """The name of the function of a tile, defined once; element (k, j) of B lies at k*bs + j.

    `more` adds to what C holds, else C is overwritten; k may be 0. With a finish, C takes the sums only until
    the `last` block of k, and the tile begins at [row, column].
    """
    if tile.name not in module.functions:
        module.functions[tile.name] = ""  # its place, before what it needs
        module.functions[tile.name] = _TileBuilder(module, tile).text()
    return tile.name


class _TileBuilder(FinishingBuilder):
    def __init__(self, module: Module, tile: Tile) -> None:
        super().__init__(module, tile.terms.sum, tile.width, tile.finish)
        self.tile = tile
        self.masks: list[Value | None] = [None] * tile.vecs
        self.rows = self.existing()
        once = tile.single and tile.view is None
        self.sweeps = once and tile.finish is not None and bool(tile.finish.swept())

    def text(self) -> str:
        tile = self.tile
        params = (*PARAMS, *RAGGED_PARAMS * tile.ragged, *AHEAD_PARAMS * tile.fetches)
        if tile.masked:
            self.masks = [self.first_lanes(self.sub("%columns", j * tile.width)) for j in range(tile.vecs)]
        if tile.finish is None:
            places = self.places("%c", "%cs", self.rows)
            for address, _ in places:
                self.prefetch(address)
            self.store_all(self.on_top(self.accumulate(), places), places)
            return self.function(tile.name, params)
        self.finished(self.accumulate(), tile.finish)
        lines = [f"i64 %line{k}" for k in range(len(tile.finish.product.lines))]
        return self.function(tile.name, with_finish((*params, *FINISH_PARAMS, *lines), tile.finish))

    def existing(self) -> list[str]:
        """The numbers of the tile's rows."""
        if not self.tile.ragged:
            return [str(i) for i in range(self.tile.rows)]
        last = self.sub("%rows", 1)
        return ["0", *(self.least(last, i) for i in range(1, self.tile.rows))]

    def places(self, base: str, stride: str, rows: list[str]) -> list[tuple[str, Value | None]]:
        """Address and mask of each vector of the tile."""
        starts = [self.at(base, self.mul(stride, i)) for i in rows]
        return [(self.at(row, j * self.tile.width), self.masks[j]) for row in starts
                for j in range(self.tile.vecs)]

    def accumulate(self) -> list[Value]:
        """The sums over k: of a view, run by run."""
        tile, view = self.tile, self.tile.view
        zeros = self.zeros(tile.rows * tile.vecs)
        if view is None:
            steps = ("%as", "1") if tile.by_rows else ("1", "%as")
            sums = self.along("%a", "%b", "%k", steps, zeros)
            return corrected(self, sums, self.row_of_b("%b", "%k") if tile.terms.is_moved else [])
        length = view.along.length
        with self.loop("0", self.quotient("%k", length), starts=zeros) as runs:
            a = self.at("%a", self.run_offset(self.add("%as", runs.index), view.along), tile.a.dtype)
            b = self.at("%b", self.mul(self.mul(runs.index, length), "%bs"), tile.b.dtype)
            runs.next = self.along(a, b, str(length), (str(view.rows.step), str(view.along.step)), runs.now)
        return runs.after

    def along(self, a: str, b: str, count: str, steps: tuple[str, str], sums: list[Value]) -> list[Value]:
        """The sums with `count` more products each, A's rows and columns being so many steps apart."""
        tile, dtype = self.tile, self.tile.a.dtype
        starts = [self.at(a, self.mul(steps[0], i), dtype) for i in self.rows]
        with self.loop("0", count, starts=sums) as loop:
            if self.sweeps:
                self.prefetch_for_finish(loop.index)
            vectors = self.row_of_b(b, loop.index)
            column = self.mul(loop.index, steps[1])
            for i, start in enumerate(starts):
                one = self.em.widen(load_units(self, tile.a, self.at(start, column, dtype)), tile.width)
                for j, v in enumerate(vectors):
                    loop.next.append(multiply_add(self, tile.terms, one, v, loop.now[i * tile.vecs + j]))
        return loop.after

    def prefetch_for_finish(self, step: str) -> None:
        """A vector of the tile with each step along k: all at once would keep others from being loaded."""
        tile = self.tile
        row = self.remainder(self.quotient(step, tile.vecs), tile.rows)
        column = self.mul(self.remainder(step, tile.vecs), tile.width)
        self.prefetch_swept(self.add("%row", row), self.add("%column", column))

    def row_of_b(self, b: str, k: str) -> list[Value]:
        """Units k; after the last one, what moving A has added. With them the next panel comes."""
        tile, dtype = self.tile, self.tile.b.dtype
        row = self.at(b, self.mul(k, "%bs"), dtype)
        if tile.fetches:
            self.prefetch(self.at(row, "%ahead", dtype), to_write=False)
        return [load_units(self, tile.b, self.at(row, j * tile.width, dtype), tile.width, self.masks[j])
                for j in range(tile.vecs)]

    def on_top(self, sums: list[Value], places: list[tuple[str, Value | None]]) -> list[Value]:
        """The sums, on top of what C holds if there is something."""
        tile = self.tile
        if tile.single:
            return sums
        return self.replaced("%more", sums, lambda: [
            self.em.call("add", [self.fetch(address, tile.width, mask), s], self.dtype)
            for (address, mask), s in zip(places, sums, strict=True)])

    def store_all(self, sums: list[Value], places: list[tuple[str, Value | None]]) -> None:
        for s, (address, mask) in zip(sums, places, strict=True):
            self.put(s, address, mask)

    def finished(self, sums: list[Value], finish: Finish) -> None:
        """Keep sums that are not finished in C; run the body on the others from the stack, in a loop:
        unrolled over all registers of the tile it would be large, and slow to compile.
        """
        tile = self.tile
        if not tile.single:
            places = self.places("%c", "%cs", self.rows)
            sums = self.on_top(sums, places)
            with self.when(self.em.raw("xor i1 %last, true")):
                self.store_all(sums, places)
        with self.when("%last"):
            for k, index in enumerate(finish.product.lines):
                self.place(index, f"%line{k}")
            width = tile.vecs * tile.width
            spilled = self.places("%sums", str(width), [str(i) for i in range(tile.rows)])
            self.store_all(sums, [(address, None) for address, _ in spilled])
            columns = self.least("%columns", width) if tile.masked else str(width)
            rows = "%rows" if tile.ragged else str(tile.rows)
            self.finish_rows("%sums", width, "%row", rows, "%column", columns)
        self.reserve("%sums", tile.rows * tile.vecs * tile.width)
