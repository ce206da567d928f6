"""LoopNest: one kernel as a small tree of statements.

    stmt := Let(name, expr) | Store(buffer, offset, expr)
          | Loop(axis, extent, body, accumulators) | While(...) | Product(...)

Buffers and run-time integers are parameters, named by position, so that two kernels of equal structure print
alike and are compiled once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from functools import cached_property
from math import prod
from typing import TypeAlias

from graphflow.compiler.ir.dims import Atom, Dim, atom, atoms_of, coefficient, only_atom, substitute
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.loops.blocking import Form
from graphflow.compiler.loops.expr import Expr, Index, const, cost, text, walk
from graphflow.compiler.loops.view import View
from graphflow.compiler.records import record

MOST_PARTS = 64
LEAST_PART = 800_000  # work, about 10 us: below, handing a part to a thread costs more than it gives
ACCESS = 8            # what moving a number between memory and registers costs, in additions of lanes


@record
class Let:
    """name = value"""

    name: str
    value: Expr


@record
class Store:
    """buffer[offset] = value, or += with `add`."""

    buffer: str
    offset: Dim
    value: Expr
    add: bool = False


@record
class Accumulator:
    """A value carried through a loop: name = combine over the iterations of `value`."""

    name: str
    combine: str
    value: Expr


@record
class Loop:
    """for axis in range(extent): body. A `vector` loop runs several registers' lanes of iterations at once.

    In an `ordered` loop an iteration may read what earlier ones stored. Those of a loop that is `apart` store
    to places of their own, however these are found: all that move with its index, or are in a part's rooms.
    Loads `ahead` are of what will be wanted later: their lines are fetched into the core's own cache.
    """

    axis: Atom
    extent: Dim
    body: tuple[Stmt, ...]
    accumulators: tuple[Accumulator, ...] = ()
    vector: bool = False
    ordered: bool = False
    registers: int = 1
    apart: bool = False
    ahead: tuple[Expr, ...] = ()

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.axis, self.extent, self.body, self.accumulators))  # once, as nests are asked for it

    @cached_property
    def inside(self) -> tuple[Stmt, ...]:
        return tuple(statements(self.body))


@record
class Variable:
    """A scalar that a While changes: what it is at first, and after each iteration."""

    name: str
    start: Expr
    following: Expr


@record
class While:
    """test; while condition: body; variables take their following values; test."""

    variables: tuple[Variable, ...]
    test: tuple[Stmt, ...]
    condition: Expr
    body: tuple[Stmt, ...]

    @cached_property
    def inside(self) -> tuple[Stmt, ...]:
        return tuple(statements((*self.test, *self.body)))


@record
class Product:
    """out[m, n] = a[m, k] @ b[k, n], or += with `add`, for row-major matrices at offsets of buffers.

    blocking     how it is computed; the library's GEMM where there is none
    scratch      the buffer for packed operands, if any are packed
    rooms        how many parts of a loop around it may run at a time: each has scratch of its own
    body         what becomes of each sum, named `sum`, at index [*lines, row, column]; with no body `out`
                 keeps it, else `out` is only for sums that are not finished
    view         how `a` lies in memory, if not as a matrix: `row` is then within a run of its rows, and
                 `lines` are the digits of the run's number
    whole        the rows of the product of which this is a part: its blocking is that of the whole
    """

    out: str
    a: str
    b: str
    out_offset: Dim
    a_offset: Dim
    b_offset: Dim
    m: Dim
    n: Dim
    k: Dim
    transpose_a: bool
    transpose_b: bool
    dtype: DType
    blocking: Form | None = None
    scratch: str = ""
    row: Dim = 0
    column: Dim = 0
    body: tuple[Stmt, ...] = ()
    view: View | None = None
    lines: tuple[Dim, ...] = ()
    rooms: int = 1
    add: bool = False
    whole: Dim | None = None

    @cached_property
    def inside(self) -> tuple[Stmt, ...]:
        return tuple(statements(self.body))

    @property
    def row_extents(self) -> list[tuple[Dim, Dim]]:
        """The indices that number the rows, outermost first, and their extents."""
        if self.view is None:
            return [(self.row, self.m)]
        counts = (self.m // (self.view.rows.length * prod(self.view.rows.counts)), *self.view.rows.counts)
        return [*zip(self.lines, counts, strict=False), (self.row, self.view.rows.length)]

    @property
    def parts(self) -> int:
        """How many parts may run at the same time."""
        return self.blocking.count if self.blocking else 1

    @property
    def scratch_offset(self) -> Dim:
        """Where the scratch of the part that runs begins."""
        return part_number(self.rooms) * self.blocking.scratch if self.blocking else 0


Stmt: TypeAlias = "Let | Store | Loop | While | Product"


@record
class Param:
    """A buffer that a kernel is given; `streamed` where it is written past the cache."""

    name: str
    dtype: DType
    written: bool
    streamed: bool = False


@record
class LoopNest:
    """A kernel: parameters, run-time integers, places to report errors for, and the body.

    width     lanes of a register
    parallel  whether parts of its outermost loop may run at the same time, `most_parts` of them
    """

    params: tuple[Param, ...]
    symbols: tuple[Atom, ...]
    body: tuple[Stmt, ...]
    checks: tuple[str, ...] = ()
    width: int = field(default=1, compare=False)
    parallel: bool = field(default=False, compare=False)
    most_parts: int = field(default=MOST_PARTS, compare=False)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.params, self.symbols, self.body, self.checks))  # once: it is asked for many times

    @property
    def outermost(self) -> Loop | Product:
        """The loop or product of a parallel kernel that is cut into parts."""
        return next(s for s in self.body if isinstance(s, (Loop, Product)))

    @property
    def may_stop(self) -> bool:
        """Whether it may end its run: what it checks does not hold, or a signal is seen in its loop."""
        return bool(self.checks) or any(isinstance(s, While) for s in self.body)

    @property
    def calls_blas(self) -> bool:
        """Whether the library computes a product, with threads of its own."""
        return any(isinstance(s, Product) and s.blocking is None for s in statements(self.body))

    @property
    def iterations(self) -> Dim:
        """Of the outermost statement."""
        return self.outermost.extent if isinstance(self.outermost, Loop) else self.outermost.parts

    def __str__(self) -> str:
        head = ", ".join(f"{p.name}: {'out ' if p.written else ''}{p.dtype.code}" for p in self.params)
        dims = "".join(f", {s.name}" for s in self.symbols)
        kind = "parallel kernel" if self.parallel else "kernel"
        return "\n".join([f"{kind}({head}{dims})", *_lines(self.body, "  ")])


def part_number(rooms: int) -> Dim:
    """In a parallel kernel the number of the part that runs, of so many at most: which room is its own."""
    return atom("part", "part", rooms) if rooms > 1 else 0


def part_numbers(places: Iterable[Dim]) -> set[Atom]:
    """Those on which any of these places depends."""
    return {a for d in places for a in atoms_of(d) if a.kind == "part"}


def reduction_start(combine: str, dtype: DType) -> Expr:
    """The neutral element of a reduction, which is also its value over nothing."""
    if dtype.is_bool:
        return const(combine == "and", dtype)
    if combine in ("min", "max"):
        if dtype.is_floating:
            return const(float("inf") if combine == "min" else float("-inf"), dtype)
        return const(dtype.max if combine == "min" else dtype.min, dtype)
    return const(1 if combine == "mul" else 0, dtype)


def loop_over(index: Dim, body: Sequence[Stmt], ordered: bool = True,
              accumulators: Sequence[Accumulator] = (), apart: bool = False) -> Loop:
    """The loop of an index over all of its range; ordered, if nothing else is said."""
    found = only_atom(index)
    return Loop(found, found.payload[0], tuple(body), tuple(accumulators), ordered=ordered and not apart,
                apart=apart)


def nested(body: list[Stmt], axes: Index) -> list[Stmt]:
    """The body within a loop for each axis that is not the constant 0."""
    for a in reversed(axes):
        if a != 0:
            body = [loop_over(a, body, ordered=False)]
    return body


def statements(body: Sequence[Stmt]) -> list[Stmt]:
    """Every statement of a body, loops before what they hold."""
    found: list[Stmt] = []
    for stmt in body:
        found.append(stmt)
        if isinstance(stmt, (Loop, Product, While)):
            found += stmt.inside
    return found


def expressions(body: tuple[Stmt, ...]) -> list[Expr]:
    """Every root expression of a body."""
    found: list[Expr] = []
    for stmt in statements(body):
        if isinstance(stmt, (Let, Store)):
            found.append(stmt.value)
        elif isinstance(stmt, Loop):
            found += [a.value for a in stmt.accumulators]
        elif isinstance(stmt, While):
            found += [e for v in stmt.variables for e in (v.start, v.following)]
            found.append(stmt.condition)
    return found


def work_each(body: tuple[Stmt, ...]) -> int:
    """The work of one pass through the body, in additions of vector lanes; accesses to memory count too."""
    accesses = len(loads(body)) + sum(isinstance(s, Store) for s in statements(body))
    return sum(cost(e) for e in expressions(body)) + ACCESS * accesses


def deepest_extents(body: tuple[Stmt, ...]) -> tuple[Dim, ...]:
    """The iterations of the deepest nest of loops; or of those around its first product, and m, n and k."""
    nests = [statements((s,)) for s in body]
    deepest = max(nests, key=lambda n: len({s.axis for s in n if isinstance(s, Loop)}), default=[])
    first = next((s for s in deepest if isinstance(s, Product)), None)
    if first is not None:
        around = (s for s in deepest if isinstance(s, Loop) and any(x is first for x in s.inside))
        deepest = [*around, first]
    loops = {s.axis: _largest(s.extent) for s in deepest if isinstance(s, Loop) and not is_computed(s.extent)}
    products = [d for s in deepest if isinstance(s, Product) for d in (s.m, s.n, s.k)]
    return (*loops.values(), *products)


def is_computed(d: Dim) -> bool:
    """Whether a number depends on one that the kernel computes."""
    return any(a.kind == "value" for a in atoms_of(d))


def _largest(extent: Dim) -> Dim:
    """The extent of the first of blocks, of which the last may be shorter."""
    return substitute(extent, dict.fromkeys((a for a in atoms_of(extent) if a.kind == "axis"), 0))


def loads(body: tuple[Stmt, ...]) -> list[Expr]:
    return [n for root in expressions(body) for n in walk(root) if n.op == "load"]


def positions(body: tuple[Stmt, ...]) -> list[Dim]:
    """Every index expression of a body."""
    found: list[Dim] = []
    for stmt in statements(body):
        if isinstance(stmt, Store):
            found.append(stmt.offset)
        elif isinstance(stmt, Product):
            found += [stmt.a_offset, stmt.b_offset, stmt.out_offset, stmt.scratch_offset]
    for root in expressions(body):
        for n in walk(root):
            if n.op == "load":
                found.append(n.attr[1])
            elif n.op == "index":
                found.append(n.attr)
    return found


def walks_as_one(places: Iterable[Dim], outer: Atom, inner: Atom, extent: Dim) -> bool:
    """Whether in these places two indices, `extent` being the inner one's, are as good as one."""
    steps = ((coefficient(d, outer), coefficient(d, inner)) for d in places)
    return all(by_inner is not None and by_outer == by_inner * extent for by_outer, by_inner in steps)


