"""Convolution over any number of spatial axes, channels last, and its two gradients.

The three records are bilinear in their operands, and each is a gradient of the other two, so that
derivatives of every order stay among them. They keep their identity through the graph passes (`late`);
ops/convolution_products.py has what they expand to.
"""

from __future__ import annotations

from typing import Any

from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.ir.dtypes import DType, float16, int32
from graphflow.compiler.ir.explain import shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.ops import convolution_products
from graphflow.compiler.ops.convolution_numpy import convolution_numpy, filter_grad_numpy, input_grad_numpy
from graphflow.compiler.ops.rules import check_kind, open_dims, same_dtype
from graphflow.compiler.ops.samples import Sample
from graphflow.compiler.ops.shapes import dim_of
from graphflow.compiler.ops.windows import check_geometry, number, slides, window_counts

_GEOMETRY: dict[str, Any] = {"strides": REQUIRED, "padding": "VALID", "dilations": REQUIRED, "groups": 1}
_FORTH: dict[str, Any] = {**_GEOMETRY, "called": ""}  # by which name the user knows it
_BACK: dict[str, Any] = {"shape": REQUIRED, **_FORTH}


# Types

def _check(op: Operation, **ranks: int) -> DType:
    """One number dtype; so many axes besides the spatial ones; attributes that fit them."""
    check_kind(op, "number")
    spatial = len(op.strides) if isinstance(op.strides, tuple) else 0
    check_geometry(op, spatial)
    for name, extra in ranks.items():
        rank = getattr(op, name).type.rank
        if rank is not None and rank != spatial + extra:
            raise shape_error(op,
                              f"(C1): {name} must have rank {spatial + extra}, for {spatial} spatial axes")
    if not isinstance(op.groups, int) or op.groups < 1:
        raise shape_error(op, f"(C6): groups must be a number of 1 or more, not {op.groups}")
    return same_dtype(op)


def _dims(t: Tensor, rank: int) -> Any:
    """The dims, unknown ones where the rank is."""
    return (None,) * rank if t.type.dims is None else t.type.dims


def _channels(op: Operation, wide: Dim | None, narrow: Dim | None, out: Dim | None) -> Dim | None:
    """in == filters' in * groups, and out is a multiple of groups; gives in."""
    for value in (narrow, out) if op.groups > 1 else ():
        op.graph.rules.decide(value)
    try:
        if isinstance(out, int) and out % op.groups:
            raise ValueError
        return op.graph.rules.equal(wide, None if narrow is None else narrow * op.groups)
    except ValueError:
        groups = f" in {op.groups} groups, and out is {out}" if op.groups > 1 else ""
        raise shape_error(op, f"(C2): there are {wide} input channels, but the filters take {narrow}{groups}",
                          _layout_hint(op, narrow)) from None


def _layout_hint(op: Operation, narrow: Dim | None) -> str:
    dims = op.operands[0].type.dims
    if dims is not None and len(dims) > 2 and dims[1] == narrow:
        return 'these are the channels of axis 1: data_format="NCHW" would fit'
    return "filters are [spatial..., in, out]"


def _convolution_type(op: Operation) -> TensorType:
    dtype = _check(op, x=2, filters=2)
    rank = len(op.strides)
    x, filters = _dims(op.x, 2 + rank), _dims(op.filters, 2 + rank)
    _decide(op, filters[:rank])
    _channels(op, x[-1], filters[-2], filters[-1])
    return TensorType(dtype, (x[0], *window_counts(op, x[1:-1], filters[:rank]), filters[-1]))


def _decide(op: Operation, size: Any) -> None:
    """The extents of a window are numbers of the program: its loops over them are laid out by them."""
    for d in size:
        op.graph.rules.decide(d)


def _input_grad_type(op: Operation) -> TensorType:
    dtype = _check(op, g=2, filters=2)
    rank = len(op.strides)
    g, filters, shape = _dims(op.g, 2 + rank), _dims(op.filters, 2 + rank), _shape_attr(op, rank)
    _decide(op, filters[:rank])
    _must_give(op, g, (g[0], *window_counts(op, shape, filters[:rank]), filters[-1]))
    narrow = filters[-2]
    return TensorType(dtype, (g[0], *shape, None if narrow is None else narrow * op.groups))


