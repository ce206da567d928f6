"""Products with the windows over channels-last images, read where they lie: what convolutions expand to.

    valid_convolution   windows(x) @ filters        no padding: every window is inside
    valid_filter_grad   windows(x)^T @ g

A window over [spatial..., c] is a row of a matrix whose elements lie by steps in memory (loops/view.py); no
patches are copied. All extents but the batch are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow.compiler import flags
from graphflow.compiler.ir.dims import Dim, product
from graphflow.compiler.ir.dtypes import DType, as_dtype, bfloat16, float32, float64, int8, uint8
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops.forms import Contraction
from graphflow.compiler.loops.view import Side
from graphflow.compiler.ops.joining import pad
from graphflow.compiler.ops.samples import Sample
from graphflow.compiler.ops.windows import Slide, slides, window_counts, windows_numpy

_MULTIPLIED = (float32, float64, bfloat16, int8, uint8)  # dtypes that register tiles read where they lie
_STEPS: dict[str, Any] = {"strides": REQUIRED, "padding": "VALID", "dilations": REQUIRED, "groups": 1,
                          "output_type": None}  # as in matmul


def _sides(op: Operation, size: tuple[Dim, ...]) -> tuple[Side, Side]:
    """The windows, and the elements of each that are of one group."""
    dims: Any = op.x.type.known_dims
    pitches = [product(dims[k + 1:]) for k in range(len(dims))]
    inner = list(zip(pitches[1:-1], op.strides, op.dilations, strict=True))
    counts = window_counts(op, dims[1:-1], size)
    each = zip(counts, (pitch * stride for pitch, stride, _ in inner), strict=True)
    within = zip(size, (pitch * dilation for pitch, _, dilation in inner), strict=True)
    return ((dims[0], pitches[0]), *each), ((*within, (_channels(op), 1)))


def _channels(op: Operation) -> int:
    """Of a group."""
    channels: int = op.x.type.known_dims[-1] // op.groups
    return channels


def _window_rows(x: Any, size: Any, groups: int, attrs: Any) -> Any:
    """[groups, windows, elements], and how many windows there are along each axis"""
    found = windows_numpy(x, size, **attrs)
    counts, each = found.shape[:1 + len(size)], x.shape[-1] // groups
    apart = np.moveaxis(found.reshape(-1, int(np.prod(size)), groups, each), 2, 0)
    return apart.reshape(groups, -1, int(np.prod(size)) * each), counts


def _summed(x: Any, y: Any, output_type: DType | None) -> Any:
    """The operands in the dtype in which their products are summed, and the result's."""
    out = output_type or as_dtype(x.dtype)
    sums = out.sums.numpy
    return x.astype(sums, copy=False), y.astype(sums, copy=False), out.numpy


def _convolution_numpy(x: Any, filters: Any, groups: int, output_type: DType | None, **attrs: Any) -> Any:
    x, filters, out = _summed(x, filters, output_type)
    size, n = filters.shape[-2 - len(attrs["strides"]):-2], filters.shape[-1]
    rows, counts = _window_rows(x, size, groups, attrs)
    sums = rows @ filters.reshape(groups, -1, n)
    return np.moveaxis(sums, 0, 1).reshape(*counts, groups * n).astype(out, copy=False)


