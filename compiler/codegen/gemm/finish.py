"""What becomes of finished sums: the body of a Product, run on them before they leave the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.gemm.builder import Builder
from graphflow.compiler.codegen.values import Value
from graphflow.compiler.ir.dims import Atom, single_atom
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.nest import Let, LoopNest, Product, Store

SUM = "sum"


@dataclass(frozen=True)
class Finish:
    """A product's body, and what it refers to.

    key    part of the names of functions that hold it
    nest   the kernel whose buffers and run-time integers it uses
    outer  the indices of loops around the product
    """

    key: str
    nest: LoopNest
    product: Product
    outer: tuple[Atom, ...]

    @property
    def params(self) -> list[str]:
        """Parameters of functions that hold it; passed on under the same names."""
        return [*self._common(), *(f"i64 %outer{k}" for k in range(len(self.outer)))]

    def arguments(self, axes: dict[Atom, str]) -> list[str]:
        """What the kernel passes for them."""
        return [*self._common(), *(f"i64 {axes[a]}" for a in self.outer)]

    def _common(self) -> list[str]:
        return [*(f"ptr %{p.name}" for p in self.nest.params),
                *(f"i64 %sym{k}" for k in range(len(self.nest.symbols)))]


def with_finish(params: Sequence[str], finish: Finish | None) -> list[str]:
    """The parameters of a function that may hold a finish, which may reach C by another name."""
    if finish is None:
        return list(params)
    return [*(p.replace("noalias %c", "%c") for p in params), *finish.params]


class FinishingBuilder(Builder):
    """A builder whose function may hold a product's body."""

    def __init__(self, module: Module, dtype: DType, width: int, finish: Finish | None) -> None:
        super().__init__(module, dtype, width, replace(finish.nest, width=width) if finish else None)
        self.finish = finish
        if finish is not None:
            self.axes |= {a: f"%outer{k}" for k, a in enumerate(finish.outer)}

    def finish_rows(self, sums: str, stride: int, row: str, rows: str, column: str, columns: str) -> None:
        """Run the body on the sums of `rows` times `columns` elements from [row, column] on."""
        with self.loop("0", rows) as i:
            here = self.at(sums, self.mul(i.index, stride))
            with self.loop("0", columns, self.width) as j:
                at = self.at(here, j.index)
                left = self.sub(columns, j.index)
                mask = None if _whole(columns, self.width) else self.first_lanes(left)
                self.finish_vector(self.fetch(at, self.width), self.add(row, i.index),
                                   self.add(column, j.index), mask)

    def finish_vector(self, value: Value, row: str, column: str, mask: Value | None) -> None:
        assert self.finish is not None
        product = self.finish.product
        along = single_atom(product.column)
        for index, ref in ((product.row, row), (product.column, column)):
            found = single_atom(index)
            if found is not None:
                self.axes[found] = ref
        if along is None:  # there is one column
            value = self.em.instruction(f"extractelement {value}, i64 0", value.dtype, 1)
        self.vector_axis, self.mask = along, mask if along is not None else None
        self.values = {E.temp(SUM, product.dtype): value}
        for stmt in product.body:
            if isinstance(stmt, Let):
                self.values[E.temp(stmt.name, stmt.value.dtype)] = self.expression(stmt.value)
            else:
                assert isinstance(stmt, Store), stmt
                self.store(stmt)
        self.vector_axis = self.mask = None


def finish_of(product: Product, nest: LoopNest, key: str, axes: dict[Atom, str]) -> Finish | None:
    """A product's finish in a kernel, inside of loops with the given indices; None if it has no body."""
    return Finish(key, nest, product, tuple(sorted(axes))) if product.body else None


def _whole(columns: str, width: int) -> bool:
    return columns.isdigit() and int(columns) % width == 0
