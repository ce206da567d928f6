"""block: how each matrix product is computed, and the memory that this takes besides its operands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphflow.compiler import flags
from graphflow.compiler.codegen.gemm.choose import Extents, choose, in_tiles
from graphflow.compiler.codegen.gemm.product import known
from graphflow.compiler.codegen.gemm.terms import Terms
from graphflow.compiler.ir.dims import Dim, atoms_of, single_atom
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.blocking import Blocking, Form
from graphflow.compiler.loops.forms import Banded, Contraction, Serial
from graphflow.compiler.loops.nest import Loop, Product, Stmt, Store, statements
from graphflow.compiler.loops.substitute import relocated
from graphflow.compiler.passes.group import Grouping
from graphflow.compiler.passes.launch import Launch, Memory, Panels, Place, Step, linear
from graphflow.compiler.passes.pack_once import is_packed_each_time, packed_once
from graphflow.compiler.target import Target


def block(steps: Sequence[Step], grouping: Grouping, target: Target) -> list[Step]:
    """Give products their blocking, scratch, and packed copies of what they multiply by.

    A matrix B that is the same in every run is packed ahead of all runs, where that makes the product faster;
    what each part of a product would pack, by a kernel of its own before. A product inside of a loop is not
    cut into parts: these are of the loop, and have scratch of their own.

    Example:  for b < 16: (s = exp of rows of x ; rows of y = s[16, 64] @ v[32, 64]^T)
    -->       p[64, 32] = v^T ; for b < 16: (s = exp of rows of x ; rows of y = s[16, 64] @ p[64, 32])
    """
    blocked: list[Step] = []
    for step in steps:
        if isinstance(step, Launch) and _has_products(step.nest.body):
            blocked += _Blocker(step, grouping, target).launches()
        else:
            blocked.append(step)
    return blocked


def _has_products(body: Sequence[Stmt]) -> bool:
    return any(isinstance(s, Product) for s in statements(body))


class _Blocker:
    """Makes a launch again, with what its products need."""

    def __init__(self, launch: Launch, grouping: Grouping, target: Target) -> None:
        self.launch = launch
        self.memory = Memory(grouping, target)
        self.places = launch.places
        self.written = set(launch.written)
        self.before: list[Launch] = []

    def launches(self) -> list[Launch]:
        """The kernel, after those that pack what it needs."""
        old = self.launch
        body = [self.stmt(s, False) for s in old.nest.body]
        return [*self.before, self.memory.launch(body, old.members, old.kind, old.starts)]

    def stmt(self, s: Stmt, inside: bool) -> Stmt:
        if isinstance(s, Product):
            return self.product(s, inside)
        if isinstance(s, Loop) and _has_products(s.body):
            return replace(s, body=tuple(self.stmt(i, True) for i in s.body))
        return relocated(s, self.place)

    def place(self, buffer: str, offset: Dim) -> tuple[str, Dim]:
        t = self.places[buffer]
        return self.memory.name(t, t in self.written), offset

    def product(self, p: Product, inside: bool) -> Product:
        """The product with all that it needs; its body first, as results may have room for its sums."""
        a, b, memory = self.places[p.a], self.places[p.b], self.memory
        p = replace(p, body=tuple(relocated(s, self.place) for s in p.body), blocking=self.form(p, inside))
        if isinstance(p.blocking, Blocking) and p.blocking.ahead:
            p, b = self.ahead(p, b, p.blocking.columns, p.blocking.group)
        elif p.whole is not None and is_packed_each_time(b, p):
            packing, b, p = packed_once(Memory(memory.grouping, memory.target), p, b, self.member(b))
            self.before.append(packing)
        p = replace(p, a=memory.name(a), b=memory.name(b), whole=None)
        p = p if p.blocking is None else self.with_scratch(replace(p, rooms=memory.rooms if inside else 1))
        return self.with_room(p) if p.body else replace(p, out=self.place(p.out, 0)[0])

    def with_scratch(self, p: Product) -> Product:
        """With memory for what its blocking packs."""
        size = p.blocking.scratch if p.blocking else 0
        return replace(p, scratch=self.memory.room(p.dtype, size, p.rooms)[0]) if size else p

    def form(self, p: Product, inside: bool) -> Form | None:
        """How to compute a product; None where the library does."""
        a, b = self.places[p.a], self.places[p.b]
        terms = Terms(a.dtype, b.dtype, p.dtype)
        if flags.use_blas() and terms.code in ("f32", "f64"):
            return None
        rows = p.m if p.whole is None else p.whole
        extents = Extents(terms, known(rows), known(p.n), known(p.k), p.transpose_a, p.transpose_b, p.view)
        target = replace(self.memory.target, threads=1) if inside else self.memory.target
        if p.add:
            return in_tiles(extents, target)
        return choose(extents, target, self.settled(b) is not None)

    def settled(self, b: Place) -> Tensor | None:
        """What B is in the outermost graph, if it may be packed: not where a record says what lies in it."""
        by_record = any(isinstance(t.op.opdef.lower, (Banded, Serial)) for t in self.launch.members)
        return None if by_record or not isinstance(b, Tensor) else self.memory.settled(b)

    def ahead(self, p: Product, b: Place, columns: int, group: int) -> tuple[Product, Panels]:
        """The product by panels in place of B, whose elements are as they were where they lie in groups."""
        matrix = self.settled(b)
        assert matrix is not None and isinstance(p.k, int) and isinstance(p.n, int)
        dtype = p.dtype if group == 1 else matrix.dtype
        panels = Panels(matrix, dtype, p.k, p.n, p.transpose_b, columns, group)
        return replace(p, b_offset=p.b_offset // (p.k * p.n) * panels.each, transpose_b=False), panels

    def member(self, b: Tensor) -> Tensor:
        """The product that takes B."""
        memory_of = self.memory.grouping.memory_of
        return next(t for t in self.launch.members
                    if isinstance(t.op.opdef.lower, Contraction) and memory_of(t.op.operands[1]) is b)

    def with_room(self, p: Product) -> Product:
        """With memory for sums that are not finished: a result of the same kind, or scratch.

        The new value of a variable is left to its kernel: it may then be written over the old one.
        """
        if p.blocking is not None and not p.blocking.keeps_sums(p.k):
            return p
        memory, indices = self.memory, (*p.row_extents, (p.column, p.n))
        place, own = linear(*zip(*indices, strict=True)), {single_atom(i) for i, _ in indices}
        new = {memory.names.get(t) for t in memory.grouping.graph.updates.values()}
        for s in p.body:
            if isinstance(s, Store) and s.value.dtype is p.dtype and s.buffer not in new:
                start = s.offset - place
                if own.isdisjoint(atoms_of(start)):
                    return replace(p, out=s.buffer, out_offset=start)
        out, start = memory.room(p.dtype, p.m * p.n, p.rooms)
        return replace(p, out=out, out_offset=start)
