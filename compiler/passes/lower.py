"""lower: each group of operations becomes one loop nest, producers' expressions standing in for loads."""

from __future__ import annotations

from collections.abc import Callable

from graphflow.compiler.ir.dims import (
    Atom,
    Dim,
    atoms_of,
    axis,
    extent_of,
    minimum,
    only_atom,
    product,
    single_atom,
)
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.regions import subgraphs
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, Index, dims_of
from graphflow.compiler.loops.forms import Banded, BlockSum, Contraction, Form, Load, Piece
from graphflow.compiler.loops.nest import (
    MOST_PARTS,
    Accumulator,
    Let,
    Loop,
    Stmt,
    Store,
    nested,
    reduction_start,
)
from graphflow.compiler.loops.substitute import substitute_stmt
from graphflow.compiler.ops.blocks import block_count
from graphflow.compiler.ops.control import while_loop
from graphflow.compiler.passes.band import band
from graphflow.compiler.passes.block import block
from graphflow.compiler.passes.fuse import fuse
from graphflow.compiler.passes.group import Group, Grouping
from graphflow.compiler.passes.images import Images, Run, runs_of
from graphflow.compiler.passes.launch import Block, Launch, Memory, Region, Step, linear
from graphflow.compiler.passes.lower_product import product_nest
from graphflow.compiler.passes.lower_special import lower_row, lower_scatter
from graphflow.compiler.passes.lower_steps import banded, lower_serial
from graphflow.compiler.passes.lower_while import lower_while
from graphflow.compiler.passes.stages import Stages
from graphflow.compiler.target import ANY, Target


def lower(grouping: Grouping, target: Target = ANY) -> list[Step]:
    """One launch per group, in order; a loop's or conditional's subgraphs are fused and lowered here too.

    Example:  group over i < n: %1 = mul(x, 2.0) ; %2 = add(%1, 1.0), %2 stored
    -->       kernel(p0: f32, p1: out f32, n)
                for i0 < n:
                  t0 = mul(p0[i0], 2.0)
                  t1 = add(t0, 1.0)
                  p1[i0] = t1
    """
    runs = {run.groups[0]: run for run in runs_of(grouping, target)}
    inside = {group for run in runs.values() for group in run.groups[1:]}
    return [_lower_run(grouping, runs[group], target) if group in runs else
            _BY_KIND[group.kind](Memory(grouping, target), group)
            for group in grouping.groups if group not in inside]


def kernels(grouping: Grouping, target: Target) -> list[Step]:
    """What computes all groups, each kernel as it is to run but for the order of its loops."""
    return block(band(lower(grouping, target), grouping, target), grouping, target)


def _lower_loop(memory: Memory, group: Group) -> Step:
    return _LoopBuilder(memory, group).build()


def _lower_product(memory: Memory, group: Group) -> Step:
    """A matrix product with what follows it on its sums, in place of the loops over its elements."""
    if len(group.members) == 1:
        (t,) = group.members
        return memory.launch(_product(memory, t), (t,), "product")
    builder = _LoopBuilder(memory, group)
    body = _product(memory, *builder.contraction(), builder.following)
    return memory.launch(body, tuple(builder.stages.order), "product")


def _product(memory: Memory, t: Tensor, at: Index = (),
             following: Callable[[], tuple[Stmt, ...]] = tuple) -> list[Stmt]:
    if isinstance(t.op.opdef.lower, Banded):
        return banded(memory, t, at, following)
    return product_nest(memory, t, at, following())


def _lower_run(grouping: Grouping, run: Run, target: Target) -> Launch:
    """Kernels over the same images, as one that takes each image through all of them."""
    images = Images(grouping, run, target)
    for group in run.groups:
        if group.kind == "loop":
            images.add_loops(group, _LoopBuilder(images.memory, group).loops())
        elif group.outer:
            images.add_product(group, *_LoopBuilder(images.memory, group).sums())
        else:
            images.add_alone(group)
    return images.launch()


def _lower_region(memory: Memory, group: Group) -> Step:
    kernel = lower_while(memory, group)
    if kernel is not None:
        return kernel
    grouping, op = memory.grouping, next(iter(group.members)).op
    blocks = []
    for graph in subgraphs(op):
        inner = fuse(graph)
        inner.settled = _settled_inside(grouping, op, inner.graph.inputs)
        steps = _rows_first(kernels(inner, memory.target))
        blocks.append(Block(tuple(inner.graph.inputs), tuple(inner.graph.outputs), tuple(steps)))
    return Region(op, tuple(grouping.memory_of(t) for t in op.operands), tuple(blocks))


