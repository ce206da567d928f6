"""What some CPUs do in one instruction per vector register: powers of two, mantissas, lookups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphflow.compiler.codegen.values import Value, literal, llvm_type, scalar_type, suffix
from graphflow.compiler.ir.dtypes import DType, bool_

if TYPE_CHECKING:
    from graphflow.compiler.codegen.emitter import Emitter

_AVX512 = {"ldexp": "scalef", "exponent": "getexp", "mantissa": "getmant"}
_OPTIONS = {"mantissa": ["i32 15"]}  # from 3/4 to 3/2, NaN for negative numbers
_AS_SET = "i32 4"  # rounding


def emit_in_registers(em: Emitter, fn: str, args: Sequence[Value], dtype: DType) -> Value | None:
    """A function that the CPU has an instruction for; None where it has not, or for parts of registers."""
    lanes = 64 // dtype.size
    if em.module.vector_bits != 512 or fn not in _AVX512 or args[0].lanes % lanes:
        return None
    t, mask = llvm_type(dtype, lanes), f"i{lanes}"
    rest = [*_OPTIONS.get(fn, []), f"{t} zeroinitializer", f"{mask} -1", _AS_SET]
    name = f"llvm.x86.avx512.mask.{_AVX512[fn]}.{'ps' if dtype.size == 4 else 'pd'}.512"
    parts = [[str(v) for v in _registers(em, a, lanes)] for a in args]
    return _joined(em, [_call(em, name, [*values, *rest], dtype, lanes)
                        for values in zip(*parts, strict=True)])


def emit_lookup(em: Emitter, table: Any, word: Value, dtype: DType) -> Value:
    """The numbers of a table that the low bits of words say: of a table in registers, or else in memory."""
    size, bits = len(table), em.module.vector_bits
    if bits == 512 and word.lanes % size == 0:
        name = f"llvm.x86.avx512.permvar.{'sf' if dtype.size == 4 else 'df'}.512"
        return _joined(em, [_call(em, name, [_vector(table, dtype), str(w)], dtype, size)
                            for w in _registers(em, word, size)])
    if bits == 256 and dtype.size == 4 and word.lanes % 8 == 0:
        return _joined(em, [_of_two_registers(em, table, w, dtype) for w in _registers(em, word, 8)])
    return _from_memory(em, table, word, dtype)


def _of_two_registers(em: Emitter, table: Any, word: Value, dtype: DType) -> Value:
    low, high = (_call(em, "llvm.x86.avx2.permps", [_vector(half, dtype), str(word)], dtype, 8)
                 for half in (table[:8], table[8:]))
    eight = em.splat_number(8, word.dtype, 8)
    bit = em.call("and", [word, eight], word.dtype)
    return em.call("select", [em.call("eq", [bit, eight], bool_), high, low], dtype)


def _from_memory(em: Emitter, table: Any, word: Value, dtype: DType) -> Value:
    lanes, scalar = word.lanes, scalar_type(dtype)
    name = em.module.table(f"[{len(table)} x {scalar}] [{', '.join(_numbers(table, dtype))}]")
    at = em.call("and", [word, em.splat_number(len(table) - 1, word.dtype, lanes)], word.dtype)
    address = em.raw(f"getelementptr {scalar}, ptr {name}, {at}")
    if lanes == 1:
        return em.instruction(f"load {scalar}, ptr {address}, align {dtype.size}", dtype, 1)
    arguments = [f"<{lanes} x ptr> {address}", f"i32 {dtype.size}", f"<{lanes} x i1> splat (i1 true)",
                 f"{llvm_type(dtype, lanes)} poison"]
    return _call(em, f"llvm.masked.gather.{suffix(dtype, lanes)}.v{lanes}p0", arguments, dtype, lanes)


def _numbers(table: Any, dtype: DType) -> list[str]:
    return [f"{scalar_type(dtype)} {literal(v, dtype)}" for v in table]


def _vector(table: Any, dtype: DType) -> str:
    return f"{llvm_type(dtype, len(table))} <{', '.join(_numbers(table, dtype))}>"


def _call(em: Emitter, name: str, arguments: Sequence[str], dtype: DType, lanes: int) -> Value:
    t = llvm_type(dtype, lanes)
    types = ", ".join(_type_of(a) for a in arguments)
    em.module.declare(name, f"declare {t} @{name}({types})")
    return em.instruction(f"call {t} @{name}({', '.join(arguments)})", dtype, lanes)


def _type_of(argument: str) -> str:
    """`<16 x float> %v` without the value."""
    end = argument.index(">") + 1 if argument.startswith("<") else argument.index(" ")
    return argument[:end]


def _registers(em: Emitter, v: Value, lanes: int) -> list[Value]:
    """A vector in pieces of so many lanes."""
    if v.lanes == lanes:
        return [v]
    picks = [", ".join(f"i32 {k}" for k in range(at, at + lanes)) for at in range(0, v.lanes, lanes)]
    return [em.instruction(f"shufflevector {v}, {v.type} poison, <{lanes} x i32> <{p}>", v.dtype, lanes)
            for p in picks]


def _joined(em: Emitter, parts: list[Value]) -> Value:
    """One vector of pieces, a power of two of them."""
    while len(parts) > 1:
        lanes = 2 * parts[0].lanes
        all_of = ", ".join(f"i32 {k}" for k in range(lanes))
        parts = [em.instruction(f"shufflevector {a}, {b}, <{lanes} x i32> <{all_of}>", a.dtype, lanes)
                 for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]
