"""Emitter: LLVM IR text for expressions, one instruction after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from graphflow.compiler.codegen.registers import emit_in_registers, emit_lookup
from graphflow.compiler.codegen.scalar import EMIT, emit_bitcast, emit_cast
from graphflow.compiler.codegen.shared import Key, SharedLoop
from graphflow.compiler.codegen.values import Value, literal, llvm_type, scalar_type, splat_literal
from graphflow.compiler.ir.dtypes import DType, bool_
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.maths import APART, expand_math, near_path


class Module:
    """What the functions of one module share: declarations, tables, and mathematical functions defined once.

    vector_bits: of the registers of the CPU; 512 stands for AVX-512, 256 for AVX2, 128 for any
    shared: the loops that stand in several kernels
    """

    def __init__(self, vector_bits: int = 128, shared: Mapping[Key, SharedLoop] | None = None) -> None:
        self.vector_bits = vector_bits
        self.shared = shared or {}
        self.declarations: dict[str, str] = {}
        self.tables: dict[str, str] = {}
        self.functions: dict[str, str] = {}

    def declare(self, name: str, text: str) -> None:
        self.declarations.setdefault(name, text)

    def table(self, text: str) -> str:
        """The name of a constant array."""
        return self.tables.setdefault(text, f"@table{len(self.tables)}")

    def math_function(self, fn: str, dtype: DType, lanes: int, arity: int) -> str | None:
        """The name of a function defined from its expression, or None where there is none for this dtype."""
        name = f"gf.{fn}.{dtype.code}.{lanes}"
        if name in self.functions:
            return name
        body = expand_math(fn, dtype)
        if body is None:
            return None
        args = [E.temp(f"a{k}", dtype) for k in range(arity)]
        em = Emitter(self)
        values = {a: Value(f"%a{k}", dtype, lanes) for k, a in enumerate(args)}
        near, far = near_path(fn, dtype), body(*args)
        if near is not None:
            em.branch_if_every(em.expression(near[0](*args), dict(values)), "near", "far")
            em.lines += [f"ret {em.expression(near[1](*args), dict(values))}", "far:"]
        result = None
        if fn in APART:
            self._define(f"{name}.far", Emitter(self), values, far, "noinline cold #0")
            given, t = ", ".join(map(str, values.values())), llvm_type(dtype, lanes)
            result = em.instruction(f"call {t} @{name}.far({given})", dtype, lanes)
        self._define(name, em, values, result or far, "#1")
        return name

    def _define(self, name: str, em: Emitter, args: dict[Expr, Value], result: Expr | Value,
                attributes: str) -> None:
        """A function that ends with a value, or that of an expression."""
        params, lanes = ", ".join(map(str, args.values())), max(v.lanes for v in args.values())
        value = result if isinstance(result, Value) else em.widen(em.expression(result, dict(args)), lanes)
        self.functions[name] = "\n".join([f"define internal {value.type} @{name}({params}) {attributes} {{",
                                          *em.lines, f"ret {value}", "}"])

    def text(self) -> str:
        tables = [f"{name} = private unnamed_addr constant {text}" for text, name in self.tables.items()]
        return "\n".join([*tables, *self.functions.values(), *self.declarations.values()])


class Emitter:
    """Appends instructions to `lines`; each gives a Value."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.lines: list[str] = []
        self._next = 0

    def fresh(self) -> str:
        self._next += 1
        return f"%v{self._next}"

    def raw(self, text: str) -> str:
        name = self.fresh()
        self.lines.append(f"{name} = {text}")
        return name

    def instruction(self, text: str, dtype: DType, lanes: int) -> Value:
        return Value(self.raw(text), dtype, lanes)

    def intrinsic(self, name: str, args: list[Value], dtype: DType, lanes: int = 0) -> Value:
        """A call of an intrinsic; of as many lanes as its first argument, unless told otherwise."""
        lanes = lanes or args[0].lanes
        result = llvm_type(dtype, lanes)
        self.module.declare(name, f"declare {result} @{name}({', '.join(a.type for a in args)})")
        return self.instruction(f"call {result} @{name}({', '.join(str(a) for a in args)})", dtype, lanes)

    def splat_number(self, number: float, dtype: DType, lanes: int) -> Value:
        return Value(splat_literal(number, dtype, lanes), dtype, lanes)

    def branch_if_every(self, condition: Value, then: str, otherwise: str) -> None:
        """To block `then` where the condition holds in every lane, else to `otherwise`; opens the first."""
        every = condition if condition.lanes == 1 else self.intrinsic(
            f"llvm.vector.reduce.and.v{condition.lanes}i1", [condition], bool_, 1)
        self.lines += [f"br {every}, label %{then}, label %{otherwise}", f"{then}:"]

    def widen(self, v: Value, lanes: int) -> Value:
        """A scalar copied to every lane."""
        if v.lanes == lanes:
            return v
        if v.is_literal:
            return Value(f"splat ({scalar_type(v.dtype)} {v.ref})", v.dtype, lanes)
        t = llvm_type(v.dtype, lanes)
        one = self.raw(f"insertelement {t} poison, {v}, i64 0")
        text = f"shufflevector {t} {one}, {t} poison, <{lanes} x i32> zeroinitializer"
        return self.instruction(text, v.dtype, lanes)

    def expression(self, root: Expr, values: dict[Expr, Value],
                   leaf: Callable[[Expr], Value] | None = None) -> Value:
        """The value of an expression; `values` holds what is known and takes what is new."""
        if root in values:
            return values[root]
        for n in E.walk(root):
            if n not in values:
                values[n] = self._node(n, values, leaf)
        return values[root]

    def _node(self, n: Expr, values: dict[Expr, Value], leaf: Callable[[Expr], Value] | None) -> Value:
        if n.op == "const":
            return Value(literal(n.attr.value, n.dtype), n.dtype)
        if n.op in ("load", "index", "temp", "checked_index", "checked"):
            assert leaf is not None, f"{n} in a function of numbers alone"
            return leaf(n)
        if n.op == "lookup":
            return emit_lookup(self, n.attr.value, values[n.args[0]], n.dtype)
        return self.call(n.op, [values[a] for a in n.args], n.dtype)

    def call(self, fn: str, args: list[Value], dtype: DType) -> Value:
        lanes = max(a.lanes for a in args)
        if fn == "div" and expand_math("quotient", dtype) and self._is_shared(args[1], lanes):
            return self._quotients(*args)
        args = [self.widen(a, lanes) for a in args]
        if fn == "cast":
            return emit_cast(self, args[0], dtype)
        if fn == "bitcast":
            return emit_bitcast(self, args[0], dtype)
        native = emit_in_registers(self, fn, args, dtype)
        if native is not None:
            return native
        name = self.module.math_function(fn, dtype, lanes, len(args)) if fn not in _DIRECT else None
        if name is not None:
            t = llvm_type(dtype, lanes)
            return self.instruction(f"call {t} @{name}({', '.join(str(a) for a in args)})", dtype, lanes)
        return EMIT[fn](self, args, dtype)

    @staticmethod
    def _is_shared(v: Value, lanes: int) -> bool:
        """Whether many lanes take one number that is not known here."""
        return v.lanes < lanes and not v.is_literal

    def _quotients(self, numbers: Value, divisor: Value) -> Value:
        """Many by one: a single division, which LLVM moves out of the loop."""
        inverse = self.call("div", [self.splat_number(1, divisor.dtype, 1), divisor], divisor.dtype)
        return self.call("quotient", [numbers, divisor, inverse], divisor.dtype)


_DIRECT = frozenset({"add", "sub", "mul", "div", "neg", "abs", "floordiv", "floormod", "min", "max", "fma",
                     "sqrt", "copysign", "floor", "ceil", "trunc", "rint",
                     "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "xor", "not", "shl", "shr", "mulhi",
                     "select"})
