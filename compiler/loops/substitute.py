"""Loop indices replaced by other index expressions, in statements and scalar expressions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from graphflow.compiler.ir.dims import Atom, Dim, substitute
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import Let, Loop, Product, Stmt, Store


def substitute_stmt(stmt: Stmt, values: dict[Atom, Dim]) -> Stmt:
    """The statement with loop indices replaced."""
    if isinstance(stmt, Let):
        return Let(stmt.name, substitute_expr(stmt.value, values))
    if isinstance(stmt, Store):
        return replace(stmt, offset=substitute(stmt.offset, values),
                       value=substitute_expr(stmt.value, values))
    if isinstance(stmt, Loop):
        return replace(stmt, body=tuple(substitute_stmt(s, values) for s in stmt.body),
                       accumulators=tuple(replace(a, value=substitute_expr(a.value, values))
                                          for a in stmt.accumulators))
    assert isinstance(stmt, Product), "a While stands outside of loops"
    return replace(stmt, a_offset=substitute(stmt.a_offset, values),
                   b_offset=substitute(stmt.b_offset, values),
                   out_offset=substitute(stmt.out_offset, values),
                   body=tuple(substitute_stmt(s, values) for s in stmt.body))


def substitute_expr(root: Expr, values: dict[Atom, Dim]) -> Expr:
    """The expression with loop indices replaced."""
    new: dict[Expr, Expr] = {}
    for n in E.walk(root):
        attr = n.attr
        if n.op == "load":
            attr = (attr[0], substitute(attr[1], values))
        elif n.op == "index":
            attr = substitute(attr, values)
            if isinstance(attr, int):
                new[n] = E.const(attr, n.dtype)
                continue
        args = tuple(new[a] for a in n.args)
        new[n] = n if args == n.args and attr == n.attr else Expr(n.op, args, n.dtype, attr)
    return new[root]


def rename_temps(stmt: Stmt, names: Mapping[str, str]) -> Stmt:
    """The statement with other names for its temps; its `value` atoms must not refer to them."""
    if isinstance(stmt, Let):
        return Let(names.get(stmt.name, stmt.name), _renamed(stmt.value, names))
    if isinstance(stmt, Store):
        return replace(stmt, value=_renamed(stmt.value, names))
    if isinstance(stmt, Loop):
        accumulators = tuple(replace(a, name=names.get(a.name, a.name), value=_renamed(a.value, names))
                             for a in stmt.accumulators)
        body = tuple(rename_temps(s, names) for s in stmt.body)
        return replace(stmt, body=body, accumulators=accumulators)
    return stmt


def _renamed(root: Expr, names: Mapping[str, str]) -> Expr:
    new: dict[Expr, Expr] = {}
    for n in E.walk(root):
        if n.op == "temp":
            new[n] = E.temp(names.get(n.attr, n.attr), n.dtype)
        else:
            args = tuple(new[a] for a in n.args)
            new[n] = n if args == n.args else Expr(n.op, args, n.dtype, n.attr)
    return new[root]
