"""schedule: adjacent loops become one, and one loop per kernel is run in vectors."""

from __future__ import annotations

import functools
from dataclasses import replace

from graphflow.compiler.ir.dims import (
    Atom,
    Dim,
    atoms_of,
    axis,
    coefficient,
    product,
    single_atom,
)
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import (
    LEAST_PART,
    MOST_PARTS,
    Accumulator,
    Let,
    Loop,
    LoopNest,
    Product,
    Stmt,
    Store,
    deepest_extents,
    expressions,
    part_numbers,
    positions,
    statements,
    walks_as_one,
    work_each,
)
from graphflow.compiler.loops.repeats import repeats_of
from graphflow.compiler.loops.substitute import substitute_expr, substitute_stmt
from graphflow.compiler.passes.columns import column_by_column
from graphflow.compiler.passes.jam import jam
from graphflow.compiler.passes.tests_left_out import of_terms_there, with_joint_tests, without_tests
from graphflow.compiler.passes.unroll import sum_several, unroll

_LIGHT = 100  # work of an iteration
_SELDOM = 0.1
_NARROW = 8   # iterations: more fill vectors, whose tests are best made once for all lanes


def schedule(nest: LoopNest, vector_bits: int) -> LoopNest:
    """Collapse loops that walk memory as one would, choose the vector loop and its width, and jam rows.

    Example:  for i0 < 128: for i1 < 10: p1[10*i0+i1] = neg(p0[10*i0+i1])
    -->       vector for i0 < 1280: p1[i0] = neg(p0[i0])
    """
    lanes = vector_lanes(nest.body, vector_bits)
    body = tuple(new for s in nest.body for new in _scheduled(s, lanes))
    return replace(nest, body=body, width=lanes, parallel=is_parallel(body), most_parts=_rooms(body))


def _scheduled(s: Stmt, lanes: int) -> tuple[Stmt, ...]:
    """A loop by itself; of one that has products between other loops, each of these by itself."""
    if not isinstance(s, Loop):
        return (s,)
    if len(s.body) > 1 and any(isinstance(i, Product) for i in s.inside):
        return (replace(s, body=tuple(new for i in s.body for new in _scheduled(i, lanes))),)
    return _scheduled_loop(s, lanes)


@functools.lru_cache(maxsize=64)  # convolutions of one shape have equal loops, whatever follows on their sums
def _scheduled_loop(loop: Loop, lanes: int) -> tuple[Stmt, ...]:
    loop = collapse(loop)
    if lanes > 1:
        loop = _with_registers(_write_out(_vectorize_tree(loop, lanes)), lanes)
    return tuple(_tidied(column_by_column(sum_several(s), lanes)) if isinstance(s, Loop) else s
                 for s in jam(loop))


def _tidied(loop: Loop) -> Stmt:
    return without_tests(of_terms_there(loop))


def _write_out(loop: Loop) -> Loop:
    body = (unroll(s) if loop.vector else [_write_out(s) if isinstance(s, Loop) else s] for s in loop.body)
    return replace(loop, body=tuple(new for stmts in body for new in stmts))


def is_parallel(body: tuple[Stmt, ...]) -> bool:
    """Whether the iterations of the one outermost loop may run in any order, and at the same time.

    Each must store to places of its own: offsets that move with the loop's index, or memory of its part.
    """
    loops = [s for s in body if not isinstance(s, Let)]
    if len(loops) == 1 and isinstance(loops[0], Product):
        return loops[0].parts > 1
    if len(loops) != 1 or not isinstance(loops[0], Loop) or loops[0].accumulators:
        return False
    outer, inside = loops[0], statements(loops)
    if any(isinstance(s, Loop) and s.ordered for s in inside):
        return False
    work = product(deepest_extents(body)) * max(work_each(body), 1)
    return (not (isinstance(work, int) and work < 2 * LEAST_PART)
            and all(_is_own(s.offset, outer) for s in inside if isinstance(s, Store))
            and all(_has_its_own(s, outer) for s in inside if isinstance(s, Product)))