def _settled_inside(grouping: Grouping, op: Operation, inputs: list[Tensor]) -> dict[Tensor, Tensor] | None:
    """Of a subgraph's inputs, those that it captures and that are the same in every run."""
    settled = grouping.settled
    if settled is None:
        return None
    operands = op.operands[len(op.operands) - len(inputs):]
    changing = op.count if op.opdef is while_loop else 0
    memory = [grouping.memory_of(t) for t in operands[changing:]]
    return {inner: settled[t] for inner, t in zip(inputs[changing:], memory, strict=True) if t in settled}


def _rows_first(steps: list[Step]) -> list[Step]:
    """Stores of rows as early as what they read is there: a loop's variable can change once it is saved."""
    order: list[Step] = []
    made_at: dict[object, int] = {}
    for step in steps:
        at = len(order)
        if isinstance(step, Launch) and step.kind == "row":
            reads = [t for t in (*step.arguments, *(old for old, _ in step.starts)) if t not in step.written]
            at = max((made_at.get(t, -1) + 1 for t in reads), default=0)
        order.insert(at, step)
        made = step.written if isinstance(step, Launch) else step.op.outputs
        made_at = {t: k + (k >= at) for t, k in made_at.items()} | dict.fromkeys(made, at)
    return order


class _LoopBuilder:
    """Builds the nest of a group: loops over the outer axes, in them a loop over the inner axes per stage."""

    def __init__(self, memory: Memory, group: Group) -> None:
        self.memory = memory
        self.grouping = memory.grouping
        self.group = group
        self.stages = Stages(memory.grouping, group)
        self.outer = [single_atom(a) for a in group.outer]
        self.inner = [single_atom(a) for a in group.inner or []]
        self.outer_levels: list[list[Stmt]] = [[] for _ in range(len(self.outer) + 1)]
        self.inner_levels: list[list[Stmt]] = []
        self.values: dict[tuple[Tensor, Index], Expr] = {}
        self.depends: dict[str, frozenset[Atom]] = {}
        self.scratch: dict[Tensor, Piece] = {}
        self.next_temp = 0

    def build(self) -> Launch:
        return self.memory.launch(self._in_blocks(self.loops()), tuple(self.stages.order),
                                  "reduce" if self.inner else "map")

    def loops(self) -> list[Stmt]:
        """The nest of the group."""
        self._compute_rows(-1)
        for stage in range(self.stages.count):
            self._compute_stage(stage)
            self._compute_rows(stage)
        return self._nested(self.outer_levels, self.outer)

    def sums(self) -> tuple[Tensor, Index, tuple[Stmt, ...]]:
        """The product, the index of a sum, and what follows on it."""
        return *self.contraction(), self.following()

    def contraction(self) -> tuple[Tensor, Index]:
        """The product and the index of a sum, whose value is there from now on."""
        t, at = next((t, at) for t, at in self.group.members.items()
                     if isinstance(t.op.opdef.lower, Contraction))
        self.values[t, at] = E.temp("sum", t.dtype)
        self.depends["sum"] = frozenset(a for a in self.outer if a)
        return t, at

    def following(self) -> tuple[Stmt, ...]:
        """What becomes of a sum."""
        self._compute_rows(-1)
        return tuple(s for level in self.outer_levels for s in level)

    # Blocks

    def _in_blocks(self, body: list[Stmt]) -> list[Stmt]:
        """The outermost loop cut into blocks, at whose start block sums are 0; the same where there are none.

        Example:  for i < 100: p[i // 64, j] += x[i, j], for each j
        -->       for b < 2: p[b, j] = 0 for each j; for i < min(64, 100-64*b): p[b, j] += x[64*b+i, j]
        """
        blocks = self.group.blocks
        if blocks is None:
            return body
        block, (row, length) = self._block(), blocks
        sums = [t for t in self.stages.order if isinstance(t.op.opdef.lower, BlockSum)]
        clear = [s for t in sums for s in self._clear(t, block)]
        if block == 0:
            return [*clear, *body]
        at, rows = only_atom(row), extent_of(row)
        even = isinstance(rows, int) and rows % length == 0
        inside = axis(at.name, length if even else minimum(rows - block * length, length))
        values = {at: block * length + inside}
        loops = [self._recut(s, at, inside, values) for s in body]
        return [Loop(only_atom(block), extent_of(block), (*clear, *loops))]

    def _recut(self, stmt: Stmt, row: Atom, inside: Dim, values: dict[Atom, Dim]) -> Stmt:
        if not (isinstance(stmt, Loop) and stmt.axis == row):
            return stmt
        new = only_atom(inside)
        return Loop(new, new.payload[0], tuple(substitute_stmt(s, values) for s in stmt.body))

    def _block(self) -> Dim:
        """The number of the block: 0 where there is one alone."""
        assert self.group.blocks is not None
        row, length = self.group.blocks
        rows = 1 if row == 0 else extent_of(row)
        count = block_count(rows, length)
        return 0 if count == 1 else axis("b", count)

    def _clear(self, t: Tensor, block: Dim) -> list[Stmt]:
        size = product(t.type.known_dims[1:])
        z = 0 if size == 1 else axis("z", size)
        store = Store(self.memory.name(t, write=True), block * size + z, E.const(0, t.dtype))
        return nested([store], (z,))

    # Stages

    def _compute_rows(self, stage: int) -> None:
        """What is known once the loop of this stage is done; -1 is before the first."""
        ready = [t for t in self.stages.order if self.stages.is_row(t, stage)]
        for t in ready:
            self._value(t, self.group.members[t])
        for t in ready:
            self._store(t)
        for t in self.stages.order:
            if self.stages.is_reduced(t, stage):
                self._store(t)

    def _compute_stage(self, stage: int) -> None:
        """One loop over the inner axes: its values, what it stores, and what it reduces."""
        plan = self.stages.plan(stage, self.scratch)
        self.inner_levels = [[] for _ in range(len(self.inner) + 1)]
        for t in plan.computed:
            self._value(t, self.group.members[t])
        for t in plan.stored:
            self._store(t)
        for t in plan.spilled:
            self._spill(t)
        reduced = {t: self._reduced_element(t) for t in plan.reduced}
        self.values = {k: v for k, v in self.values.items() if not self._depends_on_inner(v)}
        self._close_loops(reduced)

    def _reduced_element(self, t: Tensor) -> Expr:
        form = t.op.opdef.lower
        inner = self.group.reduced_indices(form, t.op)
        at = form.source_index(t.op, self.group.members[t], inner)
        return self._element(t.op.operands[0], at)

    def _close_loops(self, reduced: dict[Tensor, Expr]) -> None:
        """Wrap the inner levels in their loops, carrying each reduction outward."""
        names = {t: self._fresh("r") for t in reduced}
        accumulators = [Accumulator(f"{names[t]}_{len(self.inner)}", t.op.opdef.lower.combine, e)
                        for t, e in reduced.items()]
        body = self.inner_levels[-1]
        for depth in range(len(self.inner) - 1, -1, -1):
            axis = self.inner[depth]
            assert axis is not None
            loop = Loop(axis, axis.payload[0], tuple(body), tuple(accumulators))
            body = [*self.inner_levels[depth], loop]
            accumulators = [Accumulator(f"{names[t]}_{depth}", a.combine, E.temp(a.name, a.value.dtype))
                            for t, a in zip(reduced, accumulators, strict=True)]
        self.outer_levels[-1] += body
        for t, a in zip(reduced, accumulators, strict=True):
            start = reduction_start(t.op.opdef.lower.combine, t.dtype)
            value = E.temp(a.value.attr, t.dtype) if self.inner else E.call(a.combine, start, reduced[t])
            self.depends[str(a.value.attr)] = frozenset(x for x in self.outer if x)
            self.values[t, self.group.members[t]] = value

    # Values

    def _value(self, t: Tensor, at: Index) -> Expr:
        """The value of a member at its index, named by a Let at the outermost level where it is known."""
        found = self.values.get((t, at))
        if found is None:
            form: Form = t.op.opdef.lower
            found = self.values[t, at] = self._let(form.value(t.op, at, self._loader(t, None), self._let))
        return found

    def _element(self, t: Tensor, at: Index, mask: Expr | None = None) -> Expr:
        """Any tensor's element: a value at hand, a load, or one computed from its operands' elements."""
        if mask is None and (t, at) in self.values:
            return self.values[t, at]
        if t in self.group.members and mask is None:
            if t in self.scratch:
                return E.load(*self.scratch[t], t.dtype)
            return self._value(t, at)
        if t in self.grouping.stored or t in self.grouping.aliases or not _has_form(t):
            return self.memory.load(t, at, mask)
        form: Form = t.op.opdef.lower
        value = form.value(t.op, at, self._loader(t, mask), self._let)
        if mask is not None or form.cheap:
            return value
        self.values[t, at] = named = self._let(value)
        return named

    def _loader(self, t: Tensor, outer_mask: Expr | None) -> Load:
        def load(k: int, index: Index, mask: Expr | None = None) -> Expr:
            return self._element(t.op.operands[k], index, E.both(outer_mask, mask))
        return load

    def _let(self, value: Expr) -> Expr:
        if value.op in ("const", "temp"):
            return value
        name = self._fresh("t")
        self.depends[name] = axes = self._axes_of(value)
        self._level(axes).append(Let(name, value))
        return E.temp(name, value.dtype)

    def _store(self, t: Tensor) -> None:
        if isinstance(t.op.opdef.lower, BlockSum):
            self._add_to_block(t)
        elif t in self.grouping.stored:
            at = self.group.members[t]
            value = self.values[t, at]
            buffer, offset = self.memory.place(t, at)
            axes = frozenset(a for a in atoms_of(offset) if a.kind == "axis") | self._axes_of(value)
            self._level(axes).append(Store(buffer, offset, value))

    def _add_to_block(self, t: Tensor) -> None:
        """Once per element of the operand, be its value the same for some."""
        at = self.group.members[t]
        offset = linear((self._block(), *at[t.op.leading:]), t.type.known_dims)
        axes = frozenset(a for d in at for a in atoms_of(d))
        self._level(axes).append(Store(self.memory.name(t, write=True), offset, self.values[t, at], add=True))

    def _spill(self, t: Tensor) -> None:
        """Keep a costly value for later stages: a row at a time where rows lie together, else all of it."""
        axes, rooms = self.group.axes, 1
        if self.group.inner and axes[-1] in self.group.inner:
            axes, rooms = self.group.inner, MOST_PARTS
        extents = tuple(extent_of(a) for a in axes)
        name, start = self.memory.room(t.dtype, product(extents), rooms)
        self.scratch[t] = name, start + linear(tuple(axes), extents)
        self.inner_levels[-1].append(Store(*self.scratch[t], self.values[t, self.group.members[t]]))

    def _fresh(self, prefix: str) -> str:
        self.next_temp += 1
        return f"{prefix}{self.next_temp}"

    # Levels

    def _axes_of(self, value: Expr) -> frozenset[Atom]:
        found: set[Atom] = set()
        for n in E.walk(value):
            if n.op == "temp":
                found |= self.depends[n.attr]
            for d in dims_of(n):
                for a in atoms_of(d):
                    if a.kind == "axis":
                        found.add(a)
                    elif a.kind == "value":
                        found |= self.depends[a.name]
        return frozenset(found)

    def _depends_on_inner(self, value: Expr) -> bool:
        return bool(self._axes_of(value) & set(self.inner))

    def _level(self, axes: frozenset[Atom]) -> list[Stmt]:
        """The statements of the outermost loop body in which all these axes are known."""
        inner = [k for k, a in enumerate(self.inner) if a in axes]
        if inner:
            return self.inner_levels[inner[-1] + 1]
        outer = [k for k, a in enumerate(self.outer) if a in axes]
        return self.outer_levels[outer[-1] + 1 if outer else 0]

    def _nested(self, levels: list[list[Stmt]], axes: list[Atom | None]) -> list[Stmt]:
        body = levels[-1]
        for depth in range(len(axes) - 1, -1, -1):
            axis = axes[depth]
            assert axis is not None
            body = [*levels[depth], Loop(axis, axis.payload[0], tuple(body))]
        return body


def _has_form(t: Tensor) -> bool:
    return t.op.opdef.lower is not None


_BY_KIND: dict[str, Callable[[Memory, Group], Step]] = {
    "loop": _lower_loop, "product": _lower_product, "row": lower_row, "scatter": lower_scatter,
    "serial": lower_serial, "region": _lower_region}
