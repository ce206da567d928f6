"""Iterations in two halves: the first half of each runs beside the second half of the one before.

A core looks some two hundred instructions ahead, about one iteration of a kernel with a few mathematical
functions. If that is one chain of operations, most of them wait; half chains of two iterations do not wait
for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from graphflow.compiler.ir.dims import Atom, atoms_of, coefficient
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import SCALAR, Expr
from graphflow.compiler.loops.maths import expand_math, near_path
from graphflow.compiler.loops.nest import Accumulator, Let, Loop, Store, positions

LEAST_ROUNDS = 16   # iterations, as the first half of one is computed in vain
_LONG = 60          # cycles of a chain that a core would wait for
_MOST_KEPT = 6      # values that go from one half to the other, in registers
_EACH = 4           # cycles for what costs 1
_CYCLES = {"const": 0, "temp": 0, "index": 0, "load": 8, "div": 13, "sqrt": 15}


def in_halves(loop: Loop, rounds: int) -> tuple[Loop, Loop] | None:
    """A vector loop as two: the accumulators of the first are the `last` values that the second needs.

    The cut is where fewest values cross it, between a quarter and three quarters of the longest chain. Plain
    loads are repeated, and what all iterations share is computed before them.

    rounds   at least how many iterations to expect
    Returns: None for loops that do more than compute and store, and where it would not pay
    """
    if rounds < LEAST_ROUNDS or not _is_map(loop):
        return None
    stores = _inlined(loop)
    roots = [s.value for s in stores]
    depths = _depths(roots)
    length = max(depths.values(), default=0)
    if length < _LONG:
        return None
    spans = _spans(roots, depths, length, loop.axis)
    at = min(range(length // 4, 3 * length // 4, _EACH),
             key=lambda at: sum(known <= at < wanted for known, wanted in spans.values()))
    kept = [n for n, (known, wanted) in spans.items() if known <= at < wanted]
    if not 0 < len(kept) <= _MOST_KEPT:
        return None
    first = tuple(Accumulator(f"kept{k}", "last", n) for k, n in enumerate(kept))
    names = {a.value: E.temp(a.name, a.value.dtype) for a in first}
    values = [Let(f"result{k}", _rebuilt(s.value, names)) for k, s in enumerate(stores)]
    results = [replace(s, value=E.temp(v.name, v.value.dtype)) for s, v in zip(stores, values, strict=True)]
    return replace(loop, body=(), accumulators=first), replace(loop, body=(*values, *results), ahead=())


def _is_map(loop: Loop) -> bool:
    """Whether iterations only compute and store, at places known before them."""
    plain = all(isinstance(s, Let) or (isinstance(s, Store) and not s.add) for s in loop.body)
    if not plain or loop.accumulators or loop.ordered:
        return False
    names = {s.name for s in loop.body if isinstance(s, Let)}
    roots = [s.value for s in loop.body if isinstance(s, (Let, Store))]
    return (not any(E.complaint_of(n) for root in roots for n in E.walk(root))
            and not any(a.name in names for d in positions((loop,)) for a in atoms_of(d)))


def _inlined(loop: Loop) -> list[Store]:
    """The stores of a body, their values without names and in terms of what the CPU does."""
    known: dict[Expr, Expr] = {}
    stores = []
    for s in loop.body:
        assert isinstance(s, (Let, Store))
        value = _rebuilt(s.value, known)
        if isinstance(s, Let):
            known[E.temp(s.name, value.dtype)] = value
        else:
            stores.append(replace(s, value=value))
    return stores


def _rebuilt(root: Expr, known: dict[Expr, Expr]) -> Expr:
    """An expression with some nodes replaced, and its functions expanded; `known` takes what is new."""
    for n in E.walk(root):
        if n not in known:
            args = tuple(known[a] for a in n.args)
            known[n] = _expanded(n if args == n.args else Expr(n.op, args, n.dtype, n.attr))
    return known[root]


def _expanded(n: Expr) -> Expr:
    """A function as an expression, but for those that branch to a shorter path."""
    body = expand_math(n.op, n.dtype) if near_path(n.op, n.dtype) is None else None
    return n if body is None else body(*n.args)


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
    return {n: (depths[n], last) for n, last in wanted.items()
            if n in changing and not _is_plain_load(n, along)}


def _changing(nodes: Iterable[Expr], along: Atom) -> set[Expr]:
    found: set[Expr] = set()
    for n in nodes:
        if any(a in found for a in n.args) or any(along in atoms_of(d) for d in E.dims_of(n)):
            found.add(n)
    return found


def _is_plain_load(n: Expr, along: Atom) -> bool:
    return n.op == "load" and not n.args and coefficient(n.attr[1], along) == 1
