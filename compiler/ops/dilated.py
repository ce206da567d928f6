"""Dilated convolutions with fewer multiplications: every dilation-th element is an image by itself.

An output sees inputs of its own phase alone, where its position is the same modulo the dilation. The phases
are as many more images of a convolution without dilation, which Winograd's form computes (ops/winograd.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.compiler.ir.dims import Dim, product
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops.indexing import strided_slice
from graphflow.compiler.ops.joining import pad
from graphflow.compiler.ops.shapes import reshape, transpose
from graphflow.compiler.ops.windows import Slide, number
from graphflow.compiler.ops.winograd import quick_convolution
from graphflow.compiler.ops.winograd_bands import halved
from graphflow.compiler.ops.winograd_gradient import quick_filter_gradient

_MOST_WASTE = 1.6  # outputs computed for one wanted: phases are filled up to whole patches


def quick_dilated(x: Tensor, filters: Tensor, found: tuple[Slide, ...]) -> Tensor | None:
    """As `quick_convolution`, with any dilation."""
    if all(s.dilation == 1 for s in found):
        return quick_convolution(x, filters, found)
    if not _is_worth_it(found):
        return None
    inner = _phases(found)
    y = quick_convolution(_apart(x, found, [s.extent for s in inner]), filters, inner)
    return None if y is None else _together(y, found)


def quick_dilated_gradient(x: Tensor, g: Tensor, found: tuple[Slide, ...]) -> Tensor | None:
    """As `quick_filter_gradient`, with any dilation."""
    if all(s.dilation == 1 for s in found):
        return quick_filter_gradient(x, g, found)
    if not _is_worth_it(found):
        return None
    inner = _phases(found)
    outputs = tuple(Slide(s.count, 1, 1, s.dilation, 0, s.count) for s in found)
    parts = _apart(g, outputs, [s.count for s in inner])
    return quick_filter_gradient(_apart(x, found, [s.extent for s in inner]), parts, inner)


def _is_worth_it(found: tuple[Slide, ...]) -> bool:
    if not all(s.stride == 1 and number(s.before) >= 0 and number(s.behind) >= 0 for s in found):
        return False
    computed = product(2 * halved(p.count) * s.dilation for p, s in zip(_phases(found), found, strict=True))
    return number(computed) <= _MOST_WASTE * number(product(s.count for s in found))


def _phases(found: tuple[Slide, ...]) -> tuple[Slide, ...]:
    """The windows over a phase; its extent holds whole patches of outputs."""
    counts = [-(-number(s.count) // s.dilation) for s in found]
    return tuple(Slide(2 * halved(n) + s.size - 1, s.size, 1, 1, 0, n)
                 for n, s in zip(counts, found, strict=True))


def _apart(x: Tensor, found: tuple[Slide, ...], extents: Sequence[Dim]) -> Tensor:
    """[n, spatial.., c] -> [phases * n, extents.., c], with zeros around."""
    n, *spatial, c = x.type.known_dims
    rank, steps = len(spatial), [s.dilation for s in found]
    around = [(s.before, e * s.dilation - s.before - s.extent) for s, e in zip(found, extents, strict=True)]
    digits = [d for pair in zip(extents, steps, strict=True) for d in pair]
    apart = reshape(pad(x, paddings=((0, 0), *around, (0, 0))), shape=(n, *digits, c))
    order = (*range(2, 2 * rank + 1, 2), 0, *range(1, 2 * rank, 2), 2 * rank + 1)
    result: Tensor = reshape(transpose(apart, perm=order), shape=(product(steps) * n, *extents, c))
    return result


def _together(y: Tensor, found: tuple[Slide, ...]) -> Tensor:
    """[phases * n, counts.., c] -> [n, spatial.., c]: what `_apart` took apart, without what fills it up."""
    images, *counts, c = y.type.known_dims
    rank, steps = len(counts), [s.dilation for s in found]
    n = images // product(steps)
    order = (rank, *(k for axis in range(rank) for k in (rank + 1 + axis, axis)), 2 * rank + 1)
    whole = [count * step for count, step in zip(counts, steps, strict=True)]
    joint = transpose(reshape(y, shape=(*steps, n, *counts, c)), perm=order)
    result: Tensor = strided_slice(reshape(joint, shape=(n, *whole, c)), begin=(0,) * (rank + 2),
                                   end=(n, *(s.count for s in found), c), strides=(1,) * (rank + 2))
    return result
