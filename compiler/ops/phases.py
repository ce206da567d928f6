"""The input gradient of a convolution as products with windows over g: one for each phase of the strides.

An element that lies e past a multiple of the stride is held by windows as element r, r + stride, ... alone,
with r = (e + before) mod stride. The elements of one phase are thus a convolution of g that steps by one,
with every stride-th of the filters, turned around.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops.expr import Index
from graphflow.compiler.loops.forms import Join, Part
from graphflow.compiler.ops.indexing import strided_slice
from graphflow.compiler.ops.rules import open_dims
from graphflow.compiler.ops.samples import shapes
from graphflow.compiler.ops.shapes import reverse, transpose
from graphflow.compiler.ops.window_products import lie_in_memory, padded, valid_convolution
from graphflow.compiler.ops.windows import Slide, number, slides


def input_grad_by_windows(op: Operation) -> Tensor | None:
    """The gradient, or None where its windows do not lie in memory."""
    phases = []
    for phase in np.ndindex(*op.strides):
        found = _windows(op, phase)
        if found is None:
            return None
        phases.append((phase, found))
    parts = [_convolution(op, *each) for each in phases]
    if len(parts) == 1:
        return parts[0]
    result: Tensor = interleave(*parts, shape=op.out.type.known_dims[1:-1], strides=op.strides)
    return result


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
    result: Tensor = valid_convolution(padded(op.g, found), turned, strides=(1,) * rank,
                                       dilations=op.dilations)
    return result


# interleave: phases side by side again

def _interleave_type(op: Operation) -> TensorType:
    first = op.operands[0].type
    assert first.dims is not None
    return TensorType(first.dtype, (first.dims[0], *open_dims(op.shape), first.dims[-1]))


def _interleave_parts(op: Operation) -> list[Part]:
    def part(phase: tuple[int, ...]) -> Part:
        def index(at: Index) -> Index:
            inner = zip(at[1:-1], op.strides, phase, strict=True)
            return (at[0], *(i * stride + e for i, stride, e in inner), at[-1])
        return Part(op.out, index)

    return [part(phase) for phase in np.ndindex(*op.strides)]


def _interleave_numpy(*phases: Any, shape: Any, strides: Any) -> Any:
    result = np.empty((phases[0].shape[0], *shape, phases[0].shape[-1]), phases[0].dtype)
    for phase, values in zip(np.ndindex(*strides), phases, strict=True):
        places = (slice(e, None, s) for e, s in zip(phase, strides, strict=True))
        at = (slice(None), *places)
        result[at] = values
    return result


interleave: OpDef = OpDef(
    "interleave", "*phases", infer=_interleave_type, attrs={"shape": REQUIRED, "strides": REQUIRED},
    dim_attrs=("shape",), lower=Join(_interleave_parts), numpy=_interleave_numpy,
    doc="out[b, i*stride + e.., c] = phase e.. [b, i.., c], phases in the order of their numbers e.",
    samples=(*shapes([(2, 3, 4), (2, 2, 4)], shape=(5,), strides=(2,)),
             *shapes([(1, 2, 2, 3), (1, 2, 1, 3), (1, 1, 2, 3), (1, 1, 1, 3)], shape=(3, 3), strides=(2, 2))))
