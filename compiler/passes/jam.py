"""jam: rows that are added to the same sums, or read from the same lines, go several at a time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

from graphflow.compiler.ir.dims import Atom, Dim, atoms_of, axis, coefficient, only_atom, substitute
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import (
    Accumulator,
    Loop,
    Stmt,
    Store,
    loads,
    positions,
    statements,
    work_each,
)
from graphflow.compiler.loops.substitute import copied, substitute_expr

ROWS = 4     # that share sums; at least so many share loads, and
MOST = 2 * ROWS  # at most
COLUMNS = 8  # that share lines of memory
SETS = 1024  # bytes: lines a multiple of that apart share few places in a cache
LEAST_PAIRED = 16  # rows of tiles: pairs of fewer are hard to share out among threads
LEAST_LOADS = 6  # of a row: with fewer, loading some of them once gains little
MOST_SUMS = 8    # that are added up at once
_LIGHT = 80      # work of an iteration
_HEAVY = 3200    # the same: what takes a while to compile


def jam(loop: Loop) -> list[Stmt]:
    """Take several rows per iteration wherever the vector loops in them use the same memory.

    Sums that all rows share go through memory once for ROWS of them. A transposition gathers from each line
    once for COLUMNS rows of its result, where the cache could not hold all of these lines until the next row.
    Rows that read the same elements, as windows that overlap do, load them once; of windows that overlap both
    ways, tiles of two rows do.

    Example:  for i < 8: vector for j < n: p[j] += x[n*i+j]
    -->       for i < 2: vector for j < n: p[j] += ((x[4*n*i+j] + x[4*n*i+n+j]) + ...) + ...
    """
    row = _row(loop)
    rows = _rows_at_once(loop, row) if row is not None else 1
    if rows > 1:
        return [*_in_rounds(loop, rows, False), *_one_by_one(loop, loop.extent % rows)]
    if _goes_in_pairs(loop):
        pairs = [*_in_rounds(loop, 2, True), *_one_by_one(loop, loop.extent % 2)]
        return [_with_jammed(s) if isinstance(s, Loop) else s for s in pairs]
    loop = _with_jammed(loop)
    row = _row(loop)
    rows = _rows_that_share(loop, row) if row is not None else 1
    return [*_in_rounds(loop, rows, True), *_one_by_one(loop, loop.extent % rows)] if rows > 1 else [loop]


def _with_jammed(loop: Loop) -> Loop:
    return replace(loop, body=tuple(new for s in loop.body
                                    for new in (jam(s) if isinstance(s, Loop) else [s])))


def _in_rounds(loop: Loop, rows: int, share: bool) -> list[Stmt]:
    """So many rows at a time, as often as there are."""
    rounds: Dim = loop.extent // rows
    i = axis(f"{loop.axis.name}j", rounds) if rounds != 1 or not share else 0
    body = _jam_bodies([list(copied(loop, rows * i + k, f"_{k}").body) for k in range(rows)], share)
    return [] if rounds == 0 else body if i == 0 else [Loop(only_atom(i), rounds, tuple(body))]


def _one_by_one(loop: Loop, rows: Dim) -> list[Stmt]:
    """The last rows in a loop: to take them at once too would be as much code again."""
    if rows == 0:
        return []
    last = axis(f"{loop.axis.name}r", rows)
    return [replace(copied(loop, loop.extent - rows + last, ""), axis=only_atom(last), extent=rows)]


def _rows_at_once(loop: Loop, row: Loop) -> int:
    """How many light rows go side by side, as they add to the same sums or read from the same lines."""
    if any(isinstance(s, Loop) for s in row.body) or work_each(row.body) > _LIGHT:
        return 1
    return ROWS if _sums_over(loop, row) else COLUMNS if _reads_across(loop, row) else 1


def _rows_that_share(loop: Loop, row: Loop) -> int:
    """How many rows are worth to be computed at once, as they load the same elements.

    All of a few whose sums run over the same elements; of others some, if that saves most of their loads.
    """
    if not isinstance(loop.extent, int) or not _stores_apart(loop):
        return 1
    once = _loads_of(row, {})
    sums = [len(s.accumulators) for s in row.body if isinstance(s, Loop)]
    if sums not in ([], [1]):
        return 1
    if sums and loop.extent <= MOST_SUMS:
        return loop.extent if _loads_of(row, {loop.axis: 2}) < 2 * once else 1
    most = min(MOST, loop.extent, _HEAVY // max(work_each(row.body), 1))
    counts = range(ROWS, most + 1)
    rows = min(reversed(counts) if sums else counts, key=loop.extent.__mod__, default=min(ROWS, loop.extent))
    pays = 1 < rows <= most and once >= LEAST_LOADS
    return rows if pays and 3 * _loads_of(row, {loop.axis: rows}) <= 2 * rows * once else 1


def _goes_in_pairs(loop: Loop) -> bool:
    """Whether two rows of tiles save loads that the tiles of one row make."""
    inside = [s for s in loop.body if isinstance(s, Loop)]
    row = _row(inside[0]) if len(inside) == 1 and not loop.vector and not loop.accumulators else None
    if row is None or any(isinstance(s, Loop) for s in row.body) or not _stores_apart(loop):
        return False
    columns = _rows_that_share(inside[0], row)
    if columns == 1 or not isinstance(loop.extent, int) or loop.extent < LEAST_PAIRED:
        return False
    tile = {inside[0].axis: columns}
    light = 2 * columns * work_each(row.body) <= _HEAVY
    return light and 2 * _loads_of(row, {loop.axis: 2, **tile}) <= 3 * _loads_of(row, tile)


def _loads_of(row: Loop, counts: Mapping[Atom, int]) -> int:
    """Of so many rows along each axis: the different elements."""
    rounds: list[dict[Atom, Dim]] = [dict(zip(counts, at, strict=True))
                                     for at in itertools.product(*map(range, counts.values()))]
    found = set(loads(row.body))
    return len({(n.attr[0], substitute(n.attr[1], at), *(substitute_expr(mask, at) for mask in n.args))
                for n in found for at in rounds})


def _stores_apart(loop: Loop) -> bool:
    """Whether rows store to places of their own, and in buffers that none of them reads."""
    read = {n.attr[0] for n in loads(loop.body)}
    stores = [s for s in statements(loop.body) if isinstance(s, Store)]
    return bool(stores) and not any(s.buffer in read or coefficient(s.offset, loop.axis) in (0, None)
                                    for s in stores)


def _reads_across(loop: Loop, row: Loop) -> bool:
    """Whether a row's vectors gather from lines that the next rows go on with, and that do not stay."""
    if any(isinstance(s, Store) and s.add for s in statements(loop.body)):
        return False  # rows might depend on each other
    return any(coefficient(n.attr[1], loop.axis) == 1 and _crowds(coefficient(n.attr[1], row.axis), n.dtype)
               for n in loads(row.body)) and _stores_apart(loop)


