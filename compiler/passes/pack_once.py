"""Matrices that many products take as B, packed for all of them by a kernel of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeGuard

from graphflow.compiler.ir.dims import axis
from graphflow.compiler.ir.dtypes import int64
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.blocking import Blocking
from graphflow.compiler.loops.nest import Product, Store, nested
from graphflow.compiler.passes.group import Grouping
from graphflow.compiler.passes.launch import Launch, Memory, Place, Scratch, linear


def packs_each_time(p: Product, b: Place) -> TypeGuard[Tensor]:
    """Whether a product of known sizes copies B into panels whenever it is computed, and as it is."""
    known = all(isinstance(d, int) for d in (p.n, p.k))
    return (known and isinstance(b, Tensor) and b.dtype is p.dtype and isinstance(b.type.size, int)
            and isinstance(p.blocking, Blocking) and p.blocking.pack_b and p.blocking.group == 1)


def packed_once(grouping: Grouping, p: Product, b: Tensor, of: Tensor) -> tuple[Launch, Scratch, Product]:
    """The kernel that packs all matrices of B for the product that is tensor `of`; the panels; the product.

    panels[matrix, panel, k, column] = b[matrix, k, column], with zeros beyond the last column
    """
    form, k, n, size = p.blocking, p.k, p.n, b.type.size
    assert isinstance(form, Blocking) and isinstance(k, int) and isinstance(n, int) and isinstance(size, int)
    columns, matrices, count = form.columns, size // (k * n), -(-n // form.columns)
    panels, memory = Scratch(b.dtype, matrices * count * k * columns), Memory(grouping)
    extents = {"x": matrices, "q": count, "i": k, "c": columns}
    matrix, panel, row, lane = at = tuple(axis(name, d) if d > 1 else 0 for name, d in extents.items())
    column = panel * columns + lane
    inside = None if n % columns == 0 else E.lt(E.index(column), E.const(n, int64))
    within = column * k + row if p.transpose_b else row * n + column
    value = E.load(memory.name(b), matrix * (k * n) + within, b.dtype, inside)
    store = Store(memory.name(panels, write=True), linear(at, tuple(extents.values())), value)
    new = replace(p, b_offset=p.b_offset // (k * n) * (count * k * columns), transpose_b=False,
                  blocking=replace(form, pack_b=False, ahead=True))
    return memory.launch(nested([store], at), (of,), "map"), panels, new
