"""Running sums and products along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.compiler.ir.dtypes import int32
from graphflow.compiler.ir.explain import shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.ops.indexing import slice_
from graphflow.compiler.ops.joining import pad
from graphflow.compiler.ops.rules import check_kind, normal_axis
from graphflow.compiler.ops.samples import Sample, shapes


def _scan_type(op: Operation) -> TensorType:
    check_kind(op, "number")
    dims = op.x.type.dims
    if dims is not None:
        op.graph.rules.decide(dims[normal_axis(op, op.axis, len(dims))])
    result: TensorType = op.x.type
    return result


def _shifted(x: Tensor, axis: int, by: int, reverse: bool, fill: int) -> Tensor:
    """The elements `by` places earlier along the axis (later, if reverse); `fill` where there are none."""
    dims = x.type.known_dims
    begin = tuple(by if reverse and k == axis else 0 for k in range(len(dims)))
    size = tuple(dims[k] - by if k == axis else -1 for k in range(len(dims)))
    room = (0, by) if reverse else (by, 0)
    result: Tensor = pad(slice_(x, begin=begin, size=size), constant_values=fill,
                         paddings=tuple(room if k == axis else (0, 0) for k in range(len(dims))))
    return result


def _doubling(combine: Callable[[Any, Any], Any], unit: int) -> Callable[[Operation], Tensor]:
    """log2(n) steps, each combining with what lies 1, 2, 4, ... places before."""
    def expand(op: Operation) -> Tensor:
        axis = normal_axis(op, op.axis, len(op.x.type.known_dims))
        extent = op.x.type.known_dims[axis]
        if not isinstance(extent, int):
            raise shape_error(op,
                              f"(C1): dim {axis} is unknown, so the op cannot be taken apart")
        x: Tensor = op.x
        if op.exclusive and extent:
            x = _shifted(x, axis, 1, op.reverse, unit)
        by = 1
        while by < extent:
            x = combine(x, _shifted(x, axis, by, op.reverse, unit))
            by *= 2
        return x
    return expand


def _scan_numpy(scan: Callable[..., Any], unit: int) -> Callable[..., Any]:
    def apply(x: Any, axis: int, exclusive: bool, reverse: bool) -> Any:
        x = np.flip(x, axis) if reverse else x
        if exclusive:
            x = np.moveaxis(x, axis, 0)
            x = np.moveaxis(np.concatenate([np.full_like(x[:1], unit), x[:-1]]), 0, axis)
        x = scan(x, axis=axis, dtype=x.dtype)
        return np.flip(x, axis) if reverse else x
    return apply


def _scan(name: str, combine: Callable[[Any, Any], Any], numpy: Callable[..., Any], unit: int,
          grad: Callable[[Operation, Tensor], Tensor], low: float) -> OpDef:
    samples: tuple[Sample, ...] = (
        *shapes([(5,)], [(3, 4)], [(1, 2)], [(0, 2)], [(37,)], low=low),
        *shapes([(3, 4)], axis=-1, reverse=True, low=low),
        *shapes([(5,)], exclusive=True, low=low),
        *shapes([(2, 3, 4)], axis=1, exclusive=True, reverse=True, low=low),
        *shapes([(6,)], dtype=int32, smooth=False))
    return OpDef(name, "x", infer=_scan_type, expand=_doubling(combine, unit), numpy=_scan_numpy(numpy, unit),
                 grad=grad,
                 attrs={"axis": 0, "exclusive": False, "reverse": False}, dim_attrs=("axis",),
                 samples=samples)


def _back(op: Operation, g: Tensor) -> Tensor:
    """The running sum of g from the other end."""
    result: Tensor = cumsum(g, axis=op.axis, exclusive=op.exclusive, reverse=not op.reverse)
    return result


cumsum: OpDef = _scan("cumsum", lambda a, b: a + b, np.cumsum, 0, _back, low=-2.0)
cumprod: OpDef = _scan("cumprod", lambda a, b: a * b, np.cumprod, 1,
                       lambda op, g: _back(op, g * op.out) / op.x, low=0.5)