def _crowds(step: Dim | None, dtype: DType) -> bool:
    return isinstance(step, int) and step != 0 and step * dtype.size % SETS == 0


def _sums_over(loop: Loop, row: Loop) -> bool:
    """Whether all rows of a loop add to the same places."""
    return any(s.add and coefficient(s.offset, loop.axis) == 0 for s in row.body if isinstance(s, Store))


def _row(loop: Loop) -> Loop | None:
    """The vector loop of a loop's body, if that is a row with one, at known places."""
    inside = [s for s in loop.body if isinstance(s, Loop)]
    if len(inside) != 1 or not inside[0].vector or loop.vector or loop.accumulators or loop.extent == 1:
        return None
    return None if any(a.kind == "value" for d in positions(loop.body) for a in atoms_of(d)) else inside[0]


def _jam_bodies(rows: list[list[Stmt]], share: bool) -> list[Stmt]:
    """The rows' statements, their loops as one; where they share loads side by side, soon after these."""
    if not share and not any(isinstance(s, Loop) for s in rows[0]):
        return [s for row in rows for s in row]
    jammed: list[Stmt] = []
    for same in zip(*rows, strict=True):
        loops = [s for s in same if isinstance(s, Loop)]
        jammed += [_jam_loops(loops, share)] if loops else same
    return jammed


def _jam_loops(loops: list[Loop], share: bool) -> Loop:
    body: list[Stmt] = []
    sums: dict[tuple[str, Dim], list[Expr]] = {}
    for s in _jam_bodies([list(loop.body) for loop in loops], share):
        if isinstance(s, Store) and s.add:
            sums.setdefault((s.buffer, s.offset), []).append(s.value)
        else:
            body.append(s)
    body += [Store(buffer, offset, _total(values), add=True) for (buffer, offset), values in sums.items()]
    accumulators: tuple[Accumulator, ...] = tuple(a for loop in loops for a in loop.accumulators)
    registers = 1 if share else loops[0].registers  # those of one row are enough for their loads
    return replace(loops[0], body=tuple(body), accumulators=accumulators, registers=registers)


def _total(values: list[Expr]) -> Expr:
    total = values[0]
    for v in values[1:]:
        total = E.call("add", total, v)
    return total
