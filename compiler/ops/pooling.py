"""Pooling: maxima and means of windows, and the way back of their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.ir.dtypes import int32, int64
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import Indexed, Let, Load
from graphflow.compiler.ops.core import literal
from graphflow.compiler.ops.logic import equal, is_nan, logical_or, where_v2, zero_unless
from graphflow.compiler.ops.reductions import reduce_max, reduce_min, reduce_sum
from graphflow.compiler.ops.rules import check_kind, equal_dims, open_dims, same_dtype
from graphflow.compiler.ops.samples import Sample
from graphflow.compiler.ops.shapes import expand_dims
from graphflow.compiler.ops.windows import (
    BACK,
    GEOMETRY,
    Slide,
    back_attrs,
    back_type,
    calls,
    cropped,
    geometry,
    kernel_axes,
    pad_array,
    padded_zeros,
    parts,
    slides,
    spatial_dims,
    spread_windows,
    summed,
    window_counts,
    windows,
    windows_numpy,
)


def _pooled_dims(op: Operation, t: Tensor) -> Any:
    """The dims of t with the windows' counts for its spatial dims."""
    spatial, dims = spatial_dims(op, t), t.type.dims
    return None if dims is None else (dims[0], *window_counts(op, spatial, op.size), dims[-1])


def _with_kernel_axes(t: Tensor, rank: int) -> Tensor:
    for _ in range(rank):
        t = expand_dims(t, axis=1 + rank)
    return t


# One element of each window, by its number in row-major order

def _numbers(size: Sequence[int]) -> Tensor:
    """The numbers of a window's elements, shaped to broadcast with `windows`."""
    return literal(np.arange(int(np.prod(size)), dtype=np.int32).reshape((*size, 1)))


def _lowest(dtype: Any) -> Any:
    """What a maximum over nothing is."""
    return np.iinfo(dtype).min if np.dtype(dtype).kind in "iu" else float("-inf")


def _first_type(op: Operation) -> TensorType:
    check_kind(op, "number")
    same_dtype(op)
    return TensorType(int32, equal_dims(op, [_pooled_dims(op, op.x), op.y]))


def _first(op: Operation) -> Tensor:
    rank, past = len(op.size), literal(int(np.prod(op.size)), int32)
    values = windows(op.x, fill=_lowest(op.x.dtype.numpy), **geometry(op))
    hit = equal(values, _with_kernel_axes(op.y, rank))
    if op.x.dtype.is_floating:
        hit = logical_or(hit, is_nan(values))
    result: Tensor = reduce_min(where_v2(hit, _numbers(op.size), past), axis=kernel_axes(rank))
    return result


def _first_numpy(x: Any, y: Any, size: Any, **attrs: Any) -> Any:
    values, rank = windows_numpy(x, size, _lowest(x.dtype), **attrs), len(size)
    hit = (values == y.reshape((*y.shape[:-1], *(1,) * rank, y.shape[-1]))) | (values != values)
    flat = np.moveaxis(hit, -1, 1 + rank).reshape((*y.shape, int(np.prod(size))))
    return np.where(flat.any(-1), flat.argmax(-1), int(np.prod(size))).astype(np.int32)


_TIED = np.array([1, 2, 2, 2, 0, 2, 3, 3, 3], np.float32).reshape(1, 3, 3, 1)
_NANS = np.array([1, 2, np.nan, np.nan, 0, 2, 3, np.nan, 3], np.float32).reshape(1, 3, 3, 1)
_TOPS = np.array([2, 2, 3, 3], np.float32).reshape(1, 2, 2, 1)
first_in_window = OpDef(
    "first_in_window", "x y", infer=_first_type, attrs=GEOMETRY, expand=_first, numpy=_first_numpy,
    grad=lambda op, g: (None, None),
    doc="The number of the first element of each window of x that equals y or is NaN, or the window's size.",
    samples=calls((_TIED, _TOPS, (2, 2), (1, 1), "VALID", (1, 1)), (_TIED, _TOPS, (2, 2), (2, 2), "SAME",
                                                                    (1, 1)),
                  (_NANS, _TOPS, (2, 2), (1, 1), "VALID", (1, 1)),
                  ((1, 4, 2), (1, 2, 2), (2,), (2,), "VALID", (1,)), ((0, 4, 2), (0, 2, 2), (2,), (2,),
                                                                      "SAME", (1,))))


def _place_type(op: Operation) -> TensorType:
    check_kind(op, "int", [op.chosen])
    equal_dims(op, op.operands)
    return back_type(op, op.g, 0)


def _place_numpy(g: Any, chosen: Any, shape: Any, size: Any, **attrs: Any) -> Any:
    found = slides(shape, size, attrs)
    result = padded_zeros(g.shape[0], found, g.shape[-1], g.dtype)
    for u, cut in parts(found):
        result[cut] += np.where(chosen == np.ravel_multi_index(u, size), g, 0).astype(g.dtype)
    return cropped(result, found)


def _pick_type(op: Operation) -> TensorType:
    check_kind(op, "int", [op.chosen])
    return TensorType(op.x.dtype, equal_dims(op, [_pooled_dims(op, op.x), op.chosen]))


