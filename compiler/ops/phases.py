"""The input gradient of a convolution as products with windows over g: one for each phase of the strides.

An element that lies e past a multiple of the stride is held by windows as element r, r + stride, ... alone,
with r = (e + before) mod stride. The elements of one phase are thus a convolution of g that steps by one,
with every stride-th of the filters, turned around.
"""

from __future__ import annotations

import numpy as np

from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops.indexing import strided_slice
from graphflow.compiler.ops.joining import interleave
from graphflow.compiler.ops.shapes import reverse, transpose
from graphflow.compiler.ops.window_products import lie_in_memory
from graphflow.compiler.ops.windows import Slide, number, slides
from graphflow.compiler.ops.winograd import convolve


def input_grad_by_windows(op: Operation) -> Tensor | None:
    """The gradient, or None where its windows do not lie in memory."""
    counts = _phase_counts(op)
    if counts is None:
        return None
    phases = []
    for phase in np.ndindex(*counts):
        found = _windows(op, phase)
        if found is None:
            return None
        phases.append((phase, found))
    parts = [_convolution(op, *each) for each in phases]
    if len(parts) == 1:
        return parts[0]
    result: Tensor = interleave(*parts, shape=op.out.type.known_dims[1:-1], strides=counts)
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
    return tuple(found) if lie_in_memory(op, tuple(found), g[-1], out[-1]) else None


def _first(s: Slide, e: int) -> int:
    """The first element of a window that elements of phase e can be."""
    return number((e + s.before) % s.stride)


def _convolution(op: Operation, phase: tuple[int, ...], found: tuple[Slide, ...]) -> Tensor:
    rank, dims = len(phase), op.filters.type.known_dims
    whole = slides(op.out.type.known_dims[1:-1], dims[:-2], op.attrs)
    taps = op.filters
    if any(stride > 1 for stride in op.strides):
        begin = (*(_first(s, e) for s, e in zip(whole, phase, strict=True)), 0, 0)
        taps = strided_slice(taps, begin=begin, end=dims, strides=(*op.strides, 1, 1))
    turned = transpose(reverse(taps, axis=tuple(range(rank))), perm=(*range(rank), rank + 1, rank))
    return convolve(op.g, turned, found)
