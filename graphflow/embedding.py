"""Rows of tables by index: embedding_lookup, and IndexedSlices, which stand for a table of mostly zeros."""

from __future__ import annotations

from typing import Any

from graphflow.arrays import expand_dims, gather, unsorted_segment_sum, zeros_like
from graphflow.basics import name_scope
from graphflow.clipping import clip_by_norm
from graphflow.compiler.errors import ShapeError
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import elementwise, logic


def embedding_lookup(params: Any, ids: Any, partition_strategy: str = "mod", name: str | None = None,
                     validate_indices: bool = True, max_norm: float | None = None) -> Tensor:
    """The rows of a table that `ids` name; longer ones are scaled to `max_norm` where it is given.

    A list of tables is one table cut by rows: with "mod", table k has the rows k, k + n, k + 2n, ... of n
    tables, with "div" rows that follow each other, the first tables one more where they do not fit.
    Shapes:  params [rows, ...], ids [...] -> [*ids.shape, *params.shape[1:]]
    Raises:  InvalidArgumentError in a run with an id outside
    """
    tables = list(params) if isinstance(params, (list, tuple)) else [params]
    if not tables:
        raise ValueError("embedding_lookup: at least one table is needed, but params is empty")
    if partition_strategy not in ("mod", "div"):
        raise ValueError(f"embedding_lookup: partition_strategy is mod or div, not {partition_strategy!r}")
    if len(tables) == 1 and max_norm is None:
        return gather(tables[0], ids, name=name or "embedding_lookup")
    with name_scope(name, "embedding_lookup", [*tables, ids]):
        places = as_tensor(ids)
        whole = len(tables) == 1
        rows = gather(tables[0], places) if whole else _from_parts(tables, places, partition_strategy)
        if max_norm is None:
            return rows
        if places.type.rank is None or rows.type.rank is None:
            raise ShapeError("embedding_lookup: with max_norm the ranks of params and ids must be known")
        return clip_by_norm(rows, max_norm, axes=list(range(places.type.rank, rows.type.rank)))


def _from_parts(tables: list[Any], ids: Tensor, strategy: str) -> Tensor:
    """The rows of each table in turn: where an id is another table's, row 0 stands in and is not taken."""
    tables = [as_tensor(t) for t in tables]
    part, row = _places(tables, ids, strategy)
    result: Tensor | None = None
    for k, table in enumerate(tables):
        mine: Tensor = logic.equal(part, as_tensor(k, part.dtype))
        rows = gather(table, logic.where_v2(mine, row, zeros_like(row)))
        for _ in range((table.type.rank or 1) - 1):
            mine = expand_dims(mine, -1)
        result = rows if result is None else logic.where_v2(mine, rows, result)
    assert result is not None
    return result


def _places(tables: list[Tensor], ids: Tensor, strategy: str) -> tuple[Tensor, Tensor]:
    """The table and the row in it for each id; an id outside gets a row outside."""
    def number(value: int) -> Tensor:
        return as_tensor(value, ids.dtype)

    n = len(tables)
    if strategy == "mod":
        return elementwise.floormod(ids, number(n)), elementwise.floordiv(ids, number(n))
    sizes = [t.type.dims[0] if t.type.dims else None for t in tables]
    if not all(isinstance(s, int) for s in sizes):
        raise ShapeError(f"embedding_lookup: with 'div' the rows of each table must be known, "
                         f"but they are {sizes}")
    each, more = divmod(sum(s for s in sizes if isinstance(s, int)), n)
    short = elementwise.floordiv(ids - more, number(max(each, 1)))
    part = elementwise.maximum(elementwise.floordiv(ids, number(each + 1)), short)
    part = elementwise.minimum(elementwise.maximum(part, number(0)), number(n - 1))
    return part, ids - (part * each + elementwise.minimum(part, number(more)))


class IndexedSlices:
    """values[i] is added to row indices[i] of a tensor of shape `dense_shape` that is zero elsewhere.

    Gradients here are tensors, and the compiler finds those of which few rows matter. This class is for
    scripts that make IndexedSlices or test for them; where a tensor is wanted, one stands for its dense form.
    """

    def __init__(self, values: Any, indices: Any, dense_shape: Any = None) -> None:
        self.values = as_tensor(values)
        self.indices = as_tensor(indices)
        self.dense_shape = dense_shape

    @property
    def dtype(self) -> DType:
        return self.values.dtype

    @property
    def name(self) -> str:
        return self.values.name

    @property
    def op(self) -> Operation:
        return self.values.op

    @property
    def graph(self) -> Graph:
        return self.values.graph

    def _as_tensor(self) -> Tensor:
        if self.dense_shape is None:
            raise ShapeError(f"IndexedSlices of {self.values.name}: a tensor of it needs dense_shape")
        rows = self.dense_shape[0]
        return unsorted_segment_sum(self.values, self.indices, rows)

    def __repr__(self) -> str:
        return f"IndexedSlices(indices={self.indices}, values={self.values})"


def dense_gradient(g: Any, like: Tensor) -> Tensor:
    """A gradient as a tensor: IndexedSlices without a shape take that of their variable."""
    if isinstance(g, IndexedSlices) and g.dense_shape is None:
        g = IndexedSlices(g.values, g.indices, like.shape.as_list())
    return as_tensor(g, like.dtype, for_op="apply_gradients")
