"""Packing: panels of an operand, copied so that a register tile reads them one after another.

A panel holds `lines` rows of A (or columns of B): unit k of line i at k*lines + i. A unit is one element, or
a group of them along k, the last one filled up with zeros. Panels lie `panel` units apart. Lanes that hold no
element are written too: into the next panel, which is written later, or into room for a vector of lines after
the last one.
"""

from __future__ import annotations

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.gemm.builder import Builder
from graphflow.compiler.codegen.gemm.terms import (
    Operand,
    Terms,
    load_across,
    load_units,
    moving_units,
    multiply_add,
)
from graphflow.compiler.codegen.values import Value

PARAMS = ("ptr noalias %from", "i64 %stride", "i64 %count", "i64 %k", "ptr noalias %to", "i64 %panel")
ADDITIONS_PARAMS = ("ptr noalias %to", "i64 %count", "i64 %k", "i64 %panel")
TRANSPOSED_BYTES = 32  # wider blocks are hardly faster, and take long to compile
ROWS_AT_ONCE = 8  # streams that the hardware follows, and as many page table entries


def pack_function(module: Module, operand: Operand, lines: int, width: int, along_lines: bool) -> str:
    """The name of a function that packs `count` lines of k elements.

    along_lines  neighbouring lines lie together: element (i, k) at k*stride + i, else at i*stride + k
    """
    name = f"gf.pack.{operand.code}.{lines}.{width}.{'lines' if along_lines else 'k'}"
    if name not in module.functions:
        module.functions[name] = ""
        across = min(width, TRANSPOSED_BYTES // operand.unit.size)
        copied = min(width, 1 << lines.bit_length() - 1)
        builder = (_CopyBuilder(module, operand, lines, copied) if along_lines
                   else _TransposeBuilder(module, operand, lines, across))
        module.functions[name] = builder.text(name)
    return name


class _PackBuilder(Builder):
    """Addresses count elements in the source, units in panels."""

    def __init__(self, module: Module, operand: Operand, lines: int, width: int) -> None:
        super().__init__(module, operand.unit, width)
        self.operand = operand
        self.lines = lines

    def source(self, base: str, offset: str) -> str:
        return self.at(base, offset, self.operand.dtype)

    def unit(self, panel: str, k: str) -> str:
        """The place in a panel of the unit that begins with element k."""
        return self.at(panel, self.mul(self.quotient(k, self.operand.group), self.lines))


class _CopyBuilder(_PackBuilder):
    """Lines lie together: rows of them are copied, several at once so that each row is read in long runs."""

    def text(self, name: str) -> str:
        whole = self.quotient("%count", self.lines)
        left = self.sub("%count", self.mul(whole, self.lines))
        with self.loop("0", "%k", ROWS_AT_ONCE) as rows:
            past = self.least(self.add(rows.index, ROWS_AT_ONCE), "%k")
            with self.loop("0", whole) as panels:
                self.copy(panels.index, rows.index, past, None)
            with self.when(self.compare("sgt", left, 0)):
                self.copy(whole, rows.index, past, left)
        return self.function(name, PARAMS)

    def copy(self, panel: str, first: str, past: str, left: str | None) -> None:
        """Rows from the first to the one past the last, of one panel, of which `left` lines are there."""
        source = self.source("%from", self.mul(panel, self.lines))
        target = self.at("%to", self.mul(panel, "%panel"))
        group = self.operand.group
        whole = self.sub(past, self.remainder(past, group)) if group > 1 else past
        with self.loop(first, whole, group) as k:
            self.copy_units(source, target, k.index, left)
        if group > 1:
            with self.when(self.compare("slt", whole, past)):
                self.copy_units(source, target, whole, left, past)

    def copy_units(self, source: str, target: str, k: str, left: str | None, past: str = "") -> None:
        """The units that begin with row k; `past` is the one past the last, where that is among them."""
        rows = [self.add(k, i) for i in range(self.operand.group)]
        starts = [self.source(source, self.mul(row, "%stride")) for row in rows]
        exist = [self.compare("slt", row, past) for row in rows] if past else []
        out = self.unit(target, k)
        for at in range(0, self.lines, self.width):
            room = str(min(self.width, self.lines - at))
            there = room if left is None else self.sub(left, at)
            counts = [self.pick(e, there, "0") for e in exist] or [there] * len(rows)
            lines = [(self.source(start, str(at)), self.unless_all(self.first_lanes(count)))
                     for start, count in zip(starts, counts, strict=True)]
            self.put(load_across(self, self.operand, lines, self.width), self.at(out, at),
                     self.unless_all(self.first_lanes(room)))


class _TransposeBuilder(_PackBuilder):
    """Lines lie apart: square blocks are transposed in registers."""

    def text(self, name: str) -> str:
        with self.loop("0", "%count", self.lines) as panels:
            target = self.at("%to", self.mul(self.quotient(panels.index, self.lines), "%panel"))
            with self.loop("0", str(self.lines), self.width) as groups:
                line = self.least(groups.index, max(self.lines - self.width, 0))  # the last may overlap
                self.group(self.add(panels.index, line), self.at(target, line))
        return self.function(name, PARAMS)

    def group(self, first: str, target: str) -> None:
        """As many lines as a vector has lanes, along all of k; lines past the last give any numbers."""
        last = self.sub("%count", 1)
        rows = [self.source("%from", self.mul(self.least(self.add(first, i), last), "%stride"))
                for i in range(min(self.width, self.lines))]
        elements = self.width * self.operand.group
        with self.loop("0", "%k", elements) as along:
            mask = self.first_lanes(self.sub("%k", along.index), elements)
            block = [load_units(self, self.operand, self.source(row, along.index), self.width, mask)
                     for row in rows]
            out = self.unit(target, along.index)
            for j, column in enumerate(transpose(self, block)):  # what runs over is written again
                self.put(column, self.at(out, j * self.lines))


def additions_function(module: Module, terms: Terms, lines: int, width: int) -> str:
    """The name of a function that writes one more row into panels of B: what moving A adds to the sums."""
    name = f"gf.additions.{terms.code}.{lines}.{width}"
    if name not in module.functions:
        module.functions[name] = _AdditionsBuilder(module, terms.sum, width).additions(name, terms, lines)
    return name


class _AdditionsBuilder(Builder):
    def additions(self, name: str, terms: Terms, lines: int) -> str:
        vectors = range(0, lines, self.width)
        moving = moving_units(self.width)
        with self.loop("0", "%count", lines) as panels:
            panel = self.at("%to", self.mul(self.quotient(panels.index, lines), "%panel"))
            with self.loop("0", "%k", starts=self.zeros(len(vectors))) as along:
                row = self.at(panel, self.mul(along.index, lines))
                units = [self.fetch(self.at(row, at), self.width) for at in vectors]
                along.next = [multiply_add(self, terms, moving, v, total)
                              for v, total in zip(units, along.now, strict=True)]
            for at, total in zip(vectors, along.after, strict=True):
                self.put(total, self.at(self.at(panel, self.mul("%k", lines)), at))
        return self.function(name, ADDITIONS_PARAMS)


def transpose(b: Builder, rows: list[Value]) -> list[Value]:
    """The columns of a square block of vectors; missing rows give lanes without meaning."""
    width = b.width
    poison = Value("poison", b.dtype, width)
    block = rows + [poison] * (width - len(rows))
    distance = width // 2
    while distance:
        for k in range(width):
            if not k & distance:
                block[k], block[k + distance] = _exchange(b, block[k], block[k + distance], distance)
        distance //= 2
    return block


def _exchange(b: Builder, low: Value, high: Value, distance: int) -> tuple[Value, Value]:
    """Swap the off-diagonal quarters of the blocks of size 2*distance that two rows belong to."""
    first = [k if not k & distance else b.width + k - distance for k in range(b.width)]
    second = [k + distance if not k & distance else b.width + k for k in range(b.width)]
    return _shuffle(b, low, high, first), _shuffle(b, low, high, second)


def _shuffle(b: Builder, low: Value, high: Value, picks: list[int]) -> Value:
    if low.ref == high.ref == "poison":
        return low
    order = ", ".join(f"i32 {p}" for p in picks)
    return b.em.instruction(f"shufflevector {low}, {high}, <{b.width} x i32> <{order}>", b.dtype, b.width)
