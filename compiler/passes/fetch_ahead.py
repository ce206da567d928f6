"""fetch_ahead: the next row comes into the cache while the present one is computed with."""

from __future__ import annotations

from dataclasses import replace

from graphflow.compiler.ir.dims import Poly, atoms_of, coefficient
from graphflow.compiler.loops.expr import Expr, cost
from graphflow.compiler.loops.nest import Loop, LoopNest, expressions, loads
from graphflow.compiler.loops.substitute import substitute_expr
from graphflow.compiler.target import Target

LEAST = 1 << 13  # bytes of a row: CPUs by themselves read on as far as a page, or two
HEAVY = 12       # work on an element; lighter passes wait for memory themselves


def fetch_ahead(nest: LoopNest, target: Target) -> LoopNest:
    """Of several passes over each row, have the one that computes most fetch the next row.

    The first pass over a row waits for memory, which is idle in the others.

    Example:  for i < 9:
                vector for j < 4096, m max= p[4096*i+j]:
                vector for j < 4096, s add= exp(sub(p[4096*i+j], m)):
    -->       for i < 9:
                vector for j < 4096, m max= p[4096*i+j]:
                vector for j < 4096, s add= exp(sub(p[4096*i+j], m)), fetching p[4096*i+j+4096]:
    """
    body = tuple(_of_rows(s, target) if isinstance(s, Loop) else s for s in nest.body)
    return nest if body == nest.body else replace(nest, body=body)


def _of_rows(loop: Loop, target: Target) -> Loop:
    passes = [s for s in loop.body if isinstance(s, Loop) and s.vector]
    if len(passes) < 2:
        body = tuple(_of_rows(s, target) if isinstance(s, Loop) else s for s in loop.body)
        return replace(loop, body=body)
    first, *others = passes
    heaviest = max(others, key=_work)
    rows = [n for n in dict.fromkeys(loads((first,))) if _is_of_row(n, loop, first, target)]
    if not rows or _work(heaviest) < HEAVY or (heaviest.axis, heaviest.extent) != (first.axis, first.extent):
        return loop
    following = Poly({(loop.axis,): 1}) + 1
    ahead = tuple(substitute_expr(n, {loop.axis: following}) for n in rows)
    return replace(loop, body=tuple(replace(s, ahead=ahead) if s is heaviest else s for s in loop.body))


def _work(loop: Loop) -> int:
    return sum(map(cost, expressions((loop,))))


def _is_of_row(n: Expr, loop: Loop, inside: Loop, target: Target) -> bool:
    """Whether a load goes through rows, one after another, that are long but leave room in the cache."""
    offset, length = n.attr[1], inside.extent
    step, known = coefficient(offset, loop.axis), all(a.kind != "value" for a in atoms_of(offset))
    return (known and not n.args and isinstance(length, int) and isinstance(step, int) and step >= length
            and coefficient(offset, inside.axis) == 1
            and LEAST <= length * n.dtype.size <= target.l2 // 4)
