"""lone_terms: a reduction of which one term alone counts is that term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphflow.compiler.ir.dims import Dim, atoms_of, single_atom
from graphflow.compiler.ir.dtypes import DType, int64
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import (
    Accumulator,
    Let,
    Loop,
    LoopNest,
    Stmt,
    Store,
    expressions,
    positions,
    reduction_start,
)
from graphflow.compiler.loops.substitute import rewrite, substitute_expr

Values = Mapping[str, Expr]  # of names


def lone_terms(nest: LoopNest) -> LoopNest:
    """Compute by itself what a loop picks out of a row by comparing its index with a number.

    All other terms are the reduction's neutral element, which the lone one is combined with too: the sum of
    -0.0 and zeros is 0.0. Where the number is not known to be an index of the loop, reads there are masked.

    Example:  t1 = checked(p0[0] < 9)
              for i < 9, r add= t3:
                t2 = eq(t1, i)
                t3 = select(t2, p1[i], 0.0)
    -->       t1 = checked(p0[0] < 9)
              r.i = t1
              r = add(0.0, p1[r.i])
    """
    body = _without_loops(nest.body, {})
    return nest if body == nest.body else replace(nest, body=body)


def _without_loops(body: Sequence[Stmt], outer: Values) -> tuple[Stmt, ...]:
    """A body in which the names of the statements around it are known."""
    known, new = dict(outer), list[Stmt]()
    for s in body:
        if isinstance(s, Let):
            known[s.name] = s.value
        new += _split(replace(s, body=_without_loops(s.body, known)), known) if isinstance(s, Loop) else [s]
    return tuple(new)


def _split(loop: Loop, outer: Values) -> list[Stmt]:
    """The lone terms of a loop, then what is left of it."""
    if not loop.accumulators or not _is_plain(loop):
        return [loop]
    inner = _inlined(loop.body)
    terms = {a: _lone_term(a, loop, inner, outer) for a in loop.accumulators}
    if not any(terms.values()):
        return [loop]
    kept = tuple(a for a, term in terms.items() if not term)
    body = _needed(loop.body, kept)
    rest = [replace(loop, body=body, accumulators=kept)] if body or kept else []
    return [*(s for term in terms.values() for s in term), *rest]


def _is_plain(loop: Loop) -> bool:
    """Whether iterations only compute and store, in any order."""
    return not loop.ordered and all(isinstance(s, (Let, Store)) for s in loop.body)


def _inlined(body: Sequence[Stmt]) -> dict[str, Expr]:
    """What each name of a body stands for, without those names."""
    found: dict[str, Expr] = {}
    for s in body:
        if isinstance(s, Let):
            found[s.name] = rewrite(s.value, lambda n: found.get(n.attr, n) if n.op == "temp" else n)
    return found


def _lone_term(a: Accumulator, loop: Loop, inner: Values, outer: Values) -> list[Let]:
    """What gives an accumulator at once, if at most one iteration counts."""
    value = inner.get(a.value.attr, a.value) if a.value.op == "temp" else a.value
    neutral = reduction_start(a.combine, a.value.dtype)
    if value.op != "select" or value.args[2] != neutral:
        return []
    condition, term, _ = value.args
    number = _compared(condition, loop)
    if number is None or not all(_may_move(n, loop, inner) for e in (number, term) for n in E.walk(e)):
        return []
    place = Let(f"{a.name}.{loop.axis.name}", E.cast(number, int64))
    at = E.temp(place.name, int64)
    term = substitute_expr(term, {loop.axis: E.as_offset(at)})
    if not _is_index(number, loop.extent, outer):
        inside = (at >= 0) & (at < E.index(loop.extent))
        term = E.select(inside, rewrite(term, lambda n: _masked(n, inside)), neutral)
    return [place, Let(a.name, E.call(a.combine, neutral, term))]


def _compared(condition: Expr, loop: Loop) -> Expr | None:
    """The number, the same in all iterations, that a loop's index is to be equal to."""
    if condition.op == "eq":
        for number, position in (condition.args, condition.args[::-1]):
            if _is_position(position, loop) and not any(_moves(n, loop) for n in E.walk(number)):
                return number
    return None


def _is_position(n: Expr, loop: Loop) -> bool:
    """Whether an expression is the index of a loop, in an integer dtype that holds all of them."""
    bare = n.args[0] if n.op == "cast" else n
    return bare.op == "index" and single_atom(bare.attr) == loop.axis and _holds(n.dtype, loop.extent)


def _holds(dtype: DType, extent: Dim) -> bool:
    """Whether each index below an extent is a number of the dtype."""
    return dtype.is_integer and (dtype.size == 8 or (isinstance(extent, int) and extent - 1 <= dtype.max))


def _moves(n: Expr, loop: Loop) -> bool:
    return any(loop.axis in atoms_of(d) for d in E.dims_of(n))


def _may_move(n: Expr, loop: Loop, inner: Values) -> bool:
    """Whether a node can be computed before a loop: it reports nothing, and its values are there already."""
    if n.op == "load" and any(isinstance(s, Store) and s.buffer == n.attr[0] for s in loop.body):
        return False
    names = {a.name for d in E.dims_of(n) for a in atoms_of(d) if a.kind == "value"}
    return E.complaint_of(n) is None and names.isdisjoint(inner)


def _is_index(n: Expr, extent: Dim, outer: Values) -> bool:
    """Whether a number has been checked to be below an extent, which is not 0."""
    while n.op in ("cast", "temp"):
        if not _holds(n.dtype, extent) or (n.op == "temp" and n.attr not in outer):
            return False
        n = n.args[0] if n.op == "cast" else outer[n.attr]
    return n.op == "checked_index" and n.attr[0] == extent and isinstance(extent, int) and extent > 0


def _masked(n: Expr, mask: Expr) -> Expr:
    if n.op != "load":
        return n
    buffer, offset = n.attr
    return E.load(buffer, offset, n.dtype, n.args[0] & mask if n.args else mask)


def _needed(body: Sequence[Stmt], accumulators: Sequence[Accumulator]) -> tuple[Stmt, ...]:
    """A body of a loop without the values that nothing uses, but for checks."""
    used, kept = set[str](), list[Stmt]()
    for e in (a.value for a in accumulators):
        used |= _names(E.walk(e))
    for s in reversed(body):
        nodes = [n for e in expressions((s,)) for n in E.walk(e)]
        if not isinstance(s, Let) or s.name in used or any(map(E.complaint_of, nodes)):
            kept.append(s)
            used |= _names(nodes) | {a.name for d in positions((s,)) for a in atoms_of(d)}
    return tuple(reversed(kept))


def _names(nodes: Sequence[Expr]) -> set[str]:
    return {n.attr for n in nodes if n.op == "temp"}