def _lines(body: tuple[Stmt, ...], pad: str) -> Iterator[str]:
    for stmt in body:
        if isinstance(stmt, Let):
            yield f"{pad}{stmt.name} = {text(stmt.value)}"
        elif isinstance(stmt, Store):
            yield f"{pad}{stmt.buffer}[{stmt.offset}] {'+=' if stmt.add else '='} {text(stmt.value)}"
        elif isinstance(stmt, Product):
            ta, tb = ("^T" if flag else "" for flag in (stmt.transpose_a, stmt.transpose_b))
            view = f"{stmt.view}" if stmt.view else ""
            right = f"{stmt.a}[{stmt.a_offset}:]{view}{ta} @ {stmt.b}[{stmt.b_offset}:]{tb}  (k = {stmt.k})"
            if stmt.body:
                rows = ", ".join(f"{i} < {extent}" for i, extent in stmt.row_extents)
                yield f"{pad}for {rows}, {stmt.column} < {stmt.n}: sum = {right}"
                yield from _lines(stmt.body, pad + "  ")
            else:
                sign = "+=" if stmt.add else "="
                yield f"{pad}{stmt.out}[{stmt.out_offset}:][{stmt.m}, {stmt.n}] {sign} {right}"
        elif isinstance(stmt, While):
            starts = ", ".join(f"{v.name} = {text(v.start)}" for v in stmt.variables)
            yield f"{pad}from {starts}:"
            yield from _lines(stmt.test, pad + "  ")
            yield f"{pad}while {text(stmt.condition)}:"
            yield from _lines(stmt.body, pad + "  ")
            yield f"{pad}  {', '.join(f'{v.name} = {text(v.following)}' for v in stmt.variables)}"
        else:
            accs = "".join(f", {a.name} {a.combine}= {text(a.value)}" for a in stmt.accumulators)
            accs += "".join(f", fetching {text(n)}" for n in stmt.ahead)
            kind = "vector " if stmt.vector else "ordered " if stmt.ordered else ""
            yield f"{pad}{kind}for {stmt.axis.name} < {stmt.extent}{accs}:"
            yield from _lines(stmt.body, pad + "  ")
