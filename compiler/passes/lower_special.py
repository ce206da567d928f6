"""Kernels that are not loops over elements: matrix products, scatters, and stores of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphflow.compiler import flags
from graphflow.compiler.codegen.gemm.choose import Extents, choose, in_tiles
from graphflow.compiler.codegen.gemm.costs import DEPTH
from graphflow.compiler.codegen.gemm.product import known
from graphflow.compiler.codegen.gemm.terms import Terms
from graphflow.compiler.ir.dims import (
    Dim,
    atoms_of,
    axis,
    coefficient,
    extent_of,
    minimum,
    only_atom,
    product,
    single_atom,
)
from graphflow.compiler.ir.dtypes import int64
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.blocking import Blocking
from graphflow.compiler.loops.expr import Expr, Index, dims_of
from graphflow.compiler.loops.nest import (
    MOST_PARTS,
    Let,
    Product,
    Stmt,
    Store,
    loop_over,
    nested,
    positions,
)
from graphflow.compiler.loops.substitute import substitute_stmt
from graphflow.compiler.loops.view import Side, View, is_one, join, merged, runs, steps
from graphflow.compiler.passes.group import Group, Grouping
from graphflow.compiler.passes.launch import Launch, Memory, Panels, Place, linear
from graphflow.compiler.target import Target


def lower_product(grouping: Grouping, group: Group, target: Target) -> Launch:
    """A matrix product per batch index."""
    (t,) = group.members
    memory = Memory(grouping)
    dims = t.type.known_dims
    if 0 in dims:
        memory.name(t, write=True)
        return memory.launch([], (t,), "product")
    if t.op.opdef.lower.groups(t.op) > 1:
        at: Index = tuple(0 if d == 1 else axis(f"i{k}", d) for k, d in enumerate(dims))
        store = Store(memory.name(t, write=True), linear(at, dims), E.temp("sum", t.dtype))
        return memory.launch(fused_product(memory, t, at, (store,), target), (t,), "product")
    if t.op.opdef.lower.sides is not None:
        p = view_product(t, t.op.opdef.lower.sides(t.op), (), ())
        return memory.launch([_stored(memory, t, p, target)], (t,), "product")
    batch = tuple(0 if d == 1 else axis(f"i{k}", d) for k, d in enumerate(dims[:-2]))
    if _is_one_matrix(t.op):
        batch, rows = (0,) * len(batch), product(dims[:-1])
    else:
        rows = dims[-2]
    one = _stored(memory, t, _product(t, batch, rows), target, batch)
    return memory.launch(nested([one], batch), (t,), "product")


def fused_product(memory: Memory, t: Tensor, at: Index, body: tuple[Stmt, ...], target: Target) -> list[Stmt]:
    """A product whose sums go through `body`, in which `at` is the index of the sum."""
    dims, op = t.type.known_dims, t.op
    if op.opdef.lower.groups(op) > 1:
        return _in_groups(memory, t, at, body, target)
    if op.opdef.lower.sides is not None:
        p = view_product(t, op.opdef.lower.sides(op), at, body)
        return [with_room(memory, blocked(memory, op.operands, p, target))]
    batch, row, column, rows = list(at[:-2]), at[-2], at[-1], dims[-2]
    if _is_one_matrix(op):
        for k in reversed(range(len(batch))):
            joint = _joined(batch[k], row, rows, body)
            if joint is None:
                break
            row, rows, body = joint
            batch[k] = 0
    p = replace(_product(t, tuple(batch), rows), row=row, column=column, body=body)
    one = blocked(memory, op.operands, p, target, _is_inside(batch))
    return nested([with_room(memory, one)], tuple(batch))


def _in_groups(memory: Memory, t: Tensor, at: Index, body: tuple[Stmt, ...], target: Target) -> list[Stmt]:
    """A product for each group of columns, whose sums go through `body`."""
    op, columns, count = t.op, t.type.known_dims[-1], t.op.groups
    n = columns // count
    group, column = axis("g", count), axis("o", n) if n != 1 else 0
    body = tuple(substitute_stmt(s, {only_atom(at[-1]): group * n + column}) for s in body)
    p = view_product(t, op.opdef.lower.sides(op), (*at[:-1], column), body)
    p = replace(p, n=n, a_offset=group * op.opdef.lower.shift(op), b_offset=group * (p.k * n))
    return nested([with_room(memory, blocked(memory, op.operands, p, target, True))], (group,))


def _stored(memory: Memory, t: Tensor, p: Product, target: Target, batch: Index = ()) -> Product:
    """A product whose sums are the result."""
    one = blocked(memory, t.op.operands, p, target, _is_inside(batch))
    return replace(one, out=memory.name(t, write=True))


def _is_inside(batch: Sequence[Dim]) -> bool:
    """Whether there are loops over a batch's indices."""
    return any(i != 0 for i in batch)