def _pick(op: Operation) -> Tensor:
    rank = len(op.size)
    hit = equal(_with_kernel_axes(op.chosen, rank), _numbers(op.size))
    result: Tensor = reduce_sum(zero_unless(hit, windows(op.x, **geometry(op))), axis=kernel_axes(rank))
    return result


def _pick_numpy(x: Any, chosen: Any, size: Any, **attrs: Any) -> Any:
    result = np.zeros(chosen.shape, x.dtype)
    found = slides(x.shape[1:-1], size, attrs)
    padded = pad_array(x, found)
    for u, cut in parts(found):
        result += np.where(chosen == np.ravel_multi_index(u, size), padded[cut], 0).astype(x.dtype)
    return result


_CORNERS = np.array([0, 3, 1, 2], np.int32).reshape(1, 2, 2, 1)
_ALL_NINE = np.arange(9, dtype=np.int32).reshape(1, 3, 3, 1)
place_in_windows: OpDef = OpDef(
    "place_in_windows", "g chosen", infer=_place_type, attrs=BACK, dim_attrs=("shape",), mixed=True,
    expand=lambda op: summed(op, op.g, op.chosen), numpy=_place_numpy,
    grad=lambda op, g: (pick_in_windows(g, op.chosen, **geometry(op)), None), tf_name="MaxPoolGrad",
    doc="The sum, for each element, of the values of the windows that chose it by its number in them.",
    samples=(*calls(((1, 2, 2, 1), _CORNERS, (2, 2), (2, 2), "VALID", (1, 1)), shape=(5, 4)),
             *calls(((1, 3, 3, 1), _ALL_NINE, (3, 3), (2, 2), "SAME", (1, 1)), shape=(5, 6)),
             *calls(((1, 3, 3, 1), _ALL_NINE % 4, (2, 2), (1, 1), ((1, 1), (1, 1)), (2, 2)), shape=(3, 3))))
pick_in_windows: OpDef = OpDef(
    "pick_in_windows", "x chosen", infer=_pick_type, attrs=GEOMETRY, mixed=True, expand=_pick,
    numpy=_pick_numpy,
    grad=lambda op, g: (place_in_windows(g, op.chosen, **back_attrs(op, op.x)), None),
    tf_name="MaxPoolGradGrad", doc="The element of each window that has the number chosen for it.",
    samples=calls(((1, 5, 4, 1), _CORNERS, (2, 2), (2, 2), "VALID", (1, 1)),
                  ((1, 5, 6, 1), _ALL_NINE, (3, 3), (2, 2), "SAME", (1, 1)),
                  ((1, 3, 3, 1), _ALL_NINE % 4, (2, 2), (1, 1), ((1, 1), (1, 1)), (2, 2))))


# Maxima

def _pool_type(kind: str) -> Any:
    def rule(op: Operation) -> TensorType:
        check_kind(op, kind)
        return TensorType(op.x.dtype, _pooled_dims(op, op.x))
    return rule


def _max_pool(op: Operation) -> Tensor:
    found = windows(op.x, fill=_lowest(op.x.dtype.numpy), **geometry(op))
    result: Tensor = reduce_max(found, axis=kernel_axes(len(op.size)))
    return result


def _max_pool_numpy(x: Any, size: Any, **attrs: Any) -> Any:
    lowest = _lowest(x.dtype)
    values = windows_numpy(x, size, lowest, **attrs)
    maximum: Any = np.max
    return maximum(values, axis=kernel_axes(len(size)), initial=np.asarray(lowest, x.dtype)[()])


def _max_pool_grad(op: Operation, g: Tensor) -> Tensor:
    """To the first maximum of each window, which is the first NaN if there is one."""
    chosen = first_in_window(op.x, op.out, **geometry(op))
    result: Tensor = place_in_windows(g, chosen, **back_attrs(op, op.x))
    return result


_POOLS = (((2, 4, 6, 3), (2, 2), (2, 2), "VALID", (1, 1)), ((1, 5, 6, 2), (3, 3), (2, 2), "SAME", (1, 1)),
          ((1, 5, 5, 17), (3, 2), (1, 2), "VALID", (1, 1)), ((2, 7, 1), (3,), (2,), ((1, 2),), (1,)),
          ((1, 6, 5, 1), (2, 2), (1, 1), "SAME", (2, 3)), ((0, 4, 4, 2), (2, 2), (2, 2), "SAME", (1, 1)),
          ((1, 4, 3, 5, 2), (2, 2, 3), (2, 1, 2), "SAME", (1, 1, 1)))
_NAN_POOL = Sample((np.array([1, np.nan, 3, -np.inf], np.float32).reshape(1, 4, 1),),
                   {"size": (2,), "strides": (1,), "dilations": (1,)}, smooth=False)

max_pool = OpDef(
    "max_pool", "x", infer=_pool_type("number"), attrs=GEOMETRY, expand=_max_pool, numpy=_max_pool_numpy,
    grad=_max_pool_grad, tf_name="MaxPool",
    samples=(*calls(*_POOLS), _NAN_POOL, Sample(((1, 4, 1),), {"size": (3,), "strides": (1,),
                                                               "padding": "SAME",
                                                             "dilations": (1,)}, dtype=int32, smooth=False)))


