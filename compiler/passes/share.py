"""share: one kernel for all that differ only in where in memory they start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from graphflow.compiler.ir.dims import Atom, Dim, Poly, substitute, terms_of
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import Let, Loop, LoopNest, Product, Stmt, Store, While, statements
from graphflow.compiler.passes.launch import Launch
from graphflow.compiler.records import record

OnDim = Callable[[str, Dim], Dim]  # a buffer's name ("" for an index) and an offset in it -> another offset


def share(launches: Sequence[Launch]) -> list[Launch]:
    """Give kernels of equal structure their starting offsets as integers, where those differ.

    An unrolled loop over slices, or a tensor joined from many parts, then compiles one kernel for all steps.

    Example:  kernel(p0, p1): for i < 4: p1[i] = p0[i+4] ; kernel(p0, p1): for i < 4: p1[i] = p0[i+8]
    -->       kernel(p0, p1, s): for i < 4: p1[i] = p0[i+s], called with s = 4 and s = 8
    """
    nests = dict.fromkeys(x.nest for x in launches if x.kind != "while")
    outlines = {nest: _outline(nest) for nest in nests}
    count = Counter(outlines.values())
    forms = {nest: _open(nest) for nest in nests if count[outlines[nest]] > 1}
    opened = {k: forms[launch.nest] for k, launch in enumerate(launches) if launch.nest in forms}
    alike: dict[LoopNest, list[int]] = {}
    for k, o in opened.items():
        alike.setdefault(o.nest, []).append(k)
    result = list(launches)
    for nest, numbers in alike.items():
        columns = list(zip(*(opened[k].starts for k in numbers), strict=True))
        varying = [j for j, column in enumerate(columns) if len(set(column)) > 1]
        if varying:
            shared = _close(nest, {j: column[0] for j, column in enumerate(columns) if j not in varying},
                            varying)
            for k in numbers:
                result[k] = _given(launches[k], shared, [opened[k].starts[j] for j in varying])
    return result


@record
class _Opened:
    """A nest whose constant offsets are symbols, and what they were."""

    nest: LoopNest
    starts: tuple[int, ...]


def _outline(nest: LoopNest) -> tuple[object, ...]:
    """What is equal for all nests that `_open` makes equal, and quick to find."""
    return nest.params, *((type(s), s.extent if isinstance(s, Loop) else 0) for s in statements(nest.body))


def _symbol(k: int) -> Atom:
    return Atom("sym", f"start {k:03}")


def _open(nest: LoopNest) -> _Opened:
    known: dict[tuple[str, int], int] = {}

    def on_dim(buffer: str, d: Dim) -> Dim:
        start = next((c for mono, c in terms_of(d) if not mono), 0)
        k = known.setdefault((buffer, start), len(known))
        return d - start + Poly({(_symbol(k),): 1})

    body = _map_body(nest.body, on_dim)
    return _Opened(replace(nest, body=body), tuple(start for _, start in known))


def _close(nest: LoopNest, fixed: dict[int, int], varying: Sequence[int]) -> LoopNest:
    """The nest with fixed starts as numbers again, and those that vary among its symbols."""
    values: dict[Atom, Dim] = {_symbol(j): v for j, v in fixed.items()}
    body = _map_body(nest.body, lambda buffer, d: substitute(d, values))
    return replace(nest, body=body, symbols=(*nest.symbols, *(_symbol(j) for j in varying)))


def _given(launch: Launch, nest: LoopNest, starts: Sequence[int]) -> Launch:
    return replace(launch, nest=nest, symbols=(*launch.symbols, *starts))


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
