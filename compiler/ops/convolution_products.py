"""What convolutions and their gradients expand to: products of matrices whose rows are windows.

These are read where they lie if their extents are known (ops/window_products.py), else copied to patches:

    convolution               windows(x) @ filters
    convolution_input_grad    windows(g) @ turned filters for each phase of a stride, or fold(g @ filters^T)
    convolution_filter_grad   windows(x)^T @ g

With groups there is a matrix for each, in front.
"""

from __future__ import annotations

from typing import Any

from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.ir.dtypes import bfloat16, float16
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.ops.convolution import convolution_filter_grad
from graphflow.compiler.ops.core import cast
from graphflow.compiler.ops.dilated import quick_dilated, quick_dilated_gradient
from graphflow.compiler.ops.linalg import matmul
from graphflow.compiler.ops.narrow_groups import (
    depthwise_input_grad,
    has_narrow_groups,
    has_small_groups,
    narrow_convolution,
    narrow_filter_grad,
)
from graphflow.compiler.ops.phases import input_grad_by_windows
from graphflow.compiler.ops.shapes import reshape, reverse, transpose
from graphflow.compiler.ops.window_products import (
    has_windows,
    lie_in_memory,
    padded,
    steps_of,
    valid_convolution,
    valid_filter_grad,
)
from graphflow.compiler.ops.windows import Slide, fold_windows, number, slides, window_attrs, windows

_FEW_CHANNELS = 16  # less than a vector
_LEAST_OUT = 8      # with fewer columns, products with vectors of them are mostly empty


def _split(t: Tensor, groups: int, rows: int) -> Tensor:
    """The first `rows` axes as one, the rest as another: [rows, columns], or [groups, rows, columns].

    The groups are a part of the last axis.
    """
    dims = t.type.known_dims
    if groups > 1:
        part = _part(dims[-1], groups)
        t = reshape(t, shape=(*dims[:-1], groups, part))
        rank = len(dims) + 1
        t = transpose(t, perm=(rank - 2, *range(rank - 2), rank - 1))
        dims = (*dims[:-1], part)
    sides = (D.product(dims[:rows]), D.product(dims[rows:]))
    result: Tensor = reshape(t, shape=sides if groups == 1 else (groups, *sides))
    return result


def _part(channels: Dim, groups: int) -> Dim:
    return channels // groups


def _joined(t: Tensor, groups: int, dims: Any) -> Tensor:
    """From matrices back to dims: the inverse of `_split`."""
    if groups == 1:
        result: Tensor = reshape(t, shape=dims)
        return result
    t = reshape(t, shape=(groups, *dims[:-1], _part(dims[-1], groups)))
    rank = len(dims)
    result = reshape(transpose(t, perm=(*range(1, rank), 0, rank)), shape=dims)
    return result


def _is_pointwise(op: Operation, size: Any) -> bool:
    """Whether windows are the elements themselves: 1x1 filters that step by one."""
    return (all(d == 1 for d in (*size, *op.strides))
            and (isinstance(op.padding, str) or not any(map(any, op.padding))))


def _patches(op: Operation, x: Tensor, size: Any, copy: int = 0) -> Tensor:
    """A row for each window: [rows, window elements and channels]."""
    if _is_pointwise(op, size):
        return _split(x, op.groups, len(size) + 1)
    attrs, channels = {"size": size, "copy": copy, **window_attrs(op)}, x.type.known_dims[-1]
    found = slides(x.type.known_dims[1:-1], size, attrs)
    if isinstance(channels, int) and channels < _FEW_CHANNELS and all(has_windows(s) for s in found):
        x, attrs["padding"] = padded(x, found), "VALID"
    return _split(windows(x, **attrs), op.groups, len(size) + 1)


def _filter_matrix(filters: Tensor, groups: int) -> Tensor:
    rank = filters.type.rank
    assert rank is not None
    return _split(filters, groups, rank - 1)


def _widened(op: Operation) -> Tensor:
    """The op on operands of the dtype that they are summed in, rounded once."""
    wide = (cast(t, dtype=op.out.dtype.sums) for t in op.operands)
    result: Tensor = cast(op.opdef(*wide, **op.attrs), dtype=op.out.dtype)
    return result


def _needs_width(op: Operation, filters: TensorType) -> bool:
    """Whether halves are not multiplied as they are: terms of sums over windows would each be rounded."""
    if op.out.dtype is not bfloat16 or op.groups == 1:
        return op.out.dtype is float16
    narrow, out = filters.known_dims[-2:]
    return 1 in (narrow, _part(out, op.groups)) or has_narrow_groups(op.groups, filters)


def forward(op: Operation) -> Tensor:
    rank, x, filters = len(op.strides), op.x.type.known_dims, op.filters.type.known_dims
    if _needs_width(op, op.filters.type):
        return _widened(op)
    if has_narrow_groups(op.groups, op.filters.type):
        return narrow_convolution(op.x, op.filters, op.groups, window_attrs(op))
    found = slides(x[1:-1], filters[:rank], op.attrs)
    is_matrix = _is_pointwise(op, filters[:rank]) and not _is_at_least(filters[-1], _LEAST_OUT)
    by_windows = None if is_matrix else _convolve(op.x, op.filters, found, op.groups)
    if by_windows is not None:
        return by_windows
    rows = _patches(op, op.x, filters[:rank])
    return _joined(matmul(rows, _filter_matrix(op.filters, op.groups)), op.groups, op.out.type.known_dims)