def _filter_grad_numpy(x: Any, g: Any, size: Any, groups: int, output_type: DType | None,
                       **attrs: Any) -> Any:
    x, g, out = _summed(x, g, output_type)
    rows, _ = _window_rows(x, size, groups, attrs)
    sums = np.swapaxes(rows, 1, 2) @ g.reshape(groups, -1, g.shape[-1])
    found = np.moveaxis(sums, 0, 1).reshape(*size, x.shape[-1] // groups, groups * g.shape[-1])
    return found.astype(out, copy=False)


def decided_dims(t: Tensor, first: int) -> Any:
    """The dims, of which those from `first` on are decided."""
    dims: Any = t.type.dims
    for d in dims[first:]:
        t.op.graph.rules.decide(d)
    return dims


def _convolution_type(op: Operation) -> TensorType:
    x, filters = decided_dims(op.x, 1), decided_dims(op.filters, 0)
    counts = window_counts(op, x[1:-1], filters[-2 - len(op.strides):-2])
    return TensorType(op.output_type or op.x.dtype, (x[0], *counts, _columns(op, filters[-1])))


def _columns(op: Operation, each: Dim | None) -> Dim | None:
    """Of all groups."""
    return None if each is None else each * op.groups


def _filter_grad_type(op: Operation) -> TensorType:
    wide, out = decided_dims(op.x, 1)[-1], decided_dims(op.g, 2)[-1]
    dims = *op.size, None if wide is None else wide // op.groups, _columns(op, out)
    return TensorType(op.output_type or op.x.dtype, dims)


def _turned(sides: tuple[Side, Side]) -> tuple[Side, Side]:
    return sides[1], sides[0]


_CASES: tuple[tuple[Any, ...], ...] = (  # x, filters, strides, dilations, groups
    ((2, 6, 7, 3), (3, 3, 3, 20), (1, 1), (1, 1), 1), ((1, 9, 8, 4), (3, 2, 4, 17), (2, 2), (1, 1), 1),
    ((2, 5, 5, 5), (1, 1, 5, 9), (1, 1), (1, 1), 1), ((2, 7, 6, 3), (1, 1, 3, 8), (2, 2), (1, 1), 1),
    ((1, 9, 9, 2), (3, 3, 2, 33), (1, 1), (2, 3), 1), ((3, 40, 2), (3, 2, 8), (1,), (1,), 1),
    ((2, 4, 5, 4, 2), (2, 2, 3, 2, 8), (1, 2, 1), (1, 1, 1), 1),
    ((1, 3, 3, 2), (3, 3, 2, 8), (1, 1), (1, 1), 1), ((1, 4, 4, 410), (2, 2, 410, 8), (1, 1), (1, 1), 1),
    ((2, 6, 7, 6), (3, 3, 3, 5), (1, 1), (1, 1), 2), ((2, 9, 8, 12), (3, 2, 4, 17), (2, 1), (1, 2), 3),
    ((3, 20, 4), (3, 2, 1), (1,), (1,), 2), ((1, 4, 4, 410), (2, 2, 205, 8), (1, 1), (1, 1), 2))


def _samples(gradient: bool) -> tuple[Sample, ...]:
    found = []
    for x, filters, strides, dilations, groups in _CASES:
        attrs = {"strides": strides, "dilations": dilations, "groups": groups}
        counts = [s.count for s in slides(x[1:-1], filters[:-2], {**attrs, "padding": "VALID"})]
        second = (x[0], *counts, filters[-1]) if gradient else filters
        second = second if groups == 1 else (groups, *second)
        found.append(Sample((x, second), {**attrs, "size": filters[:-2]} if gradient else attrs))
    return tuple(found)


valid_convolution: OpDef = OpDef(
    "valid_convolution", "x filters", infer=_convolution_type, attrs=_STEPS, numpy=_convolution_numpy,
    lower=Contraction(lambda op: _sides(op, op.filters.type.known_dims[-2 - len(op.strides):-2]), _channels),
    samples=_samples(False),
    doc="out[b, i.., o] = sum over u.., c of x[b, i*stride + u*dilation.., c] * filters[u.., c, o]; with "
        "groups the filters of each, one group after another, see channels of their own.")

valid_filter_grad: OpDef = OpDef(
    "valid_filter_grad", "x g", infer=_filter_grad_type, attrs={"size": REQUIRED, **_STEPS},
    numpy=_filter_grad_numpy, samples=_samples(True),
    lower=Contraction(lambda op: _turned(_sides(op, op.size)), _channels),
    doc="out[u.., c, o] = sum over b, i.. of x[b, i*stride + u*dilation.., c] * g[b, i.., o]; with groups g "
        "is cut into them in front, as the filters are.")


# For those that expand to them

def has_windows(s: Slide) -> bool:
    """Whether there is a window, for certain."""
    return isinstance(s.count, int) and s.count > 0


def padded(x: Tensor, found: tuple[Slide, ...]) -> Tensor:
    """x with zeros around: a row of a window is then one run in memory, with no tests for the edge in it."""
    if not any(s.padded for s in found):
        return x
    result: Tensor = pad(x, paddings=((0, 0), *((s.before, s.after) for s in found), (0, 0)))
    return result


def lie_in_memory(x: Tensor, found: Sequence[Slide], out: Dim) -> bool:
    """Whether a product may read the windows where they lie: all but the batch is known, and not nothing."""
    extents = [d for s in found for d in (s.extent, s.count, s.before, s.after + 1, s.size)]
    dims = x.type.known_dims
    return (x.dtype in _MULTIPLIED and not flags.use_blas() and 0 not in dims
            and all(isinstance(d, int) for d in (*extents, dims[-1], out)) and out != 0
            and all(has_windows(s) and s.size > 0 for s in found))


def steps_of(op: Operation) -> dict[str, Any]:
    """The attributes of the products that an op has too."""
    return {key: op.attrs[key] for key in ("strides", "dilations", "groups")}
