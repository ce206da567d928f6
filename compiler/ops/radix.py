"""The order of rows by numbers of 32 bits: of short ones by counting, of others digit by digit."""

from __future__ import annotations

from collections.abc import Callable

from graphflow.compiler.ir.dims import Dim, axis
from graphflow.compiler.ir.dtypes import float32, int32, int64, uint32
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import Workspace
from graphflow.compiler.loops.nest import Accumulator, Let, Loop, Stmt, Store, loop_over

FEW = 256  # elements; of so many each is compared with all, a vector at a time
_BITS = 8
_DIGITS = 1 << _BITS
_PASSES = 32 // _BITS


def fits(op: Operation) -> bool:
    """Whether a number of 32 bits tells the order of the elements."""
    dtype = op.rows.dtype
    return bool(dtype.size < 4 or dtype in (int32, uint32) or (dtype.is_floating and dtype.size == 4))


def order_by_digits(op: Operation, work: Workspace) -> list[Stmt]:
    """For each row the positions of its elements in order, into the result."""
    rows, n = op.rows.type.known_dims
    r = axis("r", rows)
    keys = work.scratch(uint32, n)
    body: list[Stmt] = [_each(axis("i", n), lambda i: [Store(keys, i, _key(op, work.load(0, (r, i))))])]
    few: Dim = n if isinstance(n, int) else E.as_offset(E.temp("few", int64))
    many: Dim = n if isinstance(n, int) else E.as_offset(E.temp("many", int64))
    if not isinstance(n, int):
        body += [Let("few", E.select(E.index(n) <= FEW, E.index(n), 0)),
                 Let("many", E.index(n) - E.temp("few", int64))]
    if not isinstance(n, int) or n <= FEW:
        body += _counted(work, keys, r, few)
    if not isinstance(n, int) or n > FEW:
        body += _by_digits(work, keys, r, n, many)
    return [loop_over(r, body)]


def _each(i: Dim, body: Callable[[Dim], list[Stmt]]) -> Loop:
    return loop_over(i, body(i), ordered=False)


def _key(op: Operation, x: E.Expr) -> E.Expr:
    """An unsigned number for each element, in the order wanted; zeros of both signs have one, and NaNs."""
    if not x.dtype.is_floating:
        return _up(op, E.cast(x, uint32) if x.dtype.kind == "uint" else
                   E.call("xor", E.bitcast(E.cast(x, int32), uint32), 1 << 31))
    wide = E.cast(x, float32) + 0.0
    bits = E.bitcast(wide, int32)
    flipped = E.call("xor", bits, E.call("or", E.call("shr", bits, 31), -(1 << 31)))
    return E.select(E.isnan(wide), E.const((1 << 32) - 1, uint32), _up(op, E.bitcast(flipped, uint32)))


def _up(op: Operation, key: E.Expr) -> E.Expr:
    return E.call("xor", key, (1 << 32) - 1) if op.descending else key


def _counted(work: Workspace, keys: str, r: Dim, n: Dim) -> list[Stmt]:
    """The place of an element is the number of those before it."""
    ranks = work.scratch(int32, FEW)
    i, j, k = axis("i", n), axis("j", n), axis("k", n)
    mine, other = E.temp("mine", uint32), E.load(keys, j, uint32)
    before = (other < mine) | (E.eq(other, mine) & (E.index(j, int32) < E.index(i, int32)))
    count = loop_over(j, [], accumulators=[Accumulator("rank", "add", E.cast(before, int32))])
    place = E.as_offset(E.temp("place", int64))
    return [_each(i, lambda i: [Let("mine", E.load(keys, i, uint32)), count,
                                Store(ranks, i, E.temp("rank", int32))]),
            loop_over(k, [Let("place", E.cast(E.load(ranks, k, int32), int64)),
                      work.store((r, place), E.index(k, int32))])]


def _by_digits(work: Workspace, keys: str, r: Dim, n: Dim, many: Dim) -> list[Stmt]:
    """From the lowest digit on, each pass keeps the order of the one before where its digits are equal."""
    others = work.scratch(uint32, n)
    places = [work.scratch(int32, n) for _ in range(2)]
    starts = work.scratch(int32, _DIGITS * _PASSES)
    totals = work.scratch(int32, _PASSES)
    d, i = axis("d", E.as_offset(E.temp("digits", int64))), axis("i", many)
    clear = loop_over(d, [Store(starts, d + k * _DIGITS, E.const(0, int32)) for k in range(_PASSES)])
    restart = [Store(totals, k, E.const(0, int32)) for k in range(_PASSES)]
    count = loop_over(i, [s for k in range(_PASSES) for s in _tally(starts, E.load(keys, i, uint32), k)])
    sums = loop_over(d, [s for k in range(_PASSES) for s in _sum_up(starts, totals, d + k * _DIGITS, k)])
    digits = Let("digits", E.select(E.index(many) > 0, E.index(_DIGITS), 0))
    result: list[Stmt] = [digits, clear, *restart, count, sums]
    pairs = [(keys, places[0]), (others, places[1])]
    for k in range(_PASSES):
        source, target = pairs[k % 2], pairs[(k + 1) % 2]
        result.append(_move(work, (r, axis(f"m{k}", many)), starts, k, source, target))
    return result


def _tally(starts: str, key: E.Expr, k: int) -> list[Stmt]:
    at = E.as_offset(E.temp(f"digit{k}", int64))
    return [Let(f"digit{k}", _digit(key, k)), Store(starts, at, E.load(starts, at, int32) + 1)]


def _sum_up(starts: str, totals: str, at: Dim, k: int) -> list[Stmt]:
    """From how many numbers have a digit to where they begin."""
    before, here = E.temp(f"before{k}", int32), E.temp(f"here{k}", int32)
    return [Let(f"before{k}", E.load(totals, k, int32)), Let(f"here{k}", E.load(starts, at, int32)),
            Store(starts, at, before), Store(totals, k, before + here)]


def _move(work: Workspace, index: tuple[Dim, Dim], starts: str, k: int, source: tuple[str, str],
          target: tuple[str, str]) -> Loop:
    """One pass: each element to the next place of those with its digit."""
    r, i = index
    digit, place = (E.as_offset(E.temp(name, int64)) for name in ("digit", "place"))
    first, last = k == 0, k == _PASSES - 1
    body: list[Stmt] = [
        Let("key", E.load(source[0], i, uint32)), Let("digit", _digit(E.temp("key", uint32), k)),
        Let("at", E.load(starts, digit, int32)), Let("place", E.cast(E.temp("at", int32), int64)),
        Let("which", E.index(i, int32) if first else E.load(source[1], i, int32)),
        Store(starts, digit, E.temp("at", int32) + 1)]
    which = E.temp("which", int32)
    body += [work.store((r, place), which)] if last else [
        Store(target[0], place, E.temp("key", uint32)), Store(target[1], place, which)]
    return loop_over(i, body)


def _digit(key: E.Expr, k: int) -> E.Expr:
    """Where the numbers of digit k of a key lie."""
    digit = E.call("and", E.call("shr", key, _BITS * k), _DIGITS - 1)
    return E.cast(digit, int64) + k * _DIGITS
