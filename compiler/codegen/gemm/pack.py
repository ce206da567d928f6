"""Packing: panels of an operand, copied so that a register tile reads them one after another.

A panel holds `lines` rows of A (or columns of B): element k of line i at k*lines + i. Panels lie `panel`
elements apart. Lanes that hold no element are written too: into the next panel, which is written later, or
into room for a vector of lines after the last one.
"""

from __future__ import annotations

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.gemm.builder import Builder
from graphflow.compiler.codegen.values import Value
from graphflow.compiler.ir.dtypes import DType

PARAMS = ("ptr noalias %from", "i64 %stride", "i64 %count", "i64 %k", "ptr noalias %to", "i64 %panel")
TRANSPOSED_BYTES = 32  # wider blocks are hardly faster, and take long to compile
ROWS_AT_ONCE = 8  # streams that the hardware follows, and as many page table entries


def pack_function(module: Module, dtype: DType, lines: int, width: int, along_lines: bool) -> str:
    """The name of a function that packs `count` lines of length k.

    along_lines  neighbouring lines lie together: element (i, k) at k*stride + i, else at i*stride + k
    """
    name = f"gf.pack.{dtype.code}.{lines}.{width}.{'lines' if along_lines else 'k'}"
    if name not in module.functions:
        module.functions[name] = ""
        across = min(width, TRANSPOSED_BYTES // dtype.size)
        copied = min(width, 1 << lines.bit_length() - 1)
        builder = (_CopyBuilder(module, dtype, lines, copied) if along_lines
                   else _TransposeBuilder(module, dtype, lines, across))
        module.functions[name] = builder.text(name)
    return name


class _PackBuilder(Builder):
    def __init__(self, module: Module, dtype: DType, lines: int, width: int) -> None:
        super().__init__(module, dtype, width)
        self.lines = lines


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
        source = self.at("%from", self.mul(panel, self.lines))
        target = self.at("%to", self.mul(panel, "%panel"))
        with self.loop(first, past) as k:
            row = self.at(source, self.mul(k.index, "%stride"))
            out = self.at(target, self.mul(k.index, self.lines))
            for at in range(0, self.lines, self.width):
                room = self.first_lanes(str(min(self.width, self.lines - at)))
                there = room if left is None else self.first_lanes(self.sub(left, at))
                self.put(self.fetch(self.at(row, at), self.width, self.unless_all(there)),
                         self.at(out, at), self.unless_all(room))


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
        rows = [self.at("%from", self.mul(self.least(self.add(first, i), last), "%stride"))
                for i in range(min(self.width, self.lines))]
        with self.loop("0", "%k", self.width) as along:
            mask = self.first_lanes(self.sub("%k", along.index))
            block = [self.fetch(self.at(row, along.index), self.width, mask) for row in rows]
            out = self.at(target, self.mul(along.index, self.lines))
            for j, column in enumerate(transpose(self, block)):  # what runs over is written again
                self.put(column, self.at(out, j * self.lines))


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