def _has_its_own(p: Product, outer: Loop) -> bool:
    """Whether a product in a loop shares no memory that it writes with those of other iterations."""
    places = ((p.scratch, p.scratch_offset), (p.out, p.out_offset))
    return p.blocking is not None and all(_is_own(offset, outer) for buffer, offset in places if buffer)


def _rooms(body: tuple[Stmt, ...]) -> int:
    """How many parts there is memory for."""
    return min((a.payload[0] for a in part_numbers(positions(body))), default=MOST_PARTS)


def _is_own(offset: Dim, outer: Loop) -> bool:
    """Whether an offset moves with the outermost loop, or is in memory of its part."""
    atoms = atoms_of(offset)
    of_part = bool(part_numbers((offset,)))
    if of_part or outer.apart:
        return of_part or outer.axis in atoms
    return coefficient(offset, outer.axis) not in (0, None) and not any(a.kind == "value" for a in atoms)


def vector_lanes(body: tuple[Stmt, ...], vector_bits: int) -> int:
    """Lanes such that the numbers computed with fill a vector register: floats, where there are any."""
    sizes = {n.dtype.is_floating: max(n.dtype.size, 4) for n in sorted(
        (n for root in expressions(body) for n in E.walk(root) if not _is_index_arithmetic(n)),
        key=lambda n: n.dtype.size)}
    size = sizes.get(True) or sizes.get(False) or 4
    return max(1, vector_bits // (8 * min(size, 8)))


def _is_index_arithmetic(n: Expr) -> bool:
    return n.op in ("const", "index", "checked_index") or (n.op == "cast" and n.args[0].op == "index")


def _with_registers(loop: Loop, lanes: int) -> Loop:
    """The loop, with the number of registers of each vector loop."""
    if loop.vector:
        return replace(loop, registers=registers_at_once(loop, lanes))
    return replace(loop, body=tuple(_with_registers(s, lanes) if isinstance(s, Loop) else s
                                    for s in loop.body))


def registers_at_once(loop: Loop, lanes: int) -> int:
    """How many registers an iteration fills: several where one alone would wait for the one before.

    Sums of light expressions are bound by the latency of an addition, light maps by the loop itself.
    """
    loops = [s for s in statements((loop,)) if isinstance(s, Loop)]
    if work_each((loop,)) > _LIGHT or _is_irregular(loop):
        return 1
    most = 4 if any(s.accumulators for s in loops) else 2
    while most > 1 and isinstance(loop.extent, int) and loop.extent < 2 * most * lanes:
        most //= 2
    return most


def _is_irregular(loop: Loop) -> bool:
    """Whether a vector loop gathers or scatters."""
    return any(coefficient(d, loop.axis) not in (0, 1) or any(a.kind == "value" for a in atoms_of(d))
               for d in positions((loop,)))


# Collapsing

def collapse(loop: Loop) -> Loop:
    """Merge a loop with the one inside it wherever every access allows it, from the inside out."""
    loop = replace(loop, body=tuple(collapse(s) if isinstance(s, Loop) else s for s in loop.body))
    while len(loop.body) == 1 and isinstance(loop.body[0], Loop):
        inner = loop.body[0]
        if isinstance(inner.extent, int) and inner.extent <= _NARROW:
            inner = with_joint_tests(inner, loop.axis)
        if not _can_merge(loop, inner):
            break
        loop = _merge(loop, inner)
    return loop


def _can_merge(outer: Loop, inner: Loop) -> bool:
    if outer.ordered or inner.ordered:
        return False
    if [_carried(a) for a in outer.accumulators] != [a.name for a in inner.accumulators]:
        return False
    return walks_as_one(positions((inner,)), outer.axis, inner.axis, inner.extent)


def _carried(a: Accumulator) -> str:
    return str(a.value.attr) if a.value.op == "temp" else ""


def _merge(outer: Loop, inner: Loop) -> Loop:
    extent = outer.extent * inner.extent
    joint = axis(outer.axis.name, extent)
    values: dict[Atom, Dim] = {outer.axis: 0, inner.axis: joint}
    new = single_atom(joint)
    assert new is not None
    accumulators = tuple(Accumulator(o.name, i.combine, substitute_expr(i.value, values))
                         for o, i in zip(outer.accumulators, inner.accumulators, strict=True))
    return Loop(new, extent, tuple(substitute_stmt(s, values) for s in inner.body), accumulators)


# Vectorising

def _vectorize_tree(loop: Loop, width: int) -> Loop:
    """Mark the loops over the axis along which most accesses are contiguous."""
    if any(isinstance(s, Product) for s in statements((loop,))):
        return replace(loop, body=tuple(_vectorize_tree(s, width) if isinstance(s, Loop) else s
                                        for s in loop.body))
    axes = {s.axis: s.extent for s in statements((loop,)) if isinstance(s, Loop) and not s.ordered}
    if not axes:
        return loop
    scores = {a: _score(loop, a, extent, width) for a, extent in axes.items()}
    best = max(reversed(scores), key=lambda a: scores[a])
    return _vectorize_rest(_mark(loop, best), width) if scores[best] > 0 else loop


def _vectorize_rest(loop: Loop, width: int) -> Loop:
    """The loops beside those that are marked."""
    if loop.vector or not any(isinstance(s, Loop) and s.vector for s in statements((loop,))):
        return loop if loop.vector else _vectorize_tree(loop, width)
    return replace(loop, body=tuple(_vectorize_rest(s, width) if isinstance(s, Loop) else s
                                    for s in loop.body))


def _score(loop: Loop, a: Atom, extent: Dim, width: int) -> float:
    """Contiguous accesses less scattered ones, times the lanes put to use; inner loops first among equals.

    Accesses that move with fewer loops than others hardly count: they are made less often.
    """
    total = 0.1
    accesses = _accesses(_loops_over(loop, a))
    most = max((_loops_in(d) for d, *_ in accesses), default=0)
    for d, is_store, is_sum in accesses:
        stride = coefficient(d, a)
        depends = any(x.kind == "value" for x in atoms_of(d))
        if is_sum and (stride != 1 or (depends and _value_varies(loop, d, a))):
            return 0.0
        if is_store and (stride is None or stride == 0):
            return 0.0  # lanes would write to one element
        picked = stride not in (0, 1) and not is_store and repeats_of(d, a, width) is not None
        gain = 2 if stride == 1 else 0.2 if stride == 0 else 1 if picked else -1
        total += gain if _loops_in(d) == most else _SELDOM * gain
    lanes = 1.0 if not isinstance(extent, int) else extent / (-(-extent // width) * width) if extent else 0.0
    return max(total, 0.01) * lanes


def _loops_in(d: Dim) -> int:
    """How many loops, or values computed in them, an offset moves with."""
    return sum(a.kind in ("axis", "value") for a in atoms_of(d))


def _value_varies(loop: Loop, d: Dim, a: Atom) -> bool:
    """Whether a computed index in `d` changes along the axis: then lanes may hit one element twice."""
    names = {x.name for x in atoms_of(d) if x.kind == "value"}
    varying: set[str] = set()
    for stmt in statements((loop,)):
        if isinstance(stmt, Let):
            for n in E.walk(stmt.value):
                inside = n.attr in varying if n.op == "temp" else False
                position = n.attr[1] if n.op == "load" else n.attr if n.op == "index" else 0
                if inside or any(x is a or x == a or x.name in varying for x in atoms_of(position)):
                    varying.add(stmt.name)
    return bool(names & varying)


def _loops_over(loop: Loop, a: Atom) -> tuple[Stmt, ...]:
    """The outermost loops over an axis: what would run in vectors."""
    if loop.axis == a:
        return (loop,)
    return tuple(found for s in loop.body if isinstance(s, Loop) for found in _loops_over(s, a))


def _accesses(body: tuple[Stmt, ...]) -> list[tuple[Dim, bool, bool]]:
    """Every access as (offset, whether it stores, whether it adds to memory)."""
    found = [(s.offset, True, s.add) for s in statements(body) if isinstance(s, Store)]
    for root in expressions(body):
        found += [(n.attr[1], False, False) for n in E.walk(root) if n.op == "load"]
    return found


def _mark(loop: Loop, a: Atom) -> Loop:
    if loop.axis == a:
        return replace(loop, vector=True)
    return replace(loop, body=tuple(_mark(s, a) if isinstance(s, Loop) else s for s in loop.body))
