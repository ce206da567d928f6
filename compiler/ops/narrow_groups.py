"""Convolutions in groups of few channels: sums over the window, channels last, and no products of matrices.

A group's matrix would fill a part of a vector alone. Here each lane is an output of whichever group, and is
multiplied by what its own group has:

    out[.., o] = sum over u.., c of windows(x)[.., u.., o // n * narrow + c] * filters[u.., c, o]

with n outputs and `narrow` channels a group. One channel a group is a depthwise convolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import view
from graphflow.compiler.ops.reductions import reduce_sum
from graphflow.compiler.ops.samples import shapes
from graphflow.compiler.ops.shapes import reshape, transpose
from graphflow.compiler.ops.windows import covering, kernel_axes, window_attrs, windows

_PARTS = (1, 2, 4, 8)    # of a vector, that the outputs of a group may fill, and
_WIDEST = 32             # bytes of them
_MOST, _LARGEST = 8, 32  # channels of a group, and numbers in a group's part of a filter gradient


def has_narrow_groups(groups: int, filters: TensorType) -> bool:
    """Whether a convolution in groups is faster as sums over windows."""
    narrow, out = filters.known_dims[-2:]
    if groups == 1 or narrow == 1:
        return groups > 1
    if not isinstance(narrow, int) or not isinstance(out, int):
        return False
    each = out // groups
    return narrow <= _MOST and each in _PARTS and each * filters.dtype.size <= _WIDEST


def has_small_groups(groups: int, filters: TensorType) -> bool:
    """Whether the gradient to such filters is faster as sums along rows."""
    narrow, out = filters.known_dims[-2:]
    small = isinstance(narrow, int) and isinstance(out, int) and narrow * out <= _LARGEST * groups
    return has_narrow_groups(groups, filters) and (narrow == 1 or small)


# What the group of an output has

def _each_type(op: Operation) -> TensorType:
    dims = op.x.type.dims
    if dims is None:
        return TensorType(op.x.dtype, None)
    narrow = None if dims[-1] is None else dims[-1] // op.groups
    return TensorType(op.x.dtype, (*dims[:-1], narrow, op.columns))


def _each_index(op: Operation, at: E.Index) -> E.Index:
    narrow, n = op.out.type.known_dims[-2], op.columns // op.groups
    return (*at[:-2], at[-1] // n * narrow + at[-2])


def _each_numpy(x: Any, groups: int, columns: int) -> Any:
    apart = x.reshape(*x.shape[:-1], groups, -1)
    return np.repeat(np.swapaxes(apart, -1, -2), columns // groups, axis=-1)


for_each_output = OpDef(
    "for_each_output", "x", infer=_each_type, attrs={"groups": REQUIRED, "columns": REQUIRED},
    lower=view(_each_index), numpy=_each_numpy,
    doc="The channels of the group that each of so many outputs is of: [.., groups * narrow] -> "
        "[.., narrow, columns].",
    samples=(*shapes([(3, 8)], groups=4, columns=8, smooth=False),
             *shapes([(2, 3, 6)], groups=2, columns=6, smooth=False),
             *shapes([(5, 64)], groups=16, columns=64, smooth=False)))


def _of_groups(t: Tensor, groups: int, out: Dim) -> Tensor:
    """[.., channels] -> [.., narrow, out]; for groups of one channel and one output it is only a reshape."""
    dims = t.type.known_dims
    if out == groups == dims[-1]:
        result: Tensor = reshape(t, shape=(*dims[:-1], 1, out))
        return result
    result = for_each_output(t, groups=groups, columns=out)
    return result


# Sums over the window. The channels come before the window's last axis, along which neighbours share loads.

def _inward(t: Tensor) -> Tensor:
    """[.., last, narrow, out] -> [.., narrow, last, out]"""
    *dims, last, narrow, out = t.type.known_dims
    rank = len(dims)
    result: Tensor = (reshape(t, shape=(*dims, 1, last, out)) if narrow == 1 else
                      transpose(t, perm=(*range(rank), rank + 1, rank, rank + 2)))
    return result


def narrow_convolution(x: Tensor, filters: Tensor, groups: int, attrs: dict[str, Any]) -> Tensor:
    """sum over the window, and the channels of a group, of x's windows times the filters"""
    dims = filters.type.known_dims
    rank = len(dims) - 2
    found = _of_groups(windows(x, size=dims[:-2], **attrs), groups, dims[-1])
    result: Tensor = reduce_sum(_inward(found) * _inward(filters), axis=(*kernel_axes(rank), 2 * rank + 1))
    return result


def narrow_filter_grad(op: Operation) -> Tensor:
    """The sum over rows of the sums along each row, which are kept in registers."""
    rank, out, dims = len(op.strides), op.out.type.known_dims, op.g.type.known_dims
    found = _of_groups(windows(op.x, size=out[:rank], **window_attrs(op)), op.groups, dims[-1])
    rows = reduce_sum(found * reshape(op.g, shape=(*dims[:-1], *(1,) * (rank + 1), dims[-1])), axis=rank)
    result: Tensor = reduce_sum(rows, axis=tuple(range(rank)))
    return result


def depthwise_input_grad(op: Operation) -> Tensor:
    """Each element with the windows that hold it; the sum over a channel's outputs comes last."""
    rank, out, dims = len(op.strides), op.out.type.known_dims, op.g.type.known_dims
    size, each = op.filters.type.known_dims[:rank], dims[-1] // op.groups
    filters = reshape(op.filters, shape=(*size, dims[-1]))
    found = covering(op.g, filters, size=size, shape=out[1:-1], whole=True, **window_attrs(op))
    apart = reshape(found, shape=(*found.type.known_dims[:-1], op.groups, each))
    result: Tensor = reduce_sum(apart, axis=(*kernel_axes(rank), 2 * rank + 2))
    return result
