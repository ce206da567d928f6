"""columns: what rows multiply by stays in registers, where it is too much for the nearest cache."""

from __future__ import annotations

from dataclasses import replace

from graphflow.compiler.ir.dims import Atom, atoms_of, upper_bound
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import Let, Loop, Stmt, Store, loads, statements

NEAREST = 1 << 13  # bytes of the nearest cache that every row may go through
LARGEST = 1 << 19  # bytes of a result whose columns are found in a core's own cache
FEWEST, MOST = 16, 26  # vectors kept: for few it does not pay to step from row to row; others need some room


def column_by_column(loop: Loop, lanes: int) -> Loop:
    """Take a vector of columns through all rows, where each row would read much that is the same for all.

    Example:  for i < 9: vector for j < 512: p2[512*i+j] = ((p0[512*i+j] * p1[j]) + ...) + p1[512*8+j]
    -->       vector for j < 512: w0 = p1[j] ... w8 = p1[512*8+j]; for i < 9: p2[512*i+j] = ...
    """
    if loop.vector:
        return loop
    kept = _kept(loop, lanes)
    if not kept:
        body = (column_by_column(s, lanes) if isinstance(s, Loop) else s for s in loop.body)
        return replace(loop, body=tuple(body))
    vector = next(s for s in statements((loop,)) if isinstance(s, Loop) and s.vector)
    lets = (Let(f"w{k}", n) for k, n in enumerate(kept))
    return replace(vector, body=(*lets, *_without(loop, vector.axis)), registers=1)


def _kept(loop: Loop, lanes: int) -> list[Expr]:
    """What vectors of all rows of a loop read alike, if that is worth being kept."""
    inside = [s for s in statements((loop,)) if isinstance(s, Loop)]
    vectors = [s for s in inside if s.vector]
    if not vectors or not _is_loops_alone(loop) or any(s.accumulators or s.ordered for s in inside):
        return []
    first, stores = vectors[0], [s for s in statements((loop,)) if isinstance(s, Store)]
    read = {n.attr[0] for n in loads((loop,))}
    if {(v.axis, v.extent) for v in vectors} != {(first.axis, first.extent)} or any(
            s.add or s.buffer in read for s in stores):
        return []
    inner = {s.axis for s in inside}
    found = [n for n in dict.fromkeys(loads(first.body)) if not n.args and first.axis in atoms_of(n.attr[1])
             and all(a == first.axis or not (a in inner or a.kind == "value") for a in atoms_of(n.attr[1]))]
    tops = [upper_bound(s.offset) for s in stores]
    if not isinstance(first.extent, int) or first.extent % lanes or not all(isinstance(t, int) for t in tops):
        return []
    size = stores[0].value.dtype.size
    pays = (FEWEST <= len(found) <= MOST and size * len(found) * first.extent > NEAREST
            and all(size * t <= LARGEST for t in tops if isinstance(t, int)))
    return found if pays else []


def _is_loops_alone(loop: Loop) -> bool:
    """Whether there is nothing but loops around the vector loops."""
    if loop.vector:
        return all(isinstance(s, (Let, Store)) for s in loop.body)
    return all(isinstance(s, Loop) and _is_loops_alone(s) for s in loop.body)


def _without(loop: Loop, axis: Atom) -> list[Stmt]:
    """The loop, with the bodies of those over an axis in their places."""
    if loop.axis == axis:
        return list(loop.body)
    body = tuple(new for s in loop.body if isinstance(s, Loop) for new in _without(s, axis))
    return [replace(loop, body=body)]
