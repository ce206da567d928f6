"""Convolutions that step by one with fewer multiplications: Winograd's F(2x2, 3x3), and its kin.

2x2 neighbouring outputs come from one patch of inputs: patch and filters are transformed by additions (see
ops/winograd_points.py), multiplied element by element, and summed over the channels by matrix products, one
for each pair of points. 3x3 filters take 16 multiplications in place of 36, 5x5 filters 49 in place of 100.

    winograd_convolution   out = A^T [ sum over c of (G w G^T) * (B^T x B) ] A
    winograd_filter_grad   the transposed one: w's = G^T [ sum over patches of (B^T x B) * (A g A^T) ] G

A kernel goes over patches band by band: transformed patches and sums of a band stay in the cache.

Rounding errors are those of direct sums in the norm of a patch, not of a window: an output may lose accuracy
to an element of its patch that it does not depend on, and an infinity there makes it a NaN.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphflow.compiler import flags
from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.dims import Dim, axis, minimum, product
from graphflow.compiler.ir.dtypes import float32
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import Banded, Piece, Serial, Workspace
from graphflow.compiler.loops.nest import Stmt, loop_over, nested
from graphflow.compiler.ops.joining import pad
from graphflow.compiler.ops.samples import Sample
from graphflow.compiler.ops.window_products import decided_dims
from graphflow.compiler.ops.windows import Slide
from graphflow.compiler.ops.winograd_bands import (
    Bands,
    Lets,
    bands_of,
    cut_of,
    halved,
    of_points,
    panel_of,
    patches_numpy,
    transformed,
)
from graphflow.compiler.ops.winograd_points import Key, apply, keys_of, points_of

_LEAST_CHANNELS = 16  # with fewer, the transforms cost more than the products save
_LARGEST = 7          # filters beyond it are too many points: the code grows with their square
_LEAST_PATCHES = 48   # with fewer, the filters' transform does
_IMAGES = 3           # what an unknown batch is taken for


def quick_convolution(x: Tensor, filters: Tensor, found: tuple[Slide, ...]) -> Tensor | None:
    """The products of the windows over x [n, spatial.., c] with filters [size.., c, out].

    None if that is not faster than direct sums.
    """
    if not pays(x, filters.type.known_dims[2:], found, _LEAST_PATCHES):
        return None
    size = tuple(s.size for s in found)
    factors = transformed_filters(filters, size=size, panel=panel_of(filters.type.known_dims[-1]))
    result: Tensor = winograd_convolution(around_patches(x, found), factors, size=size,
                                          counts=tuple(s.count for s in found))
    return result


def pays(x: Tensor, channels: Sequence[Dim], found: tuple[Slide, ...], least: int) -> bool:
    """Whether a convolution, of which there are at least so many patches, is faster this way."""
    if not flags.use_winograd() or x.dtype is not float32 or len(found) != 2:
        return False
    if any(not 1 < s.size <= _LARGEST or (s.stride, s.dilation) != (1, 1) for s in found):
        return False
    if any(isinstance(d, int) and d % 16 == 1 for d in channels):  # LLVM takes long over a lane by itself
        return False
    return (D.is_nonnegative(patches_in(x, found) - least)
            and all(D.is_nonnegative(d - _LEAST_CHANNELS) for d in channels))


def patches_in(x: Tensor, found: tuple[Slide, ...]) -> Dim:
    """How many patches there are; in a few images, where only the run tells how many those are."""
    n = x.type.known_dims[0]
    return product((n if isinstance(n, int) else _IMAGES, *(halved(s.count) for s in found)))


def around_patches(x: Tensor, found: tuple[Slide, ...]) -> Tensor:
    """x with zeros around, as far as patches reach."""
    around = tuple((s.before, 2 * halved(s.count) + s.size - 1 - s.before - s.extent) for s in found)
    result: Tensor = pad(x, paddings=((0, 0), *around, (0, 0)))
    return result


# The convolution

def _convolution_type(op: Operation) -> TensorType:
    x, factors = decided_dims(op.x, 1), decided_dims(op.factors, 0)
    out = None if None in factors[::2] else factors[0] * factors[2]
    return TensorType(op.x.dtype, (x[0], *op.counts, out))


def _convolution_steps(op: Operation, memory: Workspace) -> list[Stmt]:
    panels, rows, out = op.factors.type.known_dims
    points, channels = points_of(op.size), op.x.type.known_dims[-1]
    values, sums = len(points.values), len(points.runs)
    bands = bands_of(op, memory, values * channels + sums * out, panels * rows * out)
    band = 0 if bands.count == 1 else axis("b", bands.count)
    panel = 0 if panels == 1 else axis("q", panels)
    patches = memory.room(op.x.dtype, bands.patches * values * channels)
    body = transformed(memory, bands, band, patches, (0, channels))
    products = memory.room(op.x.dtype, bands.patches * sums * out)
    inside = [*_products(op, memory, bands, panel, patches, products),
              *_outputs(op, memory, bands, (band, panel), products)]
    body += nested(inside, (panel,))
    return body if band == 0 else [loop_over(band, body, apart=True)]


def _products(op: Operation, memory: Workspace, bands: Bands, panel: Dim, patches: Piece,
              sums: Piece) -> list[Stmt]:
    """Sums over all channels, and over the values of a point."""
    (_, rows, out), channels = op.factors.type.known_dims, op.x.type.known_dims[-1]

    def product(point: Dim, value: Dim, values: int) -> Stmt:
        first = value * channels
        return memory.product((sums[0], sums[1] + point * bands.patches * out),
                              (patches[0], patches[1] + first * bands.patches),
                              (memory.operand(1), (panel * rows + first) * out),
                              (bands.patches, out, values * channels))

    return of_points(bands.points, product)


def _outputs(op: Operation, memory: Workspace, bands: Bands, part: tuple[Dim, Dim],
             sums: Piece) -> list[Stmt]:
    """The outputs of a band, in a panel; of the last patches of an odd number only those that there are."""
    band, panel = part
    r, odd, body = axis("r", bands.rows_of(band)), [count % 2 for count in op.counts], list[Stmt]()
    place, last = bands.place(band, r), bands.wide - 1
    for which in keys_of([1 + o for o in odd[:-1]]):
        kinds = [(w,) if o else (0, 1) for w, o in zip(which, odd, strict=False)]
        some = [minimum(1, h - 1 - i) for w, h, i in zip(which, bands.halves, place[1:], strict=False) if w]
        inside = []
        if bands.wide > odd[-1]:
            j = axis("j", bands.wide - odd[-1])
            inside += nested(_places(op, memory, bands, (r, place, j, panel), [*kinds, (0, 1)], sums), (j,))
        if odd[-1]:
            inside += _places(op, memory, bands, (r, place, last, panel), [*kinds, (0,)], sums)
        if 0 not in some:
            body += nested(inside, tuple(axis(f"s{k}", e) for k, e in enumerate(some)))
    return nested(body, (r,))


def _places(op: Operation, memory: Workspace, bands: Bands, at: Any, kinds: Sequence[Sequence[int]],
            sums: Piece) -> list[Stmt]:
    """The first or second outputs, or both, along each axis, of a patch."""
    (r, place, j, panel), channels = at, op.factors.type.known_dims[-1]
    o, lets = axis("o", channels), Lets()
    offset = sums[1] + (r * bands.wide + j) * channels + o
    products = {point: lets.add(E.load(sums[0], offset + k * bands.patches * channels, op.out.dtype))
                for k, point in enumerate(bands.points.runs)}
    maps = [{kind: line.sums[kind] for kind in some}
            for line, some in zip(bands.points.lines, kinds, strict=True)]
    found = apply(maps, products, lets.add)
    corner = (*place[1:], j)
    given = [s for key, value in found.items() for s in memory.give(
        (place[0], *(2 * i + k for i, k in zip(corner, key, strict=True)), panel * channels + o), value)]
    return nested([*lets.body, *given], (o,))


def _convolution_numpy(x: Any, factors: Any, size: Any, counts: Any) -> Any:
    points, halves = points_of(size), [halved(c) for c in counts]
    found, all_panels = patches_numpy(x, points, halves), np.concatenate(factors, axis=-1)
    sums: dict[Key, Any] = dict.fromkeys(points.runs, 0)
    for key, w in zip(points.values, np.split(all_panels, len(points.values)), strict=True):
        point = tuple(p for p, _ in key)
        sums[point] = sums[point] + found[key] @ w
    result = np.zeros((x.shape[0], *(2 * h for h in halves), all_panels.shape[-1]), x.dtype)
    for key, value in apply((line.sums for line in points.lines), sums).items():
        cut_of(result, key, halves)[...] = value
    inside = (slice(None), *(slice(c) for c in counts))
    return result[inside]


# Filters

def _filters_type(op: Operation) -> TensorType:
    channels, out = decided_dims(op.filters, 0)[-2:]
    rows = channels and len(points_of(op.size).values) * channels
    return TensorType(op.filters.dtype, (out and out // op.panel, rows, op.panel))


def _filters_steps(op: Operation, memory: Workspace) -> list[Stmt]:
    channels, (panels, _, out) = op.filters.type.known_dims[-2], op.out.type.known_dims
    points, lets = points_of(op.size), Lets()
    q = 0 if panels == 1 else axis("q", panels)
    c, o = axis("c", channels), axis("o", out)
    taps = {key: lets.add(memory.load(0, (*key, c, q * out + o))) for key in keys_of(op.size)}
    found = apply((line.taps for line in points.lines), taps, lets.add)
    stores = [memory.store((q, k * channels + c, o), found[key]) for k, key in enumerate(points.values)]
    return nested([*lets.body, *stores], (q, c, o))


def _filters_numpy(w: Any, size: Any, panel: Any) -> Any:
    points = points_of(size)
    found = apply((line.taps for line in points.lines), {key: w[key] for key in keys_of(size)})
    rows = np.concatenate([found[key] for key in points.values])
    return np.stack(np.split(rows, rows.shape[-1] // panel, axis=-1)).astype(w.dtype)


# The records

transformed_filters: OpDef = OpDef(
    "winograd_filters", "filters", infer=_filters_type, attrs={"size": REQUIRED, "panel": REQUIRED},
    lower=Serial(_filters_steps), numpy=_filters_numpy,
    doc="G w G^T, a value below another: [size.., c, out] -> [out / panel, values * c, panel].",
    samples=[Sample(((*size, c, out),), {"size": size, "panel": panel}) for size, c, out, panel in
             (((3, 3), 5, 7, 7), ((3, 3), 1, 40, 20), ((5, 2), 3, 8, 8), ((4, 1), 2, 3, 1), ((7,), 3, 4, 2))])


def _convolution_samples() -> Iterator[Sample]:
    for n, counts, size, channels, out in ((1, (4, 6), (3, 3), 5, (1, 7)), (2, (5, 3), (5, 5), 3, (2, 33)),
                                           (2, (2, 7), (2, 4), 4, (3, 8)), (1, (1, 1), (3, 1), 2, (1, 3)),
                                           (3, (7,), (6,), 5, (2, 4))):
        spatial = (2 * halved(c) + s - 1 for c, s in zip(counts, size, strict=True))
        yield Sample(((n, *spatial, channels), (out[0], len(points_of(size).values) * channels, out[1])),
                     {"size": size, "counts": counts})


winograd_convolution: OpDef = OpDef(
    "winograd_convolution", "x factors", infer=_convolution_type,
    attrs={"size": REQUIRED, "counts": REQUIRED}, lower=Banded(_convolution_steps),
    numpy=_convolution_numpy, samples=tuple(_convolution_samples()),
    doc="The convolution of x [n, spatial.., c] with filters of `size`, given transformed, to `counts` "
        "outputs along each axis. x holds all elements of all patches of 2 outputs along each axis.")
