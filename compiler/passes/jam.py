"""jam: rows that are added to the same sums go several at a time."""

from __future__ import annotations

from dataclasses import replace

from graphflow.compiler.ir.dims import Atom, Dim, atoms_of, axis, coefficient, single_atom
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

ROWS = 4
_LIGHT = 80  # work of an iteration


def jam(loop: Loop) -> list[Stmt]:
    """Take ROWS rows per iteration wherever a vector loop in a row adds to sums that all rows share.

    The sums then go through memory once for all of these rows.

    Example:  for i < 8: vector for j < n: p[j] += x[n*i+j]
    -->       for i < 2: vector for j < n: p[j] += ((x[4*n*i+j] + x[4*n*i+n+j]) + ...) + ...
    """
    if not _sums_over(loop):
        return [replace(loop, body=tuple(new for s in loop.body
                                         for new in (jam(s) if isinstance(s, Loop) else [s])))]
    rounds: Dim = loop.extent // ROWS
    i = axis(f"{loop.axis.name}j", rounds)
    jammed: list[Stmt] = []
    if rounds != 0:
        body = _jam_bodies([_copy(loop, ROWS * i + k, f"_{k}") for k in range(ROWS)])
        jammed.append(Loop(_atom(i), rounds, tuple(body)))
    rest = loop.extent % ROWS
    if rest != 0:
        last = axis(f"{loop.axis.name}r", rest)
        jammed.append(Loop(_atom(last), rest, tuple(_copy(loop, ROWS * rounds + last, ""))))
    return jammed


def _sums_over(loop: Loop) -> bool:
    """Whether a loop's body is a row with one light vector loop, in which all rows add to the same places."""
    inside = [s for s in loop.body if isinstance(s, Loop)]
    if len(inside) != 1 or not inside[0].vector or loop.vector or loop.accumulators or loop.extent == 1:
        return False
    row = inside[0]
    if any(isinstance(s, Loop) for s in row.body) or work_each(row.body) > _LIGHT:
        return False
    stores = [s for s in statements(loop.body) if isinstance(s, Store)]
    offsets = [*(n.attr[1] for n in loads(loop.body)), *(s.offset for s in stores)]
    if any(a.kind == "value" for d in offsets for a in atoms_of(d)):
        return False
    return any(s.add and s in row.body and coefficient(s.offset, loop.axis) == 0 for s in stores)


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
