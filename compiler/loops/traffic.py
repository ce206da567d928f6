"""traffic: what a kernel moves and computes, by its statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphflow.compiler.ir.dims import Atom, Dim, Poly, atoms_of, product, single_atom, substitute
from graphflow.compiler.loops.expr import SCALAR, Expr, cost, walk
from graphflow.compiler.loops.nest import Loop, LoopNest, Product, Stmt, Store, While
from graphflow.compiler.records import record

Loops = tuple[Loop, ...]


@record
class Traffic:
    """Different elements read and written of each parameter, and operations in additions of one number.

    A multiply-add counts 2, a division 8, an exponential 15.
    """

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    operations: int


def traffic(nest: LoopNest, sizes: Sequence[int], values: Mapping[Atom, int]) -> Traffic:
    """The traffic of a kernel on buffers of these numbers of elements, at these run-time integers.

    An access moves with the loops whose index is in its offset, an offset computed in the kernel with all of
    them; of a buffer no more is counted than it has. A loop whose length the kernel finds out counts once.
    """
    counter = _Counter(nest, values)
    counter.body(nest.body, ())

    def touched(found: dict[str, dict[Dim, int]]) -> tuple[int, ...]:
        return tuple(min(size, sum(found[p.name].values()))
                     for p, size in zip(nest.params, sizes, strict=True))

    return Traffic(touched(counter.reads), touched(counter.writes), counter.operations)


class _Counter:
    """reads, writes: buffer -> offset -> different elements."""

    def __init__(self, nest: LoopNest, values: Mapping[Atom, int]) -> None:
        self.values = values
        self.reads: dict[str, dict[Dim, int]] = {p.name: {} for p in nest.params}
        self.writes: dict[str, dict[Dim, int]] = {p.name: {} for p in nest.params}
        self.operations = 0

    def body(self, stmts: tuple[Stmt, ...], loops: Loops) -> None:
        for s in stmts:
            if isinstance(s, Loop):
                inside = (*loops, s)
                for a in s.accumulators:
                    self.value(a.value, inside, SCALAR[a.combine].cost)
                self.body(s.body, inside)
            elif isinstance(s, Product):
                self.product(s, loops)
            elif isinstance(s, While):
                for e in (s.condition, *(e for v in s.variables for e in (v.start, v.following))):
                    self.value(e, loops, 0)
                self.body((*s.test, *s.body), loops)
            else:
                adds = isinstance(s, Store) and s.add
                self.value(s.value, loops, int(adds))
                if isinstance(s, Store):
                    self.touch(self.writes, s.buffer, s.offset, loops)
                    if adds:
                        self.touch(self.reads, s.buffer, s.offset, loops)

    def value(self, value: Expr, loops: Loops, extra: int) -> None:
        self.operations += self.trips(loops) * (cost(value) + extra)
        for n in walk(value):
            if n.op == "load":
                self.touch(self.reads, n.attr[0], n.attr[1], loops)

    def product(self, p: Product, loops: Loops) -> None:
        self.operations += 2 * self.count(p.m * p.n * p.k) * self.trips(loops)
        self.touch(self.reads, p.a, p.a_offset, loops, self.count(p.m * p.k))
        self.touch(self.reads, p.b, p.b_offset, loops, self.count(p.k * p.n))
        if p.body:
            places = ((single_atom(i), extent) for i, extent in (*p.row_extents, (p.column, p.n)))
            self.body(p.body, (*loops, *(Loop(a, extent, ()) for a, extent in places if a is not None)))
        else:
            for found in (self.writes, *([self.reads] if p.add else ())):
                self.touch(found, p.out, p.out_offset, loops, self.count(p.m * p.n))

    def touch(self, found: dict[str, dict[Dim, int]], buffer: str, offset: Dim, loops: Loops,
              each: int = 1) -> None:
        atoms = atoms_of(offset)
        anywhere = any(a.kind == "value" for a in atoms)
        moving = tuple(loop for loop in loops if anywhere or loop.axis in atoms)
        found[buffer][offset] = each * self.trips(moving)

    def trips(self, loops: Loops) -> int:
        return self.count(product(loop.extent for loop in loops))

    def count(self, size: Dim) -> int:
        """The number; of blocks, of which the last may be shorter, that of the first."""
        known: dict[Atom, Dim] = dict.fromkeys((a for a in atoms_of(size) if a.kind == "axis"), 0)
        number = substitute(size, {**known, **self.values})
        return 1 if isinstance(number, Poly) else max(number, 0)
