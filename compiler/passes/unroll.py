"""unroll: what a vector loop adds up over a few neighbours is written out, term by term."""

from __future__ import annotations

import itertools
from dataclasses import replace
from math import prod

from graphflow.compiler.ir.dims import Atom, Dim, atoms_of, axis, only_atom
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import (
    Accumulator,
    Let,
    Loop,
    Stmt,
    Store,
    positions,
    reduction_start,
    statements,
)
from graphflow.compiler.loops.substitute import (
    copied,
    rewrite,
    rewrite_stmt,
    substitute_expr,
    substitute_stmt,
)

AT_ONCE = (8, 7, 6, 5, 4, 3, 2)  # terms of a long sum, the first of these that divides it
MOST_TERMS, LONGEST = 32, 8  # together, and of one loop: the windows of all usual networks


def unroll(stmt: Stmt) -> list[Stmt]:
    """Loops of few iterations that only combine terms become the terms, each combined with those before.

    Example:  for i < 2, r add= p0[3*i+j]:
    -->       r_0 = add(0.0, p0[j]); r = add(r_0, p0[3+j])
    """
    if not isinstance(stmt, Loop):
        return [stmt]
    if _is_sum(stmt) and _is_short(stmt):
        terms = [_terms(stmt, k) for k in range(len(stmt.accumulators))]
        if all(_is_product(t) for each in terms for t in each):
            return [s for a, each in zip(stmt.accumulators, terms, strict=True) for s in _chain(a, each)]
    return [replace(stmt, body=tuple(new for s in stmt.body for new in unroll(s)))]


def _is_product(term: Expr) -> bool:
    """Whether a term is one of two numbers in memory: other sums are nearer to exact loop by loop."""
    return term.op == "mul" and all(x.op == "load" for x in term.args)


def _is_sum(loop: Loop) -> bool:
    """Whether a loop, with those within, does nothing but combine terms, at known places."""
    return (bool(loop.accumulators) and _carries(loop)
            and not any(isinstance(s, Store) for s in statements((loop,)))
            and not any(a.kind == "value" for d in positions((loop,)) for a in atoms_of(d)))


def _is_short(loop: Loop) -> bool:
    extents = [s.extent for s in statements((loop,)) if isinstance(s, Loop)]
    known = [e for e in extents if isinstance(e, int) and e <= LONGEST]
    return len(known) == len(extents) and prod(known) <= MOST_TERMS


def _carries(loop: Loop) -> bool:
    """Whether loops within, if any, are one each, with accumulators that the outer one's go on with."""
    loops = [s for s in loop.body if isinstance(s, Loop)]
    if not loops:
        return True
    (inner, *others), names = loops, [a.value.attr for a in loop.accumulators if a.value.op == "temp"]
    same = [a.combine for a in loop.accumulators] == [a.combine for a in inner.accumulators]
    return (not others and loop.body[-1] is inner and same and _carries(inner)
            and names == [a.name for a in inner.accumulators])


def _terms(loop: Loop, k: int) -> list[Expr]:
    """What accumulator k combines, in order."""
    assert isinstance(loop.extent, int)
    return [term for i in range(loop.extent) for term in _terms_at(loop, k, {loop.axis: i})]


def _terms_at(loop: Loop, k: int, at: dict[Atom, Dim]) -> list[Expr]:
    loop = _by_terms(loop)
    if not loop.body:
        return [substitute_expr(loop.accumulators[k].value, at)]
    inner = substitute_stmt(loop.body[-1], at)
    assert isinstance(inner, Loop)
    return _terms(inner, k)


def _by_terms(loop: Loop) -> Loop:
    """The loop with what is named in it in the places of the names."""
    lets = {s.name: s.value for s in loop.body if isinstance(s, Let)}

    def inlined(n: Expr) -> Expr:
        return rewrite(lets[n.attr], inlined) if n.op == "temp" and n.attr in lets else n

    new = rewrite_stmt(loop, inlined)
    assert isinstance(new, Loop)
    return replace(new, body=tuple(s for s in new.body if not isinstance(s, Let)))


def _chain(a: Accumulator, terms: list[Expr]) -> list[Stmt]:
    value = reduction_start(a.combine, a.value.dtype)
    lets: list[Stmt] = []
    for k, term in enumerate(terms, 1):
        name = a.name if k == len(terms) else f"{a.name}_{k}"
        lets.append(Let(name, _combined(a.combine, value, term)))
        value = E.temp(name, term.dtype)
    return lets or [Let(a.name, value)]


def _combined(combine: str, value: Expr, term: Expr) -> Expr:
    if combine == "add" and term.op == "mul" and term.dtype.is_floating:
        x, y = term.args
        return E.fma(x, y, value)
    return E.call(combine, value, term)


def sum_several(loop: Loop) -> Loop:
    """Sums in vectors over the same elements take several terms per iteration, and load each element once.

    Example:  for i < 16, r add= mul(x[i], y[i]), q add= mul(x[i+1], y[i]):
    -->       for i < 2, r add= r_7, q add= q_7: r_0 = mul(x[8*i], y[8*i]) ... q_7 = fma(...)
    """
    body: list[Stmt] = []
    for s in loop.body:
        if not isinstance(s, Loop):
            body.append(s)
        elif loop.vector and len(s.accumulators) > 1 and _is_sum(s) and not _is_written_out(s):
            body.append(_in_rounds(_by_terms(s)))
        else:
            body.append(sum_several(s))
    return replace(loop, body=tuple(body))


def _is_written_out(loop: Loop) -> bool:
    """Whether an iteration combines several terms already."""
    return any(isinstance(s, Let) and s.value.op == "fma" for s in loop.body)


def _in_rounds(loop: Loop) -> Loop:
    if loop.body or not isinstance(loop.extent, int):
        return loop
    each = next((n for n in AT_ONCE if loop.extent % n == 0), 1)
    i = axis(f"{loop.axis.name}s", loop.extent // each)
    copies = [copied(loop, each * i + k, f"_{k}") for k in range(each)]
    body: list[Stmt] = [Let(a.name, a.value) for a in copies[0].accumulators]
    for before, after in itertools.pairwise(copies):
        body += [Let(a.name, _combined(a.combine, E.temp(b.name, b.value.dtype), a.value))
                 for a, b in zip(after.accumulators, before.accumulators, strict=True)]
    last = [E.temp(a.name, a.value.dtype) for a in copies[-1].accumulators]
    accumulators = tuple(replace(a, value=v) for a, v in zip(loop.accumulators, last, strict=True))
    return replace(loop, axis=only_atom(i), extent=loop.extent // each, body=tuple(body),
                   accumulators=accumulators)
