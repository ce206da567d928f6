"""Launch: one call of a kernel; and the memory that a kernel touches while its nest is built."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from graphflow.compiler.ir.dims import RUN_TIME, Atom, Dim, Poly, atoms_of
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, Index, dims_of
from graphflow.compiler.loops.nest import Let, Loop, LoopNest, Param, Stmt, Store, expressions, statements
from graphflow.compiler.ops.core import constant
from graphflow.compiler.passes.group import Grouping


@dataclass(frozen=True, eq=False)
class Scratch:
    """Memory that one kernel uses for itself."""

    dtype: DType
    size: Dim


@dataclass(frozen=True)
class Launch:
    """One call of a kernel: the nest, the memory each parameter and the dim each symbol stands for."""

    nest: LoopNest
    arguments: tuple[Tensor | Scratch, ...]
    members: tuple[Tensor, ...]
    kind: str
    symbols: tuple[Dim, ...]


@dataclass
class Memory:
    """The memory that a kernel touches, as parameters in the order of first use."""

    grouping: Grouping
    names: dict[Tensor | Scratch, str] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)

    def name(self, t: Tensor | Scratch, write: bool = False) -> str:
        while isinstance(t, Tensor) and t in self.grouping.aliases:
            t = self.grouping.aliases[t]
        found = self.names.setdefault(t, f"p{len(self.names)}")
        if write:
            self.written.add(found)
        return found

    def load(self, t: Tensor, at: Index, mask: Expr | None = None) -> Expr:
        """An element of a tensor in memory; of a constant, its number where all elements are the same."""
        if t.op.opdef is constant:
            array = t.op.value.array
            if array.size == 1 or (array.size and _all_same(array)):
                value = E.const(array.ravel()[0], t.dtype)
                return value if mask is None else E.select(mask, value, E.const(0, t.dtype))
        return E.load(self.name(t), linear(at, t.type.known_dims), t.dtype, mask)

    def place(self, t: Tensor, at: Index) -> tuple[str, Dim]:
        """Where an element is stored: a buffer and the offset in it."""
        part = self.grouping.parts.get(t)
        if part is None:
            return self.name(t, write=True), linear(at, t.type.known_dims)
        return self.name(part.whole, write=True), linear(part.index(at), part.whole.type.known_dims)

    def launch(self, body: list[Stmt], members: tuple[Tensor, ...], kind: str) -> Launch:
        nest = finish_nest(self, body)
        return Launch(nest, tuple(self.names), members, kind, tuple(Poly({(a,): 1}) for a in nest.symbols))


def _all_same(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bool:
    if array.nbytes > 1 << 20:
        return False
    raw = array.ravel().view(f"V{array.itemsize}")
    return bool((raw == raw[0]).all())


def linear(at: Index, dims: tuple[Dim, ...]) -> Dim:
    """The offset of an element in row-major order."""
    total: Dim = 0
    for i, d in zip(at, dims, strict=True):
        total = total * d + i
    return total


def finish_nest(memory: Memory, body: list[Stmt]) -> LoopNest:
    """The nest with its parameters and the run-time integers that it mentions."""
    params = tuple(Param(name, t.dtype, name in memory.written) for t, name in memory.names.items())
    symbols: set[Atom] = set()
    for dim in _dims_in(tuple(body)):
        symbols.update(a for a in atoms_of(dim) if a.kind in RUN_TIME)
    complaints = (E.complaint_of(n) for root in expressions(tuple(body)) for n in E.walk(root))
    checks = {c: None for c in complaints if c is not None}
    return LoopNest(params, tuple(sorted(symbols)), tuple(body), tuple(checks))


def _dims_in(body: tuple[Stmt, ...]) -> list[Dim]:
    found: list[Dim] = []
    for stmt in statements(body):
        if isinstance(stmt, Loop):
            found.append(stmt.extent)
        elif isinstance(stmt, Store):
            found.append(stmt.offset)
        elif not isinstance(stmt, Let):
            found += [stmt.m, stmt.n, stmt.k, stmt.a_offset, stmt.b_offset, stmt.out_offset]
    for root in set(expressions(body)):
        found += [d for n in E.walk(root) for d in dims_of(n)]
    return [d for d in found if isinstance(d, Poly)]
