"""The order of rows by numbers of 32 or 64 bits: of short ones by counting, of others digit by digit."""

from __future__ import annotations

from collections.abc import Callable

from graphflow.compiler.ir.dims import Dim, axis
from graphflow.compiler.ir.dtypes import DType, float32, float64, int32, int64, uint32, uint64
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import Workspace
from graphflow.compiler.loops.nest import Accumulator, Let, Loop, Stmt, Store, loop_over

FEW = 128  # elements; of so many each is compared with all, a vector at a time
_SHORT = 256  # bytes of keys
_BITS = 8
_DIGITS = 1 << _BITS


def _word(op: Operation) -> DType:
    """Of the numbers that tell the order of the elements."""
    return uint64 if op.rows.dtype.size == 8 else uint32


def is_short(rows: Tensor) -> bool:
    """Whether to order rows whole takes no longer than to find their largest: of two elements it does."""
    n = rows.type.known_dims[1]
    return isinstance(n, int) and n > 2 and n * max(rows.dtype.size, 4) <= _SHORT


def order_by_digits(op: Operation, work: Workspace) -> list[Stmt]:
    """For each row the positions of its elements in order, into the result."""
    rows, n = op.rows.type.known_dims
    r = axis("r", rows)
    word = _word(op)
    keys = work.scratch(word, n)
    body: list[Stmt] = [_each(axis("i", n), lambda i: [Store(keys, i, _key(op, work.load(0, (r, i))))])]
    few: Dim = n if isinstance(n, int) else E.as_offset(E.temp("few", int64))
    many: Dim = n if isinstance(n, int) else E.as_offset(E.temp("many", int64))
    if not isinstance(n, int):
        body += [Let("few", E.select(E.index(n) <= FEW, E.index(n), 0)),
                 Let("many", E.index(n) - E.temp("few", int64))]
    if not isinstance(n, int) or n <= FEW:
        body += _counted(work, keys, word, r, few)
    if not isinstance(n, int) or n > FEW:
        body += _by_digits(work, keys, word, r, n, many)
    return [loop_over(r, body)]


def _each(i: Dim, body: Callable[[Dim], list[Stmt]]) -> Loop:
    return loop_over(i, body(i), ordered=False)


def _key(op: Operation, x: E.Expr) -> E.Expr:
    """An unsigned number for each element, in the order wanted; zeros of both signs have one, and NaNs."""
    word = _word(op)
    whole, wide = (int64, float64) if word is uint64 else (int32, float32)
    top = 8 * word.size - 1
    if not x.dtype.is_floating:
        return _up(op, E.cast(x, word) if x.dtype.is_unsigned else
                   E.call("xor", E.bitcast(E.cast(x, whole), word), 1 << top))
    number = E.cast(x, wide) + 0.0
    bits = E.bitcast(number, whole)
    flipped = E.call("xor", bits, E.call("or", E.call("shr", bits, top), -(1 << top)))
    return E.select(E.isnan(number), E.const(word.max, word), _up(op, E.bitcast(flipped, word)))


def _up(op: Operation, key: E.Expr) -> E.Expr:
    return E.call("xor", key, key.dtype.max) if op.descending else key


def _counted(work: Workspace, keys: str, word: DType, r: Dim, n: Dim) -> list[Stmt]:
    """The place of an element is the number of those before it."""
    ranks = work.scratch(int32, FEW)
    i, j, k = axis("i", n), axis("j", n), axis("k", n)
    mine, other = E.temp("mine", word), E.load(keys, j, word)
    before = (other < mine) | (E.eq(other, mine) & (E.index(j, int32) < E.index(i, int32)))
    count = loop_over(j, [], accumulators=[Accumulator("rank", "add", E.cast(before, int32))])
    place = E.as_offset(E.temp("place", int64))
    return [_each(i, lambda i: [Let("mine", E.load(keys, i, word)), count,
                                Store(ranks, i, E.temp("rank", int32))]),
            loop_over(k, [Let("place", E.cast(E.load(ranks, k, int32), int64)),
                      work.store((r, place), E.index(k, int32))])]


def _by_digits(work: Workspace, keys: str, word: DType, r: Dim, n: Dim, many: Dim) -> list[Stmt]:
    """From the lowest digit on, each pass keeps the order of the one before where its digits are equal."""
    passes = 8 * word.size // _BITS
    others = work.scratch(word, n)
    places = [work.scratch(int32, n) for _ in range(2)]
    starts = work.scratch(int32, _DIGITS * passes)
    totals = work.scratch(int32, passes)
    d, i = axis("d", E.as_offset(E.temp("digits", int64))), axis("i", many)
    clear = loop_over(d, [Store(starts, d + k * _DIGITS, E.const(0, int32)) for k in range(passes)])
    restart = [Store(totals, k, E.const(0, int32)) for k in range(passes)]
    count = loop_over(i, [s for k in range(passes) for s in _tally(starts, E.load(keys, i, word), k)])
    sums = loop_over(d, [s for k in range(passes) for s in _sum_up(starts, totals, d + k * _DIGITS, k)])
    digits = Let("digits", E.select(E.index(many) > 0, E.index(_DIGITS), 0))
    result: list[Stmt] = [digits, clear, *restart, count, sums]
    pairs = [(keys, places[0]), (others, places[1])]
    for k in range(passes):
        source, target = pairs[k % 2], pairs[(k + 1) % 2]
        index = r, axis(f"m{k}", many)
        result.append(_move(work, index, word, starts, k, source, target if k + 1 < passes else None))
    return result


def _tally(starts: str, key: E.Expr, k: int) -> list[Stmt]:
    at = E.as_offset(E.temp(f"digit{k}", int64))
    return [Let(f"digit{k}", _digit(key, k)), Store(starts, at, E.load(starts, at, int32) + 1)]


def _sum_up(starts: str, totals: str, at: Dim, k: int) -> list[Stmt]:
    """From how many numbers have a digit to where they begin."""
    before, here = E.temp(f"before{k}", int32), E.temp(f"here{k}", int32)
    return [Let(f"before{k}", E.load(totals, k, int32)), Let(f"here{k}", E.load(starts, at, int32)),
            Store(starts, at, before), Store(totals, k, before + here)]


def _move(work: Workspace, index: tuple[Dim, Dim], word: DType, starts: str, k: int, source: tuple[str, str],
          target: tuple[str, str] | None) -> Loop:
    """One pass: each element to the next place of those with its digit; in the last, its position alone."""
    r, i = index
    digit, place = (E.as_offset(E.temp(name, int64)) for name in ("digit", "place"))
    body: list[Stmt] = [
        Let("key", E.load(source[0], i, word)), Let("digit", _digit(E.temp("key", word), k)),
        Let("at", E.load(starts, digit, int32)), Let("place", E.cast(E.temp("at", int32), int64)),
        Let("which", E.index(i, int32) if k == 0 else E.load(source[1], i, int32)),
        Store(starts, digit, E.temp("at", int32) + 1)]
    which = E.temp("which", int32)
    body += [work.store((r, place), which)] if target is None else [
        Store(target[0], place, E.temp("key", word)), Store(target[1], place, which)]
    return loop_over(i, body)


def _digit(key: E.Expr, k: int) -> E.Expr:
    """Where the numbers of digit k of a key lie."""
    digit = E.call("and", E.call("shr", key, _BITS * k), _DIGITS - 1)
    return E.cast(digit, int64) + k * _DIGITS
