"""Launch: one call of a kernel; and the memory that a kernel touches while its nest is built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from graphflow.compiler.ir.dims import RUN_TIME, Dim, Poly, atoms_of, axis
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, Index, dims_of
from graphflow.compiler.loops.forms import Piece
from graphflow.compiler.loops.nest import (
    MOST_PARTS,
    Loop,
    LoopNest,
    Param,
    Product,
    Stmt,
    Store,
    expressions,
    part_number,
    statements,
)
from graphflow.compiler.ops.core import constant
from graphflow.compiler.ops.rows import blank
from graphflow.compiler.passes.group import Grouping
from graphflow.compiler.records import record
from graphflow.compiler.target import Target


@dataclass(frozen=True, eq=False)
class Scratch:
    """Memory that one kernel uses for itself."""

    dtype: DType
    size: Dim


@record
class Panels:
    """A matrix that no run changes, or several, packed for products that take it as B; held between runs.

    dtype       of the panels' elements: the matrix's, or what the products sum in
    transposed  a matrix is [n, k], else [k, n]
    group       elements of k that lie together
    """

    matrix: Tensor
    dtype: DType
    k: int
    n: int
    transposed: bool
    columns: int
    group: int = 1

    @property
    def matrices(self) -> int:
        size = self.matrix.type.size
        assert isinstance(size, int)
        return size // (self.k * self.n)

    @property
    def count(self) -> int:
        """Of a matrix's panels."""
        return -(-self.n // self.columns)

    @property
    def each(self) -> int:
        """Elements of a matrix in panels."""
        return self.count * self.k * self.columns

    @property
    def size(self) -> int:
        return self.matrices * self.each


Place: TypeAlias = "Tensor | Scratch | Panels"


@record
class Launch:
    """One call of a kernel: the nest, the memory each parameter and the dim each symbol stands for.

    starts  (old, new) pairs: the memory of `new` holds `old` when the kernel starts
    """

    nest: LoopNest
    arguments: tuple[Place, ...]
    members: tuple[Tensor, ...]
    kind: str
    symbols: tuple[Dim, ...]
    starts: tuple[tuple[Tensor, Tensor], ...] = ()

    @property
    def places(self) -> dict[str, Place]:
        """What the kernel's buffers stand for."""
        return dict(zip((p.name for p in self.nest.params), self.arguments, strict=True))

    @property
    def written(self) -> list[Place]:
        """What the kernel writes."""
        return [a for a, p in zip(self.arguments, self.nest.params, strict=True) if p.written]


@record
class Block:
    """A subgraph's part of the program: its inputs and outputs, in memory, and its steps."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    steps: tuple[Step, ...]


@record
class Region:
    """A loop or conditional that runs blocks; operands are named by the tensors whose memory they share."""

    op: Operation
    operands: tuple[Tensor, ...]
    blocks: tuple[Block, ...]


Step: TypeAlias = "Launch | Region"


def launches_of(steps: Sequence[Step]) -> list[Launch]:
    """Every launch of these steps and of the blocks in them, in order."""
    found: list[Launch] = []
    for step in steps:
        inner = [] if isinstance(step, Launch) else [s for b in step.blocks for s in b.steps]
        found += [step] if isinstance(step, Launch) else launches_of(inner)
    return found


def is_plain(steps: Sequence[Step]) -> bool:
    """Whether the steps are launches that find all they need in their own buffers: they may change places."""
    return all(isinstance(step, Launch) and not step.starts for step in steps)


def with_launches(steps: Sequence[Step], new: Iterator[Launch]) -> list[Step]:
    """The steps with other launches, in the same order."""
    return [next(new) if isinstance(step, Launch) else replace(step, blocks=tuple(
        replace(b, steps=tuple(with_launches(b.steps, new))) for b in step.blocks)) for step in steps]


@dataclass
class Memory:
    """The memory that a kernel touches, as parameters in the order of first use; and the target."""

    grouping: Grouping
    target: Target
    names: dict[Place, str] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)

    def name(self, t: Place, write: bool = False) -> str:
        t = self.grouping.memory_of(t) if isinstance(t, Tensor) else t
        found = self.names.setdefault(t, f"p{len(self.names)}")
        if write:
            self.written.add(found)
        return found

    @property
    def rooms(self) -> int:
        """How many parts of the outermost loop run at the same time."""
        return min(self.target.threads, MOST_PARTS)

    def room(self, dtype: DType, size: Dim, rooms: int) -> Piece:
        """Scratch for each part of the outermost loop that may run at a time: where that of a part begins."""
        return self.name(Scratch(dtype, size * rooms), write=True), part_number(rooms) * size

    def settled(self, t: Tensor) -> Tensor | None:
        """What a tensor in memory is in the outermost graph, if it is the same in every run."""
        t, settled = self.grouping.memory_of(t), self.grouping.settled
        if settled is None or not t.type.is_static:
            return None
        return t if t.op.opdef is constant else settled.get(t)

    def load(self, t: Tensor, at: Index, mask: Expr | None = None) -> Expr:
        """An element of a tensor in memory; of a constant, its number where all elements are the same."""
        if t.op.opdef is constant:
            array = t.op.value.array
            if array.size == 1 or (array.size and _all_same(array)):
                value = E.const(array.ravel()[0], t.dtype)
                return value if mask is None else E.select(mask, value, E.const(0, t.dtype))
        if t.op.opdef is blank:
            return E.const(0, t.dtype)
        return E.load(self.name(t), self.offset(t, at), t.dtype, mask)

    def offset(self, t: Tensor, at: Index) -> Dim:
        """Where an element of a tensor is in its buffer."""
        return linear(at, t.type.known_dims)

    def place(self, t: Tensor, at: Index) -> tuple[str, Dim]:
        """Where an element is stored: a buffer and the offset in it."""
        part = self.grouping.parts.get(t)
        if part is None:
            return self.name(t, write=True), self.offset(t, at)
        return self.name(part.whole, write=True), linear(part.index(at), part.whole.type.known_dims)

    def launch(self, body: list[Stmt], members: tuple[Tensor, ...], kind: str,
               starts: tuple[tuple[Tensor, Tensor], ...] = ()) -> Launch:
        nest = finish_nest(self, body)
        symbols = tuple(Poly({(a,): 1}) for a in nest.symbols)
        return Launch(nest, tuple(self.names), members, kind, symbols, starts)


def _all_same(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bool:
    if array.nbytes > 1 << 20:
        return False
    raw = array.ravel().view(f"V{array.itemsize}")
    return bool((raw == raw[0]).all())


def indices(dims: tuple[Dim, ...]) -> Index:
    """An index for each dim, which goes over all of it; 0 where that is one element."""
    return tuple(0 if d == 1 else axis(f"i{k}", d) for k, d in enumerate(dims))


def linear(at: Index, dims: tuple[Dim, ...]) -> Dim:
    """The offset of an element in row-major order."""
    total: Dim = 0
    for i, d in zip(at, dims, strict=True):
        total = total * d + i
    return total


def finish_nest(memory: Memory, body: list[Stmt]) -> LoopNest:
    """The nest with its parameters and the run-time integers that it mentions."""
    params = tuple(Param(name, t.dtype, name in memory.written) for t, name in memory.names.items())
    nodes = dict.fromkeys(n for root in dict.fromkeys(expressions(tuple(body))) for n in E.walk(root))
    dims = [*_places(body), *(d for n in nodes for d in dims_of(n))]
    symbols = {a for d in dims for a in atoms_of(d) if a.kind in RUN_TIME}
    checks = dict.fromkeys(c for c in map(E.complaint_of, nodes) if c is not None)
    return LoopNest(params, tuple(sorted(symbols)), tuple(body), tuple(checks))


def _places(body: Sequence[Stmt]) -> Iterator[Dim]:
    for stmt in statements(body):
        if isinstance(stmt, Loop):
            yield stmt.extent
        elif isinstance(stmt, Store):
            yield stmt.offset
        elif isinstance(stmt, Product):
            yield from (stmt.m, stmt.n, stmt.k, stmt.a_offset, stmt.b_offset, stmt.out_offset)
