"""Convolutions that step by one with fewer multiplications: Winograd's F(2x2, 3x3), and its kin.

2x2 neighbouring outputs come from one patch of inputs: patch and filters are transformed by additions (see
ops/winograd_lines.py), multiplied element by element, and summed over the channels by matrix products, one
for each pair of points. 3x3 filters take 16 multiplications in place of 36, 5x5 filters 49 in place of 100.

    winograd_convolution   out = A^T [ sum over c of (G w G^T) * (B^T x B) ] A
    winograd_filter_grad   the transposed one: w's = G^T [ sum over patches of (B^T x B) * (A g A^T) ] G

A kernel goes over patches band by band: transformed patches and sums of a band stay in the cache.

Rounding errors are those of direct sums in the norm of a patch, not of a window: an output may lose accuracy
to an element of its patch that it does not depend on, and an infinity there makes it a NaN.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015
"""

from __future__ import annotations

import itertools
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
from graphflow.compiler.loops.expr import Expr, temp
from graphflow.compiler.loops.forms import Banded, Piece, Serial, Workspace
from graphflow.compiler.loops.nest import Let as Name
from graphflow.compiler.loops.nest import Stmt, Store, nested
from graphflow.compiler.ops.joining import pad
from graphflow.compiler.ops.samples import Sample
from graphflow.compiler.ops.window_products import decided_dims, padded, valid_convolution
from graphflow.compiler.ops.windows import Slide
from graphflow.compiler.ops.winograd_lines import Key, Line, apply
from graphflow.compiler.records import record

_LEAST_CHANNELS = 32       # with fewer, the transforms cost more than the products save
_LEAST_PATCHES = 48        # with fewer, the transformed filters are most of the traffic


def convolve(x: Tensor, filters: Tensor, found: tuple[Slide, ...]) -> Tensor:
    """The products of the windows over x [n, spatial.., c] with filters [size.., c, out]."""
    result: Tensor
    size = tuple(s.size for s in found)
    if _pays(x, filters.type.known_dims[2:], found):
        result = winograd_convolution(_around_patches(x, found), transformed_filters(filters, size=size),
                                      size=size, counts=tuple(s.count for s in found))
    else:
        result = valid_convolution(padded(x, found), filters, strides=tuple(s.stride for s in found),
                                   dilations=tuple(s.dilation for s in found))
    return result


def _pays(x: Tensor, channels: Sequence[Dim], found: tuple[Slide, ...]) -> bool:
    if not flags.use_winograd() or x.dtype is not float32 or len(found) != 2:
        return False
    if any(s.size == 1 or (s.stride, s.dilation) != (1, 1) for s in found):
        return False
    n = x.type.known_dims[0]
    patches = (n if isinstance(n, int) else 1) * product(_halves(s.count) for s in found)
    return (D.is_nonnegative(patches - _LEAST_PATCHES)
            and all(D.is_nonnegative(d - _LEAST_CHANNELS) for d in channels))


def _around_patches(x: Tensor, found: tuple[Slide, ...]) -> Tensor:
    """x with zeros around, as far as patches reach."""
    around = tuple((s.before, 2 * _halves(s.count) + s.size - 1 - s.before - s.extent) for s in found)
    result: Tensor = pad(x, paddings=((0, 0), *around, (0, 0)))
    return result


def _halves(count: Any) -> Any:
    return (count + 1) // 2


# Points

@record
class _Points:
    """The points of all axes together, those with equally many values side by side.

    number  of each point
    first   what number its first value has: it has one for each run along each axis
    """

    lines: tuple[Line, ...]

    @property
    def order(self) -> list[Key]:
        return sorted(itertools.product(*(line.points for line in self.lines)),
                      key=lambda point: -len(self.runs(point)))

    @property
    def number(self) -> dict[Key, int]:
        return {point: k for k, point in enumerate(self.order)}

    @property
    def values(self) -> dict[Key, tuple[Key, int]]:
        """The key of each value -> its point, and its number at the point."""
        return {tuple(zip(point, run, strict=True)): (point, k)
                for point in self.order for k, run in enumerate(self.runs(point))}

    @property
    def classes(self) -> list[tuple[int, int]]:
        """How many points there are, and how many values each of them has, by number."""
        return [(len(list(same)), count)
                for count, same in itertools.groupby(len(self.runs(point)) for point in self.order)]

    @property
    def count(self) -> int:
        """Of all values."""
        return sum(points * values for points, values in self.classes)

    def runs(self, point: Key) -> list[Key]:
        return list(itertools.product(*(line.runs_at(p) for line, p in zip(self.lines, point, strict=True))))


