"""The filters' gradient of convolutions that step by one, with as few multiplications as the convolutions.

It is the transposed algorithm of ops/winograd.py: with the same values of patches and, of each patch's two
outputs along an axis, values at the same points,

    w = G^T [ sum over patches of (B^T x B)^T (A g A^T) ] G

The sums are matrix products of [values and channels, patches] with [patches, out]. Units of work have sums of
their own: some of the channels, and a part of the patches. How they are cut follows from the shapes alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphflow.compiler.ir.dims import Dim, axis, maximum, minimum
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import Piece, Serial, Workspace
from graphflow.compiler.loops.nest import Stmt, Store, nested
from graphflow.compiler.ops.joining import pad
from graphflow.compiler.ops.reductions import reduce_sum
from graphflow.compiler.ops.samples import Sample
from graphflow.compiler.ops.shapes import reshape
from graphflow.compiler.ops.window_products import decided_dims
from graphflow.compiler.ops.windows import Slide
from graphflow.compiler.ops.winograd import around_patches, patches_in, pays
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
    value_places,
)
from graphflow.compiler.ops.winograd_points import apply, keys_of, points_of

_MOST_SUMS = 1 << 17  # numbers: the sums of a unit stay in a core's own cache
_LEAST_PATCHES = 48   # with fewer, what follows the products costs more than they save
_UNITS = 8            # enough for the cores; more would be more sums to add up
_LONG = 4             # a band's memory by its sums': adding to these is little work then


def quick_filter_gradient(x: Tensor, g: Tensor, found: tuple[Slide, ...]) -> Tensor | None:
    """The products of the windows over x [n, spatial.., c] with g [n, windows.., out]: [size.., c, out].

    None if that is not faster than direct sums.
    """
    size, channels, out = tuple(s.size for s in found), x.type.known_dims[-1], g.type.known_dims[-1]
    if not pays(x, (channels, out), found, _LEAST_PATCHES):
        return None
    counts = tuple(s.count for s in found)
    units = _units(len(points_of(size).values), channels, out, _parts(x, found))
    if units is None:
        return None
    blocks, chunks = units
    even = pad(g, paddings=((0, 0), *((0, c % 2) for c in counts), (0, 0)))
    sums = filter_sums(around_patches(x, found), even, size=size, counts=counts, blocks=blocks, chunks=chunks)
    dims = sums.type.known_dims[1:]
    if chunks > 1:
        sums = reduce_sum(reshape(sums, shape=(blocks[0] * blocks[1], chunks, *dims)), axis=(1,))
    result: Tensor = filters_back(reshape(sums, shape=(*blocks, *dims)), size=size)
    return result


def _parts(x: Tensor, found: tuple[Slide, ...]) -> int:
    """As many parts of the patches as have enough of them each."""
    patches = patches_in(x, found) if isinstance(x.type.known_dims[0], int) else None
    return max(1, min(_UNITS, 2 * patches // _LEAST_PATCHES)) if isinstance(patches, int) else _UNITS


def _units(values: int, channels: Any, out: Any, parts: int) -> tuple[tuple[int, int], int] | None:
    """Blocks of channels in and out such that the sums of one are few, and how many parts of the patches.

    None where no divisor makes such blocks: each transforms all gradients again.
    """
    panel = panel_of(out)
    most = max(_MOST_SUMS // (values * panel), 16)
    block = next(d for d in range(min(most, channels), 0, -1) if channels % d == 0)
    if block < 16 or 2 * block < min(most, channels):
        return None
    blocks = channels // block, out // panel
    return blocks, max(1, parts // (blocks[0] * blocks[1]))


# The sums of units

def _sums_type(op: Operation) -> TensorType:
    channels, out = decided_dims(op.x, 1)[-1], decided_dims(op.g, 1)[-1]
    block = [d and d // count for d, count in zip((channels, out), op.blocks, strict=True)]
    units = op.blocks[0] * op.blocks[1] * op.chunks
    return TensorType(op.x.dtype, (units, len(points_of(op.size).values), *block))


def _sums_steps(op: Operation, memory: Workspace) -> list[Stmt]:
    units, values, channels, out = op.out.type.known_dims
    points = len(points_of(op.size).runs)
    bands = bands_of(op, memory, values * channels + points * out,
                     _LONG * values * channels * out)
    unit = 0 if units == 1 else axis("u", units)
    block = unit // op.chunks
    ins, outs = (block // op.blocks[1] * channels, channels), (block % op.blocks[1] * out, out)
    each = (bands.count + op.chunks - 1) // op.chunks
    start = unit % op.chunks * each
    inside = axis("b", maximum(minimum(each, bands.count - start), 0))
    patches = memory.room(op.x.dtype, bands.patches * values * channels)
    ends = memory.room(op.x.dtype, bands.patches * points * out)
    v, c, o = axis("v", values), axis("c", channels), axis("o", out)
    clear = nested([memory.store((unit, v, c, o), E.const(0, op.x.dtype))], (v, c, o))
    body = [*transformed(memory, bands, start + inside, patches, ins),
            *_spread(memory, bands, start + inside, ends, outs),
            *_rest(op, bands, start + inside, patches, ends),
            *_products(op, memory, bands, unit, patches, ends)]
    return nested([*clear, *nested(body, (inside,))], (unit,))


def _spread(memory: Workspace, bands: Bands, band: Dim, to: Piece,
            channels: tuple[Dim, Dim]) -> list[Stmt]:
    """The values of some channels of a band's outputs at all points: [point, patch, out]."""
    first, out = channels
    r, j, o = axis("r", bands.rows_of(band)), axis("j", bands.wide), axis("o", out)
    image, *rows = bands.place(band, r)
    corner, lets, outputs = (*rows, j), Lets(), {}
    for key in keys_of([2] * len(corner)):
        at = (image, *(2 * i + k for i, k in zip(corner, key, strict=True)), first + o)
        outputs[key] = lets.add(memory.load(1, at))
    found = apply((line.spread for line in bands.points.lines), outputs, lets.add)
    place = to[1] + (r * bands.wide + j) * out + o
    stores = [Store(to[0], place + k * bands.patches * out, found[point])
              for k, point in enumerate(bands.points.runs)]
    return nested([*lets.body, *stores], (r, j, o))


