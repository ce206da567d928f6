"""Kernels whose statements the records write."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from graphflow.compiler.ir.dims import Dim, single_atom
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, Index
from graphflow.compiler.loops.forms import Piece
from graphflow.compiler.loops.nest import Let, Product, Stmt, Store
from graphflow.compiler.loops.substitute import under_own_names
from graphflow.compiler.passes.group import Group
from graphflow.compiler.passes.launch import Launch, Memory, Scratch, linear
from graphflow.compiler.passes.lower_product import by_vector_first


def lower_serial(memory: Memory, group: Group) -> Launch:
    """The statements that the record writes."""
    (t,) = group.members
    return memory.launch(t.op.opdef.lower.steps(t.op, _Workspace(t, memory)), (t,), "serial")


def banded(memory: Memory, t: Tensor, at: Index, body: Callable[[], Sequence[Stmt]]) -> list[Stmt]:
    """A contraction whose sums go through `body`, if there is any, in which `at` is the index of the sum.

    The body is made when the first sum is: what comes before it is the same whatever follows.
    """
    steps: list[Stmt] = t.op.opdef.lower.steps(t.op, _Workspace(t, memory, at, body))
    return steps


class _Workspace:
    """What a record's `steps` are given."""

    def __init__(self, t: Tensor, memory: Memory, at: Index = (),
                 body: Callable[[], Sequence[Stmt]] = tuple) -> None:
        self.t = t
        self.memory = memory
        self.at = at
        self.body = functools.cache(body)
        self.given = 0

    @property
    def cache(self) -> int:
        return self.memory.target.l2

    def load(self, k: int, index: Index) -> Expr:
        return self.memory.load(self.t.op.operands[k], index)

    def store(self, index: Index, value: Expr) -> Stmt:
        return Store(self.result_buffer(), linear(index, self.t.type.known_dims), value)

    def result(self, index: Index) -> Expr:
        return E.load(self.result_buffer(), linear(index, self.t.type.known_dims), self.t.dtype)

    def result_buffer(self) -> str:
        return self.memory.name(self.t, write=True)

    def scratch(self, dtype: DType, size: Dim) -> str:
        return self.memory.name(Scratch(dtype, size), write=True)

    # Kernels with products

    def room(self, dtype: DType, size: Dim) -> Piece:
        return self.memory.room(dtype, size, self.memory.rooms)

    def operand(self, k: int) -> str:
        return self.memory.name(self.t.op.operands[k])

    def product(self, out: Piece, a: Piece, b: Piece, sizes: tuple[Dim, Dim, Dim],
                transpose_a: bool = False, add: bool = False) -> Stmt:
        p = Product(out[0], a[0], b[0], out[1], a[1], b[1], *sizes, transpose_a, False, self.t.dtype, add=add)
        return by_vector_first(p)

    def give(self, index: Index, value: Expr) -> list[Stmt]:
        body = self.body()
        if not body:
            return [self.store(index, value)]
        self.given += 1
        suffix = f".{self.given}"
        values = {a: i for d, i in zip(self.at, index, strict=True) if (a := single_atom(d)) is not None}
        return [Let("sum" + suffix, value), *under_own_names(body, values, suffix, ("sum",))]