def _points(size: Sequence[int]) -> _Points:
    return _Points(tuple(Line(s) for s in size))


def _keys(extents: Sequence[int]) -> Iterator[Key]:
    return itertools.product(*(range(e) for e in extents))


class _Lets:
    """Values named in the order in which they are found."""

    def __init__(self) -> None:
        self.body: list[Stmt] = []

    def add(self, value: Expr) -> Expr:
        if value.op == "temp":
            return value
        name = f"t{len(self.body)}"
        self.body.append(Name(name, value))
        return temp(name, value.dtype)


# Bands

@record
class _Bands:
    """Patches, cut into bands of rows of them.

    halves  patches along each axis of an image
    rows    of patches in a band
    total   rows of patches in all images
    """

    halves: tuple[int, ...]
    rows: int
    total: Dim

    @property
    def wide(self) -> int:
        return self.halves[-1]

    @property
    def patches(self) -> int:
        """Of a band."""
        return self.rows * self.wide

    @property
    def count(self) -> Dim:
        return (self.total + self.rows - 1) // self.rows

    def place(self, row: Dim) -> tuple[Dim, ...]:
        """The image and the indices within it of a row of patches."""
        digits: list[Dim] = []
        for extent in reversed(self.halves[:-1]):
            digits.insert(0, row % extent)
            row = row // extent
        return (row, *digits)


