"""Builder: loops, branches and index arithmetic for functions written by hand rather than from loop nests."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from graphflow.compiler.codegen.emitter import Emitter, Module
from graphflow.compiler.codegen.memory import MemoryOps
from graphflow.compiler.codegen.values import Value, llvm_type, scalar_type, splat_literal, suffix
from graphflow.compiler.ir.dtypes import DType, bool_, int64
from graphflow.compiler.loops.nest import LoopNest
from graphflow.compiler.loops.view import Steps

_FOLD = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "udiv": operator.floordiv,
         "urem": operator.mod}
_COMPARE = {"eq": operator.eq, "ne": operator.ne, "slt": operator.lt, "sle": operator.le, "sgt": operator.gt,
            "sge": operator.ge}


@dataclass
class Carried:
    """A loop's values: `now` in an iteration, `next` set by its body, `after` it is done."""

    index: str
    now: list[Value]
    next: list[Value] = field(default_factory=list)
    after: list[Value] = field(default_factory=list)


class Builder(MemoryOps):
    """Instructions of one function, for vectors of `width` lanes of one dtype."""

    def __init__(self, module: Module, dtype: DType, width: int, nest: LoopNest | None = None) -> None:
        super().__init__(Emitter(module), nest or LoopNest((), (), (), (), width))
        self.module = module
        self.dtype = dtype
        self.width = width
        self.scalar = scalar_type(dtype)
        self.vector = llvm_type(dtype, width)
        self.reserved: list[str] = []

    def function(self, name: str, params: Sequence[str], attributes: str = "#0") -> str:
        """The whole function; its lines are the body."""
        return "\n".join([f"define internal void @{name}({', '.join(params)}) {attributes} {{", "entry:",
                          *self.reserved, *self.em.lines, "ret void", "}"])

    def emit(self, line: str) -> None:
        self.em.lines.append(line)

    # Integers: decimal numbers are folded

    def _integer(self, op: str, a: str, b: str) -> str:
        if _number(a) and _number(b):
            return str(_FOLD[op](int(a), int(b)))
        if (op in ("add", "sub") and b == "0") or (op in ("mul", "udiv") and b == "1"):
            return a
        if (op == "add" and a == "0") or (op == "mul" and a == "1"):
            return b
        if (op == "mul" and "0" in (a, b)) or (op == "urem" and b == "1"):
            return "0"
        return self.em.raw(f"{op} i64 {a}, {b}")

    def add(self, a: str, b: str | int) -> str:
        return self._integer("add", a, str(b))

    def sub(self, a: str, b: str | int) -> str:
        return self._integer("sub", a, str(b))

    def mul(self, a: str, b: str | int) -> str:
        return self._integer("mul", a, str(b))

    def quotient(self, a: str, b: str | int) -> str:
        return self._integer("udiv", a, str(b))

    def remainder(self, a: str, b: str | int) -> str:
        return self._integer("urem", a, str(b))

    def ceil_div(self, a: str, b: int) -> str:
        return self.quotient(self.add(a, b - 1), b)

    def least(self, a: str, b: str | int) -> str:
        return self._extremum("smin", a, str(b), min)

    def most(self, a: str, b: str | int) -> str:
        return self._extremum("smax", a, str(b), max)

    def _extremum(self, name: str, a: str, b: str, fold: Callable[[int, int], int]) -> str:
        if a == b or (_number(a) and _number(b)):
            return str(fold(int(a), int(b))) if a != b else a
        return self.em.intrinsic(f"llvm.{name}.i64", [Value(a, int64), Value(b, int64)], int64).ref

    def pick(self, condition: str, a: str, b: str) -> str:
        if condition in ("true", "false"):
            return a if condition == "true" else b
        return self.em.raw(f"select i1 {condition}, i64 {a}, i64 {b}")

    def compare(self, code: str, a: str, b: str | int) -> str:
        if _number(a) and _number(str(b)):
            return "true" if _COMPARE[code](int(a), int(b)) else "false"
        return self.em.raw(f"icmp {code} i64 {a}, {b}")

    # Steps through memory

    def digits(self, run: str, steps: Steps) -> list[str]:
        """The digits of a run's number, outermost first."""
        found: list[str] = []
        for count in reversed(steps.counts):
            found.insert(0, self.remainder(run, count))
            run = self.quotient(run, count)
        return [run, *found] if steps.pitches else []

    def run_offset(self, run: str, steps: Steps) -> str:
        """Where a run begins."""
        total = "0"
        for digit, pitch in zip(self.digits(run, steps), steps.pitches, strict=True):
            total = self.add(total, self.mul(digit, pitch))
        return total

    # Control

    @contextmanager
    def loop(self, begin: str, end: str, step: int = 1, starts: Sequence[Value] = ()) -> Iterator[Carried]:
        """for index = begin, begin + step, ... < end; the body sets `next` of what it carries."""
        head, latch, done, before = self.label("loop"), self.label("latch"), self.label("done"), self.block
        certain = _number(begin) and _number(end) and int(begin) < int(end)
        if certain:
            self.emit(f"br label %{head}")
        else:
            self.emit(f"br i1 {self.compare('slt', begin, end)}, label %{head}, label %{done}")
        self.open(head)
        index, following = self.em.fresh(), self.em.fresh()
        state = Carried(index, [Value(self.em.fresh(), s.dtype, s.lanes) for s in starts])
        at = len(self.em.lines)
        yield state
        self.emit(f"br label %{latch}")
        self.open(latch)
        self.em.lines[at:at] = [f"{index} = phi i64 [{begin}, %{before}], [{following}, %{latch}]", *(
            f"{p.ref} = phi {p.type} [{s.ref}, %{before}], [{n.ref}, %{latch}]"
            for p, s, n in zip(state.now, starts, state.next, strict=True))]
        self.emit(f"{following} = add nuw nsw i64 {index}, {step}")
        self.emit(f"br i1 {self.compare('slt', following, end)}, label %{head}, label %{done}")
        self.open(done)
        skipped = [""] * len(starts) if certain else [f"[{s.ref}, %{before}], " for s in starts]
        state.after = [self.em.instruction(f"phi {n.type} {s}[{n.ref}, %{latch}]", n.dtype, n.lanes)
                       for s, n in zip(skipped, state.next, strict=True)]

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        then, done = self.label("then"), self.label("done")
        self.emit(f"br i1 {condition}, label %{then}, label %{done}")
        self.open(then)
        yield
        self.emit(f"br label %{done}")
        self.open(done)

    def replaced(self, condition: str, values: Sequence[Value],
                 new: Callable[[], list[Value]]) -> list[Value]:
        """What `new` gives where the condition holds, else the values."""
        before = self.block
        with self.when(condition):
            found = new()
            then = self.block
        return [self.em.instruction(f"phi {v.type} [{v.ref}, %{before}], [{f.ref}, %{then}]", v.dtype,
                                    v.lanes) for v, f in zip(values, found, strict=True)]

    # Memory

    def at(self, base: str, offset: str | int, dtype: DType | None = None) -> str:
        """The address of element `offset`."""
        if str(offset) == "0":
            return base
        return self.em.raw(f"getelementptr {scalar_type(dtype or self.dtype)}, ptr {base}, i64 {offset}")

    def fetch(self, address: str, lanes: int = 1, mask: Value | None = None,
              dtype: DType | None = None) -> Value:
        dtype = dtype or self.dtype
        t = llvm_type(dtype, lanes)
        if mask is None:
            return self.em.instruction(f"load {t}, ptr {address}, align {dtype.size}", dtype, lanes)
        name = f"llvm.masked.load.{suffix(dtype, lanes)}.p0"
        self.module.declare(name, f"declare {t} @{name}(ptr, i32, {mask.type}, {t})")
        return self.em.instruction(f"call {t} @{name}(ptr {address}, i32 {dtype.size}, {mask}, "
                                   f"{t} zeroinitializer)", dtype, lanes)

    def put(self, value: Value, address: str, mask: Value | None = None) -> None:
        if mask is None:
            self.emit(f"store {value}, ptr {address}, align {value.dtype.size}")
            return
        name = f"llvm.masked.store.{suffix(value.dtype, value.lanes)}.p0"
        self.module.declare(name, f"declare void @{name}({value.type}, ptr, i32, {mask.type})")
        self.emit(f"call void @{name}({value}, ptr {address}, i32 {value.dtype.size}, {mask})")

    def reserve(self, name: str, elements: int) -> None:
        """Memory on the stack, from the function's start on."""
        self.reserved.append(f"{name} = alloca {self.scalar}, i64 {elements}, align 64")

    def prefetch(self, address: str, to_write: bool = True) -> None:
        name = "llvm.prefetch.p0"
        self.module.declare(name, f"declare void @{name}(ptr, i32, i32, i32)")
        self.emit(f"call void @{name}(ptr {address}, i32 {int(to_write)}, i32 3, i32 1)")

    def zeros(self, count: int) -> list[Value]:
        return [Value(splat_literal(0, self.dtype, self.width), self.dtype, self.width)] * count

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a*b + c; rounded once where the CPU does so at full speed."""
        kind = "f32" if self.dtype.size == 4 else "f64"
        vector = f"v{a.lanes}{kind}" if a.lanes > 1 else kind
        return self.em.intrinsic(f"llvm.fmuladd.{vector}", [a, b, c], self.dtype)

    def first_lanes(self, count: str, lanes: int = 0) -> Value:
        """A mask of the first `count` lanes; none for a count below 1, all above the width (or so many)."""
        lanes = lanes or self.width
        if _number(count) and int(count) >= lanes:
            return Value("splat (i1 true)", bool_, lanes)
        if _number(count):
            bits = ", ".join(f"i1 {int(k < int(count))}" for k in range(lanes))
            return Value(f"<{bits}>", bool_, lanes)
        n = self.most(self.least(count, lanes), "0")
        wide = f"i{2 * lanes}" if lanes > 32 else "i64"
        if lanes > 32:
            n = self.em.raw(f"zext i64 {n} to {wide}")
        bits = self.em.raw(f"sub {wide} {self.em.raw(f'shl {wide} 1, {n}')}, 1")
        short = self.em.raw(f"trunc {wide} {bits} to i{lanes}")
        return self.em.instruction(f"bitcast i{lanes} {short} to <{lanes} x i1>", bool_, lanes)

    def unless_all(self, mask: Value) -> Value | None:
        return None if mask.ref.startswith("splat") else mask

    def call(self, name: str, arguments: Sequence[str]) -> None:
        self.emit(f"call void @{name}({', '.join(arguments)})")


def _number(ref: str) -> bool:
    return ref.lstrip("-").isdigit()
