"""Scalar functions as LLVM instructions, on one lane or many."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from graphflow.compiler.codegen.values import Value, llvm_type, suffix
from graphflow.compiler.ir.dtypes import DType, bool_, float16, float32, float64, int32

if TYPE_CHECKING:
    from graphflow.compiler.codegen.emitter import Emitter

Emit = Callable[["Emitter", "list[Value]", DType], Value]
_DIGITS = {float32: 24, float64: 53}  # binary ones


def _instruction(float_op: str, int_op: str, unsigned_op: str = "") -> Emit:
    def emit(em: Emitter, args: list[Value], dtype: DType) -> Value:
        a, b = args
        op = float_op if dtype.is_floating else unsigned_op if unsigned_op and dtype.is_unsigned else int_op
        return em.instruction(f"{op} {a.type} {a.ref}, {b.ref}", dtype, a.lanes)
    return emit


def add_unrounded(em: Emitter, a: Value, b: Value) -> Value:
    """a + b; what is a product is added as it is, which saves an operation and a rounding."""
    return em.instruction(f"fadd contract {a.type} {a.ref}, {b.ref}", a.dtype, a.lanes)


def _farther(code: str) -> Callable[[Emitter, Value, Value], Value]:
    """As max and min, but for the signs of zeros: two instructions, not six."""
    def emit(em: Emitter, a: Value, b: Value) -> Value:
        found = em.instruction(f"fcmp {code} {a.type} {a.ref}, {b.ref}", bool_, a.lanes)
        extremum = em.instruction(f"select {found}, {a}, {b}", a.dtype, a.lanes)  # b, where that is NaN
        number = em.instruction(f"fcmp ord {a.type} {a.ref}, {a.ref}", bool_, a.lanes)
        return em.instruction(f"select {number}, {extremum}, {a}", a.dtype, a.lanes)
    return emit


greater, less = _farther("ogt"), _farther("olt")


def _compare(float_code: str, signed: str, unsigned: str) -> Emit:
    def emit(em: Emitter, args: list[Value], dtype: DType) -> Value:
        a, b = args
        if a.dtype.is_floating:
            return em.instruction(f"fcmp {float_code} {a.type} {a.ref}, {b.ref}", bool_, a.lanes)
        code = unsigned if a.dtype.is_unsigned or a.dtype.is_bool else signed
        return em.instruction(f"icmp {code} {a.type} {a.ref}, {b.ref}", bool_, a.lanes)
    return emit


def _intrinsic(name: str) -> Emit:
    def emit(em: Emitter, args: list[Value], dtype: DType) -> Value:
        return em.intrinsic(f"llvm.{name}.{suffix(dtype, args[0].lanes)}", args, dtype)
    return emit


def _extremum(float_name: str, int_name: str) -> Emit:
    def emit(em: Emitter, args: list[Value], dtype: DType) -> Value:
        a = args[0]
        if dtype.is_bool:
            op = "and" if "min" in int_name else "or"
            return em.instruction(f"{op} {a.type} {a.ref}, {args[1].ref}", dtype, a.lanes)
        name = float_name if dtype.is_floating else ("u" if dtype.is_unsigned else "s") + int_name
        return em.intrinsic(f"llvm.{name}.{suffix(dtype, a.lanes)}", args, dtype)
    return emit


def _neg(em: Emitter, args: list[Value], dtype: DType) -> Value:
    a, = args
    if dtype.is_floating:
        return em.instruction(f"fneg {a.type} {a.ref}", dtype, a.lanes)
    return em.instruction(f"sub {a.type} {em.splat_number(0, dtype, a.lanes).ref}, {a.ref}", dtype, a.lanes)


def _abs(em: Emitter, args: list[Value], dtype: DType) -> Value:
    a, = args
    if dtype.is_floating:
        return _intrinsic("fabs")(em, args, dtype)
    if dtype.is_unsigned:
        return a
    return em.intrinsic(f"llvm.abs.{suffix(dtype, a.lanes)}", [a, Value("false", bool_)], dtype)


def _not(em: Emitter, args: list[Value], dtype: DType) -> Value:
    a, = args
    ones = em.splat_number(1 if dtype.is_bool else -1, dtype, a.lanes)
    return em.instruction(f"xor {a.type} {a.ref}, {ones.ref}", dtype, a.lanes)


def _select(em: Emitter, args: list[Value], dtype: DType) -> Value:
    c, a, b = args
    return em.instruction(f"select {c}, {a}, {b}", dtype, a.lanes)


def _shift(left: bool) -> Emit:
    """Counts are taken below the width of the type: the records see to that."""
    def emit(em: Emitter, args: list[Value], dtype: DType) -> Value:
        a, n = args
        op = "shl" if left else "lshr" if dtype.is_unsigned else "ashr"
        return em.instruction(f"{op} {a.type} {a.ref}, {n.ref}", dtype, a.lanes)
    return emit


def _mulhi(em: Emitter, args: list[Value], dtype: DType) -> Value:
    """The high 32 bits of a 32 by 32 bit product."""
    a, b = args
    wide = "i64" if a.lanes == 1 else f"<{a.lanes} x i64>"
    x, y = (em.raw(f"zext {v} to {wide}") for v in (a, b))
    high = em.raw(f"lshr {wide} {em.raw(f'mul {wide} {x}, {y}')}, "
                  f"{'32' if a.lanes == 1 else 'splat (i64 32)'}")
    return em.instruction(f"trunc {wide} {high} to {a.type}", dtype, a.lanes)


def _integer_division(remainder: bool) -> Emit:
    """Floor division or remainder; 0 for a zero divisor, and no trap for the least int by -1."""
    def emit(em: Emitter, args: list[Value], dtype: DType) -> Value:
        a, b = args
        zero, one = (em.splat_number(k, dtype, a.lanes) for k in (0, 1))
        by_zero = em.instruction(f"icmp eq {b.type} {b.ref}, {zero.ref}", bool_, a.lanes)
        safe = em.instruction(f"select {by_zero}, {one}, {b}", dtype, a.lanes)
        if dtype.is_unsigned:
            op = "urem" if remainder else "udiv"
            result = em.instruction(f"{op} {a.type} {a.ref}, {safe.ref}", dtype, a.lanes)
        else:
            result = _signed_floor(em, a, safe, dtype, remainder)
        return em.instruction(f"select {by_zero}, {zero}, {result}", dtype, a.lanes)
    return emit


def _signed_floor(em: Emitter, a: Value, b: Value, dtype: DType, remainder: bool) -> Value:
    t, lanes = a.type, a.lanes
    zero, one, minus = (em.splat_number(k, dtype, lanes) for k in (0, 1, -1))
    by_minus = em.instruction(f"icmp eq {t} {b.ref}, {minus.ref}", bool_, lanes)
    divisor = em.instruction(f"select {by_minus}, {one}, {b}", dtype, lanes)
    q = em.instruction(f"sdiv {t} {a.ref}, {divisor.ref}", dtype, lanes)
    r = em.instruction(f"srem {t} {a.ref}, {divisor.ref}", dtype, lanes)
    inexact = em.instruction(f"icmp ne {t} {r.ref}, {zero.ref}", bool_, lanes)
    signs = em.instruction(f"xor {t} {r.ref}, {divisor.ref}", dtype, lanes)
    opposite = em.instruction(f"icmp slt {t} {signs.ref}, {zero.ref}", bool_, lanes)
    down = em.instruction(f"and {inexact.type} {inexact.ref}, {opposite.ref}", bool_, lanes)
    if remainder:
        added = em.instruction(f"add {t} {r.ref}, {divisor.ref}", dtype, lanes)
        return em.instruction(f"select {down}, {added}, {r}", dtype, lanes)
    less = em.instruction(f"sub {t} {q.ref}, {one.ref}", dtype, lanes)
    floored = em.instruction(f"select {down}, {less}, {q}", dtype, lanes)
    negated = em.instruction(f"sub {t} {zero.ref}, {a.ref}", dtype, lanes)
    return em.instruction(f"select {by_minus}, {negated}, {floored}", dtype, lanes)


def emit_cast(em: Emitter, a: Value, dtype: DType) -> Value:
    """numpy's astype; float to int saturates and NaN gives 0."""
    source, target = a.dtype, llvm_type(dtype, a.lanes)
    if dtype.is_bool:
        zero = em.splat_number(0, source, a.lanes)
        code = "fcmp une" if source.is_floating else "icmp ne"
        return em.instruction(f"{code} {a.type} {a.ref}, {zero.ref}", dtype, a.lanes)
    if source.is_floating and dtype.is_floating:
        if source.size == dtype.size:  # half and bfloat: by way of float
            return emit_cast(em, emit_cast(em, a, float32), dtype)
        if source is float64 and dtype.size == 2:  # LLVM would call a library that may not be there
            a = _to_odd_float(em, a) if dtype is float16 else emit_cast(em, a, float32)
        op = "fpext" if dtype.size > source.size else "fptrunc"
        return em.instruction(f"{op} {a} to {target}", dtype, a.lanes)
    if source.is_floating:
        return _to_integer(em, emit_cast(em, a, float32) if source.size == 2 else a, dtype)
    if dtype.is_floating and source.is_bool:
        one, zero = (em.splat_number(k, dtype, a.lanes) for k in (1, 0))
        return em.instruction(f"select {a}, {one}, {zero}", dtype, a.lanes)
    if dtype.is_floating:
        op = "uitofp" if source.is_unsigned else "sitofp"
        return em.instruction(f"{op} {a} to {target}", dtype, a.lanes)
    if source.size == dtype.size and not source.is_bool:
        return Value(a.ref, dtype, a.lanes)
    if dtype.size < source.size:
        return em.instruction(f"trunc {a} to {target}", dtype, a.lanes)
    op = "zext" if source.is_unsigned or source.is_bool else "sext"
    return em.instruction(f"{op} {a} to {target}", dtype, a.lanes)