def view_product(t: Tensor, sides: tuple[Side, Side], at: Index, body: tuple[Stmt, ...]) -> Product:
    """A product whose left side lies by steps; as few of them as memory, and a body's memory, allow."""
    n = t.type.known_dims[-1]
    rows, along = (tuple(d for d in side if d[0] != 1) or ((1, 0),) for side in sides)
    m, k = (product(e for e, _ in side) for side in (rows, along))
    numbers = [i for i in at[:-1] if i != 0] or [0]
    while len(rows) > 1 and is_one(*rows[-2:]) and (isinstance(rows[-2][0], int) or rows[-1][1] == k):
        joint = _joined(numbers[-2], numbers[-1], rows[-1][0], body) if body else (0, m, body)
        if joint is None:
            break
        numbers[-2:], body = joint[:1], joint[2]
        rows = (*rows[:-2], join(*rows[-2:]))
    p = Product("", "", "", 0, 0, 0, m, n, k, False, False, t.dtype, row=numbers[-1],
                column=at[-1] if at else 0, body=body)
    found = _as_matrix(p, rows, merged(along))
    if found is not None:
        return found
    if not isinstance(rows[-1][0], int):
        numbers = [*numbers, 0]
    view = View(steps(rows), steps(runs(along)).cut(DEPTH[t.dtype.size]))
    return replace(p, view=view, row=numbers[-1], lines=tuple(numbers[:-1]))


def _as_matrix(p: Product, rows: Side, along: Side) -> Product | None:
    """The product as one of a matrix, where the steps are those of one, or of a transposed one."""
    if len(rows) > 1 or len(along) > 1:
        return None
    (m, row_step), (k, step) = rows[0], along[0]
    if (step == 1 or k == 1) and (row_step == k or m == 1):
        return p
    if (row_step == 1 or m == 1) and (step == m or k == 1):
        return replace(p, transpose_a=True)
    return None


def _joined(outer: Dim, row: Dim, rows: Dim,
            body: tuple[Stmt, ...]) -> tuple[Dim, Dim, tuple[Stmt, ...]] | None:
    """One row index in place of two, its extent, and the body for it, if memory is walked as by one."""
    if outer == 0 or row == 0:
        return (row if outer == 0 else outer), rows * (1 if outer == 0 else extent_of(outer)), body
    o, i = single_atom(outer), single_atom(row)
    assert o is not None and i is not None
    for d in positions(body):
        by_outer, by_row = coefficient(d, o), coefficient(d, i)
        if by_outer is None or by_row is None or by_outer != by_row * rows:
            return None
    extent = extent_of(outer) * rows
    joint = axis(i.name, extent)
    return joint, extent, tuple(substitute_stmt(s, {o: 0, i: joint}) for s in body)


