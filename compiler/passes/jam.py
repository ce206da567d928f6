"""jam: rows that are added to the same sums, or read from the same lines, go several at a time."""

from __future__ import annotations

from dataclasses import replace

from graphflow.compiler.ir.dims import Atom, Dim, atoms_of, axis, coefficient, single_atom
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import (
    Accumulator,
    Let,
    Loop,
    Stmt,
    Store,
    loads,
    statements,
    work_each,
)
from graphflow.compiler.loops.substitute import rename_temps, substitute_stmt

ROWS = 4     # that share sums
COLUMNS = 8  # that share lines of memory
SETS = 1024  # bytes: lines a multiple of that apart share few places in a cache
_LIGHT = 80  # work of an iteration


def jam(loop: Loop) -> list[Stmt]:
    """Take several rows per iteration wherever the vector loops in them use the same memory.

    Sums that all rows share go through memory once for ROWS of them. A transposition gathers from each line
    once for COLUMNS rows of its result, where the cache could not hold all of these lines until the next row.

    Example:  for i < 8: vector for j < n: p[j] += x[n*i+j]
    -->       for i < 2: vector for j < n: p[j] += ((x[4*n*i+j] + x[4*n*i+n+j]) + ...) + ...
    """
    rows = ROWS if _sums_over(loop) else COLUMNS if _reads_across(loop) else 1
    if rows == 1:
        return [replace(loop, body=tuple(new for s in loop.body
                                         for new in (jam(s) if isinstance(s, Loop) else [s])))]
    rounds: Dim = loop.extent // rows
    i = axis(f"{loop.axis.name}j", rounds)
    jammed: list[Stmt] = []
    if rounds != 0:
        body = _jam_bodies([_copy(loop, rows * i + k, f"_{k}") for k in range(rows)])
        jammed.append(Loop(_atom(i), rounds, tuple(body)))
    rest = loop.extent % rows
    if rest != 0:
        last = axis(f"{loop.axis.name}r", rest)
        jammed.append(Loop(_atom(last), rest, tuple(_copy(loop, rows * rounds + last, ""))))
    return jammed


def _reads_across(loop: Loop) -> bool:
    """Whether a row's vectors gather from lines that the next rows go on with, and that do not stay."""
    row = _light_row(loop)
    if row is None:
        return False
    stores = [s for s in statements(loop.body) if isinstance(s, Store)]
    read = {n.attr[0] for n in loads(loop.body)}
    if any(s.add or s.buffer in read or coefficient(s.offset, loop.axis) in (0, None) for s in stores):
        return False  # rows might depend on each other
    return any(coefficient(n.attr[1], loop.axis) == 1 and _crowds(coefficient(n.attr[1], row.axis), n.dtype)
               for n in loads(row.body))


def _crowds(step: Dim | None, dtype: DType) -> bool:
    return isinstance(step, int) and step != 0 and step * dtype.size % SETS == 0


def _sums_over(loop: Loop) -> bool:
    """Whether all rows of a loop add to the same places."""
    row = _light_row(loop)
    return row is not None and any(s.add and coefficient(s.offset, loop.axis) == 0
                                   for s in row.body if isinstance(s, Store))


def _light_row(loop: Loop) -> Loop | None:
    """The vector loop of a loop's body, if that is a row with one, light and at known places."""
    inside = [s for s in loop.body if isinstance(s, Loop)]
    if len(inside) != 1 or not inside[0].vector or loop.vector or loop.accumulators or loop.extent == 1:
        return None
    row = inside[0]
    if any(isinstance(s, Loop) for s in row.body) or work_each(row.body) > _LIGHT:
        return None
    stores = [s for s in statements(loop.body) if isinstance(s, Store)]
    offsets = [*(n.attr[1] for n in loads(loop.body)), *(s.offset for s in stores)]
    return None if any(a.kind == "value" for d in offsets for a in atoms_of(d)) else row


def _copy(loop: Loop, at: Dim, suffix: str) -> list[Stmt]:
    """The body for one row, with names of its own."""
    names = {s.name for s in statements(loop.body) if isinstance(s, Let)}
    names |= {a.name for s in statements(loop.body) if isinstance(s, Loop) for a in s.accumulators}
    renamed = {name: name + suffix for name in names}
    return [rename_temps(substitute_stmt(s, {loop.axis: at}), renamed) for s in loop.body]


def _jam_bodies(rows: list[list[Stmt]]) -> list[Stmt]:
    """The rows' statements before their loops, one loop for all, and those after."""
    where = next(k for k, s in enumerate(rows[0]) if isinstance(s, Loop))
    loops = [s for row in rows for s in row if isinstance(s, Loop)]
    return [*(s for row in rows for s in row[:where]), _jam_loops(loops),
            *(s for row in rows for s in row[where + 1:])]


def _jam_loops(loops: list[Loop]) -> Loop:
    body: list[Stmt] = []
    sums: dict[tuple[str, Dim], list[Expr]] = {}
    for s in (s for loop in loops for s in loop.body):
        if isinstance(s, Store) and s.add:
            sums.setdefault((s.buffer, s.offset), []).append(s.value)
        else:
            body.append(s)
    body += [Store(buffer, offset, _total(values), add=True) for (buffer, offset), values in sums.items()]
    accumulators: tuple[Accumulator, ...] = tuple(a for loop in loops for a in loop.accumulators)
    return replace(loops[0], body=tuple(body), accumulators=accumulators)


def _total(values: list[Expr]) -> Expr:
    total = values[0]
    for v in values[1:]:
        total = E.call("add", total, v)
    return total


def _atom(a: Dim) -> Atom:
    found = single_atom(a)
    assert found is not None
    return found
