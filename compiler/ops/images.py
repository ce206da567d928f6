"""Images [batch, h, w, c]: pixels moved into channels and back, and other sizes by interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.ir.dtypes import DType, as_dtype, float32, float64, int32, int64
from graphflow.compiler.ir.explain import shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import Indexed, Let, Load
from graphflow.compiler.ops.linalg import matmul
from graphflow.compiler.ops.rules import check_kind, open_dims, require_within
from graphflow.compiler.ops.samples import Sample, shapes
from graphflow.compiler.ops.shapes import dim_of, reshape, transpose

# space_to_depth, depth_to_space: a block of pixels is one pixel of more channels

def _image_dims(op: Operation) -> Any:
    t = op.operands[0]
    if t.type.rank not in (4, None):
        raise shape_error(op, f"(C1): {t.name} must have rank 4: batch, height, width, channels")
    return (None,) * 4 if t.type.dims is None else t.type.dims


def _check_block(op: Operation) -> int:
    if not isinstance(op.block_size, int) or op.block_size < 1:
        raise shape_error(op, f"(C2): block_size must be a number of 1 or more, not {op.block_size}")
    return int(op.block_size)


def _divided(op: Operation, d: Dim | None, by: int, what: str) -> Dim | None:
    if d is None:
        return None
    try:
        op.graph.rules.require(d, d // by * by)
    except ValueError:
        raise shape_error(op, f"(C3): the {what} {d} is no multiple of {by}") from None
    return d // by


def _times(d: Dim | None, by: int) -> Dim | None:
    return None if d is None else d * by


def _to_depth_type(op: Operation) -> TensorType:
    (b, h, w, c), n = _image_dims(op), _check_block(op)
    return TensorType(op.input.dtype, (b, _divided(op, h, n, "height"), _divided(op, w, n, "width"),
                                       _times(c, n * n)))


def _to_space_type(op: Operation) -> TensorType:
    (b, h, w, c), n = _image_dims(op), _check_block(op)
    return TensorType(op.input.dtype, (b, _times(h, n), _times(w, n), _divided(op, c, n * n, "depth")))


def _to_depth(op: Operation) -> Tensor:
    b, h, w, c = op.out.type.known_dims
    n = op.block_size
    blocks = reshape(op.input, shape=(b, h, n, w, n, op.input.type.known_dims[3]))
    result: Tensor = reshape(transpose(blocks, perm=(0, 1, 3, 2, 4, 5)), shape=(b, h, w, c))
    return result


def _to_space(op: Operation) -> Tensor:
    b, h, w, _ = op.input.type.known_dims
    n = op.block_size
    blocks = reshape(op.input, shape=(b, h, w, n, n, op.out.type.known_dims[3]))
    result: Tensor = reshape(transpose(blocks, perm=(0, 1, 3, 2, 4, 5)), shape=op.out.type.known_dims)
    return result


def _to_depth_numpy(x: Any, block_size: int) -> Any:
    n = block_size
    return np.concatenate([x[:, i::n, j::n] for i in range(n) for j in range(n)], axis=-1)


def _to_space_numpy(x: Any, block_size: int) -> Any:
    n, c = block_size, x.shape[3] // block_size ** 2
    result = np.empty((x.shape[0], x.shape[1] * n, x.shape[2] * n, c), x.dtype)
    for k in range(n * n):
        result[:, k // n::n, k % n::n] = x[..., k * c:(k + 1) * c]
    return result


space_to_depth: OpDef = OpDef(
    "space_to_depth", "input", infer=_to_depth_type, attrs={"block_size": REQUIRED}, expand=_to_depth,
    numpy=_to_depth_numpy, grad=lambda op, g: depth_to_space(g, block_size=op.block_size),
    doc="[b, h*n, w*n, c] -> [b, h, w, n*n*c]",
    samples=(*shapes([(2, 4, 6, 3)], [(0, 2, 2, 1)], block_size=2), *shapes([(1, 3, 3, 2)], block_size=3)))
depth_to_space: OpDef = OpDef(
    "depth_to_space", "input", infer=_to_space_type, attrs={"block_size": REQUIRED}, expand=_to_space,
    numpy=_to_space_numpy, grad=lambda op, g: space_to_depth(g, block_size=op.block_size),
    doc="[b, h, w, n*n*c] -> [b, h*n, w*n, c]",
    samples=(*shapes([(2, 2, 3, 12)], [(0, 1, 1, 4)], block_size=2), *shapes([(1, 1, 1, 18)], block_size=3)))


# resize: each pixel of the result lies between pixels of the image. Positions are computed in float32, as TF1
# does (which pixel is nearest may depend on their rounding), but for float64 images.

_METHODS = ("bilinear", "nearest")
_RESIZE: dict[str, Any] = {"size": REQUIRED, "method": "bilinear", "align_corners": False,
                           "half_pixel_centers": False}


def _new_dims(op: Operation, size: Any, what: str) -> TensorType:
    check_kind(op, "number" if op.method == "nearest" else "float")
    b, h, w, c = _image_dims(op)
    dims = open_dims(size) if isinstance(size, tuple) else ()
    if len(dims) != 2 or 0 in dims or any(isinstance(d, int) and d < 0 for d in dims):
        raise shape_error(op, f"(C2): {what} {size} must hold a height and a width of 1 or more")
    if op.method not in _METHODS or (op.align_corners and op.half_pixel_centers):
        raise shape_error(op,
                          f"(C3): the method {op.method!r} must be one of {', '.join(_METHODS)}, and one of "
                              f"align_corners and half_pixel_centers may be True")
    for d in (h, w):
        require_within(op, 1, d, None)
    return TensorType(op.operands[0].dtype, (b, *dims, c))


def _resize_type(op: Operation) -> TensorType:
    if 0 in _image_dims(op)[1:3]:
        raise shape_error(op, "(C4): the image has no pixels")
    return _new_dims(op, op.size, "size")


def _position_dtype(method: str, dtype: DType) -> DType:
    return float64 if dtype is float64 and method != "nearest" else float32


def place_of(op: Operation, i: Dim, source: Dim, target: Dim) -> E.Expr:
    """Where pixel i of the result lies among those of the image, from the edge on for the nearest one."""
    def real(d: Dim) -> E.Expr:
        return E.index(d, _position_dtype(op.method, op.out.dtype))
    if op.align_corners and target != 1:
        scale = real(source - 1) / E.maximum(real(target - 1), 1.0)
        return real(i) * scale + (0.5 if op.method == "nearest" else 0.0)
    scale = real(source) / real(target)
    if not op.half_pixel_centers:
        return real(i) * scale
    return (real(i) + 0.5) * scale - (0.0 if op.method == "nearest" else 0.5)


def _neighbours(op: Operation, i: Dim, source: Dim, target: Dim, let: Let) -> tuple[E.Expr, E.Expr, E.Expr]:
    """The pixel at or before the position, the next one, and the weight of the next."""
    position = let(place_of(op, i, source, target))
    floor = E.call("floor", position)
    before, after = (let(E.cast(E.maximum(E.minimum(p, E.index(source - 1, p.dtype)), 0.0), int64))
                     for p in (floor, floor + 1.0))
    return before, after, let(position - floor)


def _resize_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    source, target = op.images.type.known_dims, op.out.type.known_dims
    (top, bottom, down), (left, right, across) = (
        _neighbours(op, at[k], source[k], target[k], let) for k in (1, 2))

    def pixel(y: E.Expr, x: E.Expr) -> E.Expr:
        return load(0, (at[0], E.as_offset(y), E.as_offset(x), at[3]))
    if op.method == "nearest":
        return pixel(top, left)
    down, across = E.cast(down, op.out.dtype), E.cast(across, op.out.dtype)
    rows = [pixel(y, left) + (pixel(y, right) - pixel(y, left)) * across for y in (top, bottom)]
    return rows[0] + (rows[1] - rows[0]) * down


def _weights_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    """How much pixel at[1] of the image counts in pixel at[0] of the result."""
    before, after, weight = _neighbours(op, at[0], op.old, op.new, let)
    first, second = (E.eq(p, E.index(at[1])) for p in (before, after))
    if op.method == "nearest":
        return E.cast(first, op.dtype)
    return E.cast(E.select(first, 1.0 - weight, 0.0) + E.select(second, weight, 0.0), op.dtype)


def _weights_numpy(old: int, new: int, method: str, align_corners: bool, half_pixel_centers: bool,
                   dtype: Any) -> Any:
    nearest, real = method == "nearest", _position_dtype(method, dtype).numpy.type
    i = np.arange(new, dtype=real)
    if align_corners and new > 1:
        position = i * (real(old - 1) / real(new - 1)) + real(0.5 if nearest else 0)
    else:
        scale = real(old) / real(new)
        position = (i + real(0.5)) * scale - real(0 if nearest else 0.5) if half_pixel_centers else i * scale
    floor = np.floor(position)
    result = np.zeros((new, old), real)
    rows, share = np.arange(new), real(0) if nearest else position - floor
    np.add.at(result, (rows, np.clip(floor, 0, old - 1).astype(int)), 1 - share)
    np.add.at(result, (rows, np.clip(floor + 1, 0, old - 1).astype(int)), share)
    return result.astype(dtype.numpy)


_WAYS: tuple[dict[str, bool], ...] = ({}, {"align_corners": True}, {"half_pixel_centers": True})
resize_weights = OpDef(
    "resize_weights", "", infer=lambda op: TensorType(op.dtype, open_dims((op.new, op.old))),
    attrs={"old": REQUIRED, "new": REQUIRED, "dtype": float32,
           **{k: v for k, v in _RESIZE.items() if k != "size"}},
    dim_attrs=("old", "new"), lower=Indexed(_weights_element), numpy=_weights_numpy,
    doc="A matrix that resizes one axis: [new, old].",
    samples=[Sample((), {"old": s, "new": t, "method": m, **way}) for way in _WAYS for m in _METHODS
             for s, t in ((3, 7), (7, 3), (1, 4), (5, 1))])


def _weights(op: Operation, dtype: Any, old: Any, new: Any) -> Tensor:
    result: Tensor = resize_weights(old=old, new=new, dtype=dtype, method=op.method,
                                    align_corners=op.align_corners, half_pixel_centers=op.half_pixel_centers)
    return result


def _resize_numpy(images: Any, size: Any, **way: Any) -> Any:
    down, across = (_weights_numpy(n, m, dtype=as_dtype(images.dtype), **way)
                    for n, m in zip(images.shape[1:3], size, strict=True))
    return np.einsum("yh,xw,bhwc->byxc", down, across, images)


def _resize_grad_expand(op: Operation) -> Tensor:
    """By one matrix for each axis, transposed."""
    (b, y, x, c), (h, w) = op.g.type.known_dims, op.out.type.known_dims[1:3]
    down = matmul(_weights(op, op.g.dtype, h, y), reshape(op.g, shape=(b, y, x * c)), transpose_a=True)
    across = matmul(_weights(op, op.g.dtype, w, x), reshape(down, shape=(b * h, x, c)), transpose_a=True)
    result: Tensor = reshape(across, shape=op.out.type.known_dims)
    return result


def _resize_grad_numpy(g: Any, size: Any, **way: Any) -> Any:
    down, across = (_weights_numpy(n, m, dtype=as_dtype(g.dtype), **way)
                    for n, m in zip(size, g.shape[1:3], strict=True))
    return np.einsum("yh,xw,byxc->bhwc", down, across, g)


def _same_way(op: Operation, t: Tensor) -> dict[str, Any]:
    """The attributes with the height and width of t."""
    return {**{k: op.attrs[k] for k in _RESIZE}, "size": (dim_of(t, 1), dim_of(t, 2))}


_IMAGES = (((1, 3, 4, 2), (5, 7)), ((2, 6, 5, 1), (3, 2)), ((1, 1, 2, 3), (2, 1)), ((0, 2, 2, 1), (3, 3)),
           ((1, 2, 3, 18), (4, 3)))
resize: OpDef = OpDef(
    "resize", "images", infer=_resize_type, attrs=_RESIZE, dim_attrs=("size",), numpy=_resize_numpy,
    lower=Indexed(_resize_element), grad=lambda op, g: resize_grad(g, **_same_way(op, op.images)),
    doc="Images of another height and width, each pixel from the nearest, or from the four around it.",
    samples=[*(Sample((x,), {"size": size, "method": m, **way}) for x, size in _IMAGES for way in _WAYS
               for m in _METHODS),
             Sample(((1, 2, 3, 1),), {"size": (4, 4), "method": "nearest"}, dtype=int32, smooth=False)])
resize_grad: OpDef = OpDef(
    "resize_grad", "g", infer=lambda op: _new_dims(op, op.size, "size"), attrs=_RESIZE, dim_attrs=("size",),
    numpy=_resize_grad_numpy, expand=_resize_grad_expand, grad=lambda op, g: resize(g, **_same_way(op, op.g)),
    doc="The way back of `resize`, to images of the height and width `size`.",
    samples=[Sample(((x[0], *size, x[3]),), {"size": x[1:3], "method": m, **way}) for x, size in _IMAGES
             for way in _WAYS for m in _METHODS])