def _bands(x: TensorType, counts: Sequence[int], cache: int, each: Dim) -> _Bands:
    """Bands of as many patches as a cache holds that take so much each, or of one row of them."""
    most = cache // each if isinstance(each, int) else _LEAST_PATCHES
    halves = tuple(_halves(c) for c in counts)
    per_image, n = product(halves[:-1]), x.known_dims[0]
    assert isinstance(per_image, int)
    total = n * per_image if isinstance(n, int) else per_image
    rows = max(1, min(most // halves[-1], total))
    rows = -(-total // -(-total // rows))
    return _Bands(halves, rows, n * per_image)


def _transformed(op: Operation, memory: Workspace, points: _Points, bands: _Bands, first: Dim, rows: Dim,
                 to: Piece) -> list[Stmt]:
    """The values of x's patches at all points, for `rows` rows of patches from `first` on.

    For each class of points: [point, patch, value, channel]
    """
    l, j, c = axis("l", rows), axis("j", bands.wide), axis("c", op.x.type.known_dims[-1])
    *place, channels = *bands.place(first + l), op.x.type.known_dims[-1]
    corner = [2 * i for i in (*place[1:], j)]
    lets = _Lets()
    inputs = {key: lets.add(memory.load(0, (place[0], *(a + k for a, k in zip(corner, key, strict=True)), c)))
              for key in _keys([line.size + 1 for line in points.lines])}
    found = apply((line.inputs for line in points.lines), inputs, lets.add)
    stores = []
    starts = _starts(points, bands.patches * channels)
    for key, (point, k) in points.values.items():
        values = len(points.runs(point))
        at = (starts[point] + ((l * bands.wide + j) * values + k) * channels) + c
        stores.append(Store(to[0], to[1] + at, found[key]))
    return nested([*lets.body, *stores], (l, j, c))


def _starts(points: _Points, each: Any) -> dict[Key, Any]:
    """Where the values of each point start, of which each takes so much."""
    starts, total = {}, 0
    for point in points.order:
        starts[point] = total * each
        total += len(points.runs(point))
    return starts


# The convolution

def _convolution_type(op: Operation) -> TensorType:
    x, factors = decided_dims(op.x, 1), decided_dims(op.factors, 0)
    return TensorType(op.x.dtype, (x[0], *op.counts, factors[-1]))


def _convolution_steps(op: Operation, memory: Workspace) -> list[Stmt]:
    points, (*_, channels), out = _points(op.size), op.x.type.known_dims, op.out.type.known_dims[-1]
    each = 4 * (points.count * channels + len(points.order) * out)
    bands = _bands(op.x.type, op.counts, memory.cache // 2, each)
    band = 0 if bands.count == 1 else axis("b", bands.count)
    here = minimum(bands.rows, bands.total - band * bands.rows)
    patches = memory.room(op.x.dtype, bands.patches * points.count * channels)
    sums = memory.room(op.x.dtype, bands.patches * len(points.order) * out)
    body = [*_transformed(op, memory, points, bands, band * bands.rows, here, patches),
            *_products(op, memory, points, bands, patches, sums),
            *_outputs(op, memory, points, bands, band * bands.rows, here, sums)]
    return nested(body, (band,))


def _products(op: Operation, memory: Workspace, points: _Points, bands: _Bands, patches: Piece,
              sums: Piece) -> list[Stmt]:
    """The products of all points of a class in one loop."""
    *_, channels = op.x.type.known_dims
    out, number, first, body = op.out.type.known_dims[-1], 0, 0, list[Stmt]()
    for count, values in points.classes:
        p: Dim = 0 if count == 1 else axis("p", count)
        value = first + p * values
        one = memory.product((sums[0], sums[1] + (number + p) * bands.patches * out),
                             (patches[0], patches[1] + value * bands.patches * channels),
                             (memory.operand(1), value * channels * out),
                             (bands.patches, out, values * channels))
        body += nested([one], (p,))
        number, first = number + count, first + count * values
    return body


def _outputs(op: Operation, memory: Workspace, points: _Points, bands: _Bands, first: Dim, rows: Dim,
             sums: Piece) -> list[Stmt]:
    """The outputs of a band; those of the last patches of an odd number only where there are any."""
    l, body = axis("l", rows), list[Stmt]()
    place, odd = bands.place(first + l), [count % 2 for count in op.counts]
    wide, last = bands.wide - odd[-1], (0,) if odd[-1] else ()
    for which in _keys([1 + o for o in odd[:-1]]):
        some = tuple(minimum(1, bands.halves[k] - 1 - place[1 + k]) if w else 1 for k, w in enumerate(which))
        kinds = [(w,) if o else (0, 1) for w, o in zip(which, odd, strict=False)]
        inside = []
        for columns, j in ((range(2), axis("j", wide)), (last, bands.wide - 1)):
            if 0 not in (j, len(columns)) or len(columns) == 1:
                inside += _places(op, memory, points, bands, (l, place, j), [*kinds, tuple(columns)], sums)
        guards = tuple(axis(f"s{k}", e) for k, e in enumerate(some) if e != 1)
        if 0 not in some:
            body += nested(inside, guards)
    return nested(body, (l,))


def _places(op: Operation, memory: Workspace, points: _Points, bands: _Bands, at: Any,
            kinds: Sequence[Sequence[int]], sums: Piece) -> list[Stmt]:
    """Outputs of some kinds, first or second along each axis, of one row of patches."""
    (l, place, j), channels = at, op.out.type.known_dims[-1]
    o, lets = axis("o", channels), _Lets()
    row = l * bands.wide + j
    products = {}
    for point, number in points.number.items():
        offset = sums[1] + (number * bands.patches + row) * channels + o
        products[point] = lets.add(E.load(sums[0], offset, op.out.dtype))
    maps = [{kind: line.sums[kind] for kind in some} for line, some in zip(points.lines, kinds, strict=True)]
    found = apply(maps, products, lets.add)
    given = [s for key, value in found.items() for s in memory.give(
        (place[0], *(2 * i + k for i, k in zip((*place[1:], j), key, strict=True)), o), value)]
    loops = (*((j,) if D.single_atom(j) is not None else ()), o)
    return nested([*lets.body, *given], loops)


def _convolution_numpy(x: Any, factors: Any, size: Any, counts: Any) -> Any:
    points, halves = _points(size), [_halves(c) for c in counts]
    found = _patches_numpy(x, points, halves)
    starts, channels, sums = _starts(points, x.shape[-1]), x.shape[-1], {}
    for point in points.order:
        values = [found[key] for key, (p, _) in points.values.items() if p == point]
        rows = np.concatenate(values, axis=-1)
        sums[point] = rows @ factors[starts[point]:starts[point] + len(values) * channels]
    result = np.zeros((x.shape[0], *(2 * h for h in halves), factors.shape[-1]), x.dtype)
    for key, value in apply((line.sums for line in points.lines), sums).items():
        _cut(result, key, halves)[...] = value
    inside = (slice(None), *(slice(c) for c in counts))
    return result[inside]


def _patches_numpy(x: Any, points: _Points, halves: Sequence[int]) -> dict[Any, Any]:
    inputs = {key: _cut(x, key, halves) for key in _keys([line.size + 1 for line in points.lines])}
    return apply((line.inputs for line in points.lines), inputs)


def _cut(x: Any, key: Key, halves: Sequence[int]) -> Any:
    """One element of each patch."""
    cut = (slice(None), *(slice(k, k + 2 * h - 1, 2) for k, h in zip(key, halves, strict=True)))
    return x[cut]


# Filters

def _filters_type(op: Operation) -> TensorType:
    channels, out = decided_dims(op.filters, 0)[-2:]
    return TensorType(op.filters.dtype, (channels and _points(op.size).count * channels, out))


def _filters_steps(op: Operation, memory: Workspace) -> list[Stmt]:
    channels, out = op.filters.type.known_dims[-2:]
    points, lets = _points(op.size), _Lets()
    c, o = axis("c", channels), axis("o", out)
    taps = {key: lets.add(memory.load(0, (*key, c, o))) for key in _keys(op.size)}
    found = apply((line.taps for line in points.lines), taps, lets.add)
    stores = [memory.store((k * channels + c, o), found[key]) for k, key in enumerate(points.values)]
    return nested([*lets.body, *stores], (c, o))


def _filters_numpy(w: Any, size: Any) -> Any:
    points = _points(size)
    found = apply((line.taps for line in points.lines), {key: w[key] for key in _keys(size)})
    return np.concatenate([found[key] for key in points.values]).astype(w.dtype)


# The records

transformed_filters: OpDef = OpDef(
    "winograd_filters", "filters", infer=_filters_type, attrs={"size": REQUIRED},
    lower=Serial(_filters_steps), numpy=_filters_numpy,
    doc="G w G^T, a value below another: [size.., c, out] -> [values * c, out].",
    samples=[Sample(((*size, c, out),), {"size": size}) for size, c, out in
             (((3, 3), 5, 7), ((3, 3), 1, 40), ((5, 2), 3, 8), ((4, 1), 2, 3), ((7,), 3, 4))])


def _convolution_samples() -> Iterator[Sample]:
    for n, counts, size, channels, out in ((1, (4, 6), (3, 3), 5, 7), (2, (5, 3), (5, 5), 3, 33),
                                           (2, (2, 7), (2, 4), 4, 8), (1, (1, 1), (3, 1), 2, 3),
                                           (3, (7,), (6,), 5, 4)):
        spatial = (2 * _halves(c) + s - 1 for c, s in zip(counts, size, strict=True))
        yield Sample(((n, *spatial, channels), (_points(size).count * channels, out)),
                     {"size": size, "counts": counts})


winograd_convolution: OpDef = OpDef(
    "winograd_convolution", "x factors", infer=_convolution_type,
    attrs={"size": REQUIRED, "counts": REQUIRED}, lower=Banded(_convolution_steps),
    numpy=_convolution_numpy, samples=tuple(_convolution_samples()),
    doc="The convolution of x [n, spatial.., c] with filters of `size`, given transformed, to `counts` "
        "outputs along each axis. x holds all elements of all patches of 2 outputs along each axis.")
