"""Rows of a tensor by index: gather, and the sums that undo it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow.compiler.errors import InvalidArgumentError
from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.ir.explain import shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import Indexed, Let, Load, Scatter
from graphflow.compiler.ops.logic import zero_where
from graphflow.compiler.ops.rules import check_kind, equal_dims, normal_axis, open_dims
from graphflow.compiler.ops.samples import Sample
from graphflow.compiler.ops.shapes import dim_of, dims_of, reshape


def _gather_axis(op: Operation, operand: Tensor) -> int:
    rank = operand.type.rank
    assert rank is not None
    return normal_axis(op, op.axis, rank)


def _gather_type(op: Operation) -> TensorType:
    check_kind(op, "int", [op.indices])
    source, index = op.params.type.dims, op.indices.type.dims
    if source is None or index is None:
        return TensorType(op.params.dtype, None)
    axis = _gather_axis(op, op.params)
    return TensorType(op.params.dtype, (*source[:axis], *index, *source[axis + 1:]))


def _gather_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    axis, rank = _gather_axis(op, op.params), len(op.indices.type.known_dims)
    extent = op.params.type.known_dims[axis]
    row = let(E.checked_index(load(1, at[axis:axis + rank]), extent, op.location))
    return load(0, (*at[:axis], E.as_offset(row), *at[axis + rank:]), _unless_empty((extent,)))


def _unless_empty(extents: Sequence[Dim]) -> E.Expr | None:
    """A mask for loads at checked indices: 0 stands for one out of range, and an empty axis has no 0."""
    tests = [E.index(d) > 0 for d in extents if not (isinstance(d, int) and d > 0)]
    return functools.reduce(lambda a, b: a & b, tests) if tests else None


def take(x: Any, indices: Any, axis: int) -> Any:
    """np.take with an error of ours for an index out of range; on dims as well."""
    indices = np.asarray(indices)
    if indices.dtype == object:
        indices = indices.astype(np.int64)
    check_range(indices, x.shape[axis])
    return np.take(x, indices, axis)


def check_range(indices: Any, extent: int) -> None:
    """Raises InvalidArgumentError for an index outside of 0 <= index < extent."""
    outside = indices[(indices < 0) | (indices >= extent)]
    if outside.size:
        raise InvalidArgumentError(None, None, f"index {outside.ravel()[0]} is not in [0, {extent})")


def _gather_grad(op: Operation, g: Tensor) -> tuple[Tensor, None]:
    axis = op.axis if op.params.type.rank is None else _gather_axis(op, op.params)
    return scatter_sum(g, op.indices, size=dim_of(op.params, axis), axis=axis), None


_ROWS = np.array([2, 0, 0, 1], np.int32)
_GRID = np.array([[0, 2, 1], [2, 2, 0]], np.int64)
gather = OpDef("gather", "params indices", infer=_gather_type, attrs={"axis": 0}, dim_attrs=("axis",),
               mixed=True, fails=True,
               grad=_gather_grad, lower=Indexed(_gather_element), numpy=take, symbolic=True,
               tf_name="GatherV2",
               samples=(Sample(((3, 4), _ROWS)), Sample(((3,), _GRID)), Sample(((3, 4), np.int32(1))),
                        Sample(((2, 3, 4), _GRID), {"axis": 1}), Sample(((2, 3), _ROWS), {"axis": -1}),
                        Sample(((3, 2), np.zeros((0,), np.int32))), Sample(((3, 0), _ROWS))))


def _scatter_type(op: Operation) -> TensorType:
    source, index = op.updates.type.dims, op.indices.type.dims
    if source is None or index is None:
        return TensorType(op.updates.dtype, None)
    equal_dims(op, [source[op.axis:op.axis + len(index)], index])
    return TensorType(op.updates.dtype, (
        *source[:op.axis], *open_dims((op.size,)), *source[op.axis + len(index):]))


def _scatter_target(op: Operation, at: E.Index, load: Load, let: Let) -> E.Index:
    axis, rank = op.axis, len(op.indices.type.known_dims)
    row = let(E.checked_index(load(1, at[axis:axis + rank]), op.size, op.location))
    return (*at[:axis], E.as_offset(row), *at[axis + rank:])


def _scatter_numpy(updates: Any, indices: Any, size: int, axis: int) -> Any:
    rest = updates.shape[axis + indices.ndim:]
    rows = np.zeros((*updates.shape[:axis], size, *rest), updates.dtype)
    np.add.at(rows, (slice(None),) * axis + (indices,), updates)
    return rows


scatter_sum = OpDef(
    "scatter_sum", "updates indices", infer=_scatter_type, attrs={"size": REQUIRED, "axis": 0},
    dim_attrs=("size",),
    grad=lambda op, g: (gather(g, op.indices, axis=op.axis), None), lower=Scatter(_scatter_target),
    mixed=True, fails=True, numpy=_scatter_numpy,
    doc="Zeros, with each update added to the row that its index names: undoes a gather.",
    samples=(Sample(((4, 2), _ROWS), {"size": 3}), Sample(((2, 3), _GRID), {"size": 5}),
             Sample(((2, 2, 3, 4), _GRID), {"size": 3, "axis": 1}), Sample(((2,), np.int32(1)), {"size": 3}),
             Sample(((0, 2), np.zeros((0,), np.int32)), {"size": 2})))


def _segment_type(op: Operation) -> TensorType:
    check_kind(op, "int", [op.segment_ids])
    source, ids = op.data.type.dims, op.segment_ids.type.dims
    if source is None or ids is None:
        return TensorType(op.data.dtype, None)
    if len(ids) > len(source):
        raise shape_error(op,
                          f"(C1): segment_ids has rank {len(ids)}, more than the rank {len(source)} of data")
    equal_dims(op, [source[:len(ids)], ids])
    return TensorType(op.data.dtype, (*open_dims((op.num_segments,)), *source[len(ids):]))


def _segment_sum(op: Operation) -> Tensor:
    """Rows with a negative id are dropped, as in TF1: they add zeros to row 0."""
    result: Tensor = scatter_sum(zero_where(_dropped(op), op.data), _row_or_0(op), size=op.num_segments)
    return result


def _dropped(op: Operation) -> Tensor:
    """Where an id is negative, with axes of 1 so that it broadcasts to the data."""
    ids, extra = op.segment_ids, (op.data.type.rank or 0) - (op.segment_ids.type.rank or 0)
    result: Tensor = reshape(ids < 0, shape=(*dims_of(ids), *(1,) * extra))
    return result


def _row_or_0(op: Operation) -> Tensor:
    return zero_where(op.segment_ids < 0, op.segment_ids)


def _segment_grad(op: Operation, g: Tensor) -> tuple[Tensor, None]:
    return zero_where(_dropped(op), gather(g, _row_or_0(op))), None


def _segment_numpy(data: Any, segment_ids: Any, num_segments: int) -> Any:
    result = np.zeros((num_segments, *data.shape[segment_ids.ndim:]), data.dtype)
    np.add.at(result, segment_ids[segment_ids >= 0], data[segment_ids >= 0])
    return result


unsorted_segment_sum = OpDef(
    "unsorted_segment_sum", "data segment_ids", infer=_segment_type, attrs={"num_segments": REQUIRED},
    dim_attrs=("num_segments",), grad=_segment_grad, expand=_segment_sum, numpy=_segment_numpy, mixed=True,
    samples=(Sample(((4, 2), _ROWS), {"num_segments": 3}), Sample(((2, 3, 2), _GRID), {"num_segments": 4}),
             Sample(((3,), np.array([1, -1, 1], np.int32)), {"num_segments": 2}),
             Sample(((0, 2), np.zeros((0,), np.int32)), {"num_segments": 2})))


# gather_nd: the last axis of the indices holds a position each

def _nd_depth(op: Operation) -> int:
    """How many leading axes a position names."""
    dims = op.indices.type.dims
    if dims is None or not dims or not isinstance(dims[-1], int):
        raise shape_error(op, "(C1): the last dim of indices must be known, but it is unknown")
    return int(dims[-1])


def _gather_nd_type(op: Operation) -> TensorType:
    check_kind(op, "int", [op.indices])
    depth, source = _nd_depth(op), op.params.type.dims
    if source is None:
        return TensorType(op.params.dtype, None)
    if depth > len(source):
        raise shape_error(op, f"(C2): positions of {depth} numbers in a tensor of rank {len(source)}")
    return TensorType(op.params.dtype, (*op.indices.type.dims[:-1], *source[depth:]))


def _position(op: Operation, at: E.Index, dims: Any, load: Load, let: Let) -> E.Index:
    """The leading index that the position for an element names, each number checked against its dim."""
    return tuple(E.as_offset(let(E.checked_index(load(1, (*at, k)), dims[k], op.location)))
                 for k in range(_nd_depth(op)))


def _gather_nd_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    rank = len(op.indices.type.known_dims) - 1
    dims = op.params.type.known_dims
    index = (*_position(op, at[:rank], dims, load, let), *at[rank:])
    return load(0, index, _unless_empty(dims[:_nd_depth(op)]))


def _nd_key(indices: Any, dims: Any) -> tuple[Any, ...]:
    for k in range(indices.shape[-1]):
        check_range(indices[..., k], dims[k])
    return tuple(np.moveaxis(indices, -1, 0))


def _gather_nd_numpy(params: Any, indices: Any) -> Any:
    return params[_nd_key(indices, params.shape)]


_CELLS = np.array([[0, 1], [2, 0], [0, 1]], np.int32)
gather_nd = OpDef("gather_nd", "params indices", infer=_gather_nd_type, lower=Indexed(_gather_nd_element),
                  mixed=True, fails=True,
                  grad=lambda op, g: (scatter_nd(g, op.indices, shape=dims_of(op.params)), None),
                  numpy=_gather_nd_numpy, samples=(
                      Sample(((3, 2), _CELLS)), Sample(((3, 2, 4), _CELLS)),
                      Sample(((3,), np.array([[2], [0]], np.int64))),
                      Sample(((3, 4), np.array([1, 3], np.int32))),
                      Sample(((3, 2), np.zeros((0, 2), np.int32)))))


def _scatter_nd_type(op: Operation) -> TensorType:
    check_kind(op, "int", [op.indices])
    if isinstance(op.shape, Tensor):
        return TensorType(op.updates.dtype, None)
    depth, dims = _nd_depth(op), open_dims(op.shape)
    if depth > len(dims):
        raise shape_error(op, f"(C2): positions of {depth} numbers in a shape of rank {len(dims)}")
    equal_dims(op, [op.updates, (*op.indices.type.dims[:-1], *dims[depth:])])
    return TensorType(op.updates.dtype, dims)


def _scatter_nd_target(op: Operation, at: E.Index, load: Load, let: Let) -> E.Index:
    rank = len(op.indices.type.known_dims) - 1
    return (*_position(op, at[:rank], op.out.type.known_dims, load, let), *at[rank:])


def _scatter_nd_numpy(updates: Any, indices: Any, shape: Any) -> Any:
    result = np.zeros(shape, updates.dtype)
    np.add.at(result, _nd_key(indices, shape), updates)
    return result


scatter_nd: OpDef = OpDef("scatter_nd", "updates indices", infer=_scatter_nd_type,
                          lower=Scatter(_scatter_nd_target),
                   mixed=True, fails=True,
                   attrs={"shape": REQUIRED}, dim_attrs=("shape",), numpy=_scatter_nd_numpy,
                   grad=lambda op, g: (gather_nd(g, op.indices), None), samples=(
                       Sample(((3,), _CELLS), {"shape": (3, 2)}),
                       Sample(((3, 4), _CELLS), {"shape": (3, 2, 4)}),
                       Sample(((2,), np.array([[1], [1]], np.int64)), {"shape": (4,)})))