# Means, over the elements that are not padding

def _held(s: Slide, i: Dim) -> Dim:
    """How many elements of window i are not padding."""
    start = i * s.stride - s.before
    if s.dilation == 1:
        return D.maximum(D.minimum(start + s.size, s.extent) - D.maximum(start, 0), 0)
    past = D.minimum((s.extent - start + s.dilation - 1) // s.dilation, s.size)
    return D.maximum(past - (D.maximum(-start, 0) + s.dilation - 1) // s.dilation, 0)


def _counts_type(op: Operation) -> TensorType:
    spatial = spatial_dims(op, op.like)
    dims = (None,) * len(op.size) if spatial is None else window_counts(op, spatial, op.size)
    return TensorType(op.like.dtype, (*dims, 1))


def _counts_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    found = slides(op.like.type.known_dims[1:-1], op.size, op.attrs)
    total = D.product(_held(s, i) if s.padded else s.size for s, i in zip(found, at, strict=False))
    return E.index(total, op.out.dtype)


def _counts_numpy(like: Any, size: Any, **attrs: Any) -> Any:
    return windows_numpy(np.ones((1, *like.shape[1:-1], 1), like.dtype), size, 0, **attrs).sum(
        axis=kernel_axes(len(size)))[0]


held_counts = OpDef(
    "held_counts", "like", infer=_counts_type, attrs=GEOMETRY, grad=lambda op, g: None, numpy=_counts_numpy,
    lower=Indexed(_counts_element, cheap=True),
    doc="How many elements of each window are not padding: [counts..., 1].", samples=calls(*_POOLS))


def _divided(op: Operation, total: Tensor, like: Tensor) -> Tensor:
    result: Tensor = total / held_counts(like, **geometry(op))
    return result


def _avg_pool(op: Operation) -> Tensor:
    return _divided(op, reduce_sum(windows(op.x, **geometry(op)), axis=kernel_axes(len(op.size))), op.x)


def _avg_pool_numpy(x: Any, size: Any, **attrs: Any) -> Any:
    total = windows_numpy(x, size, 0, **attrs).sum(axis=kernel_axes(len(size)))
    return total / _counts_numpy(x, size, **attrs)


def _avg_pool_grad(op: Operation, g: Tensor) -> Tensor:
    result: Tensor = spread_windows(_divided(op, g, op.x), **back_attrs(op, op.x))
    return result


avg_pool = OpDef("avg_pool", "x", infer=_pool_type("float"), attrs=GEOMETRY, expand=_avg_pool,
                 numpy=_avg_pool_numpy, grad=_avg_pool_grad, tf_name="AvgPool", samples=calls(*_POOLS))


# Where in the image the chosen elements are

def _position_type(op: Operation) -> TensorType:
    check_kind(op, "int")
    spatial_dims(op, op.chosen)
    return TensorType(op.dtype, op.chosen.type.dims)


def _position_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    """Row-major in [spatial..., channels]; the number of the element is taken apart from its last axis on."""
    left, index = E.cast(load(0, at), int64), []
    found = slides(open_dims(op.shape), op.size, op.attrs)
    for s, i in zip(reversed(found), reversed(at[1:-1]), strict=True):
        u, left = E.call("floormod", left, s.size), E.call("floordiv", left, s.size)
        index.append(u * s.dilation + E.index(s.position(i, 0)))
    total = E.index(at[0] if op.with_batch else 0)
    for s, position in zip(found, reversed(index), strict=True):
        total = total * E.index(s.extent) + position
    return E.cast(total * E.index(op.chosen.type.known_dims[-1]) + E.index(at[-1]), op.dtype)


def _position_numpy(chosen: Any, shape: Any, size: Any, dtype: Any, with_batch: bool, **attrs: Any) -> Any:
    found = slides(shape, size, attrs)
    grid = np.indices(chosen.shape)
    elements = np.unravel_index(np.minimum(chosen, int(np.prod(size)) - 1), size)
    index = [s.position(i, u) for s, i, u in zip(found, grid[1:-1], elements, strict=True)]
    total = grid[0] if with_batch else 0
    for n, position in zip((*shape, chosen.shape[-1]), (*index, grid[-1]), strict=True):
        total = total * n + position
    return np.asarray(total, dtype.numpy)


chosen_position = OpDef(
    "chosen_position", "chosen", infer=_position_type, dim_attrs=("shape",), numpy=_position_numpy,
    attrs={**BACK, "dtype": int64, "with_batch": False}, lower=Indexed(_position_element),
    doc="The row-major position in [shape..., channels] of the element of each window that has a number.",
    samples=(*calls((_CORNERS, (2, 2), (2, 2), "VALID", (1, 1)), shape=(5, 4)),
             *calls((_ALL_NINE, (3, 3), (2, 2), "SAME", (1, 1)), shape=(5, 6), with_batch=True, dtype=int32),
             *calls((np.array([[[1, 0], [2, 2]]], np.int32), (3,), (1,), "VALID", (2,)), shape=(6,))))