def _filter_grad_type(op: Operation) -> TensorType:
    dtype = _check(op, x=2, g=2)
    rank = len(op.strides)
    x, g, shape = _dims(op.x, 2 + rank), _dims(op.g, 2 + rank), _shape_attr(op, rank)
    _decide(op, shape)
    _must_give(op, g, (x[0], *window_counts(op, x[1:-1], shape), g[-1]))
    if op.groups > 1:
        _decide(op, (x[-1], g[-1]))
    wide, out = x[-1], g[-1]
    if any(isinstance(d, int) and d % op.groups for d in (wide, out)):
        raise shape_error(op, f"(C2): {wide} channels in and {out} out do not divide into {op.groups} groups")
    return TensorType(dtype, (*shape, None if wide is None else wide // op.groups, out))


def _must_give(op: Operation, g: Any, wanted: Any) -> None:
    """g is of the shape that the convolution it comes from gives."""
    try:
        for d, w in zip(g, wanted, strict=True):
            op.graph.rules.equal(d, w)
    except ValueError:
        text = TensorType(op.g.dtype, tuple(wanted))
        raise shape_error(op, f"(C7): a convolution with shape {list(op.shape)} gives {text}, but g is "
                              f"{op.g.type}") from None


def _shape_attr(op: Operation, rank: int) -> Any:
    shape = open_dims(op.shape)
    if len(shape) != rank:
        raise shape_error(op, f"(C1): shape {list(op.shape)} must hold {rank} spatial dims")
    return shape


# The records

def _geometry(op: Operation) -> dict[str, Any]:
    return {key: op.attrs[key] for key in _GEOMETRY}


def _spatial(t: Tensor, start: int, stop: int) -> tuple[Dim, ...]:
    return tuple(dim_of(t, k) for k in range(start, stop))


def _input_grad_of(op: Operation, g: Tensor, filters: Tensor, x: Tensor) -> Tensor:
    result: Tensor = convolution_input_grad(g, filters, shape=_spatial(x, 1, len(op.strides) + 1),
                                            **_geometry(op))
    return result


def _filter_grad_of(op: Operation, x: Tensor, g: Tensor, filters: Tensor) -> Tensor:
    result: Tensor = convolution_filter_grad(x, g, shape=_spatial(filters, 0, len(op.strides)),
                                             **_geometry(op))
    return result


def _call(op: Operation, x: Tensor, filters: Tensor) -> Tensor:
    result: Tensor = convolution(x, filters, **_geometry(op))
    return result


_CASES: tuple[tuple[Any, ...], ...] = (  # x, filters, strides, padding, dilations, groups
    ((2, 5, 6, 3), (3, 3, 3, 4), (1, 1), "VALID", (1, 1), 1),
    ((1, 6, 5, 2), (3, 2, 2, 3), (2, 2), "SAME", (1, 1), 1),
    ((2, 4, 3, 5), (1, 1, 5, 2), (1, 1), "SAME", (1, 1), 1),
    ((2, 5, 4, 3), (1, 1, 3, 2), (2, 2), "VALID", (1, 1), 1),
    ((1, 7, 7, 2), (3, 3, 2, 2), (1, 1), "SAME", (2, 3), 1),
    ((1, 6, 6, 1), (2, 3, 1, 2), (2, 1), ((1, 0), (2, 1)), (1, 2), 1),
    ((2, 7, 2), (3, 2, 3), (2,), "SAME", (1,), 1),
    ((1, 3, 4, 3, 2), (2, 2, 2, 2, 2), (1, 2, 1), "SAME", (1, 1, 1), 1),
    ((1, 4, 4, 6), (2, 2, 3, 4), (1, 1), "SAME", (1, 1), 2),
    ((2, 5, 5, 3), (3, 3, 1, 3), (2, 2), "SAME", (1, 1), 3),
    ((1, 4, 5, 2), (2, 2, 1, 6), (1, 1), "VALID", (1, 2), 2),
    ((1, 4, 4, 18), (3, 3, 1, 18), (1, 1), "SAME", (1, 1), 18),
    ((1, 5, 6, 16), (3, 3, 4, 16), (1, 1), "SAME", (1, 1), 4),
    ((1, 4, 5, 10), (2, 3, 2, 40), (2, 1), "VALID", (1, 1), 5),
    ((2, 6, 12), (3, 4, 6), (1,), "SAME", (2,), 3),
    ((1, 3, 3, 4, 6), (2, 2, 2, 3, 2), (1, 2, 1), "SAME", (1, 1, 1), 2),
    ((1, 0, 4, 1), (2, 2, 1, 2), (1, 1), "SAME", (1, 1), 1),
    ((0, 4, 4, 2), (2, 2, 2, 3), (1, 1), "SAME", (1, 1), 1),
    ((1, 3, 3, 0), (2, 2, 0, 3), (1, 1), "SAME", (1, 1), 1),
    ((1, 3, 3, 2), (2, 2, 2, 0), (1, 1), "SAME", (1, 1), 1))


def _samples(make: Any) -> tuple[Sample, ...]:
    """One per case; `make(x, filters, out)` gives the operands, and the shape attribute or None."""
    found = []
    for x, filters, strides, padding, dilations, groups in _CASES:
        attrs = {"strides": strides, "padding": padding, "dilations": dilations, "groups": groups}
        counts = [number(s.count) for s in slides(x[1:-1], filters[:-2], attrs)]
        operands, shape = make(x, filters, (x[0], *counts, filters[-1]))
        found.append(Sample(operands, attrs if shape is None else {**attrs, "shape": shape}))
    return tuple(found)


convolution: OpDef = OpDef(
    "convolution", "x filters", infer=_convolution_type, attrs=_FORTH, numpy=convolution_numpy,
    expand=lambda op: convolution_products.forward(op), late=True, tf_name="Conv2D",
    grad=lambda op, g: (_input_grad_of(op, g, op.filters, op.x), _filter_grad_of(op, op.x, g, op.filters)),
    doc="out[b, i.., o] = sum over u.., c of x[b, i*stride + u*dilation - before.., c] * filters[u.., c, o], "
        "channels in and out being cut into `groups`: filters are [spatial..., in / groups, out].",
    samples=(*_samples(lambda x, filters, out: ((x, filters), None)),
             Sample(((1, 4, 4, 2), (2, 2, 2, 3)), {"strides": (1, 1), "dilations": (1, 1)}, dtype=int32,
                    smooth=False),
             Sample(((1, 4, 4, 2), (2, 2, 2, 3)), {"strides": (1, 1), "dilations": (1, 1)}, dtype=float16,
                    smooth=False)))

convolution_input_grad: OpDef = OpDef(
    "convolution_input_grad", "g filters", infer=_input_grad_type, attrs=_BACK, dim_attrs=("shape",),
    expand=lambda op: convolution_products.input_grad(op), late=True, numpy=input_grad_numpy,
    tf_name="Conv2DBackpropInput",
    grad=lambda op, r: (_call(op, r, op.filters), _filter_grad_of(op, r, op.g, op.filters)),
    doc="The gradient of `convolution` to x, of the spatial dims `shape`; a transposed convolution.",
    samples=_samples(lambda x, filters, out: ((out, filters), x[1:-1])))

convolution_filter_grad: OpDef = OpDef(
    "convolution_filter_grad", "x g", infer=_filter_grad_type, attrs=_BACK, dim_attrs=("shape",),
    expand=lambda op: convolution_products.filter_grad(op), late=True, numpy=filter_grad_numpy,
    tf_name="Conv2DBackpropFilter",
    grad=lambda op, r: (_input_grad_of(op, op.g, r, op.x), _call(op, op.x, r)),
    doc="The gradient of `convolution` to its filters, of the spatial dims `shape`.",
    samples=_samples(lambda x, filters, out: ((x, out), filters[:-2])))
