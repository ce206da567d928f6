"""One loop nest as one LLVM function.

A vector loop runs whole vectors, then at most one masked iteration for the rest: lanes beyond the end
neither load, store nor count in a reduction. In it, a value that changes along the loop's axis has a lane
per iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphflow.compiler.codegen.emitter import Emitter, Module
from graphflow.compiler.codegen.frame import ERROR_CHECK, GEMM_F32, GEMM_F64
from graphflow.compiler.codegen.gemm.product import emit_product
from graphflow.compiler.codegen.halves import LEAST_ROUNDS, Halves, in_halves
from graphflow.compiler.codegen.interrupt import TRIPS_BETWEEN_LOOKS
from graphflow.compiler.codegen.memory import MemoryOps
from graphflow.compiler.codegen.scalar import add_unrounded, greater, less
from graphflow.compiler.codegen.shared import SharedLoop, key_of
from graphflow.compiler.codegen.values import Value, literal, llvm_type, splat_literal
from graphflow.compiler.ir.dtypes import bool_, int64
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.nest import (
    Accumulator,
    Let,
    Loop,
    LoopNest,
    Product,
    Stmt,
    Store,
    While,
    reduction_start,
    statements,
)

_OF_FLOATS = {"add": add_unrounded, "max": greater, "min": less}
SUM_BLOCK = 256  # iterations of a float sum before it is added to the total


def interruptible(trip: str, latch: str, head: str, done: str) -> list[str]:
    """The end of block `latch`: back to `head`, with a look for signals every so many trips, or to `done`."""
    return [f"{trip}.next = add i64 {trip}, 1", f"{trip}.low = and i64 {trip}, {TRIPS_BETWEEN_LOOKS - 1}",
            f"{trip}.some = icmp ne i64 {trip}.low, 0",
            f"br i1 {trip}.some, label %{latch}.again, label %{latch}.look, !prof !1", f"{latch}.look:",
            f"{trip}.stop = call i1 @interrupted(ptr %frame)",
            f"br i1 {trip}.stop, label %{done}, label %{latch}.again", f"{latch}.again:",
            f"br label %{head}"]


def emit_kernel(nest: LoopNest, name: str, module: Module) -> str:
    """`define internal void @name(ptr %frame, ptr %block)`; the block is the launch's part of the frame.

    A parallel kernel has two more arguments, `i64 %begin, i64 %end`: which iterations of its outermost
    loop to run.
    """
    return _KernelEmitter(nest, name, module).function()


def _function(name: str, params: str, lines: Sequence[str]) -> str:
    return "\n".join([f"define internal void @{name}({params}) #0 {{", "entry:", *lines, "ret void", "}"])


class _KernelEmitter(MemoryOps):
    def __init__(self, nest: LoopNest, name: str, module: Module) -> None:
        super().__init__(Emitter(module), nest)
        self.name = name
        self.outermost = nest.outermost if nest.parallel else None
        self.changes = any(isinstance(s, Loop) and s.ordered for s in statements(nest.body))

    def function(self) -> str:
        arguments = [*((f"%{p.name}", "ptr") for p in self.nest.params),
                     *((ref, "i64") for ref in self.symbols.values()), ("%check", "i64")]
        for k, (ref, kind) in enumerate(arguments):
            self.em.lines.append(f"{ref}.at = getelementptr i64, ptr %block, i64 {k}")
            self.em.lines.append(f"{ref} = load {kind}, ptr {ref}.at, align 8")
        if self.nest.parallel:
            self._number_of_part(len(arguments) + 1)
        self.body(self.nest.body)
        if self.streamed:  # before others are told that this part is done
            self.em.lines.append("fence seq_cst")
        signature = "ptr %frame, ptr %block" + (", i64 %begin, i64 %end" if self.nest.parallel else "")
        return _function(self.name, signature, self.em.lines)

    def _number_of_part(self, range_slot: int) -> None:
        """Parts are cut at multiples of their length, which follows the count in the block."""
        self.em.lines += [f"%part.at = getelementptr i64, ptr %block, i64 {range_slot + 1}",
                          "%part.length = load i64, ptr %part.at, align 8",
                          "%part = udiv i64 %begin, %part.length",
                          f"%done = getelementptr i64, ptr %block, i64 {range_slot + 2}"]

    # Statements

    def body(self, stmts: tuple[Stmt, ...]) -> None:
        for stmt in stmts:
            if self.changes:  # only what has a name is still what it was
                self.values = {e: v for e, v in self.values.items() if e.op == "temp"}
            if isinstance(stmt, Let):
                self.values[E.temp(stmt.name, stmt.value.dtype)] = self.expression(stmt.value)
            elif isinstance(stmt, Store):
                self.store(stmt)
            elif isinstance(stmt, Product):
                self.product(stmt)
            elif isinstance(stmt, While):
                self.repeat(stmt)
            else:
                known = self.em.module.shared
                shared = known.get(key_of(stmt, self.nest)) if known else None
                self.loop(stmt) if shared is None else self.shared_loop(shared)

    def loop(self, loop: Loop) -> None:
        if loop.vector and self.width > 1:
            self.vector_loop(loop)
        else:
            self.scalar_loop(loop)

    def shared_loop(self, shared: SharedLoop) -> None:
        """Call the function of a loop that other kernels have too; the first of them makes it."""
        module, nest = self.em.module, shared.nest
        if shared.name not in module.functions:
            module.functions[shared.name] = _KernelEmitter(nest, shared.name, module).loop_function(shared)
        numbers = [*(self.symbols[a] for a in nest.symbols), *(self.axes[a] for a in shared.outer)]
        arguments = [*(f"ptr %{p.name}" for p in nest.params),
                     *(f"i64 {n}" for n in (*numbers, self.part_number))]
        self.em.lines.append(f"call void @{shared.name}({', '.join(arguments)})")

    def loop_function(self, shared: SharedLoop) -> str:
        self.part_number, self.axes = "%part", {a: f"%outer{k}" for k, a in enumerate(shared.outer)}
        numbers = [*self.symbols.values(), *self.axes.values(), self.part_number]
        params = [*(f"ptr %{p.name}" for p in self.nest.params), *(f"i64 {n}" for n in numbers)]
        self.loop(shared.loop)
        return _function(self.name, ", ".join(params), self.em.lines)

    def iteration(self, loop: Loop, position: str, vector: bool) -> list[Value]:
        """One pass through the body; gives the accumulators' operands."""
        saved, outer = dict(self.values), self.axes
        self.axes = {**outer, loop.axis: position}
        if vector:
            self.vector_axis, self.vector_body, self.reaches = loop.axis, loop.body, None
        for n in loop.ahead if self.mask is None else ():
            self.fetch_lines(n)
        self.body(loop.body)
        values = [self.expression(a.value) for a in loop.accumulators]
        if vector:
            self.vector_axis = None
        self.values, self.axes = saved, outer
        return values

    # Loops

    def scalar_loop(self, loop: Loop) -> None:
        lanes = self.width if self.vector_axis is not None else 1  # in a vector loop, a sum per lane
        starts = [Value(self.start(a, lanes), a.value.dtype, lanes) for a in loop.accumulators]
        first, end = ("%begin", "%end") if loop is self.outermost else ("0", self.dim(loop.extent))
        self.bind(loop, self.iterations(loop, first, end, 1, starts, False))

    def vector_loop(self, loop: Loop) -> None:
        self.width *= loop.registers
        width, extent = self.width, loop.extent
        starts = [Value(self.start(a, width), a.value.dtype, width) for a in loop.accumulators]
        if loop is self.outermost:  # parts begin at multiples of the width
            values = self.vectors(loop, "%begin", "%end", starts)
        elif not isinstance(extent, int):
            values = self.vectors(loop, "0", self.dim(extent), starts)
        else:
            whole = extent // width * width
            values = self.whole_vectors(loop, "0", str(whole), starts) if whole else starts
            if whole != extent:
                values = self.tail(loop, str(whole), str(extent), values, True)
        self.bind(loop, [self.across_lanes(a, v) for a, v in zip(loop.accumulators, values, strict=True)])
        self.width = self.nest.width

    def vectors(self, loop: Loop, first: str, end: str, starts: list[Value]) -> list[Value]:
        """Whole vectors from `first` on, a multiple of the width, then what is left before `end`."""
        whole = self.em.raw(f"and i64 {end}, {-self.width}")
        values = self.whole_vectors(loop, first, whole, starts)
        return self.tail(loop, whole, end, values, False)

    def whole_vectors(self, loop: Loop, first: str, end: str, starts: list[Value]) -> list[Value]:
        halves = in_halves(loop, self.rounds(loop, end))
        if halves is None:
            return self.iterations(loop, first, end, self.width, starts, True)
        self.overlapped(loop, halves, first, end, self.width)
        return starts

    def rounds(self, loop: Loop, end: str) -> int:
        """At least how many iterations to expect of a vector loop from 0, or over a part of the outermost."""
        return int(end) // self.width if end.isdigit() else LEAST_ROUNDS if loop is self.outermost else 0

    def iterations(self, loop: Loop, first: str, end: str, step: int, starts: list[Value],
                   vector: bool) -> list[Value]:
        """From `first` to `end`; long float sums go in blocks, which keeps their rounding small."""
        def one(i: str, so_far: list[Value]) -> list[Value]:
            return self.combined(loop, so_far, self.iteration(loop, i, vector))

        def block(start: str, so_far: list[Value]) -> list[Value]:
            past = self.em.raw(f"add nuw nsw i64 {start}, {step * SUM_BLOCK}")
            sums = self.counted(start, self.lesser(past, end), step, starts, one)
            return self.combined(loop, so_far, sums)

        rounds = any(a.combine == "add" and a.value.dtype.is_floating for a in loop.accumulators)
        if rounds and not (end.isdigit() and int(end) <= step * SUM_BLOCK):
            return self.counted(first, end, step * SUM_BLOCK, starts, block)
        return self.counted(first, end, step, starts, one)

    def overlapped(self, loop: Loop, halves: Halves, first: str, end: str, step: int) -> None:
        """Iterations in halves; the last one runs the first half once more, for nothing."""
        em = self.em
        some, done = self.label("some"), self.label("done")
        em.lines.append(f"br i1 {em.raw(f'icmp sgt i64 {end}, {first}')}, label %{some}, label %{done}")
        self.open(some)
        last = em.raw(f"sub i64 {end}, {step}")

        def both(i: str, kept: list[Value]) -> list[Value]:
            following = self.lesser(em.raw(f"add nuw nsw i64 {i}, {step}"), last)
            new = self.iteration(halves.first, following, True)  # its loads come before the stores
            self.bind(halves.first, kept)
            self.second_half(loop, halves, i)
            return new

        self.counted(first, end, step, self.iteration(halves.first, first, True), both)
        em.lines.append(f"br label %{done}")
        self.open(done)

    def second_half(self, loop: Loop, halves: Halves, i: str) -> None:
        """And the stores; or instead the whole iteration, where a near path will not do."""
        self.bind(halves.second, self.iteration(halves.second, i, True))
        if halves.near is None:
            self.iteration(halves.stores, i, True)
            return
        near, anew, done = self.label("near"), self.label("anew"), self.label("done")
        computed = dict(self._computed)
        self.em.branch_if_every(self.values[E.temp(halves.near.name, bool_)], near, anew)
        self.iteration(halves.stores, i, True)
        self.em.lines.append(f"br label %{done}")
        self.open(anew, computed)
        self.iteration(loop, i, True)
        self.em.lines.append(f"br label %{done}")
        self.open(done, computed)

    def lesser(self, a: str, b: str) -> str:
        return self.em.intrinsic("llvm.smin.i64", [Value(a, int64), Value(b, int64)], int64).ref

    def combined(self, loop: Loop, so_far: list[Value], new: list[Value]) -> list[Value]:
        return [self.combine(a, p, v) for a, p, v in zip(loop.accumulators, so_far, new, strict=True)]

    def counted(self, first: str, end: str, step: int, starts: list[Value],
                body: Callable[[str, list[Value]], list[Value]]) -> list[Value]:
        """For i = first, first + step, ... < end: values = body(i, values); the last values."""
        em = self.em
        head, done = self.label("loop"), self.label("done")
        before, computed = self.block, self._computed
        guarded = not (first == "0" and end.isdigit() and end != "0")
        if guarded:
            enough = em.raw(f"icmp sgt i64 {end}, {first}")
            em.lines.append(f"br i1 {enough}, label %{head}, label %{done}")
        else:
            em.lines.append(f"br label %{head}")
        self.open(head, computed)
        i, following = em.fresh(), em.fresh()
        phis = [Value(em.fresh(), s.dtype, s.lanes) for s in starts]
        at = len(em.lines)
        new = body(i, phis)
        latch = self.block
        em.lines[at:at] = [f"{i} = phi i64 [{first}, %{before}], [{following}, %{latch}]", *(
            f"{p.ref} = phi {p.type} [{s.ref}, %{before}], [{n.ref}, %{latch}]"
            for p, s, n in zip(phis, starts, new, strict=True))]
        em.lines.append(f"{following} = add nuw nsw i64 {i}, {step}")
        more = em.raw(f"icmp slt i64 {following}, {end}")
        em.lines.append(f"br i1 {more}, label %{head}, label %{done}")
        self.open(done, computed)
        if not guarded:
            return [Value(em.raw(f"phi {n.type} [{n.ref}, %{latch}]"), n.dtype, n.lanes) for n in new]
        return [Value(em.raw(f"phi {n.type} [{s.ref}, %{before}], [{n.ref}, %{latch}]"), n.dtype, n.lanes)
                for s, n in zip(starts, new, strict=True)]

    def tail(self, loop: Loop, start: str, extent: str, before: list[Value], certain: bool) -> list[Value]:
        """The masked iteration for what does not fill a vector."""
        em = self.em
        rest, done, entry = self.label("rest"), self.label("done"), self.block
        if not certain:
            some = em.raw(f"icmp slt i64 {start}, {extent}")
            em.lines.append(f"br i1 {some}, label %{rest}, label %{done}")
            self.open(rest)
        self.mask = self.lanes_below(em.raw(f"sub i64 {extent}, {start}"))
        values = self.iteration(loop, start, True)
        new = []
        for a, b, v in zip(loop.accumulators, before, values, strict=True):
            c = self.combine(a, b, v)
            new.append(em.instruction(f"select {self.mask}, {c}, {b}", c.dtype, c.lanes))
        self.mask = None
        if certain:
            return new
        latch = self.block
        em.lines.append(f"br label %{done}")
        self.open(done)
        return [Value(em.raw(f"phi {n.type} [{b.ref}, %{entry}], [{n.ref}, %{latch}]"), n.dtype, n.lanes)
                for b, n in zip(before, new, strict=True)]

    def repeat(self, s: While) -> None:
        """Variables as phis; the test is at the top."""
        em = self.em
        starts = [self.expression(v.start) for v in s.variables]
        head, inside, done, before = self.label("test"), self.label("while"), self.label("done"), self.block
        em.lines.append(f"br label %{head}")
        self.open(head)
        phis = [Value(em.fresh(), v.dtype) for v in starts]
        at, saved = len(em.lines), dict(self.values)
        temps = [E.temp(v.name, v.start.dtype) for v in s.variables]
        saved.update(zip(temps, phis, strict=True))
        self.values.update(zip(temps, phis, strict=True))
        self.body(s.test)
        inner = any(isinstance(i, While) for i in statements((*s.test, *s.body)))
        go = self.both(self.expression(s.condition), self.no_error() if self.nest.checks or inner else None)
        em.lines.append(f"br {go}, label %{inside}, label %{done}")
        self.open(inside)
        self.body(s.body)
        following = [self.expression(v.following) for v in s.variables]
        trip, latch = em.fresh(), self.block
        em.lines[at:at] = [*(f"{p.ref} = phi {p.type} [{a.ref}, %{before}], [{b.ref}, %{latch}.again]"
                             for p, a, b in zip(phis, starts, following, strict=True)),
                           f"{trip} = phi i64 [1, %{before}], [{trip}.next, %{latch}.again]"]
        em.lines += interruptible(trip, latch, head, done)
        self.open(done)
        self.values = saved

    def no_error(self) -> Value:
        """Whether all went well so far: a loop ends at the first index out of range, and at an interrupt."""
        at = self.em.raw(f"getelementptr i64, ptr %frame, i64 {ERROR_CHECK}")
        return self.em.instruction(f"icmp eq i64 {self.em.raw(f'load i64, ptr {at}, align 8')}, 0", bool_, 1)

    # Accumulators

    def start(self, a: Accumulator, lanes: int) -> str:
        return splat_literal(reduction_start(a.combine, a.value.dtype).attr.value, a.value.dtype, lanes)

    def combine(self, a: Accumulator, so_far: Value, new: Value) -> Value:
        new = self.em.widen(new, so_far.lanes)
        if so_far.dtype.is_floating and a.combine in _OF_FLOATS:
            return _OF_FLOATS[a.combine](self.em, so_far, new)
        return self.em.call(a.combine, [so_far, new], so_far.dtype)

    def bind(self, loop: Loop, values: list[Value]) -> None:
        for a, v in zip(loop.accumulators, values, strict=True):
            self.values[E.temp(a.name, a.value.dtype)] = v

    def across_lanes(self, a: Accumulator, v: Value) -> Value:
        """Combine the lanes by halves: an order fixed by the width alone."""
        while v.lanes > 1:
            half = v.lanes // 2
            pick = [", ".join(f"i32 {k + part * half}" for k in range(half)) for part in (0, 1)]
            parts = [self.em.instruction(f"shufflevector {v}, {v.type} poison, <{half} x i32> <{p}>",
                                         v.dtype, half) for p in pick]
            parts = [self.unwrap(p) for p in parts]
            v = self.em.call(a.combine, parts, v.dtype)
        return v

    def unwrap(self, v: Value) -> Value:
        """A vector of one lane as a scalar."""
        if v.lanes != 1:
            return v
        t = f"<1 x {llvm_type(v.dtype)}>"
        return self.em.instruction(f"extractelement {t} {v.ref}, i64 0", v.dtype, 1)

    # Matrix products

    def product(self, p: Product) -> None:
        """A generated function, or cblas_?gemm(RowMajor, ...) through the pointer in the frame."""
        if p.blocking is not None:
            emit_product(self, p, self.key_of(p), p is self.outermost)
            return
        em = self.em
        kind = "float" if p.dtype.size == 4 else "double"
        slot = GEMM_F32 if p.dtype.size == 4 else GEMM_F64
        address = em.raw(f"load ptr, ptr {em.raw(f'getelementptr i64, ptr %frame, i64 {slot}')}, align 8")
        m, n, k = self.dim(p.m), self.dim(p.n), self.dim(p.k)
        a, b, c = (em.raw(f"getelementptr {kind}, ptr %{name}, i64 {self.dim(at)}") for name, at in (
            (p.a, p.a_offset), (p.b, p.b_offset), (p.out, p.out_offset)))
        lda, ldb = (m if p.transpose_a else k), (k if p.transpose_b else n)
        strides = [self.at_least_one(s) for s in (lda, ldb, n)]
        one, before = literal(1, p.dtype), literal(int(p.add), p.dtype)
        ta, tb = (112 if flag else 111 for flag in (p.transpose_a, p.transpose_b))  # as cblas.h numbers them
        em.lines.append(
            f"call void {address}(i32 101, i32 {ta}, i32 {tb}, "
            f"i64 {m}, i64 {n}, i64 {k}, {kind} {one}, ptr {a}, i64 {strides[0]}, ptr {b}, i64 {strides[1]}, "
            f"{kind} {before}, ptr {c}, i64 {strides[2]})")

    def key_of(self, p: Product) -> str:
        """A name for what becomes of a product's sums: the kernel's, with a number for each but the first."""
        others = (s for s in statements(self.nest.body) if isinstance(s, Product) and s.body)
        number = next((k for k, s in enumerate(others) if s is p), 0)
        return f"{self.name}.{number}" if number else self.name

    def at_least_one(self, ref: str) -> str:
        if ref.isdigit():
            return str(max(1, int(ref)))
        return self.em.intrinsic("llvm.smax.i64", [Value(ref, int64), Value("1", int64)], int64).ref

    # Masks

    def lanes_below(self, count: str) -> Value:
        """True for the first `count` lanes."""
        width = self.width
        limit = self.em.widen(Value(count, int64), width)
        text = f"icmp ult <{width} x i64> {self.lane_numbers(width)}, {limit.ref}"
        return self.em.instruction(text, bool_, width)
