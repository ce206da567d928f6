"""Tests of positions: left out where the extents of loops tell their outcome, told of two loops as of one."""

from __future__ import annotations

from dataclasses import replace

from graphflow.compiler.ir.dims import (
    Atom,
    Dim,
    Poly,
    atoms_of,
    axis,
    coefficient,
    maximum,
    minimum,
    only_atom,
    terms_of,
)
from graphflow.compiler.ir.dtypes import bool_
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import Accumulator, Let, Loop, Stmt, expressions, statements
from graphflow.compiler.loops.substitute import rewrite_stmt, substitute_stmt


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
        return E.call(n.op, E.index(left * inner.extent + own), E.index(right * inner.extent))

    own = Poly({(inner.axis,): 1})
    new = rewrite_stmt(inner, joint)
    assert isinstance(new, Loop)
    return new


def of_terms_there(loop: Loop, around: frozenset[Atom] = frozenset()) -> Loop:
    """Sums run over the terms that pass their tests, where these are of the loop's own index.

    Not by vectors: where no term passes, the extent found is negative.

    around  indices of the loops around it that are the same for all lanes

    Example:  for i < 9: for u < 3, r add= mul(p0[i+u-1 if ge(i+u-1, 0)], p1[u])
    -->       for i < 9: for u < 3-max(0, 1-i), r add= mul(p0[i+max(0, 1-i)+u-1], p1[max(0, 1-i)+u])
    """
    tests = () if loop.vector else _tests_of_all_terms(loop)
    ends = [(t, end) for t in tests if (end := _end(t, loop.axis, around)) is not None]
    if ends:
        loop = _within(loop, ends)
    inside = around if loop.vector else around | {loop.axis}
    return replace(loop, body=tuple(of_terms_there(s, inside) if isinstance(s, Loop) else s
                                    for s in loop.body))


def _within(loop: Loop, ends: list[tuple[Expr, tuple[Dim, Dim | None]]]) -> Loop:
    """The loop from the largest start to the least end."""
    first: Dim = 0
    past = loop.extent
    for _, (low, high) in ends:
        first, past = maximum(first, low), past if high is None else minimum(past, high)
    passed = {t for t, _ in ends}
    here = axis(loop.axis.name, past - first)
    tested = rewrite_stmt(loop, lambda n: E.const(True, bool_) if n in passed else _settled(n))
    moved = substitute_stmt(tested, {loop.axis: first + here})
    assert isinstance(moved, Loop)
    return replace(moved, axis=only_atom(here), extent=past - first)


def _end(test: Expr, of: Atom, around: frozenset[Atom]) -> tuple[Dim, Dim | None] | None:
    """From where on a test holds, or to where, by an index; None if that takes more than outer indices."""
    margin = _margin(test)
    step = 0 if margin is None else coefficient(margin, of)
    if margin is None or not isinstance(step, int) or step == 0:
        return None
    rest = margin - step * Poly({(of,): 1})
    if not atoms_of(rest) <= around:
        return None
    return (-(rest // step), None) if step > 0 else (0, rest // -step + 1)


def _tests_of_all_terms(loop: Loop) -> set[Expr]:
    """What is tested for each product that a loop adds up, if that is all it does."""
    inside = statements((loop,))
    sums = [a for s in inside if isinstance(s, Loop) for a in s.accumulators]
    if not loop.accumulators or any(a.combine != "add" for a in sums) or not all(
            isinstance(s, (Let, Loop)) for s in inside):
        return set()
    named: list[Let | Accumulator] = [*(s for s in inside if isinstance(s, Let)), *sums]
    own = {s.name for s in named}
    terms = [s.value for s in named if not _is_sum_of(s.value, own)]
    if not terms or not all(n.op == "mul" or (n.op == "fma" and _is_sum_of(n.args[2], own)) for n in terms):
        return set()
    return set.intersection(*({t for x in n.args[:2] for t in _conditions(x)} for n in terms))


def _is_sum_of(n: Expr, own: set[str]) -> bool:
    """Whether a value is one of these, or 0."""
    return (n.op == "temp" and n.attr in own) or (n.op == "const" and n.attr.value == 0)


def _conditions(n: Expr) -> set[Expr]:
    """What positions must pass for a load not to be left out."""
    found, left = set(), list(n.args) if n.op == "load" else []
    while left:
        test = left.pop()
        left += test.args if test.op == "and" else ()
        found |= {test} if test.op in ("ge", "lt") else set()
    return found


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
