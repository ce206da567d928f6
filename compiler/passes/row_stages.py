"""A kernel as what it does for one row: what `band` puts chains of kernels together from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from graphflow.compiler.ir.dims import (
    Atom,
    Dim,
    atoms_of,
    axis,
    coefficient,
    extent_of,
    is_nonnegative,
    only_atom,
    product,
    substitute,
    upper_bound,
)
from graphflow.compiler.loops.nest import (
    Let,
    Loop,
    LoopNest,
    Product,
    Stmt,
    Store,
    expressions,
    loads,
    positions,
    statements,
    walks_as_one,
)
from graphflow.compiler.loops.substitute import substitute_stmt
from graphflow.compiler.passes.launch import Launch, Place
from graphflow.compiler.passes.timeline import overwrites_safely
from graphflow.compiler.records import record


@record
class Stage:
    """What a launch does for one row, at an index for each digit of the row's number, outermost first.

    A product is there as that of its row alone; sums that are not finished have no place yet.
    """

    launch: Launch
    digits: tuple[Dim, ...]
    body: tuple[Stmt, ...]

    @property
    def product(self) -> Product | None:
        return next((s for s in self.body if isinstance(s, Product)), None)

    @property
    def cuts(self) -> list[Dim]:
        """How many rows a step of each digit but the first goes past, of the one before it, ascending."""
        extents = [extent_of(d) for d in self.digits]
        return [product(extents[k:]) for k in range(len(extents) - 1, 0, -1)]

    def accesses(self) -> Iterator[tuple[str, Dim, Dim]]:
        """Each buffer that is read or written, the offset, and how many elements from there on."""
        for n in loads(self.body):
            yield *n.attr, 1
        for s in statements(self.body):
            if isinstance(s, Store):
                yield s.buffer, s.offset, 1
            elif isinstance(s, Product):
                yield s.a, s.a_offset, s.k
                yield s.b, s.b_offset, s.k * s.n
                if not s.body:
                    yield s.out, s.out_offset, s.n

    def within_row(self, offset: Dim, each: Dim) -> Dim | None:
        """An offset in a matrix of all rows, of so many elements each, within its own row; else None."""
        pitch = each
        for d in reversed(self.digits):
            a = only_atom(d)
            if coefficient(offset, a) != pitch:
                return None
            pitch = pitch * extent_of(d)
        return substitute(offset, dict.fromkeys(self._atoms(), 0))

    def keeps_to_rows(self, t: Place, each: Dim) -> bool:
        """Whether all that it reads or writes of a matrix, with rows of so many elements, is its own row."""
        names = {name for name, place in self.launch.places.items() if place is t}
        for buffer, offset, count in self.accesses():
            if buffer in names:
                rest = self.within_row(offset, each)
                top = None if rest is None else upper_bound(rest)
                if top is None or not is_nonnegative(each - top - count):
                    return False
        return True

    def writes_over(self, old: Place, new: Place) -> bool:
        """Whether it may write its row of `new` over that of `old`: all else of `old` is read before."""
        if self.product is not None:
            return False
        names = {place: name for name, place in self.launch.places.items()}
        last = next(k for k, s in enumerate(self.body) if names[new] in _stored((s,)))
        behind, here = self.body[last + 1:], (self.body[last],)
        again = names[new] in _stored(behind) or names[old] in (n.attr[0] for n in loads(behind))
        return not again and overwrites_safely(LoopNest((), (), here), names[old], names[new])

    def merged(self) -> Stage:
        """With the fewest digits: one in place of two wherever memory is walked as by one."""
        digits, body = self.digits, self.body
        while len(digits) > 1:
            outer, inner = (only_atom(d) for d in digits[-2:])
            rows = extent_of(digits[-1])
            if not walks_as_one(positions(body), outer, inner, rows):
                break
            joint = axis(inner.name, extent_of(digits[-2]) * rows)
            body = tuple(substitute_stmt(s, {outer: 0, inner: joint}) for s in body)
            digits = (*digits[:-2], joint)
        return replace(self, digits=digits, body=body)

    def cut_at(self, cuts: Sequence[Dim], indices: Sequence[Dim]) -> Mapping[Atom, Dim]:
        """The digits' values for digits cut finer: at `cuts`, ascending, whose indices are given."""
        weights = [*reversed(cuts), 1]
        values: dict[Atom, Dim] = {}
        of = [*(d for d in reversed(self.cuts)), 1]
        for d, weight, above in zip(self.digits, of, [None, *of], strict=False):
            a = only_atom(d)
            values[a] = sum(((w // weight) * i for w, i in zip(weights, indices, strict=True)
                             if w % weight == 0 and (above is None or (w != above and above % w == 0))), 0)
        return values

    def _atoms(self) -> list[Atom]:
        return [only_atom(d) for d in self.digits]


def stage_of(launch: Launch, rows: Dim) -> Stage | None:
    """The launch by rows, of which there are so many, if its outer loops go over them and nothing else."""
    if launch.kind not in ("map", "reduce", "product") or launch.starts or launch.nest.checks:
        return None
    digits: list[Dim] = []
    head: list[Stmt] = []
    body, count = launch.nest.body, product(())
    while count != rows:
        *lets, last = body or (None,)
        if not all(isinstance(s, Let) for s in lets):
            return None
        head += lets
        if isinstance(last, Product):
            row = last.row if last.row != 0 else axis("row", last.m)
            one = _one_row(last, row)
            if one is None or count * last.m != rows or head:
                return None
            return Stage(launch, (*digits, row), (one,))
        if not isinstance(last, Loop) or last.accumulators or last.ordered or last.apart:
            return None
        digits.append(axis_of(last))
        count, body = count * last.extent, last.body
    if not digits or not _is_plain(body, digits):
        return None
    return Stage(launch, tuple(digits), (*head, *body))


def _stored(body: Sequence[Stmt]) -> set[str]:
    return {s.buffer for s in statements(body) if isinstance(s, Store)}


def rows_of(launch: Launch) -> Dim | None:
    """How many rows the product of a launch has in all batches."""
    count: Dim = 1
    body = launch.nest.body
    while len(body) == 1 and isinstance(body[0], Loop):
        count, body = count * body[0].extent, body[0].body
    return count * body[0].m if len(body) == 1 and isinstance(body[0], Product) else None


def axis_of(loop: Loop) -> Dim:
    """The loop's index."""
    return axis(loop.axis.name, loop.extent)


def _one_row(p: Product, row: Dim) -> Product | None:
    """The product of one row of A, if its rows lie one after another."""
    if p.view is not None or p.transpose_a or p.add or p.m == 1 or 0 in (p.m, p.n, p.k):
        return None
    out = ("", 0) if p.body else (p.out, p.out_offset + row * p.n)
    return replace(p, m=1, row=row, a_offset=p.a_offset + row * p.k, out=out[0], out_offset=out[1])


def _is_plain(body: Sequence[Stmt], digits: Sequence[Dim]) -> bool:
    """Whether there are only loops that do not depend on the row, and stores that do not add."""
    atoms = {only_atom(d) for d in digits}
    for s in statements(body):
        if isinstance(s, Loop) and (s.apart or not atoms.isdisjoint(atoms_of(s.extent))):
            return False
        if not isinstance(s, (Let, Store, Loop)) or (isinstance(s, Store) and s.add):
            return False
    return bool(expressions(tuple(body)))
