"""share: one kernel for all that differ only in where in memory they start, and how far they go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from graphflow.compiler.ir.dims import Atom, Dim, Poly, axis, coefficient, substitute, terms_of
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import (
    Let,
    Loop,
    LoopNest,
    Product,
    Stmt,
    Store,
    While,
    loop_over,
    positions,
    statements,
)
from graphflow.compiler.loops.substitute import substitute_stmt
from graphflow.compiler.passes.launch import Launch
from graphflow.compiler.passes.schedule import collapse
from graphflow.compiler.records import record

OnDim = Callable[[str, Dim], Dim]  # a buffer's name ("" for an index) and an offset in it -> another offset
_EXTENT = Atom("sym", "extent")


def share(launches: Sequence[Launch]) -> list[Launch]:
    """Give kernels of equal structure their starting offsets as integers, where those differ.

    Those that walk memory from end to end are given their extent too. An unrolled loop over slices, a tensor
    joined from many parts, or updates of variables of many shapes then compile one kernel.

    Example:  kernel(p0, p1): for i < 4: p1[i] = p0[i+4] ; kernel(p0, p1): for i < 6: p1[i] = p0[i+8]
    -->       kernel(p0, p1, n, s): for i < n: p1[i] = p0[i+s], called with n = 4, s = 4 and n = 6, s = 8
    """
    flat = {nest: _flat(nest) for nest in dict.fromkeys(x.nest for x in launches if x.kind != "while")}
    outlines = {nest: _outline(found.nest) for nest, found in flat.items()}
    count = Counter(outlines.values())
    forms = {nest: _open(found) for nest, found in flat.items() if count[outlines[nest]] > 1}
    opened = {k: forms[launch.nest] for k, launch in enumerate(launches) if launch.nest in forms}
    alike: dict[LoopNest, list[int]] = {}
    for k, o in opened.items():
        alike.setdefault(o.nest, []).append(k)
    result = list(launches)
    for nest, numbers in alike.items():
        first = opened[numbers[0]].integers
        varying = [a for a, n in first.items() if any(opened[k].integers[a] != n for k in numbers)]
        if varying:
            shared = _close(nest, {a: n for a, n in first.items() if a not in varying}, varying)
            for k in numbers:
                result[k] = _given(launches[k], shared, [opened[k].integers[a] for a in varying])
    return result


@record
class _Opened:
    """A nest with symbols for some of its integers, and what these were."""

    nest: LoopNest
    integers: dict[Atom, int]


def _outline(nest: LoopNest) -> tuple[object, ...]:
    """What is equal for all nests that `_open` makes equal, and quick to find."""
    return nest.params, *((type(s), s.extent if isinstance(s, Loop) else 0) for s in statements(nest.body))


def _open(flat: _Opened) -> _Opened:
    """With symbols for all constant offsets too."""
    known: dict[tuple[str, int], Atom] = {}

    def on_dim(buffer: str, d: Dim) -> Dim:
        start = next((c for mono, c in terms_of(d) if not mono), 0)
        symbol = known.setdefault((buffer, start), Atom("sym", f"start {len(known):03}"))
        return d - start + Poly({(symbol,): 1})

    nest = replace(flat.nest, body=_map_body(flat.nest.body, on_dim))
    return _Opened(nest, {**flat.integers, **{symbol: start for (_, start), symbol in known.items()}})


def _close(nest: LoopNest, fixed: dict[Atom, int], varying: Sequence[Atom]) -> LoopNest:
    """The nest with what is fixed as numbers again, and what varies among its symbols."""
    values: dict[Atom, Dim] = {**fixed}
    body = _map_body(nest.body, lambda buffer, d: substitute(d, values))
    if _EXTENT in fixed:
        body = _resized(body, fixed[_EXTENT])
    return replace(nest, body=body, symbols=(*nest.symbols, *varying))


def _given(launch: Launch, nest: LoopNest, integers: Sequence[int]) -> Launch:
    return replace(launch, nest=nest, symbols=(*launch.symbols, *integers))


# Extents

def _flat(nest: LoopNest) -> _Opened:
    """With a symbol for the extent of its loop, if that is one, or as good as one, over memory as it lies."""
    if len(nest.body) != 1 or not isinstance(nest.body[0], Loop):
        return _Opened(nest, {})
    loop = collapse(nest.body[0])
    if not isinstance(loop.extent, int) or not _is_flat(loop):
        return _Opened(nest, {})
    return _Opened(replace(nest, body=_resized((loop,), Poly({(_EXTENT,): 1}))), {_EXTENT: loop.extent})


def _is_flat(loop: Loop) -> bool:
    """Whether iterations compute and store alone, each next to the one before in all that they touch."""
    strides = [coefficient(d, loop.axis) for d in positions((loop,))]
    return (all(isinstance(s, (Let, Store)) for s in loop.body) and not (loop.ordered or loop.accumulators)
            and all(stride in (0, 1) for stride in strides))


def _resized(body: tuple[Stmt, ...], extent: Dim) -> tuple[Stmt, ...]:
    loop, = body
    assert isinstance(loop, Loop)
    i = axis(loop.axis.name, extent)
    return (loop_over(i, [substitute_stmt(s, {loop.axis: i}) for s in loop.body], ordered=False),)


# A nest with other offsets

def _map_body(body: tuple[Stmt, ...], on_dim: OnDim) -> tuple[Stmt, ...]:
    return tuple(_map_stmt(s, on_dim) for s in body)


def _map_stmt(s: Stmt, on_dim: OnDim) -> Stmt:
    if isinstance(s, Let):
        return Let(s.name, _map_expr(s.value, on_dim))
    if isinstance(s, Store):
        return replace(s, offset=on_dim(s.buffer, s.offset), value=_map_expr(s.value, on_dim))
    if isinstance(s, Product):
        return replace(s, out_offset=on_dim(s.out, s.out_offset), a_offset=on_dim(s.a, s.a_offset),
                       b_offset=on_dim(s.b, s.b_offset), body=_map_body(s.body, on_dim))
    if isinstance(s, While):
        scalars = tuple(replace(v, start=_map_expr(v.start, on_dim), following=_map_expr(v.following, on_dim))
                        for v in s.variables)
        return While(scalars, _map_body(s.test, on_dim), _map_expr(s.condition, on_dim),
                     _map_body(s.body, on_dim))
    carried = tuple(replace(a, value=_map_expr(a.value, on_dim)) for a in s.accumulators)
    return replace(s, body=_map_body(s.body, on_dim), accumulators=carried)


def _map_expr(root: Expr, on_dim: OnDim) -> Expr:
    new: dict[Expr, Expr] = {}
    for n in E.walk(root):
        attr = n.attr
        if n.op == "load":
            attr = (attr[0], on_dim(attr[0], attr[1]))
        elif n.op == "index":
            attr = on_dim("", attr)
        args = tuple(new[a] for a in n.args)
        new[n] = Expr(n.op, args, n.dtype, attr)
    return new[root]