def _rest(op: Operation, bands: Bands, band: Dim, patches: Piece, ends: Piece) -> list[Stmt]:
    """Zeros where the last band has no patches."""
    if bands.even:
        return []
    left = bands.rows - bands.rows_of(band)
    _, _, channels, out = op.out.type.known_dims
    r, j, c, o = axis("r", left), axis("j", bands.wide), axis("c", channels), axis("o", out)
    patch, zero = (bands.rows - 1 - r) * bands.wide + j, E.const(0, op.x.dtype)
    inputs = [Store(patches[0], patches[1] + start + (patch * values + k) * channels + c, zero)
              for _, start, values, k in value_places(bands, channels)]
    outputs = [Store(ends[0], ends[1] + (k * bands.patches + patch) * out + o, zero)
               for k in range(len(bands.points.runs))]
    return nested([*nested(list(inputs), (c,)), *nested(list(outputs), (o,))], (r, j))


def _products(op: Operation, memory: Workspace, bands: Bands, unit: Dim, patches: Piece,
              ends: Piece) -> list[Stmt]:
    """Sums over the band's patches, added to the unit's."""
    _, all_values, channels, out = op.out.type.known_dims

    def product(point: Dim, value: Dim, values: int) -> Stmt:
        return memory.product((memory.result_buffer(), (unit * all_values + value) * channels * out),
                              (patches[0], patches[1] + value * bands.patches * channels),
                              (ends[0], ends[1] + point * bands.patches * out),
                              (values * channels, out, bands.patches), transpose_a=True, add=True)

    return of_points(bands.points, product)