def with_room(memory: Memory, p: Product) -> Product:
    """With memory for sums that are not finished: a result of the same kind, or scratch.

    The new value of a variable is left to its kernel: it may then be written over the old one.
    """
    if not p.body or (p.blocking is not None and not p.blocking.keeps_sums(p.k)):
        return p
    indices = (*p.row_extents, (p.column, p.n))
    place, own = linear(*zip(*indices, strict=True)), {single_atom(i) for i, _ in indices}
    new = {memory.names.get(t) for t in memory.grouping.graph.updates.values()}
    for s in p.body:
        if isinstance(s, Store) and s.value.dtype is p.dtype and s.buffer not in new:
            start = s.offset - place
            if own.isdisjoint(atoms_of(start)):
                return replace(p, out=s.buffer, out_offset=start)
    out, start = memory.room(p.dtype, p.m * p.n, p.rooms)
    return replace(p, out=out, out_offset=start)


def _is_one_matrix(op: Operation) -> bool:
    """Whether the batch of `a` can be taken for more rows: b is one matrix, and a is not transposed."""
    b = op.b.type.known_dims
    return not op.transpose_a and all(d == 1 for d in b[:-2])


def _matrix_offset(t: Tensor, batch: Index) -> Dim:
    dims = t.type.known_dims
    head = batch[len(batch) - (len(dims) - 2):] if len(dims) > 2 else ()
    at = tuple(0 if d == 1 else i for d, i in zip(dims[:-2], head, strict=True))
    return linear((*at, 0, 0), dims)


def _inner_extent(op: Operation) -> Dim:
    dims: tuple[Dim, ...] = op.a.type.known_dims
    return dims[-2 if op.transpose_a else -1]


def _product(t: Tensor, batch: Index, rows: Dim) -> Product:
    """The product of a batch index, whose buffers have no names yet."""
    op, dims = t.op, t.type.known_dims
    return Product("", "", "", linear((*batch, 0, 0), dims), _matrix_offset(op.a, batch),
                   _matrix_offset(op.b, batch), rows, dims[-1], _inner_extent(op), op.transpose_a,
                   op.transpose_b, t.dtype)


