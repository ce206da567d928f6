"""Loads, stores and index arithmetic of a kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from graphflow.compiler.codegen.emitter import Emitter
from graphflow.compiler.codegen.faults import REPORT
from graphflow.compiler.codegen.values import Value, literal, llvm_type, memory_type, suffix, vector_of
from graphflow.compiler.ir.dims import (
    RUN_TIME,
    Atom,
    Dim,
    Monomial,
    Poly,
    atoms_of,
    coefficient,
    is_nonnegative,
    substitute,
    terms_of,
)
from graphflow.compiler.ir.dtypes import DType, bool_, int64
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import LoopNest, Stmt, Store
from graphflow.compiler.loops.repeats import Repeats, Run, reaches, repeats_of

NOTHING: Mapping[object, str] = MappingProxyType({})
LINE = 64  # bytes of a cache line, and of the widest vector
_TRUNCATING = {"floordiv": "udiv", "mod": "urem"}       # where both sides are known not to be negative
_FLOORING = {"floordiv": "floordiv", "mod": "floormod"}  # the host's meaning; 0 for a divisor of 0


class MemoryOps:
    """The state of a kernel's emission: blocks, loop positions, known values; and what touches memory."""

    def __init__(self, em: Emitter, nest: LoopNest) -> None:
        self.em = em
        self.nest = nest
        self.block = "entry"
        self.axes: dict[Atom, str] = {}
        self.part_number = "%part" if nest.parallel else "0"
        self.vector_axis: Atom | None = None
        self.vector_body: tuple[Stmt, ...] = ()
        self.reaches: Mapping[Run, int] | None = None  # of the vector loop's loads, once it is asked for
        self.width = nest.width  # lanes of the vector loop
        self.mask: Value | None = None  # the lanes that count, in the last iteration of a vector loop
        self.values: dict[Expr, Value] = {}
        self.symbols = {a: f"%sym{k}" for k, a in enumerate(nest.symbols)}
        self.streamed = {p.name for p in nest.params if p.streamed}
        self._computed: dict[object, str] = {}  # index arithmetic that the present block can use
        self._labels = 0

    def label(self, prefix: str) -> str:
        self._labels += 1
        return f"{prefix}{self._labels}"

    def open(self, label: str, computed: Mapping[object, str] = NOTHING) -> None:
        """A new block, which follows those where all this was computed."""
        self.em.lines.append(f"{label}:")
        self.block = label
        self._computed = dict(computed)

    def expression(self, root: Expr) -> Value:
        return self.em.expression(root, self.values, self.leaf)

    def leaf(self, n: Expr) -> Value:
        if n.op == "load":
            return self.load(n)
        if n.op == "index":
            return self.position(n.attr)
        if n.op == "checked_index":
            return self.checked_index(n)
        if n.op == "checked":
            return self.checked(n)
        return self.values[n]

    # Index arithmetic

    def dim(self, d: Dim) -> str:
        """A dim or offset that is the same in every lane."""
        return self.position(d, base=True).ref

    def position(self, d: Dim, base: bool = False) -> Value:
        """An index: a lane per iteration where it follows the vector axis, unless only its base is wanted."""
        if not isinstance(d, Poly):
            return Value(str(d), int64)
        total: Value | None = None
        for mono, coef in sorted(d.terms.items(), key=lambda t: (not t[0], t[0])):
            term = self._monomial(mono, coef, base)
            total = term if total is None else self.arithmetic("add", total, term)
        assert total is not None
        return total

    def _monomial(self, mono: Monomial, coef: int, base: bool) -> Value:
        if not mono:
            return Value(str(coef), int64)
        product = self._atom(mono[0], base)
        for a in mono[1:]:
            product = self.arithmetic("mul", product, self._atom(a, base))
        return product if coef == 1 else self.arithmetic("mul", product, Value(str(coef), int64))

    def _atom(self, a: Atom, base: bool) -> Value:
        if a.kind in RUN_TIME:
            return Value(self.symbols[a], int64)
        if a.kind == "part":
            return Value(self.part_number, int64)
        if a.kind == "axis":
            here = Value(self.axes[a], int64)
            if base or a != self.vector_axis:
                return here
            width = self.width
            return self.arithmetic("add", here, Value(self.lane_numbers(width), int64, width))
        if a.kind == "value":
            found = next(v for e, v in self.values.items() if e.op == "temp" and e.attr == a.name)
            return found if found.dtype is int64 else self.em.call("cast", [found], int64)
        x, y = (self.position(p, base) for p in a.payload)
        if a.kind in ("min", "max"):
            return self.em.call(a.kind, [x, y], int64)
        if is_nonnegative(a.payload[0]) and isinstance(a.payload[1], int) and a.payload[1] > 0:
            return self.arithmetic(_TRUNCATING[a.kind], x, y)
        return self.em.call(_FLOORING[a.kind], [x, y], int64)

    def arithmetic(self, op: str, a: Value, b: Value) -> Value:
        lanes = max(a.lanes, b.lanes)
        a, b = self.em.widen(a, lanes), self.em.widen(b, lanes)
        text = f"{op} {a.type} {a.ref}, {b.ref}"
        if text not in self._computed:
            self._computed[text] = self.em.raw(text)
        return Value(self._computed[text], int64, lanes)

    @staticmethod
    def lane_numbers(width: int) -> str:
        return "<" + ", ".join(f"i64 {k}" for k in range(width)) + ">"

    # Access patterns

    def stride(self, offset: Dim) -> Dim | None:
        """Along the vector axis: 0, 1, another stride, or None where each lane needs its own offset."""
        if self.vector_axis is None:
            return 0
        for a in atoms_of(offset):
            if a.kind == "value" and self._atom(a, False).lanes > 1:
                return None
        return coefficient(offset, self.vector_axis)

    def address(self, buffer: str, dtype: DType, offset: str) -> str:
        return self.em.raw(f"getelementptr {memory_type(dtype)}, ptr %{buffer}, i64 {offset}")

    def element(self, buffer: str, dtype: DType, offset: Dim) -> str:
        """The address of an element, from a base that is common to all at constant distances.

        LLVM's loop passes take what is frozen as it is: rewriting each of many addresses in a loop would
        take longer than all else that LLVM does.
        """
        if not isinstance(offset, Poly):
            return self.address(buffer, dtype, str(offset))
        start, base = offset.terms.get((), 0), self._base(buffer, dtype, offset)
        return self.em.raw(f"getelementptr {memory_type(dtype)}, ptr {base}, i64 {start}") if start else base

    def _base(self, buffer: str, dtype: DType, offset: Poly) -> str:
        varying = Poly({mono: coef for mono, coef in offset.terms.items() if mono})
        computed = any(a.kind == "value" for a in atoms_of(varying))  # whose name may come to mean another
        key = buffer, varying, *((self.dim(varying),) if computed else self.axes.values())
        if key not in self._computed:
            self._computed[key] = self.em.raw(f"freeze ptr {self.address(buffer, dtype, self.dim(varying))}")
        return self._computed[key]

    def addresses(self, buffer: str, dtype: DType, offset: Dim) -> str:
        """A pointer per lane."""
        where = self.em.widen(self.position(offset), self.width)
        return self.em.raw(f"getelementptr {memory_type(dtype)}, ptr %{buffer}, {where}")

    def both(self, a: Value | None, b: Value | None) -> Value | None:
        if a is None or b is None:
            return a or b
        lanes = max(a.lanes, b.lanes)
        a, b = self.em.widen(a, lanes), self.em.widen(b, lanes)
        return self.em.instruction(f"and {a.type} {a.ref}, {b.ref}", bool_, lanes)

    # Loads

    def load(self, n: Expr) -> Value:
        buffer, offset = n.attr
        mask = self.expression(n.args[0]) if n.args else None
        stride = self.stride(offset)
        if stride == 0 and (mask is None or mask.lanes == 1):
            return self.load_one(buffer, n.dtype, offset, mask)
        repeats = None if stride == 1 else self.repeats(offset, mask)
        if repeats is not None:
            return self.load_repeats(n, repeats, mask)
        lanes = self.both(mask, self.mask)
        if stride == 1:
            found = self.element(buffer, n.dtype, offset)
            loaded = self.load_vector(self.within(buffer, found, n.args), n.dtype, lanes)
        else:
            loaded = self.gather(self.addresses(buffer, n.dtype, offset), n.dtype, lanes)
        return self.from_memory(loaded, n.dtype, self.width)

    def repeats(self, offset: Dim, mask: Value | None) -> Repeats | None:
        """How lanes repeat elements that lie close together, if tests leave out all of them or none."""
        if self.vector_axis is None or (mask is not None and mask.lanes > 1):
            return None
        known = all(self._atom(a, True).lanes == 1 for a in atoms_of(offset) if a.kind == "value")
        return repeats_of(offset, self.vector_axis, self.width) if known else None

    def load_repeats(self, n: Expr, r: Repeats, mask: Value | None) -> Value:
        """All elements that the lanes share at once, then a lane's where it belongs."""
        buffer, picks = n.attr[0], r.picks(self.width)
        address = self.within(buffer, self.element(buffer, n.dtype, r.start), n.args)
        if self.reaches is None:
            self.reaches = reaches(self.vector_body, r.along, self.width)
        last = self.reaches.get(r.run(n), picks[-1])
        count = 2 << max(last, 1).bit_length() - 1
        there = None if last + 1 == count else self.some_lanes([k <= last for k in range(count)])
        if self.mask is not None:
            there = self.picked(self.mask, [r.first_lane(k, self.width) for k in range(count)])
        loaded = self.load_vector(address, n.dtype, self.both(mask, there), count)
        return self.picked(self.from_memory(loaded, n.dtype, count), picks)

    @staticmethod
    def some_lanes(chosen: Sequence[bool]) -> Value:
        return Value(f"<{', '.join(f'i1 {int(c)}' for c in chosen)}>", bool_, len(chosen))

    def picked(self, v: Value, lanes: Sequence[int]) -> Value:
        """Some lanes of a vector; its number of them stands for 0."""
        order = ", ".join(f"i32 {k}" for k in lanes)
        text = f"shufflevector {v}, {v.type} zeroinitializer, <{len(lanes)} x i32> <{order}>"
        return self.em.instruction(text, v.dtype, len(lanes))

    def within(self, buffer: str, address: str, masks: Sequence[Expr]) -> str:
        """The address of a vector; the buffer's own where tests that all lanes share leave out all of it.

        What lies before and behind a buffer may be no memory: a processor that finds this out while it loads
        nothing from there takes as long as for a hundred loads.
        """
        tests, shared = list(masks), None
        while tests:
            test = tests.pop()
            value = self.expression(test)
            if value.lanes == 1:
                shared = self.both(shared, value)
            elif test.op == "and":
                tests += test.args
        return self.em.raw(f"select i1 {shared.ref}, ptr {address}, ptr %{buffer}") if shared else address

    def load_one(self, buffer: str, dtype: DType, offset: Dim, mask: Value | None) -> Value:
        em, kind = self.em, memory_type(dtype)
        if mask is None:
            address = self.element(buffer, dtype, offset)
            return self.from_memory(em.raw(f"load {kind}, ptr {address}, align {dtype.size}"), dtype, 1)
        take, done, before = self.label("take"), self.label("taken"), self.block
        em.lines.append(f"br i1 {mask.ref}, label %{take}, label %{done}")
        self.open(take)
        found = em.raw(f"load {kind}, ptr {self.element(buffer, dtype, offset)}, align {dtype.size}")
        em.lines.append(f"br label %{done}")
        self.open(done)
        zero = "0" if kind.startswith("i") else literal(0, dtype)
        return self.from_memory(em.raw(f"phi {kind} [{zero}, %{before}], [{found}, %{take}]"), dtype, 1)

    def load_vector(self, address: str, dtype: DType, mask: Value | None, lanes: int = 0) -> str:
        lanes = lanes or self.width
        t = vector_of(memory_type(dtype), lanes)
        if mask is None:
            return self.em.raw(f"load {t}, ptr {address}, align {dtype.size}")
        m, name = self.em.widen(mask, lanes), f"llvm.masked.load.{self.tag(dtype, lanes)}.p0"
        self.em.module.declare(name, f"declare {t} @{name}(ptr, i32, {m.type}, {t})")
        return self.em.raw(f"call {t} @{name}(ptr {address}, i32 {dtype.size}, {m}, {t} zeroinitializer)")

    def gather(self, addresses: str, dtype: DType, mask: Value | None) -> str:
        width = self.width
        t, pointers, name = self.pointer_types(dtype, "gather")
        m = self.em.widen(mask or Value("true", bool_), width)
        self.em.module.declare(name, f"declare {t} @{name}({pointers}, i32, {m.type}, {t})")
        return self.em.raw(f"call {t} @{name}({pointers} {addresses}, i32 {dtype.size}, {m}, "
                           f"{t} zeroinitializer)")

    def fetch_lines(self, n: Expr) -> None:
        """Have the lines of a vector brought into the core's own cache."""
        buffer, offset = n.attr
        first = self.element(buffer, n.dtype, offset)
        self.em.module.declare("prefetch", "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        for k in range(0, self.width * n.dtype.size, LINE):
            line = self.em.raw(f"getelementptr i8, ptr {first}, i64 {k}")
            self.em.lines.append(f"call void @llvm.prefetch.p0(ptr {line}, i32 0, i32 2, i32 1)")

    def pointer_types(self, dtype: DType, what: str) -> tuple[str, str, str]:
        width = self.width
        return (vector_of(memory_type(dtype), width), f"<{width} x ptr>",
                f"llvm.masked.{what}.{self.tag(dtype)}.v{width}p0")

    def tag(self, dtype: DType, lanes: int = 0) -> str:
        lanes = lanes or self.width
        return f"v{lanes}i8" if dtype.is_bool else suffix(dtype, lanes)

    def from_memory(self, ref: str, dtype: DType, lanes: int) -> Value:
        if not dtype.is_bool:
            return Value(ref, dtype, lanes)
        text = f"trunc {vector_of('i8', lanes)} {ref} to {llvm_type(dtype, lanes)}"
        return self.em.instruction(text, dtype, lanes)

    def to_memory(self, v: Value) -> str:
        """The value with its type, as stored."""
        if not v.dtype.is_bool:
            return str(v)
        t = vector_of("i8", v.lanes)
        return f"{t} {self.em.raw(f'zext {v} to {t}')}"

    # Stores

    def store(self, s: Store) -> None:
        value = self.expression(s.value)
        stride = self.stride(s.offset)
        if stride == 0:
            assert value.lanes == 1, f"a vector is stored to one place: {s}"
            self.store_one(s, value)
            return
        value = self.em.widen(value, self.width)
        if stride != 1:
            self.scatter(s, value)
            return
        address = self.element(s.buffer, value.dtype, s.offset)
        if s.add:
            loaded = self.load_vector(address, value.dtype, self.mask)
            before = self.from_memory(loaded, value.dtype, value.lanes)
            value = self.em.call("add", [before, value], value.dtype)
        if self.mask is None and self.past_cache(s):
            stored = self.to_memory(value)
            self.em.lines.append(f"store {stored}, ptr {address}, align {LINE}, !nontemporal !2")
        else:
            self.store_vector(value, address)

    def past_cache(self, s: Store) -> bool:
        """Whether a store is of whole cache lines, for a buffer that is not to stay in the cache."""
        size = s.value.dtype.size
        along = {a: 0 for a in (self.vector_axis,) if a is not None}  # it moves by whole vectors
        steps = [coef * size for _, coef in terms_of(substitute(s.offset, along))]
        return (s.buffer in self.streamed and self.width * size % LINE == 0
                and all(step % LINE == 0 for step in steps))

    def store_one(self, s: Store, value: Value) -> None:
        address = self.element(s.buffer, value.dtype, s.offset)
        if s.add:
            kind = memory_type(value.dtype)
            before = self.from_memory(self.em.raw(f"load {kind}, ptr {address}, align {value.dtype.size}"),
                                      value.dtype, 1)
            value = self.em.call("add", [before, value], value.dtype)
        self.em.lines.append(f"store {self.to_memory(value)}, ptr {address}, align {value.dtype.size}")

    def store_vector(self, value: Value, address: str) -> None:
        stored, size = self.to_memory(value), value.dtype.size
        if self.mask is None:
            self.em.lines.append(f"store {stored}, ptr {address}, align {size}")
            return
        t = vector_of(memory_type(value.dtype), value.lanes)
        name = f"llvm.masked.store.{self.tag(value.dtype)}.p0"
        self.em.module.declare(name, f"declare void @{name}({t}, ptr, i32, {self.mask.type})")
        self.em.lines.append(f"call void @{name}({stored}, ptr {address}, i32 {size}, {self.mask})")

    def scatter(self, s: Store, value: Value) -> None:
        assert not s.add, f"lanes may meet in one element: {s}"
        stored = self.to_memory(value)
        t, pointers, name = self.pointer_types(value.dtype, "scatter")
        m = self.em.widen(self.mask or Value("true", bool_), self.width)
        where = self.addresses(s.buffer, value.dtype, s.offset)
        self.em.module.declare(name, f"declare void @{name}({t}, {pointers}, i32, {m.type})")
        self.em.lines.append(f"call void @{name}({stored}, {pointers} {where}, i32 {value.dtype.size}, {m})")

    # Checks

    def checked_index(self, n: Expr) -> Value:
        """The index, or 0 where it is out of range; then the frame says which check failed, and on what."""
        em, (extent, where) = self.em, n.attr
        value = self.expression(n.args[0])
        limit = em.widen(Value(self.dim(extent), int64), value.lanes)
        bad = em.instruction(f"icmp uge {value.type} {value.ref}, {limit.ref}", bool_, value.lanes)
        counted = self.both(bad, self.mask if value.lanes > 1 else None)
        assert counted is not None
        zero = em.splat_number(0, int64, value.lanes)
        self._report(counted, em.instruction(f"select {counted}, {value}, {zero}", int64, value.lanes),
                     self.nest.checks.index(where), limit)
        return em.instruction(f"select {bad}, {zero}, {value}", int64, value.lanes)

    def checked(self, n: Expr) -> Value:
        """A value whose condition is reported where it does not hold."""
        value, holds = (self.expression(a) for a in n.args)
        true = self.em.splat_number(1, bool_, holds.lanes)
        bad = self.em.instruction(f"xor {holds.type} {holds.ref}, {true.ref}", bool_, holds.lanes)
        counted = self.both(bad, self.mask if holds.lanes > 1 else None)
        assert counted is not None
        self._report(counted, self.em.splat_number(0, int64, counted.lanes), self.nest.checks.index(n.attr),
                     Value("-1", int64))
        return value

    def place_of_fault(self) -> str:
        """A number that is lower for what comes first of all that runs at the same time."""
        return "%begin" if self.nest.parallel else "0"

    def _report(self, bad: Value, index: Value, check: int, limit: Value) -> None:
        """Tell of the first lane that is bad, if one is."""
        em, lanes, some = self.em, bad.lanes, bad.ref
        fail, go = self.label("fail"), self.label("go")
        if lanes > 1:
            full = f"llvm.vector.reduce.or.v{lanes}i1"
            em.module.declare(full, f"declare i1 @{full}({bad.type})")
            some = em.raw(f"call i1 @{full}({bad})")
        em.lines.append(f"br i1 {some}, label %{fail}, label %{go}, !prof !0")
        self.open(fail)
        if lanes > 1:
            em.module.declare(f"cttz{lanes}", f"declare i{lanes} @llvm.cttz.i{lanes}(i{lanes}, i1)")
            bits = em.raw(f"bitcast {bad} to i{lanes}")
            lane = em.raw(f"call i{lanes} @llvm.cttz.i{lanes}(i{lanes} {bits}, i1 true)")
            index = em.instruction(f"extractelement {index}, i{lanes} {lane}", int64, 1)
        one = limit.ref if limit.lanes == 1 else em.raw(f"extractelement {limit}, i64 0")
        em.module.declare("report", REPORT)
        part, code = self.place_of_fault(), em.raw(f"add i64 %check, {check + 1}")
        em.lines += [f"call void @report(ptr %frame, i64 {part}, i64 {code}, i64 {index.ref}, i64 {one})",
                     f"br label %{go}"]
        self.open(go)