def _sums_numpy(x: Any, g: Any, size: Any, counts: Any, blocks: Any, chunks: int) -> Any:
    """All patches are taken for those of the first chunk."""
    points, halves = points_of(size), [halved(c) for c in counts]
    found = patches_numpy(x, points, halves)
    outputs = {key: cut_of(g, key, halves) for key in keys_of([2] * len(halves))}
    ends = apply((line.spread for line in points.lines), outputs)
    widths = x.shape[-1] // blocks[0], g.shape[-1] // blocks[1]
    result = np.zeros((*blocks, chunks, len(points.values), *widths), x.dtype)
    for k, key in enumerate(points.values):
        rows, columns = found[key], ends[tuple(p for p, _ in key)]
        whole = rows.reshape(-1, x.shape[-1]).T @ columns.reshape(-1, g.shape[-1])
        result[:, :, 0, k] = np.swapaxes(whole.reshape(blocks[0], widths[0], blocks[1], -1), 1, 2)
    return result.reshape(-1, *result.shape[3:])


# Back to the filters

def _back_type(op: Operation) -> TensorType:
    ins, outs, _, channels, out = decided_dims(op.sums, 0)
    sides = (None if None in pair else pair[0] * pair[1] for pair in ((ins, channels), (outs, out)))
    return TensorType(op.sums.dtype, (*op.size, *sides))


def _back_steps(op: Operation, memory: Workspace) -> list[Stmt]:
    *blocks, _, channels, out = op.sums.type.known_dims
    points, lets = points_of(op.size), Lets()
    a, b = (0 if count == 1 else axis(name, count) for name, count in zip("ab", blocks, strict=True))
    c, o = axis("c", channels), axis("o", out)
    sums = {key: lets.add(memory.load(0, (a, b, k, c, o))) for k, key in enumerate(points.values)}
    found = apply((line.back for line in points.lines), sums, lets.add)
    stores = [memory.store((*key, a * channels + c, b * out + o), value) for key, value in found.items()]
    return nested([*lets.body, *stores], (a, b, c, o))


def _back_numpy(sums: Any, size: Any) -> Any:
    points = points_of(size)
    taps = apply((line.back for line in points.lines),
                 {key: np.swapaxes(sums[:, :, k], 1, 2) for k, key in enumerate(points.values)})
    ins, outs, _, channels, out = sums.shape
    found = np.stack([taps[key] for key in keys_of(size)])
    return found.reshape(*size, ins * channels, outs * out).astype(sums.dtype)


# The records

def _sums_samples() -> Iterator[Sample]:
    cases: Sequence[tuple[Any, ...]] = (
        (1, (4, 6), (3, 3), 6, 7, (2, 1)), (2, (5, 3), (5, 5), 3, 33, (1, 1)),
        (2, (2, 7), (2, 4), 4, 8, (2, 2)))
    for n, counts, size, channels, out, blocks in cases:
        spatial = (2 * halved(c) + s - 1 for c, s in zip(counts, size, strict=True))
        ends = (2 * halved(c) for c in counts)
        yield Sample(((n, *spatial, channels), (n, *ends, out)),
                     {"size": size, "counts": counts, "blocks": blocks, "chunks": 1})


filter_sums: OpDef = OpDef(
    "winograd_filter_sums", "x g", infer=_sums_type, lower=Serial(_sums_steps), numpy=_sums_numpy,
    attrs={"size": REQUIRED, "counts": REQUIRED, "blocks": REQUIRED, "chunks": REQUIRED},
    samples=tuple(_sums_samples()),
    doc="(B^T x B)^T (A g A^T), summed over the patches: [units, values, channels of a block, out]. x and g "
        "hold all elements of all patches of 2 outputs along each axis.")

filters_back: OpDef = OpDef(
    "winograd_filters_back", "sums", infer=_back_type, attrs={"size": REQUIRED}, lower=Serial(_back_steps),
    numpy=_back_numpy, doc="G^T u G: [ins, outs, values, c, out] -> [size.., ins * c, outs * out].",
    samples=[Sample(((*blocks, len(points_of(size).values), c, out),), {"size": size})
             for blocks, size, c, out in (((1, 1), (3, 3), 5, 7), ((2, 3), (5, 2), 3, 8),
                                          ((2, 1), (4, 1), 2, 3))])
