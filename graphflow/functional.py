"""Functions over the rows of tensors: map_fn, scan, foldl, foldr."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphflow import nest
from graphflow.basics import graph_of
from graphflow.compiler.errors import ShapeError
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.dtypes import as_dtype, int32
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import control, core, joining, rows, shapes
from graphflow.compiler.ops.shapes import dim_of, dim_value


def map_fn(fn: Callable[[Any], Any], elems: Any, dtype: Any = None, parallel_iterations: int | None = None,
           back_prop: bool = True, swap_memory: bool = False, infer_shape: bool = True,
           name: str | None = None) -> Any:
    """fn of each row of `elems` (of the rows at one place, where `elems` is nested), stacked.

    dtype   of what fn gives, where it differs from `elems`; nested as that is
    Shapes:  elems [n, ...] -> [n, ...]
    """
    source = _Rows("map_fn", elems, name)

    def body(i: Tensor) -> list[Tensor]:
        result = fn(source.at(i))
        wanted = nest.flatten(dtype if dtype is not None else [t.dtype for t in source.tensors])
        source.result = result
        leaves = nest.flatten(result)
        if len(leaves) != len(wanted):
            raise ValueError(f"map_fn: fn gives {len(leaves)} values for {len(wanted)} dtypes\n"
                             f"hint: dtype= says what fn gives, nested as that is")
        return [as_tensor(v, as_dtype(d), for_op="map_fn: what fn gives")
                for v, d in zip(leaves, wanted, strict=True)]

    return source.packed(source.stacked(source.loop(body, [], source.count)[1:]), back_prop)


def scan(fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, parallel_iterations: int = 10,
         back_prop: bool = True, swap_memory: bool = False, infer_shape: bool = True, reverse: bool = False,
         name: str | None = None) -> Any:
    """Every value of a = fn(a, row), over the rows of `elems`, stacked; from the last row with `reverse`.

    a is `initializer` at first, or else the first row, which is then the first value as well.
    Shapes:  elems [n, ...], initializer [...] -> [n, ...]
    """
    source = _Rows("scan", elems, name, reverse)
    start = source.start(initializer)
    first = 0 if initializer is not None else 1
    found = source.loop(lambda i, *a: source.step(fn, i, a) * 2, start, source.count - first, first)
    values = found[1 + len(start):]
    if initializer is None:
        with source.graph.as_default():
            ends = [shapes.expand_dims(t, axis=0) for t in start]
            values = [joining.concat(e, v, axis=0) for e, v in zip(ends, values, strict=True)]
    if reverse:
        values = [shapes.reverse(v, axis=(0,)) for v in values]
    return source.packed(source.stacked(values), back_prop)


def foldl(fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, parallel_iterations: int = 10,
          back_prop: bool = True, swap_memory: bool = False, name: str | None = None) -> Any:
    """The last value of a = fn(a, row), over the rows of `elems` from first to last.

    a is `initializer` at first, or else the first row.
    """
    return _fold(fn, elems, initializer, back_prop, _Rows("foldl", elems, name))


def foldr(fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, parallel_iterations: int = 10,
          back_prop: bool = True, swap_memory: bool = False, name: str | None = None) -> Any:
    """The last value of a = fn(a, row), over the rows of `elems` from last to first."""
    return _fold(fn, elems, initializer, back_prop, _Rows("foldr", elems, name, reverse=True))


def _fold(fn: Callable[[Any, Any], Any], elems: Any, initializer: Any, back_prop: bool, source: _Rows) -> Any:
    start = source.start(initializer)
    first = 0 if initializer is not None else 1
    found = source.loop(lambda i, *a: source.step(fn, i, a), start, source.count - first, first)
    return source.packed(found[1:1 + len(start)], back_prop)


class _Rows:
    """Tensors whose rows a function takes, and the structure of what it gives."""

    def __init__(self, function: str, elems: Any, name: str | None, reverse: bool = False) -> None:
        self.function = function
        self.name = name or function
        self.structure = elems
        leaves = nest.flatten(elems)
        if not leaves:
            raise ValueError(f"{function}: elems holds no tensor")
        self.graph = graph_of(leaves)
        with self.graph.as_default():
            self.tensors = [as_tensor(v) for v in leaves]
            for t in self.tensors:
                if t.type.rank in (0, None):
                    raise ShapeError(f"{function}: elems must have a first axis, but {t.name} is {t.type}")
            self.size = dim_of(self.tensors[0], 0)
            self.count: Tensor = dim_value(value=self.size, dtype=int32)
        self.reverse = reverse
        self.result: Any = None

    def at(self, i: Tensor, checked: bool = False) -> Any:
        """Row i, counted from the end with `reverse`, of each tensor; `checked` where it may not be there."""
        k = self.count - 1 - i if self.reverse else i
        name = self.name if checked else None
        found = [rows.row_at(t, k, checked=checked, name=name) for t in self.tensors]
        return nest.pack_sequence_as(self.structure, found)

    def start(self, initializer: Any) -> list[Tensor]:
        """The first value of a fold."""
        with self.graph.as_default():
            first = core.literal(0, int32)
            self.result = self.at(first, checked=True) if initializer is None else initializer
            return [as_tensor(v) for v in nest.flatten(self.result)]

    def step(self, fn: Callable[[Any, Any], Any], i: Tensor, a: Sequence[Tensor]) -> list[Tensor]:
        """The next value of a fold."""
        found = fn(nest.pack_sequence_as(self.result, list(a)), self.at(i))
        nest.assert_same_structure(self.result, found, check_types=False)
        return [as_tensor(v, t.dtype, for_op=f"{self.function}: what fn gives")
                for v, t in zip(nest.flatten(found), a, strict=True)]

    def loop(self, body: Callable[..., list[Tensor]], start: Sequence[Tensor], trips: Tensor,
             first: int = 0) -> list[Tensor]:
        """The counter, the last values, and what the body collects."""
        with self.graph.as_default(), self.graph.name_scope(self.name):
            values = [core.literal(0, int32), *start]
            return list(control.make_loop(
                lambda i, *a: i < trips, lambda i, *a: [i + 1, *body(i + first if first else i, *a)],
                values, [t.type for t in values], self.graph))

    def stacked(self, values: Sequence[Tensor]) -> list[Tensor]:
        """The collected values, which have as many rows as there were elements."""
        for t in values:
            if isinstance(self.size, int) and t.type.dims is not None:
                t.set_shape([self.size, *t.type.dims[1:]])
        return list(values)

    def packed(self, values: Sequence[Tensor], back_prop: bool) -> Any:
        given = values if back_prop else [core.stop_gradient(t) for t in values]
        return nest.pack_sequence_as(self.result, list(given))
