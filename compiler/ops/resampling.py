"""Other sizes of images by the matrix of each axis: bicubic interpolation, and means over areas."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.ir.dtypes import float32, int64
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import Indexed, Let, Load
from graphflow.compiler.ops.images import place_of
from graphflow.compiler.ops.rules import open_dims
from graphflow.compiler.ops.samples import Sample

_STEPS = 1024  # TF1 rounds the place between two pixels to so many parts
_WAY: dict[str, Any] = {"old": REQUIRED, "new": REQUIRED, "dtype": float32, "align_corners": False,
                        "half_pixel_centers": False}


def _weights_type(op: Operation) -> TensorType:
    return TensorType(op.dtype, open_dims((op.new, op.old)))


# bicubic: a cubic polynomial through four pixels. With half_pixel_centers the curve is Keys', and pixels
# beyond the edge do not count; else TF1 takes a sharper one, and repeats the pixel at the edge.

def _curve(x: Any, a: float) -> list[Any]:
    """The weights of the pixels at -1, 0, 1 and 2, of the place x between 0 and 1."""
    def near(d: Any) -> Any:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Any) -> Any:
        return ((d * a - 5 * a) * d + 8 * a) * d - 4 * a
    return [far(x + 1), near(x), near(1 - x), far(2 - x)]


def _cubic_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    place = let(place_of(op, at[0], op.old, op.new))
    floor = let(E.call("floor", place))
    share = let(E.call("rint", (place - floor) * float(_STEPS)) / float(_STEPS))
    first, last = E.cast(floor, int64) - 1, E.index(op.old - 1)
    total: Any = 0.0
    valid: Any = 0.0
    for k, weight in enumerate(_curve(share, -0.5 if op.half_pixel_centers else -0.75)):
        pixel = let(first + k)
        inside = E.minimum(E.maximum(pixel, 0), last)
        valid = E.select(E.eq(pixel, inside), weight, 0.0) + valid
        hit = E.eq(pixel if op.half_pixel_centers else inside, E.index(at[1]))
        total = E.select(hit, weight, 0.0) + total
    return E.cast(total / valid if op.half_pixel_centers else total, op.dtype)


def _cubic_numpy(old: int, new: int, dtype: Any, align_corners: bool, half_pixel_centers: bool) -> Any:
    real = np.float64 if dtype.numpy == np.float64 else np.float32
    i = np.arange(new, dtype=real)
    scale = _scale_numpy(old, new, align_corners, real)
    place = (i + real(0.5)) * scale - real(0.5) if half_pixel_centers else i * scale
    floor = np.floor(place)
    share = np.rint((place - floor) * real(_STEPS)) / real(_STEPS)
    result = np.zeros((new, old), real)
    for k, weight in enumerate(_curve(share, -0.5 if half_pixel_centers else -0.75)):
        pixel = floor.astype(int) - 1 + k
        inside = np.clip(pixel, 0, old - 1)
        np.add.at(result, (np.arange(new), inside),
                  np.where(pixel == inside, weight, 0) if half_pixel_centers else weight)
    return (result / result.sum(1, keepdims=True) if half_pixel_centers else result).astype(dtype.numpy)


def _scale_numpy(old: int, new: int, align_corners: bool, real: Any) -> Any:
    return real(old - 1) / real(new - 1) if align_corners and new > 1 else real(old) / real(new)


_WAYS: tuple[dict[str, bool], ...] = ({}, {"align_corners": True}, {"half_pixel_centers": True})
_SIZES = ((3, 7), (7, 3), (5, 1), (4, 4), (1, 2))
bicubic_weights = OpDef(
    "bicubic_weights", "", infer=_weights_type, attrs={**_WAY, "method": "bicubic"}, dim_attrs=("old", "new"),
    lower=Indexed(_cubic_element), numpy=lambda method, **way: _cubic_numpy(**way),
    doc="A matrix that resizes one axis: [new, old].",
    samples=[Sample((), {"old": s, "new": t, **way}) for way in _WAYS for s, t in _SIZES])


# area: the mean over the part of the image that a pixel of the result covers

def _area_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    begin, end = (let(place_of(op, i, op.old, op.new)) for i in (at[0], at[0] + 1))
    pixel = E.index(at[1], begin.dtype)
    after = E.select(E.eq(E.index(at[1]), E.index(op.old - 1)), end, pixel + 1.0)  # the last goes on beyond
    covered = E.maximum(E.minimum(end, after) - E.maximum(begin, pixel), 0.0)
    return E.cast(covered / (end - begin), op.dtype)


def _area_numpy(old: int, new: int, dtype: Any, align_corners: bool) -> Any:
    real = np.float64 if dtype.numpy == np.float64 else np.float32
    scale = _scale_numpy(old, new, align_corners, real)
    begin = (np.arange(new, dtype=real) * scale)[:, None]
    end = (np.arange(1, new + 1).astype(real) * scale)[:, None]
    pixel = np.arange(old, dtype=real)[None]
    after = np.where(pixel == old - 1, end, pixel + 1)
    covered = np.maximum(np.minimum(end, after) - np.maximum(begin, pixel), 0)
    return (covered / (end - begin)).astype(dtype.numpy)


area_weights = OpDef(
    "area_weights", "", infer=_weights_type, attrs={**_WAY, "method": "area"}, dim_attrs=("old", "new"),
    lower=Indexed(_area_element),
    numpy=lambda method, half_pixel_centers, **way: _area_numpy(**way),
    doc="A matrix that resizes one axis: [new, old].",
    samples=[Sample((), {"old": s, "new": t, **way}) for way in _WAYS[:2] for s, t in _SIZES[:4]])
