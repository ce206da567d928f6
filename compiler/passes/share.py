"""share: one kernel for all that differ only in where they start, how far they go, and in their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from graphflow.compiler.ir.dims import Atom, Dim, Poly, axis, coefficient, terms_of
from graphflow.compiler.ir.dtypes import int32
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import (
    Let,
    Loop,
    LoopNest,
    Stmt,
    Store,
    loop_over,
    positions,
    statements,
)
from graphflow.compiler.loops.substitute import relocated, rewrite, substitute_stmt
from graphflow.compiler.passes.launch import Launch
from graphflow.compiler.passes.schedule import collapse
from graphflow.compiler.records import record

_ANY_NUMBER = ("add", "sub", "xor", "select")  # what is as fast with a number that LLVM does not know


def share(launches: Sequence[Launch]) -> list[Launch]:
    """Give kernels of equal structure their starting offsets as integers, where those differ.

    Those that walk memory from end to end are given their extent too, and numbers by their bits. An unrolled
    loop over slices, a tensor joined from many parts, the initial values of variables of many shapes or their
    updates then compile one kernel.

    Example:  kernel(p0, p1): for i < 4: p1[i] = p0[i+4] ; kernel(p0, p1): for i < 6: p1[i] = p0[i+8]
    -->       kernel(p0, p1, n, s): for i < n: p1[i] = p0[i+s], called with n = 4, s = 4 and n = 6, s = 8
    """
    loops = {nest: _flat_loop(nest) for nest in dict.fromkeys(x.nest for x in launches if x.kind != "while")}
    outlines = {nest: _outline(nest, loop) for nest, loop in loops.items()}
    count = Counter(outlines.values())
    opened = {nest: _open(nest, loop) for nest, loop in loops.items() if count[outlines[nest]] > 1}
    alike: dict[LoopNest, list[LoopNest]] = {}
    for nest, o in opened.items():
        alike.setdefault(o.nest, []).append(nest)
    shared: dict[LoopNest, _Opened] = {}
    for nests in alike.values():
        first = opened[nests[0]].integers
        varying = [a for a, n in first.items() if any(opened[x].integers[a] != n for x in nests)]
        if varying:
            one = _open(nests[0], loops[nests[0]], varying).nest
            new = replace(one, symbols=(*one.symbols, *varying))
            shared.update((x, _Opened(new, {a: opened[x].integers[a] for a in varying})) for x in nests)
    return [_given(x, shared[x.nest]) if x.nest in shared else x for x in launches]


@record
class _Opened:
    """A nest with symbols for some of its integers, and what these were."""

    nest: LoopNest
    integers: dict[Atom, int]


def _given(launch: Launch, shared: _Opened) -> Launch:
    return replace(launch, nest=shared.nest, symbols=(*launch.symbols, *shared.integers.values()))


def _outline(nest: LoopNest, flat: Loop | None) -> tuple[object, ...]:
    """What is equal for all nests that `_open` makes equal, and quick to find."""
    if flat is not None:
        return nest.params, *map(type, flat.body)
    return nest.params, *((type(s), s.extent if isinstance(s, Loop) else 0) for s in statements(nest.body))


def _open(nest: LoopNest, flat: Loop | None, wanted: Collection[Atom] | None = None) -> _Opened:
    """With symbols for constant offsets, and for the extent and the numbers of a flat loop: all, or some."""
    known: dict[tuple[object, ...], Atom] = {}
    integers: dict[Atom, int] = {}

    def symbol(kind: str, name: str, n: int, *key: object) -> Dim:
        a = known.setdefault((name, *key), Atom(kind, f"{name} {len(known):03}"))
        integers[a] = n
        return Poly({(a,): 1}) if wanted is None or a in wanted else n

    def on_dim(buffer: str, d: Dim) -> Dim:
        start = next((c for mono, c in terms_of(d) if not mono), 0)
        return d - start + symbol("sym", "start", start, buffer, start)

    def moved(body: Iterable[Stmt]) -> tuple[Stmt, ...]:
        return tuple(relocated(s, lambda b, d: (b, on_dim(b, d)), lambda d: on_dim("", d)) for s in body)

    def on_number(n: Expr) -> Expr:
        bits = int(n.attr.value.view(f"i{n.dtype.size}"))
        found = symbol("int", "number", bits, n)
        return n if isinstance(found, int) else _with_bits(found, n)

    if flat is None:
        body = moved(nest.body)
    else:
        loop = _resized(flat, symbol("sym", "extent", _length(flat)))
        body = _map_numbers(moved((loop,)), on_number)
    return _Opened(replace(nest, body=body), integers)


# Loops over memory as it lies

def _flat_loop(nest: LoopNest) -> Loop | None:
    """The loop of a nest that is one, or as good as one, and touches all memory from end to end."""
    if len(nest.body) != 1 or not isinstance(nest.body[0], Loop):
        return None
    loop = collapse(nest.body[0])
    strides = [coefficient(d, loop.axis) for d in positions((loop,))]
    plain = all(isinstance(s, (Let, Store)) for s in loop.body) and not (loop.ordered or loop.accumulators)
    return loop if plain and isinstance(loop.extent, int) and all(k in (0, 1) for k in strides) else None


def _length(loop: Loop) -> int:
    assert isinstance(loop.extent, int)
    return loop.extent


def _resized(loop: Loop, extent: Dim) -> Loop:
    i = axis(loop.axis.name, extent)
    return loop_over(i, [substitute_stmt(s, {loop.axis: i}) for s in loop.body], ordered=False)


def _map_numbers(body: tuple[Stmt, ...], on_number: Callable[[Expr], Expr]) -> tuple[Stmt, ...]:
    """The body of a flat loop with other numbers, where it is as fast with any."""
    loop, = body
    assert isinstance(loop, Loop)

    def on_operand(n: Expr) -> Expr:
        known = n.op == "const" and n.dtype.size >= 4 and (n.dtype.is_floating or n.dtype.is_integer)
        return on_number(n) if known else n

    def on_node(n: Expr) -> Expr:
        free = n.op in _ANY_NUMBER or (n.op == "mul" and n.dtype.is_floating)
        return Expr(n.op, tuple(map(on_operand, n.args)), n.dtype, n.attr) if free else n

    stmts = [replace(s, value=on_operand(rewrite(s.value, on_node))) for s in loop.body
             if isinstance(s, (Let, Store))]
    return (replace(loop, body=tuple(stmts)),)


def _with_bits(bits: Dim, like: Expr) -> Expr:
    """A number of the same dtype, by its bits."""
    word = E.index(bits)
    if not like.dtype.is_floating:
        return E.cast(word, like.dtype)
    return E.bitcast(word if like.dtype.size == 8 else E.cast(word, int32), like.dtype)
