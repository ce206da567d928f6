"""Convolutions of 3x3 windows that step by one with 2.25 times fewer multiplications: Winograd's F(2x2, 3x3).

Four neighbouring outputs come from one patch of 4x4 inputs: patch and filters are transformed by additions,
multiplied element by element (16 multiplications where the sums of products take 36), and summed over the
channels by matrix products, one for each of the 16 places:

    out = A^T [ sum over c of (G w G^T) * (B^T x B) ] A

Rounding errors are those of direct sums in the norm of a patch, not of a window: an output may lose accuracy
to an element of its patch that it does not depend on, and an infinity there makes it a NaN.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.compiler import flags
from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.dims import axis, product
from graphflow.compiler.ir.dtypes import float32
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops.expr import Expr, Index, temp
from graphflow.compiler.loops.forms import Indexed, Let, Load, Serial, Workspace
from graphflow.compiler.loops.nest import Let as Name
from graphflow.compiler.loops.nest import Stmt, nested
from graphflow.compiler.ops.joining import interleave, pad
from graphflow.compiler.ops.linalg import matmul
from graphflow.compiler.ops.samples import shapes
from graphflow.compiler.ops.window_products import padded, valid_convolution
from graphflow.compiler.ops.windows import Slide, number

_LEAST_CHANNELS = 32       # with fewer, the transforms cost more than the products save
_LEAST_PATCHES = 48        # with fewer, the transformed filters are most of the traffic
_MOST_BYTES = 8 << 20      # of transformed patches at a time: what they go through should be a cache
_SIZE, _PATCH = 3, 4
Line = Sequence[Any]


def convolve(x: Tensor, filters: Tensor, found: tuple[Slide, ...]) -> Tensor:
    """The products of the windows over x [n, spatial.., c] with filters [size.., c, out]."""
    if _pays(x, filters, found):
        return _winograd(x, filters, found)
    result: Tensor = valid_convolution(padded(x, found), filters, strides=tuple(s.stride for s in found),
                                       dilations=tuple(s.dilation for s in found))
    return result


def _pays(x: Tensor, filters: Tensor, found: tuple[Slide, ...]) -> bool:
    if not flags.use_winograd() or x.dtype is not float32 or len(found) != 2:
        return False
    if any((s.size, s.stride, s.dilation) != (_SIZE, 1, 1) for s in found):
        return False
    n, channels, out = x.type.known_dims[0], *filters.type.known_dims[2:]
    patches = n * product(_halves(s.count) for s in found)
    return (D.is_nonnegative(patches - _LEAST_PATCHES) and isinstance(patches, int)
            and all(D.is_nonnegative(d - _LEAST_CHANNELS) for d in (channels, out)))


def _winograd(x: Tensor, filters: Tensor, found: tuple[Slide, ...]) -> Tensor:
    n, channels = x.type.known_dims[0], x.type.known_dims[-1]
    counts = tuple(s.count for s in found)
    patches = tuple(_halves(c) for c in counts)
    around = ((s.before, 2 * p + 2 - s.before - s.extent) for s, p in zip(found, patches, strict=True))
    x = pad(x, paddings=((0, 0), *around, (0, 0)))
    factors = transformed_filters(filters)
    pieces = -(-number(n) // max(1, _MOST_BYTES // (64 * patches[0] * patches[1] * channels)))
    each = -(-number(n) // pieces)
    parts = []
    for first in range(0, number(n), each):
        images = (first, min(each, n - first))
        sums = matmul(transformed_patches(x, images=images, patches=patches), factors)
        parts += [patch_sums(sums, images=images[1], patches=patches, place=(p, q),
                             shape=(_halves(counts[0] - p), _halves(counts[1] - q)))
                  for p, q in np.ndindex(2, 2)]
    result: Tensor = interleave(*parts, shape=counts, strides=(2, 2), pieces=len(parts) // 4)
    return result


def _halves(count: Any) -> Any:
    return (count + 1) // 2


# The transforms, of what can be added: expressions, or arrays

def _both(places: Line, line: Callable[[Line], Line]) -> Line:
    """A transform along both axes of a square."""
    down = zip(*(line(column) for column in zip(*places, strict=True)), strict=True)
    return [line(row) for row in down]


def _patch_line(d: Line) -> Line:
    """B^T d"""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _filter_line(w: Line) -> Line:
    """G w"""
    ends, middle = 0.5 * (w[0] + w[2]), 0.5 * w[1]
    return [w[0], ends + middle, ends - middle, w[2]]


def _sum_line(m: Line, place: int) -> Any:
    """A^T m at one of its two places."""
    return m[1] - m[2] - m[3] if place else m[0] + m[1] + m[2]


def _square(size: int, element: Callable[[int, int], Any]) -> Line:
    return [[element(r, s) for s in range(size)] for r in range(size)]


def _stores(memory: Workspace, at: Index, values: Line) -> list[Stmt]:
    return [memory.store((k, *at), v) for k, v in enumerate(v for row in values for v in row)]


# The records

def _patches_type(op: Operation) -> TensorType:
    dims = op.x.type.dims
    rows = op.images[1] * op.patches[0] * op.patches[1]
    return TensorType(op.x.dtype, (16, rows, None if dims is None else dims[-1]))


def _patches_steps(op: Operation, memory: Workspace) -> list[Stmt]:
    (first, images), (high, wide) = op.images, op.patches
    n, i, j, c = (axis(f"i{k}", d) for k, d in enumerate((images, high, wide, op.x.type.known_dims[-1])))
    lets = _Lets()
    values = _square(_PATCH, lambda r, s: lets.add(memory.load(0, (first + n, 2 * i + r, 2 * j + s, c))))
    found = _both(values, lambda line: [lets.add(v) for v in _patch_line(line)])
    stores = _stores(memory, ((n * high + i) * wide + j, c), found)
    return nested([*lets.body, *stores], (n, i, j, c))


def _patches_numpy(x: Any, images: Any, patches: Any) -> Any:
    first, count = images
    ends = (2 * patches[0] - 1, 2 * patches[1] - 1)
    places = _square(_PATCH, lambda r, s: x[first:first + count, r:r + ends[0]:2, s:s + ends[1]:2])
    return np.stack([v.reshape(-1, x.shape[-1]) for row in _both(places, _patch_line) for v in row])


def _filters_type(op: Operation) -> TensorType:
    dims = op.filters.type.dims
    return TensorType(op.filters.dtype, (16, *((None, None) if dims is None else dims[2:])))


def _filters_steps(op: Operation, memory: Workspace) -> list[Stmt]:
    c, o = (axis(f"i{k}", d) for k, d in enumerate(op.out.type.known_dims[1:]))
    lets = _Lets()
    values = _square(_SIZE, lambda u, v: lets.add(memory.load(0, (u, v, c, o))))
    found = _both(values, lambda line: [lets.add(v) for v in _filter_line(line)])
    return nested([*lets.body, *_stores(memory, (c, o), found)], (c, o))


def _filters_numpy(w: Any) -> Any:
    return np.stack([v for row in _both(w, _filter_line) for v in row]).astype(w.dtype)


def _sums_type(op: Operation) -> TensorType:
    dims = op.products.type.dims
    return TensorType(op.products.dtype, (op.images, *op.shape, None if dims is None else dims[-1]))


def _sums_element(op: Operation, at: Index, load: Load, let: Let) -> Expr:
    n, i, j, o = at
    row = (n * op.patches[0] + i) * op.patches[1] + j
    p, q = op.place
    places = _square(_PATCH, lambda a, b: load(0, (4 * a + b, row, o)))
    result: Expr = _sum_line([_sum_line(column, p) for column in zip(*places, strict=True)], q)
    return result


def _sums_numpy(products: Any, images: int, patches: Any, place: Any, shape: Any) -> Any:
    squares = products.reshape(4, 4, images, *patches, -1)[:, :, :, :shape[0], :shape[1]]
    columns = [_sum_line(squares[:, b], place[0]) for b in range(_PATCH)]
    return _sum_line(columns, place[1])


class _Lets:
    """Values named in the order in which they are found."""

    def __init__(self) -> None:
        self.body: list[Stmt] = []

    def add(self, value: Expr) -> Expr:
        name = f"t{len(self.body)}"
        self.body.append(Name(name, value))
        return temp(name, value.dtype)


_PATCHES: dict[str, Any] = {"images": REQUIRED, "patches": REQUIRED}

transformed_patches: OpDef = OpDef(
    "winograd_patches", "x", infer=_patches_type, attrs=_PATCHES, lower=Serial(_patches_steps),
    numpy=_patches_numpy,
    doc="B^T d B for the patches d of 4x4 elements, two apart, of some images (the first, and how many): "
        "[n, h, w, c] -> [16, images * patches.., c].",
    samples=(*shapes([(3, 6, 8, 5)], images=(1, 2), patches=(2, 3)),
             *shapes([(1, 4, 4, 33)], images=(0, 1), patches=(1, 1))))

transformed_filters: OpDef = OpDef(
    "winograd_filters", "filters", infer=_filters_type, lower=Serial(_filters_steps), numpy=_filters_numpy,
    doc="G w G^T: [3, 3, c, out] -> [16, c, out].", samples=shapes([(3, 3, 5, 7)], [(3, 3, 1, 40)]))

patch_sums: OpDef = OpDef(
    "winograd_sums", "products", infer=_sums_type, attrs={**_PATCHES, "place": REQUIRED, "shape": REQUIRED},
    lower=Indexed(_sums_element), numpy=_sums_numpy,
    doc="A^T m A at one of its four places, for the first `shape` patches of each image: "
        "[16, images * patches.., out] -> [images, shape.., out].",
    samples=(*shapes([(16, 12, 5)], images=2, patches=(2, 3), place=(0, 1), shape=(2, 2)),
             *shapes([(16, 4, 20)], images=1, patches=(2, 2), place=(1, 0), shape=(1, 2))))
