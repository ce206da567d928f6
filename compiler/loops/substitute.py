"""Statements and scalar expressions with something in them replaced: loop indices, names, nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from graphflow.compiler.ir.dims import Atom, Dim, atom, substitute
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import Let, Loop, Product, Stmt, Store, statements

Change = Callable[[Expr], Expr]
Move = Callable[[str, Dim], "tuple[str, Dim]"]  # a buffer and an offset in it -> others


def substitute_stmt(stmt: Stmt, values: dict[Atom, Dim]) -> Stmt:
    """The statement with loop indices replaced."""
    return _mapped(stmt, _rewriter(_moving(values)), _shifting(values), _same)


def substitute_expr(root: Expr, values: dict[Atom, Dim]) -> Expr:
    """The expression with loop indices replaced."""
    return rewrite(root, _moving(values))


def copied(loop: Loop, at: Dim, suffix: str) -> Loop:
    """The loop with another index in it than its own, and names of its own."""
    new, = under_own_names((loop,), {loop.axis: at}, suffix)
    assert isinstance(new, Loop)
    return new


def under_own_names(body: Sequence[Stmt], values: Mapping[Atom, Dim], suffix: str,
                    given: Iterable[str] = ()) -> list[Stmt]:
    """The statements with loop indices replaced, and a suffix for temps that they define, or are `given`."""
    names = {name: name + suffix for name in (*_defined(body), *given)}
    moves = {**values, **{Atom("value", old): atom("value", new) for old, new in names.items()}}
    return [renamed(s, moves, names) for s in body]


def renamed(stmt: Stmt, values: dict[Atom, Dim], names: Mapping[str, str]) -> Stmt:
    """The statement with loop indices replaced, and other names for some temps."""
    move = _moving(values)

    def changed(n: Expr) -> Expr:
        return E.temp(named(n.attr), n.dtype) if n.op == "temp" else move(n)

    def named(name: str) -> str:
        return names.get(name, name)

    return _mapped(stmt, _rewriter(changed), _shifting(values), named)


def relocated(stmt: Stmt, move: Move, index: Callable[[Dim], Dim] | None = None) -> Stmt:
    """The statement with all that it reads and writes in other places, and other indices as values."""
    def moved(n: Expr) -> Expr:
        if n.op == "load":
            return Expr("load", n.args, n.dtype, move(*n.attr))
        return E.index(index(n.attr)) if index and n.op == "index" else n

    return _mapped(stmt, _rewriter(moved), move, _same)


def rewrite(root: Expr, change: Change) -> Expr:
    """The expression with every node changed, operands before users."""
    return _rewriter(change)(root)


def rewrite_stmt(stmt: Stmt, change: Change) -> Stmt:
    """The statement with every node of its expressions changed."""
    return _mapped(stmt, _rewriter(change), lambda buffer, offset: (buffer, offset), _same)


def _rewriter(change: Change) -> Change:
    """What changes all nodes of expressions, each node that they share once."""
    known: dict[Expr, Expr] = {}

    def rewritten(root: Expr) -> Expr:
        for n in E.walk(root):
            if n not in known:
                args = tuple(known[a] for a in n.args)
                known[n] = change(n if args == n.args else Expr(n.op, args, n.dtype, n.attr))
        return known[root]

    return rewritten


def _moving(values: dict[Atom, Dim]) -> Change:
    def moved(n: Expr) -> Expr:
        if n.op == "load":
            return Expr("load", n.args, n.dtype, (n.attr[0], substitute(n.attr[1], values)))
        return E.index(substitute(n.attr, values)) if n.op == "index" else n

    return moved


def _shifting(values: Mapping[Atom, Dim]) -> Move:
    return lambda buffer, offset: (buffer, substitute(offset, values))


def _same(x: Any) -> Any:
    return x


def _mapped(stmt: Stmt, value: Change, move: Move, name: Callable[[str], str]) -> Stmt:
    """The statement with its expressions, its places in memory and what it names mapped."""
    if isinstance(stmt, Let):
        return Let(name(stmt.name), value(stmt.value))
    if isinstance(stmt, Store):
        buffer, offset = move(stmt.buffer, stmt.offset)
        return replace(stmt, buffer=buffer, offset=offset, value=value(stmt.value))
    assert isinstance(stmt, (Loop, Product)), "a While stands outside of loops"
    body = tuple(_mapped(s, value, move, name) for s in stmt.body)
    if isinstance(stmt, Loop):
        accumulators = tuple(replace(a, name=name(a.name), value=value(a.value)) for a in stmt.accumulators)
        return replace(stmt, body=body, accumulators=accumulators)
    (a, a_at), (b, b_at) = move(stmt.a, stmt.a_offset), move(stmt.b, stmt.b_offset)
    out, out_at = move(stmt.out, stmt.out_offset) if stmt.out else ("", stmt.out_offset)
    return replace(stmt, a=a, b=b, out=out, a_offset=a_at, b_offset=b_at, out_offset=out_at, body=body)


def _defined(body: Sequence[Stmt]) -> set[str]:
    """The temps that a body defines; `sum` is every product's."""
    inside = statements(body)
    return {s.name for s in inside if isinstance(s, Let)} | {
        a.name for s in inside if isinstance(s, Loop) for a in s.accumulators}