def _convolve(x: Tensor, filters: Tensor, found: tuple[Slide, ...], groups: int) -> Tensor | None:
    """The products of windows with filters, without patches; None where windows do not lie in memory."""
    if has_narrow_groups(groups, filters.type):
        return narrow_convolution(x, filters, groups, _attrs_of(found))
    if not lie_in_memory(x, found, filters.type.known_dims[-1]):
        return None
    quick = quick_dilated(x, filters, found) if groups == 1 else None
    if quick is not None:
        return quick
    result: Tensor = valid_convolution(padded(x, found), _in_front(filters, groups), groups=groups,
                                       strides=tuple(s.stride for s in found),
                                       dilations=tuple(s.dilation for s in found))
    return result


def _in_front(t: Tensor, groups: int) -> Tensor:
    """[.., groups * n] -> [groups, .., n]; no change for one group."""
    if groups == 1:
        return t
    dims = t.type.known_dims
    rank, apart = len(dims), reshape(t, shape=(*dims[:-1], groups, _part(dims[-1], groups)))
    result: Tensor = transpose(apart, perm=(rank - 1, *range(rank - 1), rank))
    return result


def input_grad(op: Operation) -> Tensor:
    rank, out = len(op.strides), op.out.type.known_dims
    size = op.filters.type.known_dims[:rank]
    if _needs_width(op, op.filters.type):
        return _widened(op)
    by_windows = input_grad_by_windows(op, _convolve) if _is_at_least(out[-1], _LEAST_OUT) else None
    if by_windows is not None:
        return by_windows
    if op.out.dtype is bfloat16 and not _is_pointwise(op, size):  # what is folded would be rounded before
        return _widened(op)
    if op.groups > 1 and op.filters.type.known_dims[-2] == 1:
        return depthwise_input_grad(op)
    rows = matmul(_split(op.g, op.groups, rank + 1), _filter_matrix(op.filters, op.groups), transpose_b=True)
    if _is_pointwise(op, size):
        return _joined(rows, op.groups, out)
    counts = op.g.type.known_dims[1:-1]
    patches = _joined(rows, op.groups, (out[0], *counts, *size, out[-1]))
    result: Tensor = fold_windows(patches, size=size, shape=out[1:-1], **window_attrs(op))
    return result


def filter_grad(op: Operation) -> Tensor:
    out = op.out.type.known_dims
    if _needs_width(op, op.out.type):
        return _widened(op)
    if has_small_groups(op.groups, op.out.type):
        return narrow_filter_grad(op)
    x = op.x.type.known_dims
    found = slides(x[1:-1], out[:-2], op.attrs)
    if _is_better_turned(op, found):
        return _turned(convolution_filter_grad(op.g, op.x, shape=out[:-2], **_turned_steps(found)))
    if lie_in_memory(op.x, found, out[-1]):
        quick = quick_dilated_gradient(op.x, op.g, found) if op.groups == 1 else None
        if quick is not None:
            return quick
        result: Tensor = valid_filter_grad(padded(op.x, found), _in_front(op.g, op.groups), size=out[:-2],
                                           **steps_of(op))
        return result
    # its own copy: one kept since the convolution would be the largest part of a network's memory
    rows = _patches(op, op.x, out[:-2], copy=1)
    product = matmul(rows, _split(op.g, op.groups, len(op.strides) + 1), transpose_a=True)
    return _joined(product, op.groups, out)


# Few outputs: where windows step by one, x and g may change places in the filters' gradient, which is then
# turned around. Vectors of its columns hold the inputs.

def _is_better_turned(op: Operation, found: tuple[Slide, ...]) -> bool:
    channels, out = op.x.type.known_dims[-1], op.g.type.known_dims[-1]
    return (op.groups == 1 and _is_at_least(_LEAST_OUT - 1, out) and any(s.size > 1 for s in found)
            and _is_at_least(channels, _LEAST_OUT)
            and all(s.stride == 1 and isinstance(s.before, int) and isinstance(s.behind, int)
                    and max(s.before, s.behind) <= (s.size - 1) * s.dilation and s.behind >= 0
                    for s in found))


def _turned_steps(found: tuple[Slide, ...]) -> dict[str, Any]:
    reach = [(s.size - 1) * s.dilation for s in found]
    return {"strides": tuple(s.stride for s in found), "dilations": tuple(s.dilation for s in found),
            "padding": tuple((r - number(s.before), r - number(s.behind))
                             for s, r in zip(found, reach, strict=True))}


def _turned(filters: Tensor) -> Tensor:
    """[size.., in, out] -> [size.., out, in], turned around."""
    *spatial, narrow, out = range(len(filters.type.known_dims))
    result: Tensor = transpose(reverse(filters, axis=tuple(spatial)), perm=(*spatial, out, narrow))
    return result


def _attrs_of(found: tuple[Slide, ...]) -> dict[str, Any]:
    return {"strides": tuple(s.stride for s in found), "dilations": tuple(s.dilation for s in found),
            "padding": tuple((s.before, s.after) for s in found)}


def _is_at_least(d: Dim, least: Dim) -> bool:
    return D.is_nonnegative(d - least)