def blocked(memory: Memory, operands: Sequence[Place], p: Product, target: Target, inside: bool = False,
            ahead: bool = True) -> Product:
    """The product with its operands and blocking; matrix times vector becomes vector times transposed matrix.

    A matrix B that is the same in every run is packed `ahead`, where the blocking wants it so, or where it
    was before: `b` may be panels, in place of which others are made. A product inside of a loop is not cut
    into parts: these are of the loop, and have scratch of their own.
    """
    a, b = operands
    panels = b if isinstance(b, Panels) else None
    terms = Terms(a.dtype, panels.matrix.dtype if panels else b.dtype, p.dtype)
    if p.n == 1 and p.m != 1 and p.view is None:
        a, b, terms = b, a, replace(terms, a=terms.b, b=terms.a)
        p = replace(p, a_offset=p.b_offset, b_offset=p.a_offset, m=1, n=p.m,
                    transpose_a=False, transpose_b=not p.transpose_a, row=p.column, column=p.row)
    if p.m == 1 and p.view is None:
        p = replace(p, transpose_a=False)
    if flags.use_blas() and terms.code in ("f32", "f64"):
        return replace(p, a=memory.name(a), b=memory.name(b))
    matrix = panels.matrix if panels else memory.settled(b) if ahead and isinstance(b, Tensor) else None
    extents = Extents(terms, known(p.m), known(p.n), known(p.k), p.transpose_a, p.transpose_b, p.view)
    rooms = rooms_of(target) if inside else 1
    shared = replace(target, threads=1) if inside else target
    blocking = (in_tiles(extents, shared, panels is not None) if p.add or panels else
                choose(extents, shared, matrix is not None))
    if isinstance(blocking, Blocking) and blocking.ahead:
        assert matrix is not None and extents.k is not None and extents.n is not None
        dtype = p.dtype if blocking.group == 1 else matrix.dtype
        b = Panels(matrix, dtype, extents.k, extents.n, p.transpose_b, blocking.columns, blocking.group)
        p = replace(p, b_offset=p.b_offset // (b.k * b.n) * b.each, transpose_b=False)
    return placed(memory, (a, b), replace(p, blocking=blocking, rooms=rooms))


def placed(memory: Memory, operands: Sequence[Place], p: Product) -> Product:
    """The product with its operands and scratch, as its blocking needs them."""
    assert p.blocking is not None
    a, b = (memory.name(t) for t in operands)
    scratch, _ = memory.room(p.dtype, p.blocking.scratch, p.rooms) if p.blocking.scratch else ("", 0)
    return replace(p, a=a, b=b, scratch=scratch)


def rooms_of(target: Target) -> int:
    """How many parts of a loop over products run at the same time."""
    return min(target.threads, MOST_PARTS)


def lower_scatter(grouping: Grouping, group: Group, target: Target) -> Launch:
    """Start from zeros, or from another tensor, and add each update where it belongs, in order."""
    (t,) = group.members
    op, memory = t.op, Memory(grouping)
    dims = op.operands[0].type.known_dims
    at: Index = tuple(0 if d == 1 else axis(f"i{k}", d) for k, d in enumerate(dims))
    lets = _Lets(at)

    def load(k: int, index: Index, mask: Expr | None = None) -> Expr:
        return memory.load(op.operands[k], index, mask)

    place = op.opdef.lower.target(op, at, load, lets.add)
    out, size = memory.name(t, write=True), t.type.size
    here = axis("z", size)
    base = op.opdef.lower.base
    before = E.const(0, t.dtype) if base is None else E.load(memory.name(op.operands[base]), here, t.dtype)
    start = loop_over(here, [Store(out, here, before)], ordered=False)
    lets.levels[-1].append(Store(out, linear(place, t.type.known_dims), load(0, at), add=True))
    loops = lets.nested()
    if not isinstance(size, int):  # an index out of range is taken for 0, which an empty result does not have
        loops = nested(loops, (axis("some", minimum(size, 1)),))
    return memory.launch([start, *loops], (t,), "scatter")


class _Lets:
    """Statements by the number of loops around them: each value is named as far outside as it is known."""

    def __init__(self, at: Index) -> None:
        self.at = at
        self.levels: list[list[Stmt]] = [[] for _ in range(len(at) + 1)]
        self.depths: dict[str, int] = {}

    def add(self, value: Expr) -> Expr:
        if value.op in ("temp", "const"):
            return value
        name = f"t{len(self.depths)}"
        self.depths[name] = depth = self._depth(value)
        self.levels[depth].append(Let(name, value))
        return E.temp(name, value.dtype)

    def _depth(self, value: Expr) -> int:
        nodes = E.walk(value)
        known = [self.depths[n.attr] for n in nodes if n.op == "temp"]
        found = {a for n in nodes for d in dims_of(n) for a in atoms_of(d)}
        known += [self.depths[a.name] for a in found if a.kind == "value"]
        known += [k + 1 for k, i in enumerate(self.at) if i != 0 and single_atom(i) in found]
        return max(known, default=0)

    def nested(self) -> list[Stmt]:
        body = self.levels[-1]
        for k in reversed(range(len(self.at))):
            body = [*self.levels[k], *nested(body, self.at[k:k + 1])]
        return body


def lower_row(grouping: Grouping, group: Group, target: Target) -> Launch:
    """Write one row, or add to it, in memory that holds the other rows."""
    (t,) = group.members
    op, memory = t.op, Memory(grouping)
    form, dims = op.opdef.lower, t.type.known_dims
    at: Index = tuple(0 if d == 1 else axis(f"i{k}", d) for k, d in enumerate(dims[1:]))
    row = Let("row", form.at(op, memory.load(op.index, ()), dims[0]))
    offset = linear((E.as_offset(E.temp("row", int64)), *at), dims)
    store = Store(memory.name(t, write=True), offset, memory.load(op.row, at), add=form.add)
    body: list[Stmt] = [row, *nested([store], at)]
    if not isinstance(dims[0], int):  # an index out of range is taken for 0, which an empty tensor has not
        body = nested(body, (axis("some", minimum(dims[0], 1)),))
    return memory.launch(body, (t,), "row", ((grouping.memory_of(op.x), t),))
