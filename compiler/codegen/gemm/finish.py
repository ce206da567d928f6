"""What becomes of finished sums: the body of a Product, run on them before they leave the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.gemm.builder import Builder
from graphflow.compiler.codegen.values import Value
from graphflow.compiler.ir.dims import Atom, Dim, atoms_of, coefficient, single_atom
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, dims_of
from graphflow.compiler.loops.nest import (
    Let,
    LoopNest,
    Product,
    Stmt,
    Store,
    is_computed,
    loads,
    part_numbers,
    positions,
)
from graphflow.compiler.records import record

SUM = "sum"


@record
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
        of_part = self.nest.parallel and bool(part_numbers(positions(self.product.body)))
        return ["ptr %frame", "i64 %check", *(f"ptr %{p.name}" for p in self.nest.params),
                *(f"i64 %sym{k}" for k in range(len(self.nest.symbols))), *["i64 %part"] * of_part]

    def per_row(self) -> list[Let]:
        """Values that are the same along a row."""
        varying, found = {SUM}, []
        column = single_atom(self.product.column)
        for stmt in self.product.body:
            if isinstance(stmt, Let):
                if column is None or _mentions(stmt.value, varying, column):
                    varying.add(stmt.name)
                else:
                    found.append(stmt)
        return found

    def swept(self) -> list[tuple[str, DType, Dim]]:
        """Buffers that the body reads or writes row after row, the dtype and the place of an element."""
        row, column = single_atom(self.product.row), single_atom(self.product.column)
        if row is None or column is None:
            return []
        past_cache = {p.name for p in self.nest.params if p.streamed}
        places = [(*n.attr, n.dtype) for n in loads(self.product.body)]
        places += [(s.buffer, s.offset, s.value.dtype) for s in self.product.body if isinstance(s, Store)]
        return [(buffer, dtype, at) for buffer, at, dtype in dict.fromkeys(places)
                if buffer not in past_cache and not is_computed(at) and row in atoms_of(at)
                and coefficient(at, column) == 1]


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

    def finish_rows(self, sums: str, stride: int | str, row: str, rows: str, column: str,
                    columns: str) -> None:
        """Run the body on the sums of `rows` times `columns` elements from [row, column] on."""
        assert self.finish is not None
        per_row = self.finish.per_row()
        rest = [s for s in self.finish.product.body if s not in per_row]
        with self.loop("0", rows) as i:
            here = self.at(sums, self.mul(i.index, stride))
            self.place_row(self.add(row, i.index))
            self.values = {}
            self.place(self.finish.product.column, "0")
            self.run(per_row)
            known = self.values
            with self.loop("0", columns, self.width) as j:
                left = self.sub(columns, j.index)
                self.mask = None if _whole(columns, self.width) else self.first_lanes(left)
                self.place(self.finish.product.column, self.add(column, j.index))
                self.values = dict(known)
                self.finish_vector(self.fetch(self.at(here, j.index), self.width), rest)

    def prefetch_swept(self, row: str, column: str) -> None:
        """Ask for the memory that the body will read or write there."""
        assert self.finish is not None
        self.place(self.finish.product.row, row)
        self.place(self.finish.product.column, column)
        for buffer, dtype, at in self.finish.swept():
            self.prefetch(self.address(buffer, dtype, self.dim(at)))

    def place_row(self, row: str) -> None:
        """Tell the body which row it is in."""
        assert self.finish is not None
        self.place(self.finish.product.row, row)

    def place(self, index: Dim, ref: str) -> None:
        found = single_atom(index)
        if found is not None:
            self.axes[found] = ref

    def place_of_fault(self) -> str:
        """The number of the element among those of the product."""
        assert self.finish is not None
        product, number = self.finish.product, "0"
        for index, extent in (*product.row_extents, (product.column, product.n)):
            found = single_atom(index)
            number = self.mul(number, self.dim(extent))
            number = self.add(number, self.axes.get(found, "0")) if found is not None else number
        return number

    def finish_vector(self, value: Value, body: list[Stmt]) -> None:
        assert self.finish is not None
        self.vector_axis = single_atom(self.finish.product.column)
        if self.vector_axis is None:  # there is one column
            value, self.mask = self.em.instruction(f"extractelement {value}, i64 0", value.dtype, 1), None
        self.values[E.temp(SUM, value.dtype)] = value
        self.run(body)
        self.vector_axis = self.mask = None

    def run(self, body: Sequence[Stmt]) -> None:
        for stmt in body:
            if isinstance(stmt, Let):
                self.values[E.temp(stmt.name, stmt.value.dtype)] = self.expression(stmt.value)
            else:
                assert isinstance(stmt, Store), stmt
                self.store(stmt)


def finish_of(product: Product, nest: LoopNest, key: str, axes: dict[Atom, str]) -> Finish | None:
    """A product's finish in a kernel, inside of loops with the given indices; None if it has no body."""
    return Finish(key, nest, product, tuple(sorted(axes))) if product.body else None


def _mentions(root: Expr, varying: set[str], column: Atom) -> bool:
    """Whether a value changes along a row: through the column's index, or a value that does."""
    for n in E.walk(root):
        if n.op == "temp" and n.attr in varying:
            return True
        if any(a == column or a.name in varying for d in dims_of(n) for a in atoms_of(d)):
            return True
    return False


def _whole(columns: str, width: int) -> bool:
    return columns.isdigit() and int(columns) % width == 0
