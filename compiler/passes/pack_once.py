"""Matrices that many products take as B, packed for all of them by a kernel of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeGuard

from graphflow.compiler.ir.dims import axis, product
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.blocking import Blocking, ByRows
from graphflow.compiler.loops.nest import Product, Store, nested
from graphflow.compiler.passes.launch import Launch, Memory, Place, Scratch, linear


def is_packed_each_time(b: Place, p: Product) -> TypeGuard[Tensor]:
    """Whether a product copies B as it is into panels whenever it is computed."""
    form = p.blocking.many if isinstance(p.blocking, ByRows) else p.blocking
    return (isinstance(b, Tensor) and b.dtype is p.dtype and isinstance(form, Blocking) and form.pack_b
            and form.group == 1)


def packed_once(memory: Memory, p: Product, b: Tensor, of: Tensor) -> tuple[Launch, Scratch, Product]:
    """The kernel that packs all matrices of B for the product that is tensor `of`; the panels; the product.

    panels[matrix, panel, k, column] = b[matrix, k, column], with zeros beyond the last column
    """
    form = p.blocking.many if isinstance(p.blocking, ByRows) else p.blocking
    assert isinstance(form, Blocking)
    columns, k, n = form.columns, p.k, p.n
    extents = (product(b.type.known_dims) // (k * n), (n + columns - 1) // columns, k, columns)
    panels = Scratch(b.dtype, product(extents))
    at = matrix, panel, row, lane = tuple(
        axis(name, d) if d != 1 else 0 for name, d in zip("xqic", extents, strict=True))
    column = panel * columns + lane
    inside = None if n % columns == 0 else E.call("lt", E.index(column), E.index(n))
    within = column * k + row if p.transpose_b else row * n + column
    value = E.load(memory.name(b), matrix * (k * n) + within, b.dtype, inside)
    store = Store(memory.name(panels, write=True), linear(at, extents), value)
    new = replace(p, b_offset=p.b_offset // (k * n) * product(extents[1:]), transpose_b=False,
                  blocking=replace(form, pack_b=False, ahead=True))
    return memory.launch(nested([store], at), (of,), "map"), panels, new
