"""Tests of positions: left out where the extents of loops tell their outcome, told of two loops as of one."""

from __future__ import annotations

from graphflow.compiler.ir.dims import Atom, Dim, Poly, atoms_of, coefficient, terms_of
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import Loop, Stmt, expressions
from graphflow.compiler.loops.substitute import rewrite_stmt


def without_tests(stmt: Stmt) -> Stmt:
    """The statement, where what is certain is not tested.

    Example:  for i < 9: t = p0[i+1 if and(ge(i+1, 0), lt(i+1, 20))]
    -->       for i < 9: t = p0[i+1]
    """
    nodes = (n for root in expressions((stmt,)) for n in E.walk(root))
    return rewrite_stmt(stmt, _settled) if any(map(_tests, nodes)) else stmt


def with_joint_tests(inner: Loop, outer: Atom) -> Loop:
    """The loop, where tests of the index of the one around it are of the index that the two have as one.

    Example:  for i < 20: for j < 3: t = p0[3*i+j if lt(i, 19)]
    -->       for i < 20: for j < 3: t = p0[3*i+j if lt(3*i+j, 57)]
    """
    def joint(n: Expr) -> Expr:
        if n.op not in ("ge", "lt"):
            return n
        left, right = (_position(a) for a in n.args)
        if (left is None or right is None or coefficient(left, outer) != 1
                or inner.axis in atoms_of(left) or {outer, inner.axis} & atoms_of(right)):
            return n
        return E.call(n.op, E.index(left * inner.extent + axis), E.index(right * inner.extent))

    axis = Poly({(inner.axis,): 1})
    new = rewrite_stmt(inner, joint)
    assert isinstance(new, Loop)
    return new


def _tests(n: Expr) -> bool:
    return n.op in ("ge", "lt") or (n.op == "load" and bool(n.args))


def _settled(n: Expr) -> Expr:
    if n.op in ("ge", "lt"):
        return _settled_test(n)
    truths = [_truth(a) for a in n.args]
    if n.op == "and" and True in truths:
        return n.args[1 - truths.index(True)]
    if n.op == "and" and False in truths:
        return n.args[truths.index(False)]
    if n.op == "load" and truths == [True]:
        buffer, offset = n.attr
        return E.load(buffer, offset, n.dtype)
    return E.const(0, n.dtype) if n.op == "load" and truths == [False] else n


def _settled_test(n: Expr) -> Expr:
    margin = _margin(n)
    ends = None if margin is None else _ends(margin)
    if ends is None or ends[0] < 0 <= ends[1]:
        return n
    return E.const(ends[0] >= 0, n.dtype)


def _truth(n: Expr) -> bool | None:
    return bool(n.attr.value) if n.op == "const" and n.dtype.is_bool else None


def _margin(n: Expr) -> Dim | None:
    """What is not negative where a test of positions holds; None for other tests."""
    left, right = (_position(a) for a in n.args)
    if left is None or right is None:
        return None
    return left - right if n.op == "ge" else right - left - 1


def _position(n: Expr) -> Dim | None:
    if n.op == "const" and n.dtype.code == "i64":
        return int(n.attr.value)
    return n.attr if n.op == "index" else None


def _ends(d: Dim) -> tuple[int, int] | None:
    """The least and the largest value over all loop indices, if the dim is a sum of them."""
    low = high = 0
    for mono, factor in terms_of(d):
        extent = 2 if not mono else mono[0].payload[0] if [a.kind for a in mono] == ["axis"] else None
        if not isinstance(extent, int):
            return None
        far = factor * (extent - 1)
        low += min(far, 0) if mono else far
        high += max(far, 0) if mono else far
    return low, high
