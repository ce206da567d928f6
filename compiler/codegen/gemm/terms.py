"""Terms: what a product multiplies and adds, and how its operands come into registers.

Operands narrower than the sums are widened on their way into panels or registers. Or several of them along
k stay together in a unit of 32 bits, where the CPU multiplies groups and adds them to a lane at once:

    bf16 in pairs: s += x[1] * y[1], then s += x[0] * y[0], each rounded once, as float32 multiply-adds in
        that order are; but subnormal numbers, operands and sums, count as 0
    8 bits in fours, unsigned by signed: exact, and wraps. Of two operands of one dtype the left one is moved
        by 128 into the range of the other, and what this adds, 128 times the sums of the right one's columns,
        is taken off
"""

from __future__ import annotations

from dataclasses import replace

from graphflow.compiler.codegen.gemm.builder import Builder
from graphflow.compiler.codegen.scalar import emit_cast
from graphflow.compiler.codegen.values import Value, llvm_type, splat_literal
from graphflow.compiler.ir.dtypes import BY_CODE, DType, bfloat16, float32, int8, int32, uint8
from graphflow.compiler.records import record
from graphflow.compiler.target import Target

_SIGN_BITS = -0x7f7f7f80  # 0x80808080: the upper bit of each of four bytes


@record
class Operand:
    """A matrix's dtype in memory, and how many of its elements along k make a `unit` in registers.

    moved  whether bytes change between signed and unsigned, keeping their order
    """

    dtype: DType
    unit: DType
    group: int = 1
    moved: bool = False

    @property
    def code(self) -> str:
        if self.dtype is self.unit:
            return self.dtype.code
        return f"{self.dtype.code}x{self.group}{'m' * self.moved}" if self.group > 1 else (
            f"{self.dtype.code}to{self.unit.code}")

    @property
    def packed(self) -> Operand:
        """The same in a panel: units, one after another."""
        return Operand(self.unit, self.unit)


@record
class Terms:
    """The dtypes of a product's operands and sums; `group` elements of k in a unit."""

    a: DType
    b: DType
    sum: DType
    group: int = 1

    @property
    def left(self) -> Operand:
        return self._operand(self.a, self.is_moved)

    @property
    def right(self) -> Operand:
        return self._operand(self.b, False)

    @property
    def is_moved(self) -> bool:
        """Whether the left operand is moved, and the sums need to be corrected for it."""
        return self.group == 4 and self.a is self.b

    @property
    def code(self) -> str:
        if self.a is self.b is self.sum:
            return self.sum.code
        return f"{self.a.code}{self.b.code}{self.sum.code}{self.group}"

    def _operand(self, dtype: DType, moved: bool) -> Operand:
        return Operand(dtype, int32 if self.group > 1 else self.sum, self.group, moved)

    def grouped(self, target: Target) -> Terms:
        """With the groups that the target multiplies at once."""
        if target.dots_bf16 and self.a is self.b is bfloat16 and self.sum is float32:
            return replace(self, group=2)
        if target.dots_int8 and {self.a, self.b} <= {int8, uint8} and self.sum is int32:
            return replace(self, group=4)
        return self


def load_units(b: Builder, operand: Operand, address: str, lanes: int = 1,
               mask: Value | None = None) -> Value:
    """Units from elements that lie together: along k, or where a unit is one element, side by side.

    mask  of elements; those that are not there are 0
    """
    if operand.group == 1:
        value = b.fetch(address, lanes, mask, operand.dtype)
        return value if operand.dtype is operand.unit else emit_cast(b.em, value, operand.unit)
    raw = b.fetch(address, lanes * operand.group, mask, _bits(operand))
    return _moved(b, operand, _as(b, raw, operand.unit, lanes))


def load_across(b: Builder, operand: Operand, rows: list[tuple[str, Value | None]], lanes: int) -> Value:
    """Units side by side, from the addresses and masks of as many rows as a unit has elements."""
    if operand.group == 1:
        (address, mask), = rows
        return load_units(b, operand, address, lanes, mask)
    found = [b.fetch(address, lanes, mask, _bits(operand)) for address, mask in rows]
    while len(found) > 1:
        wide = BY_CODE[f"i{16 * found[0].dtype.size}"]
        found = [_as(b, _zipped(b, x, y), wide, lanes) for x, y in zip(found[::2], found[1::2], strict=True)]
    return _moved(b, operand, found[0])


def multiply_add(b: Builder, terms: Terms, x: Value, y: Value, total: Value) -> Value:
    """total + x * y, for units of the left and of the right operand."""
    if terms.group == 2:
        pairs = [_as(b, v, bfloat16, 2 * v.lanes) for v in (x, y)]
        return b.em.intrinsic(f"llvm.x86.avx512bf16.dpbf16ps.{32 * total.lanes}", [total, *pairs], float32)
    if terms.group == 4:
        signed_right = terms.b is int8
        name = f"llvm.x86.avx512.vpdpbusd.{32 * total.lanes}"
        return b.em.intrinsic(name, [total, *((x, y) if signed_right else (y, x))], int32)
    if terms.sum.is_floating:
        return b.fma(x, y, total)
    return b.em.call("add", [b.em.call("mul", [x, y], terms.sum), total], terms.sum)


def corrected(b: Builder, sums: list[Value], added: list[Value]) -> list[Value]:
    """Rows of sums, less what moving the left operand has added to each column, if it is moved."""
    if not added:
        return sums
    return [b.em.call("sub", [s, added[k % len(added)]], s.dtype) for k, s in enumerate(sums)]


def moving_units(lanes: int) -> Value:
    """What moving has added to each element of the left operand, as units."""
    return Value(splat_literal(_SIGN_BITS, int32, lanes), int32, lanes)


def _moved(b: Builder, operand: Operand, units: Value) -> Value:
    if not operand.moved:
        return units
    return b.em.call("xor", [units, moving_units(units.lanes)], units.dtype)


def _bits(operand: Operand) -> DType:
    """Elements of a group, as integers."""
    return BY_CODE[f"i{8 * operand.dtype.size}"]


def _as(b: Builder, v: Value, dtype: DType, lanes: int) -> Value:
    if v.dtype is dtype:
        return v
    return b.em.instruction(f"bitcast {v} to {llvm_type(dtype, lanes)}", dtype, lanes)


def _zipped(b: Builder, x: Value, y: Value) -> Value:
    """x[0], y[0], x[1], y[1], ..."""
    order = ", ".join(f"i32 {k}, i32 {x.lanes + k}" for k in range(x.lanes))
    return b.em.instruction(f"shufflevector {x}, {y}, <{2 * x.lanes} x i32> <{order}>", x.dtype, 2 * x.lanes)
