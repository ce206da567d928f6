"""Matrix products: what is multiplied, and what becomes of the sums. How is left to `block`."""

from __future__ import annotations

from dataclasses import replace

from graphflow.compiler.codegen.gemm.costs import DEPTH
from graphflow.compiler.ir.dims import Dim, axis, extent_of, only_atom, product, single_atom
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Index
from graphflow.compiler.loops.nest import Product, Stmt, Store, nested, positions, walks_as_one
from graphflow.compiler.loops.substitute import substitute_stmt
from graphflow.compiler.loops.view import Side, View, is_one, join, merged, runs, steps
from graphflow.compiler.passes.launch import Memory, indices, linear


def product_nest(memory: Memory, t: Tensor, at: Index = (), body: tuple[Stmt, ...] = ()) -> list[Stmt]:
    """A contraction whose sums go through `body`, `at` being the index of the sum; or are the result."""
    op, form = t.op, t.op.opdef.lower
    if 0 in t.type.known_dims:
        memory.name(t, write=True)
        return []
    if form.groups(op) > 1:
        return _in_groups(memory, t, at, body) if body else _in_groups(memory, t, *stored(memory, t))
    if form.sides is not None:
        return [placed(memory, t, view_product(t, form.sides(op), at, body))]
    return _by_matrices(memory, t, at, body)


def stored(memory: Memory, t: Tensor) -> tuple[Index, tuple[Stmt, ...]]:
    """The index of a sum, and its storing, as what becomes of it."""
    at = indices(t.type.known_dims)
    buffer, offset = memory.place(t, at)
    return at, (Store(buffer, offset, E.temp("sum", t.dtype)),)


def _in_groups(memory: Memory, t: Tensor, at: Index, body: tuple[Stmt, ...]) -> list[Stmt]:
    """A product for each group of columns."""
    op, columns, count = t.op, t.type.known_dims[-1], t.op.groups
    n = columns // count
    group, column = axis("g", count), axis("o", n) if n != 1 else 0
    body = tuple(substitute_stmt(s, {only_atom(at[-1]): group * n + column}) for s in body)
    p = view_product(t, op.opdef.lower.sides(op), (*at[:-1], column), body)
    p = replace(p, n=n, a_offset=group * op.opdef.lower.shift(op), b_offset=group * (p.k * n))
    return nested([placed(memory, t, p)], (group,))


def _by_matrices(memory: Memory, t: Tensor, at: Index, body: tuple[Stmt, ...]) -> list[Stmt]:
    """A product per batch index, of as many rows as possible."""
    dims = t.type.known_dims
    *batch, row, column = at or indices(dims)
    rows = dims[-2]
    if _is_one_matrix(t.op):
        for k in reversed(range(len(batch))):
            joint = _joined(batch[k], row, rows, body)
            if joint is None:
                break
            row, rows, body = joint
            batch[k] = 0
    p = _product(t, tuple(batch), rows)
    if body:
        p = replace(p, row=row, column=column, body=body)
    return nested([placed(memory, t, p)], tuple(batch))


def placed(memory: Memory, t: Tensor, p: Product) -> Product:
    """The product with its operands, and its result where nothing else becomes of the sums."""
    a, b = t.op.operands
    p = replace(p, a=memory.name(a), b=memory.name(b))
    return by_vector_first(p if p.body else replace(p, out=memory.name(t, write=True)))


def by_vector_first(p: Product) -> Product:
    """Matrix times vector as vector times transposed matrix; a vector is not transposed."""
    if p.view is not None:
        return p
    if p.n == 1 and p.m != 1:
        p = replace(p, a=p.b, b=p.a, a_offset=p.b_offset, b_offset=p.a_offset, m=1, n=p.m,
                    transpose_b=not p.transpose_a, row=p.column, column=p.row)
    return replace(p, transpose_a=False) if p.m == 1 else p


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
    if not walks_as_one(positions(body), o, i, rows):
        return None
    extent = extent_of(outer) * rows
    joint = axis(i.name, extent)
    return joint, extent, tuple(substitute_stmt(s, {o: 0, i: joint}) for s in body)


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
