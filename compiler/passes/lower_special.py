"""Kernels that are not loops over elements: scatters, and stores of rows."""

from __future__ import annotations

from graphflow.compiler.ir.dims import atoms_of, axis, minimum, single_atom
from graphflow.compiler.ir.dtypes import int64
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, Index, dims_of
from graphflow.compiler.loops.nest import Let, Stmt, Store, loop_over, nested
from graphflow.compiler.passes.group import Group
from graphflow.compiler.passes.launch import Launch, Memory, indices, linear


def lower_scatter(memory: Memory, group: Group) -> Launch:
    """Start from zeros, or from another tensor, and add each update where it belongs, in order."""
    (t,) = group.members
    op = t.op
    at = indices(op.operands[0].type.known_dims)
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


def lower_row(memory: Memory, group: Group) -> Launch:
    """Write one row, or add to it, in memory that holds the other rows."""
    (t,) = group.members
    op, form, dims = t.op, t.op.opdef.lower, t.type.known_dims
    at = indices(dims[1:])
    row = Let("row", form.at(op, memory.load(op.index, ()), dims[0]))
    offset = linear((E.as_offset(E.temp("row", int64)), *at), dims)
    store = Store(memory.name(t, write=True), offset, memory.load(op.row, at), add=form.add)
    body: list[Stmt] = [row, *nested([store], at)]
    if not isinstance(dims[0], int):  # an index out of range is taken for 0, which an empty tensor has not
        body = nested(body, (axis("some", minimum(dims[0], 1)),))
    return memory.launch(body, (t,), "row", ((memory.grouping.memory_of(op.x), t),))
