"""Iterations in two halves: the first half of each runs beside the second half of the one before.

A core looks some two hundred instructions ahead, about one iteration of a kernel with a few mathematical
functions. If that is one chain of operations, most of them wait; half chains of two iterations do not wait
for each other. Functions take their near paths; an iteration where one of them does not hold is run anew.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace

from graphflow.compiler.ir.dims import Atom, atoms_of, coefficient
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import SCALAR, Expr
from graphflow.compiler.loops.maths import IN_REGISTERS, expand_math, near_path
from graphflow.compiler.loops.nest import Accumulator, Let, Loop, Store, positions
from graphflow.compiler.records import record

LEAST_ROUNDS = 16   # iterations, as the first half of one is computed in vain
_LONG = 60          # cycles of a chain that a core would wait for
_MOST_KEPT = 5      # values that go from one half to the other, in registers
_EACH = 4           # cycles for what costs 1
_LIGHT = frozenset({"abs", "and", "bitcast", "ge", "gt", "le", "lt"})  # of what is loaded: done once more
_CYCLES = {"const": 0, "temp": 0, "index": 0, "load": 8, "div": 13, "sqrt": 15}


@record
class Halves:
    """A vector loop as three whose bodies follow each other, values passing as accumulators.

    near  whether all lanes may have what `second` computes, None if they always may
    """

    first: Loop
    second: Loop
    stores: Loop
    near: Accumulator | None = None


def in_halves(loop: Loop, rounds: int) -> Halves | None:
    """A vector loop cut where fewest values cross, between a quarter and three quarters of the longest chain.

    Plain loads are repeated, with light operations on them, and what all iterations share is computed before
    them.

    rounds   at least how many iterations to expect
    Returns: None for loops that do more than compute and store, and where it would not pay
    """
    if rounds < LEAST_ROUNDS or not _is_map(loop):
        return None
    stores, conditions = _inlined(loop)
    roots = [*(s.value for s in stores), *conditions]
    depths = _depths(roots)
    length = max(depths.values(), default=0)
    if length < _LONG:
        return None
    spans = _spans(roots, depths, length, loop.axis)
    cuts = ([n for n, (known, wanted) in spans.items() if known <= at < wanted]
            for at in range(length // 4, 3 * length // 4, _EACH))
    kept = min(filter(None, cuts), key=len, default=[])  # where none cross, nothing has been computed
    if not 0 < len(kept) <= _MOST_KEPT:
        return None
    first = tuple(Accumulator(f"kept{k}", "last", n) for k, n in enumerate(kept))
    names = {a.value: E.temp(a.name, a.value.dtype) for a in first}
    values = tuple(Accumulator(f"result{k}", "last", _rebuilt(n, names, [])) for k, n in enumerate(roots))
    results = tuple(replace(s, value=E.temp(v.name, v.value.dtype))
                    for s, v in zip(stores, values, strict=False))
    rest = replace(loop, ahead=())
    return Halves(replace(loop, body=(), accumulators=first), replace(rest, body=(), accumulators=values),
                  replace(rest, body=results), values[-1] if conditions else None)


def _is_map(loop: Loop) -> bool:
    """Whether iterations only compute and store, at places known before them."""
    plain = all(isinstance(s, Let) or (isinstance(s, Store) and not s.add) for s in loop.body)
    if not plain or loop.accumulators or loop.ordered:
        return False
    names = {s.name for s in loop.body if isinstance(s, Let)}
    roots = [s.value for s in loop.body if isinstance(s, (Let, Store))]
    return (not any(E.complaint_of(n) for root in roots for n in E.walk(root))
            and not any(a.name in names for d in positions((loop,)) for a in atoms_of(d)))


def _inlined(loop: Loop) -> tuple[list[Store], list[Expr]]:
    """The stores of a body, their values without names and in terms of what the CPU does.

    And the condition of all near paths among these, if there are any.
    """
    known: dict[Expr, Expr] = {}
    stores: list[Store] = []
    near: list[Expr] = []
    for s in loop.body:
        assert isinstance(s, (Let, Store))
        value = _rebuilt(s.value, known, near)
        if isinstance(s, Let):
            known[E.temp(s.name, value.dtype)] = value
        else:
            stores.append(replace(s, value=value))
    return stores, [functools.reduce(operator.and_, near)] if near else []


def _rebuilt(root: Expr, known: dict[Expr, Expr], near: list[Expr]) -> Expr:
    """An expression with some nodes replaced, and its functions expanded.

    `known` takes what is new, `near` the conditions of paths that need some.
    """
    for n in E.walk(root):
        if n not in known:
            args = tuple(known[a] for a in n.args)
            known[n] = _expanded(n if args == n.args else Expr(n.op, args, n.dtype, n.attr), near)
    return known[root]


def _expanded(n: Expr, near: list[Expr]) -> Expr:
    """A function as an expression, by its near path if it has one."""
    body = expand_math(n.op, n.dtype) if n.op not in IN_REGISTERS else None
    if body is None:
        return n
    path = near_path(n.op, n.dtype)
    if path is None:
        return body(*n.args)
    condition, shorter = path
    near.append(condition(*n.args))
    return shorter(*n.args)


def _depths(roots: Sequence[Expr]) -> dict[Expr, int]:
    """After how many cycles each node is known; operands come before users."""
    depths: dict[Expr, int] = {}
    for root in roots:
        for n in E.walk(root):
            if n not in depths:
                depths[n] = _cycles(n) + max((depths[a] for a in n.args), default=0)
    return depths


def _cycles(n: Expr) -> int:
    return _CYCLES.get(n.op, _EACH * (SCALAR[n.op].cost if n.op in SCALAR else 1))


def _spans(roots: Sequence[Expr], depths: dict[Expr, int], length: int,
           along: Atom) -> dict[Expr, tuple[int, int]]:
    """From when to when a register holds a value that changes along the loop; all is stored in the end."""
    wanted = dict.fromkeys(roots, length)
    for n, depth in depths.items():
        for a in n.args:
            wanted[a] = max(wanted.get(a, 0), depth)
    changing = _changing(depths, along)
    at_hand: set[Expr] = set()
    for n in depths:
        light = n.op in _LIGHT and all(a in at_hand or a.op == "const" for a in n.args)
        if light or _is_plain_load(n, along):
            at_hand.add(n)
    return {n: (depths[n], last) for n, last in wanted.items() if n in changing and n not in at_hand}


def _changing(nodes: Iterable[Expr], along: Atom) -> set[Expr]:
    found: set[Expr] = set()
    for n in nodes:
        if any(a in found for a in n.args) or any(along in atoms_of(d) for d in E.dims_of(n)):
            found.add(n)
    return found


def _is_plain_load(n: Expr, along: Atom) -> bool:
    return n.op == "load" and not n.args and coefficient(n.attr[1], along) == 1
