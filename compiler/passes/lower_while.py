"""A loop over scalars as one kernel: its variables live in registers, and rows are written as it goes."""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.compiler.ir.dims import Atom, atoms_of
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.regions import all_operations
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, Index, dims_of
from graphflow.compiler.loops.forms import Form, Indexed, Load, Pointwise, Row
from graphflow.compiler.loops.nest import Let, Stmt, Store, Variable, While
from graphflow.compiler.ops.control import while_loop
from graphflow.compiler.ops.core import constant
from graphflow.compiler.passes.group import Group
from graphflow.compiler.passes.launch import Launch, Memory, linear
from graphflow.compiler.passes.split_while import split_while

MOST_OPERATIONS = 400  # in the body; a longer one runs as kernels of its own


def lower_while(memory: Memory, group: Group) -> Launch | None:
    """The kernel of a loop in which all is computed element by element from scalars; None for other loops.

    Example:  %1, %2 = while_loop(0, x) with cond i < n, body (i + 1, sin(v))
    -->       kernel(p0: f32, p1: out i32, p2: out f32, n)
                while i = 0, v = p0[0]; lt(i, n); i = add(i, 1), v = sin(v)
                p1[0] = i
                p2[0] = v
    """
    op = next(iter(group.members)).op
    if op.opdef is not while_loop or not _is_scalar_loop(op):
        return None
    return _Builder(memory).launch(op, tuple(group.members))


# Which loops

def _is_scalar_loop(op: Operation) -> bool:
    inside = [*all_operations(op.cond), *all_operations(op.body)]
    if len(inside) > MOST_OPERATIONS or not all(map(_is_elementwise, inside)):
        return False
    arrays = [k for k in range(op.count) if op.operands[k].type.size != 1]
    if not all(_stores(op.body, k) for k in arrays):
        return False
    allowed = {o for k in arrays for o in _stores(op.body, k)}
    rows = [o for o in inside if isinstance(o.opdef.lower, Row)]
    return all(o in allowed for o in rows) and all(_is_small_inner(o) for o in inside if o.opdef.regions)


def _is_elementwise(op: Operation) -> bool:
    if op.opdef.regions:
        return op.opdef is while_loop
    if op.opdef.effect == "input" or op.opdef is constant:
        return True
    form = op.opdef.lower
    return isinstance(form, Row) or (
        isinstance(form, (Pointwise, Indexed)) and (op.out.type.size == 1 or form.cheap))


def _is_small_inner(op: Operation) -> bool:
    """A loop inside may carry scalars only: an array would change under the reads of the loop around it."""
    return all(t.type.size == 1 for t in op.operands[:op.count])


def _stores(body: Graph, k: int) -> list[Operation]:
    """How a variable with rows gets its next value: stores of single elements, in order; [] for others."""
    found: list[Operation] = []
    t = body.outputs[k]
    while t is not body.inputs[k]:
        op = t.op
        if not isinstance(op.opdef.lower, Row) or op.row.type.size != 1:
            return []
        if found and sum(o.operands.count(t) for o in body.operations) != 1:
            return []
        found.append(op)
        t = op.x
    return found[::-1]


# The kernel

