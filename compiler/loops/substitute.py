"""Loop indices replaced by other index expressions, in statements and scalar expressions."""

from __future__ import annotations

from dataclasses import replace

from graphflow.compiler.ir.dims import Atom, Dim, substitute
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import Let, Loop, Stmt, Store


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
    return replace(stmt, a_offset=substitute(stmt.a_offset, values),
                   b_offset=substitute(stmt.b_offset, values),
                   out_offset=substitute(stmt.out_offset, values))


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
