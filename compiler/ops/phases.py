"""The input gradient of a convolution as products with windows over g: one for each phase of the strides.

An element that lies e past a multiple of the stride is held by windows as element r, r + stride, ... alone,
with r = (e + before) mod stride. The elements of one phase are thus a convolution of g that steps by one,
with every stride-th of the filters, turned around.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops.indexing import strided_slice
from graphflow.compiler.ops.joining import interleave
from graphflow.compiler.ops.shapes import reshape, reverse, transpose
from graphflow.compiler.ops.windows import Slide, number, slides

Convolve: TypeAlias = "Callable[[Tensor, Tensor, tuple[Slide, ...], int], Tensor | None]"


def input_grad_by_windows(op: Operation, convolve: Convolve) -> Tensor | None:
    """The gradient, by convolutions of g with filters in groups; None where its windows are not known."""
    counts = _phase_counts(op)
    if counts is None:
        return None
    parts = []
    for phase in np.ndindex(*counts):
        found = _windows(op, phase)
        part = None if found is None else convolve(op.g, _taps(op, phase), found, op.groups)
        if part is None:
            return None
        parts.append(part)
    if len(parts) == 1:
        return parts[0]
    result: Tensor = interleave(*parts, shape=op.out.type.known_dims[1:-1], strides=counts, apart=True)
    return result


def _phase_counts(op: Operation) -> tuple[int, ...] | None:
    """Along each axis, those that have elements; None where sizes are unknown or a phase is in no window."""
    extents, sizes = op.out.type.known_dims[1:-1], op.filters.type.known_dims[:-2]
    if not all(isinstance(d, int) for d in (*extents, *sizes)):
        return None
    counts = tuple(max(min(pair), 1) for pair in zip(op.strides, extents, strict=True))
    return counts if all(c <= size for c, size in zip(counts, sizes, strict=True)) else None


def _windows(op: Operation, phase: tuple[int, ...]) -> tuple[Slide, ...] | None:
    """The windows over g for the elements of one phase."""
    out, g, size = (t.type.known_dims for t in (op.out, op.g, op.filters))
    found = []
    for s, e, count in zip(slides(out[1:-1], size[:-2], op.attrs), phase, g[1:-1], strict=True):
        if not all(isinstance(d, int) for d in (s.before, s.extent, count)) or (s.stride > 1 < s.dilation):
            return None
        taps = len(range(_first(s, e), s.size, s.stride))
        before = (taps - 1) * s.dilation - (e + s.before) // s.stride
        windows = Slide(count, taps, 1, s.dilation, before, (s.extent - e + s.stride - 1) // s.stride)
        if taps == 0 or not (D.is_nonnegative(before) and D.is_nonnegative(windows.behind)):
            return None  # a phase in no window, or a window outside of x
        found.append(windows)
    return tuple(found)


def _first(s: Slide, e: int) -> int:
    """The first element of a window that elements of phase e can be."""
    return number((e + s.before) % s.stride)


def _taps(op: Operation, phase: tuple[int, ...]) -> Tensor:
    """The filters' elements that one phase sees, turned around: [size.., out / groups, in]."""
    rank, dims, groups = len(phase), op.filters.type.known_dims, op.groups
    whole = slides(op.out.type.known_dims[1:-1], dims[:-2], op.attrs)
    taps = op.filters
    if any(stride > 1 for stride in op.strides):
        begin = (*(_first(s, e) for s, e in zip(whole, phase, strict=True)), 0, 0)
        taps = strided_slice(taps, begin=begin, end=dims, strides=(*op.strides, 1, 1))
    taps = reverse(taps, axis=tuple(range(rank)))
    size, (narrow, out) = taps.type.known_dims[:rank], dims[rank:]
    if groups == 1:
        result: Tensor = transpose(taps, perm=(*range(rank), rank + 1, rank))
        return result
    apart = reshape(taps, shape=(*size, narrow, groups, out // groups))
    turned = transpose(apart, perm=(*range(rank), rank + 2, rank + 1, rank))
    result = reshape(turned, shape=(*size, out // groups, groups * narrow))
    return result