class _Builder:
    """Statements by depth: what depends on no variable of a loop is computed before it."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.levels: list[list[Stmt]] = [[]]
        self.depth: dict[str, int] = {}       # of temps: the loop in which they change
        self.values: dict[tuple[Tensor, Index], Expr] = {}
        self.outside: dict[Tensor, Tensor] = {}  # input of a subgraph -> the tensor in memory that it is
        self.changing: set[Tensor] = set()       # inputs in memory that the loop writes
        self.count = 0

    def launch(self, op: Operation, results: Sequence[Tensor]) -> Launch:
        arrays = [k for k in range(op.count) if op.operands[k].type.size != 1]
        for k, t in enumerate(op.operands):
            self._enter(op, k, results[k] if k in arrays else t, k in arrays)
        starts = [self.memory.load(t, (0,) * len(t.type.known_dims)) for t in op.operands[:op.count]
                  if t.type.size == 1]
        finals = self._loop(op, starts)
        scalars = [results[k] for k in range(op.count) if k not in arrays]
        *body, loop = self.levels[0]
        assert isinstance(loop, While)
        body += split_while(loop, self.memory)
        body += [Store(self.memory.name(t, write=True), 0, v) for t, v in zip(scalars, finals, strict=True)]
        of = self.memory.grouping.memory_of
        return self.memory.launch(body, tuple(results), "while",
                                  tuple((of(op.operands[k]), results[k]) for k in arrays))

    def _enter(self, op: Operation, k: int, t: Tensor, changes: bool) -> None:
        for graph in (op.cond, op.body):
            self.outside[graph.inputs[k]] = t
            if changes:
                self.changing.add(graph.inputs[k])

    def _loop(self, op: Operation, starts: Sequence[Expr]) -> list[Expr]:
        """Append a While with these initial values of its scalars; gives their last ones."""
        numbers = [k for k in range(op.count) if op.operands[k].type.size == 1]
        self.levels.append([])
        names = [self._fresh("x", len(self.levels) - 1) for _ in numbers]
        temps = [E.temp(n, s.dtype) for n, s in zip(names, starts, strict=True)]
        for graph in (op.cond, op.body):
            for k, x in zip(numbers, temps, strict=True):
                t = graph.inputs[k]
                self.values[t, (0,) * len(t.type.known_dims)] = x
        self._compute(op.cond)
        condition = self._scalar(op.cond.outputs[0])
        test, self.levels[-1] = self.levels[-1], []
        self._compute(op.body)
        following = [self._scalar(op.body.outputs[k]) for k in numbers]
        for k in range(op.count):
            if k not in numbers:
                self._store_rows(op.body, k)
        body = self.levels.pop()
        variables = tuple(Variable(n, s, f) for n, s, f in zip(names, starts, following, strict=True))
        self.levels[-1].append(While(variables, tuple(test), condition, tuple(body)))
        for n in names:
            self.depth[n] = len(self.levels) - 1
        return temps

    def _store_rows(self, body: Graph, k: int) -> None:
        name = self.memory.name(self.outside[body.inputs[k]], write=True)
        for op in _stores(body, k):
            dims = op.out.type.known_dims
            row = self._let(op.opdef.lower.at(op, self._scalar(op.index), dims[0]))
            offset = linear((E.as_offset(row), *(0,) * (len(dims) - 1)), dims)
            self.levels[-1].append(Store(name, offset, self._scalar(op.row), add=op.opdef.lower.add))

    # Values

    def _compute(self, graph: Graph) -> None:
        """Name the scalars of a subgraph, in order; of tensors in memory, elements are read where used."""
        for op in graph.operations:
            if op.opdef is while_loop:
                self._inner_loop(op)
            elif op.opdef.lower is not None and op.out.type.size == 1 and not isinstance(op.opdef.lower, Row):
                self._scalar(op.out)

    def _inner_loop(self, op: Operation) -> None:
        for k, t in enumerate(op.operands):
            for graph in (op.cond, op.body):
                inner = graph.inputs[k]
                if t.type.size == 1:
                    self.values[inner, (0,) * len(t.type.known_dims)] = self._scalar(t)
                else:
                    self.outside[inner] = t
        for t, v in zip(op.outputs, self._loop(op, [self._scalar(t) for t in op.operands[:op.count]]),
                        strict=True):
            self.values[t, (0,) * len(t.type.known_dims)] = v

    def _scalar(self, t: Tensor) -> Expr:
        return self._element(t, (0,) * len(t.type.known_dims))

    def _element(self, t: Tensor, at: Index, mask: Expr | None = None) -> Expr:
        found = self.values.get((t, at)) if mask is None or t.type.size == 1 else None
        if found is not None:
            return found if mask is None else E.select(mask, found, E.const(0, t.dtype))
        if t.op.opdef.effect == "input":
            outer = self.outside[t]
            if outer in self.outside:
                return self._element(outer, at, mask)
            value = self.memory.load(outer, at, mask)
            return self._let(value, stay=t in self.changing)
        if t.op.opdef is constant:
            return self.memory.load(t, at, mask)
        form: Form = t.op.opdef.lower
        value = self._let(form.value(t.op, at, self._loader(t, mask), self._let))
        if mask is None:
            self.values[t, at] = value
        return value

    def _loader(self, t: Tensor, outer: Expr | None) -> Load:
        def load(k: int, index: Index, mask: Expr | None = None) -> Expr:
            return self._element(t.op.operands[k], index, E.both(outer, mask))
        return load

    def _let(self, value: Expr, stay: bool = False) -> Expr:
        """Name a value where it is first known; what may fail, or reads memory that changes, stays here."""
        if value.op in ("const", "temp"):
            return value
        nodes = E.walk(value)
        here = len(self.levels) - 1
        if not stay and not any(E.complaint_of(n) for n in nodes):
            here = max((self.depth[name] for n in nodes for name in _names_in(n)), default=0)
        name = self._fresh("t", here)
        self.levels[here].append(Let(name, value))
        return E.temp(name, value.dtype)

    def _fresh(self, prefix: str, depth: int) -> str:
        self.count += 1
        name = f"{prefix}{self.count}"
        self.depth[name] = depth
        return name


def _names_in(n: Expr) -> list[str]:
    """The temps that a node refers to, by itself or in its index."""
    atoms: set[Atom] = {a for d in dims_of(n) for a in atoms_of(d)}
    return [*([n.attr] if n.op == "temp" else []), *(a.name for a in atoms if a.kind == "value")]