def _to_integer(em: Emitter, a: Value, dtype: DType) -> Value:
    """Clamped to what converts, then converted: LLVM's saturating conversions take lane after lane."""
    wide = int32 if dtype.size < 4 else dtype
    digits = max(dtype.max.bit_length() - _DIGITS[a.dtype], 0)  # that the largest number has too many
    least, most, beyond = (em.splat_number(n, a.dtype, a.lanes)
                           for n in (dtype.min, dtype.max + 1 - (1 << digits), dtype.max + 1))
    raised = em.call("select", [em.call("gt", [a, least], bool_), a, least], a.dtype)  # NaN too
    inside = em.call("select", [em.call("lt", [raised, most], bool_), raised, most], a.dtype)
    convert = f"{'fptoui' if wide.is_unsigned else 'fptosi'} {inside} to {llvm_type(wide, a.lanes)}"
    result = emit_cast(em, em.instruction(convert, wide, a.lanes), dtype)
    if digits:
        over, top = em.call("ge", [a, beyond], bool_), em.splat_number(dtype.max, dtype, a.lanes)
        result = em.call("select", [over, top, result], dtype)
    if dtype.is_unsigned:
        return result
    zero = em.splat_number(0, dtype, a.lanes)
    return em.call("select", [em.call("eq", [a, a], bool_), result, zero], dtype)


