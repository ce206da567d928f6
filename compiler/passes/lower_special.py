"""Kernels that are not loops over elements: matrix products, scatters, and those that records write."""

from __future__ import annotations

from graphflow.compiler.ir.dims import Atom, Dim, atoms_of, axis, minimum, product, single_atom
from graphflow.compiler.ir.dtypes import DType, float32, float64, int64
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, Index
from graphflow.compiler.loops.nest import Accumulator, Let, Loop, Product, Stmt, Store
from graphflow.compiler.passes.group import Group, Grouping
from graphflow.compiler.passes.launch import Launch, Memory, Scratch, dims_of_node, linear


def lower_product(grouping: Grouping, group: Group) -> Launch:
    """A matrix product per batch index: the library's for f32 and f64, loops for other dtypes."""
    (t,) = group.members
    memory = Memory(grouping)
    dims = t.type.known_dims
    batch = tuple(0 if d == 1 else axis(f"i{k}", d) for k, d in enumerate(dims[:-2]))
    body: list[Stmt]
    if _is_one_matrix(t.op):
        batch, rows = (0,) * len(batch), product(dims[:-1])
    else:
        rows = dims[-2]
    if t.dtype in (float32, float64):
        body = [_library_product(memory, t, batch, rows)]
    else:
        body = _product_loops(memory, t, batch, rows)
    return memory.launch(nested(body, batch), (t,), "product")


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


def _library_product(memory: Memory, t: Tensor, batch: Index, rows: Dim) -> Product:
    op = t.op
    a, b, out = memory.name(op.a), memory.name(op.b), memory.name(t, write=True)
    return Product(out, a, b, linear((*batch, 0, 0), t.type.known_dims), _matrix_offset(op.a, batch),
                   _matrix_offset(op.b, batch), rows, t.type.known_dims[-1], _inner_extent(op),
                   op.transpose_a, op.transpose_b, t.dtype)


def _product_loops(memory: Memory, t: Tensor, batch: Index, rows: Dim) -> list[Stmt]:
    op, cols, depth = t.op, t.type.known_dims[-1], _inner_extent(t.op)
    i, j, k = axis("m", rows), axis("n", cols), axis("k", depth)
    a_at = k * rows + i if op.transpose_a else i * depth + k
    b_at = j * depth + k if op.transpose_b else k * cols + j
    a = E.load(memory.name(op.a), _matrix_offset(op.a, batch) + a_at, t.dtype)
    b = E.load(memory.name(op.b), _matrix_offset(op.b, batch) + b_at, t.dtype)
    out = linear((*batch, 0, 0), t.type.known_dims) + i * cols + j
    inner = Loop(_atom(k), depth, (), (Accumulator("sum", "add", a * b),))
    store = Store(memory.name(t, write=True), out, E.temp("sum", t.dtype))
    return nested([inner, store], (i, j))


def lower_scatter(grouping: Grouping, group: Group) -> Launch:
    """Start from zeros, or from another tensor, and add each update where it belongs, in order."""
    (t,) = group.members
    op, memory = t.op, Memory(grouping)
    dims = op.operands[0].type.known_dims
    at: Index = tuple(0 if d == 1 else axis(f"i{k}", d) for k, d in enumerate(dims))
    lets = _Lets(at)

    def load(k: int, index: Index, mask: Expr | None = None) -> Expr:
        return memory.load(op.operands[k], index, mask)

    target = op.opdef.lower.target(op, at, load, lets.add)
    out, size = memory.name(t, write=True), t.type.size
    here = axis("z", size)
    base = op.opdef.lower.base
    before = E.const(0, t.dtype) if base is None else E.load(memory.name(op.operands[base]), here, t.dtype)
    start = Loop(_atom(here), size, (Store(out, here, before),))
    lets.levels[-1].append(Store(out, linear(target, t.type.known_dims), load(0, at), add=True))
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
        found = {a for n in nodes for d in dims_of_node(n) for a in atoms_of(d)}
        known += [self.depths[a.name] for a in found if a.kind == "value"]
        known += [k + 1 for k, i in enumerate(self.at) if i != 0 and single_atom(i) in found]
        return max(known, default=0)

    def nested(self) -> list[Stmt]:
        body = self.levels[-1]
        for k in reversed(range(len(self.at))):
            body = [*self.levels[k], *nested(body, self.at[k:k + 1])]
        return body


def lower_serial(grouping: Grouping, group: Group) -> Launch:
    """The statements that the record writes."""
    (t,) = group.members
    memory = Memory(grouping)
    return memory.launch(t.op.opdef.lower.steps(t.op, _Workspace(t, memory)), (t,), "serial")


class _Workspace:
    """What a record's `steps` are given."""

    def __init__(self, t: Tensor, memory: Memory) -> None:
        self.t = t
        self.memory = memory

    def load(self, k: int, index: Index) -> Expr:
        return self.memory.load(self.t.op.operands[k], index)

    def store(self, index: Index, value: Expr) -> Stmt:
        return Store(self.memory.name(self.t, write=True), linear(index, self.t.type.known_dims), value)

    def result(self, index: Index) -> Expr:
        name = self.memory.name(self.t, write=True)
        return E.load(name, linear(index, self.t.type.known_dims), self.t.dtype)

    def scratch(self, dtype: DType, size: Dim) -> str:
        return self.memory.name(Scratch(dtype, size), write=True)


def lower_row(grouping: Grouping, group: Group) -> Launch:
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


def nested(body: list[Stmt], axes: Index) -> list[Stmt]:
    """The body within a loop for each axis that is not the constant 0."""
    for a in reversed(axes):
        if a != 0:
            found = _atom(a)
            body = [Loop(found, found.payload[0], tuple(body))]
    return body


def _atom(a: Dim) -> Atom:
    found = single_atom(a)
    assert found is not None
    return found
