"""Statements and scalar expressions with something in them replaced: loop indices, names, nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from graphflow.compiler.ir.dims import Atom, Dim, substitute
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import Let, Loop, Product, Stmt, Store, statements

Change = Callable[[Expr], Expr]


def substitute_stmt(stmt: Stmt, values: dict[Atom, Dim]) -> Stmt:
    """The statement with loop indices replaced."""
    return _mapped(stmt, _rewriter(_moving(values)), lambda d: substitute(d, values), _same)


def substitute_expr(root: Expr, values: dict[Atom, Dim]) -> Expr:
    """The expression with loop indices replaced."""
    return rewrite(root, _moving(values))


def copied(loop: Loop, at: Dim, suffix: str) -> Loop:
    """The loop with another index in it than its own, and names of its own.

    Its `value` atoms must not refer to names in it.
    """
    values = {loop.axis: at}
    names, move = _names_in(loop), _moving(values)

    def changed(n: Expr) -> Expr:
        return E.temp(named(n.attr), n.dtype) if n.op == "temp" else move(n)

    def named(name: str) -> str:
        return name + suffix if name in names else name

    new = _mapped(loop, _rewriter(changed), lambda d: substitute(d, values), named)
    assert isinstance(new, Loop)
    return new


def rewrite(root: Expr, change: Change) -> Expr:
    """The expression with every node changed, operands before users."""
    return _rewriter(change)(root)


def rewrite_stmt(stmt: Stmt, change: Change) -> Stmt:
    """The statement with every node of its expressions changed."""
    return _mapped(stmt, _rewriter(change), _same, _same)


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


def _same(x: Any) -> Any:
    return x


def _mapped(stmt: Stmt, value: Change, offset: Callable[[Dim], Dim], name: Callable[[str], str]) -> Stmt:
    """The statement with its expressions, its places in memory and what it names mapped."""
    if isinstance(stmt, Let):
        return Let(name(stmt.name), value(stmt.value))
    if isinstance(stmt, Store):
        return replace(stmt, offset=offset(stmt.offset), value=value(stmt.value))
    assert isinstance(stmt, (Loop, Product)), "a While stands outside of loops"
    body = tuple(_mapped(s, value, offset, name) for s in stmt.body)
    if isinstance(stmt, Loop):
        accumulators = tuple(replace(a, name=name(a.name), value=value(a.value)) for a in stmt.accumulators)
        return replace(stmt, body=body, accumulators=accumulators)
    return replace(stmt, a_offset=offset(stmt.a_offset), b_offset=offset(stmt.b_offset),
                   out_offset=offset(stmt.out_offset), body=body)


def _names_in(loop: Loop) -> set[str]:
    """The temps that are defined in a loop."""
    inside = statements((loop,))
    return {s.name for s in inside if isinstance(s, Let)} | {
        a.name for s in inside if isinstance(s, Loop) for a in s.accumulators}