def _to_odd_float(em: Emitter, a: Value) -> Value:
    """A double as a float that rounds to the same half: what is not exact is cut off, its last bit set."""
    float_ = emit_cast(em, a, float32)
    back = emit_cast(em, float_, float64)
    inexact = em.call("lt", [a, back], bool_), em.call("gt", [a, back], bool_)  # neither, for NaN
    larger = em.call("gt", [em.call("abs", [v], float64) for v in (back, a)], bool_)
    bits = emit_bitcast(em, float_, int32)
    cut = em.call("sub", [bits, emit_cast(em, larger, int32)], int32)
    odd = em.call("or", [cut, em.splat_number(1, int32, a.lanes)], int32)
    return emit_bitcast(em, em.call("select", [em.call("or", [*inexact], bool_), odd, bits], int32), float32)


def emit_bitcast(em: Emitter, a: Value, dtype: DType) -> Value:
    if a.dtype.is_integer and dtype.is_integer:
        return Value(a.ref, dtype, a.lanes)
    return em.instruction(f"bitcast {a} to {llvm_type(dtype, a.lanes)}", dtype, a.lanes)


EMIT: dict[str, Emit] = {
    "add": _instruction("fadd", "add"), "sub": _instruction("fsub", "sub"),
    "mul": _instruction("fmul contract", "mul"),  # with what may take it unrounded, see `add_unrounded`
    "div": _instruction("fdiv", "sdiv", "udiv"), "neg": _neg, "abs": _abs,
    "floordiv": _integer_division(False), "floormod": _integer_division(True),
    "min": _extremum("minimum", "min"), "max": _extremum("maximum", "max"),
    "fma": _intrinsic("fma"), "sqrt": _intrinsic("sqrt"), "copysign": _intrinsic("copysign"),
    "floor": _intrinsic("floor"), "ceil": _intrinsic("ceil"), "trunc": _intrinsic("trunc"),
    "rint": _intrinsic("rint"),
    "lt": _compare("olt", "slt", "ult"), "le": _compare("ole", "sle", "ule"),
    "gt": _compare("ogt", "sgt", "ugt"), "ge": _compare("oge", "sge", "uge"),
    "eq": _compare("oeq", "eq", "eq"), "ne": _compare("une", "ne", "ne"),
    "and": _instruction("", "and"), "or": _instruction("", "or"), "xor": _instruction("", "xor"), "not": _not,
    "shl": _shift(True), "shr": _shift(False), "mulhi": _mulhi, "select": _select,
} | {name: _intrinsic(name) for name in (
    "exp", "exp2", "log", "log2", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan",
    "atan2", "pow")}
