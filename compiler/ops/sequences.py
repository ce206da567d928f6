"""Tensors made of their indices: range, linspace, one_hot."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphflow.compiler.errors import ShapeError
from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.ir.dtypes import (
    as_dtype,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
)
from graphflow.compiler.ir.explain import shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import Indexed, Let, Load
from graphflow.compiler.ops.rules import check_kind, normal_axis, open_dims, single
from graphflow.compiler.ops.samples import Sample

# range

def _range_type(op: Operation) -> TensorType:
    start, limit, delta = open_dims((op.start, op.limit, op.delta))
    if delta == 0:
        raise shape_error(op, "(C1): delta must not be 0")
    if not isinstance(delta, int) or start is None or limit is None:
        return TensorType(op.dtype, (None,))
    return TensorType(op.dtype, (_count(op, start, limit, delta),))


def _count(op: Operation, start: Dim, limit: Dim, delta: int) -> Dim:
    span = limit - start if delta > 0 else start - limit
    if isinstance(span, int) and span < 0:
        raise shape_error(op, f"(C2): from {start} to {limit} goes against the sign of delta {delta}")
    return D.maximum((span + abs(delta) - 1) // abs(delta), 0)


range_op = OpDef(
    "range", "", infer=_range_type, attrs={"start": 0, "limit": REQUIRED, "delta": 1, "dtype": int32},
    dim_attrs=("start", "limit", "delta"),
    lower=Indexed(lambda op, at, load, let: E.index(op.start + at[0] * op.delta, op.dtype), cheap=True),
    numpy=lambda start, limit, delta, dtype: np.arange(start, limit, delta).astype(dtype.numpy),
    symbolic=True,
    samples=(Sample((), {"limit": 5}), Sample((), {"start": 2, "limit": 11, "delta": 3}),
             Sample((), {"limit": 0}),
             Sample((), {"start": 5, "limit": -2, "delta": -2}), Sample((), {"limit": 4, "dtype": int64}),
             Sample((), {"limit": 3, "dtype": float32})))

ramp = OpDef(
    "ramp", "", infer=lambda op: TensorType(op.dtype, open_dims((op.num,))),
    attrs={"start": 0.0, "step": 1.0, "num": REQUIRED, "dtype": float32}, dim_attrs=("num",), tf_name="Range",
    lower=Indexed(lambda op, at, load, let: E.cast(
        E.index(at[0], float64) * float(op.step) + float(op.start), op.dtype), cheap=True),
    numpy=lambda start, step, num, dtype: (np.arange(num) * float(step) + start).astype(dtype.numpy),
    samples=(Sample((), {"start": 0.5, "step": 0.25, "num": 7}), Sample((), {"num": 0}),
             Sample((), {"start": 3, "step": -1, "num": 4, "dtype": float64})),
    doc="start + step * i: a range of floats.")


def make_range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None,
               name: str | None = None) -> Tensor:
    """Numbers from `start` up to `limit`, `limit` left out; from 0 when one number is given, as tf.range.

    Shapes:  -> [ceil((limit - start) / delta)]
    Raises:  ShapeError C1 delta is not 0; C2 start to limit goes in the direction of delta
    """
    start, limit = (0, start) if limit is None else (start, limit)
    given = [v for v in (start, limit, delta) if isinstance(v, (float, np.floating))]
    if not given:
        wanted = as_dtype(dtype) if dtype is not None else _int_dtype(start, limit, delta)
        result: Tensor = range_op(start=start, limit=limit, delta=delta, dtype=wanted, name=name or "range")
        return result
    if delta == 0 or (limit - start) / delta < 0:
        raise ShapeError(f"range from {start} to {limit} in steps of {delta} never gets there")
    wanted = as_dtype(dtype) if dtype is not None else float64 if any(isinstance(v, np.float64)
                                                                      for v in given) else float32
    result = ramp(start=float(start), step=float(delta), num=math.ceil((limit - start) / delta), dtype=wanted,
                  name=name or "range")
    return result


def _int_dtype(*values: Any) -> Any:
    found = [as_dtype(v.dtype) for v in values if hasattr(v, "dtype")]
    return int64 if int64 in found else int32


# linspace

def _linspace_type(op: Operation) -> TensorType:
    check_kind(op, "float")
    num, = open_dims((op.num,))
    if isinstance(num, int) and num < 1:
        raise shape_error(op, f"(C1): num must be 1 or more, not {num}")
    return TensorType(op.start.dtype, (num,))


def _linspace_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    """The last element is `stop` itself, without rounding."""
    start, stop, i = load(0, ()), load(1, ()), E.index(at[0])
    steps = E.maximum(E.index(op.num - 1), 1)
    value = start + (stop - start) * (E.cast(i, op.out.dtype) / E.cast(steps, op.out.dtype))
    return E.select(E.eq(i, E.index(op.num - 1)) & (i > 0), stop, value)


def _linspace_grad(op: Operation, g: Tensor) -> tuple[Tensor, Tensor]:
    from graphflow.compiler.ops.core import literal
    from graphflow.compiler.ops.reductions import reduce_sum

    weight = linspace(literal(0, g.dtype), literal(1, g.dtype), num=op.num)
    return reduce_sum(g * (1 - weight)), reduce_sum(g * weight)


linspace = OpDef("linspace", "start stop", infer=_linspace_type, attrs={"num": REQUIRED}, dim_attrs=("num",),
                 grad=_linspace_grad, lower=Indexed(_linspace_element), tf_name="LinSpace",
                 numpy=lambda start, stop, num: np.linspace(start, stop, num, dtype=start.dtype),
                 samples=(Sample(((), ()), {"num": 5}), Sample(((), ()), {"num": 1}),
                          Sample(((), ()), {"num": 19})))


# one_hot

def _one_hot_axis(op: Operation) -> int:
    return normal_axis(op, op.axis, (op.indices.type.rank or 0) + 1)


def _one_hot_type(op: Operation) -> TensorType:
    check_kind(op, "int")
    dims = op.indices.type.dims
    if dims is None:
        return TensorType(op.dtype, None)
    k = _one_hot_axis(op)
    return TensorType(op.dtype, (*dims[:k], single(op, "depth"), *dims[k:]))


def _one_hot_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    k = _one_hot_axis(op)
    depth = op.out.type.known_dims[k]
    narrow = op.indices.dtype in (int8, int16, int32, uint8, uint16) and isinstance(depth, int) and \
        depth <= int32.max
    number = int32 if narrow else int64  # twice as many fit a vector
    hit = E.eq(E.cast(load(0, (*at[:k], *at[k + 1:])), number), E.index(at[k], number))
    return E.select(hit, E.const(op.on_value, op.dtype), E.const(op.off_value, op.dtype))


def _one_hot_numpy(indices: Any, depth: int, on_value: Any, off_value: Any, axis: int, dtype: Any) -> Any:
    axis = axis % (indices.ndim + 1)
    classes = np.arange(depth).reshape((-1,) + (1,) * (indices.ndim - axis))
    return np.where(np.expand_dims(indices, axis) == classes, on_value, off_value).astype(dtype.numpy)


one_hot = OpDef("one_hot", "indices", infer=_one_hot_type, dim_attrs=("depth",),
                lower=Indexed(_one_hot_element),
                attrs={"depth": REQUIRED, "on_value": 1, "off_value": 0, "axis": -1, "dtype": float32},
                numpy=_one_hot_numpy, grad=lambda op, g: None, samples=(
                    Sample((np.array([0, 2, -1, 5, 1], np.int32),), {"depth": 3}),
                    Sample((np.array([[0, 1], [2, 0]], np.int64),), {"depth": 3, "axis": 0}),
                    Sample((np.array([[0, 1, 1]], np.int32),),
                           {"depth": 2, "axis": 1, "on_value": 5, "off_value": -1,
                                                                "dtype": int32}),
                    Sample((np.array(1, np.uint8),), {"depth": 4, "on_value": True, "off_value": False,
                                                      "dtype": as_dtype("bool")}),
                    Sample((np.zeros((0,), np.int32),), {"depth": 3}),
                    Sample((np.array([1], np.int32),), {"depth": 0})))
