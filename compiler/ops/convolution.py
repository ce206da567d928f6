"""Convolution over any number of spatial axes, channels last, and its two gradients.

The three records are bilinear in their operands, and each is a gradient of the other two, so that
derivatives of every order stay among them. They keep their identity through the graph passes (`late`);
what they expand to is products of matrices whose rows are windows, read where they lie if their extents are
known (ops/window_products.py), else copied to patches:

    convolution               windows(x) @ filters
    convolution_input_grad    windows(g) @ turned filters for each phase of a stride, or fold(g @ filters^T)
    convolution_filter_grad   windows(x)^T @ g
"""

from __future__ import annotations

from typing import Any

from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.ir.dtypes import DType, bfloat16, float16, int32
from graphflow.compiler.ir.explain import shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.ops.convolution_numpy import (
    convolution_numpy,
    filter_grad_numpy,
    input_grad_numpy,
)
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
from graphflow.compiler.ops.rules import check_kind, open_dims, same_dtype
from graphflow.compiler.ops.samples import Sample
from graphflow.compiler.ops.shapes import dim_of, reshape, reverse, transpose
from graphflow.compiler.ops.window_products import (
    has_windows,
    lie_in_memory,
    padded,
    steps_of,
    valid_convolution,
    valid_filter_grad,
)
from graphflow.compiler.ops.windows import (
    Slide,
    check_geometry,
    fold_windows,
    number,
    slides,
    window_counts,
    windows,
)

_GEOMETRY: dict[str, Any] = {"strides": REQUIRED, "padding": "VALID", "dilations": REQUIRED, "groups": 1}
_FORTH: dict[str, Any] = {**_GEOMETRY, "called": ""}  # by which name the user knows it
_BACK: dict[str, Any] = {"shape": REQUIRED, **_FORTH}
_FEW_CHANNELS = 16  # less than a vector
_LEAST_OUT = 8      # with fewer columns, products with vectors of them are mostly empty


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


# As products of matrices. With groups there is a matrix for each, in front.

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
    attrs, channels = {"size": size, "copy": copy, **_window_attrs(op)}, x.type.known_dims[-1]
    found = slides(x.type.known_dims[1:-1], size, attrs)
    if isinstance(channels, int) and channels < _FEW_CHANNELS and all(has_windows(s) for s in found):
        x, attrs["padding"] = padded(x, found), "VALID"
    return _split(windows(x, **attrs), op.groups, len(size) + 1)


def _window_attrs(op: Operation) -> dict[str, Any]:
    return {key: op.attrs[key] for key in ("strides", "padding", "dilations")}


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


def _convolution(op: Operation) -> Tensor:
    rank, x, filters = len(op.strides), op.x.type.known_dims, op.filters.type.known_dims
    if _needs_width(op, op.filters.type):
        return _widened(op)
    if has_narrow_groups(op.groups, op.filters.type):
        return narrow_convolution(op.x, op.filters, op.groups, _window_attrs(op))
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


def _input_grad(op: Operation) -> Tensor:
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
    result: Tensor = fold_windows(patches, size=size, shape=out[1:-1], **_window_attrs(op))
    return result


def _filter_grad(op: Operation) -> Tensor:
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
    "convolution", "x filters", infer=_convolution_type, attrs=_FORTH, expand=_convolution, late=True,
    numpy=convolution_numpy, tf_name="Conv2D",
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
    expand=_input_grad, late=True, numpy=input_grad_numpy, tf_name="Conv2DBackpropInput",
    grad=lambda op, r: (_call(op, r, op.filters), _filter_grad_of(op, r, op.g, op.filters)),
    doc="The gradient of `convolution` to x, of the spatial dims `shape`; a transposed convolution.",
    samples=_samples(lambda x, filters, out: ((out, filters), x[1:-1])))

convolution_filter_grad: OpDef = OpDef(
    "convolution_filter_grad", "x g", infer=_filter_grad_type, attrs=_BACK, dim_attrs=("shape",),
    expand=_filter_grad, late=True, numpy=filter_grad_numpy, tf_name="Conv2DBackpropFilter",
    grad=lambda op, r: (_input_grad_of(op, op.g, r, op.x), _call(op, op.x, r)),
    doc="The gradient of `convolution` to its filters, of the spatial dims `shape`.",
    samples=_samples(lambda x, filters, out: ((x, out), filters[:-2])))
