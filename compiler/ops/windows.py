"""Windows that slide over the spatial axes of [batch, spatial..., channels]: where they lie, what they hold.

Convolution and pooling are products and reductions over `windows`; their gradients go back by `fold_windows`,
`spread_windows` and `place_in_windows`, which gather: each element looks up the windows that hold it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.dims import Dim, Poly
from graphflow.compiler.ir.dtypes import bool_
from graphflow.compiler.ir.explain import shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import Indexed, Let, Load
from graphflow.compiler.ops.reductions import reduce_sum
from graphflow.compiler.ops.rules import equal_dims, open_dims
from graphflow.compiler.ops.samples import Sample
from graphflow.compiler.ops.shapes import dim_of
from graphflow.compiler.records import record

Array = np.ndarray[Any, Any]


# Where windows lie

@record
class Slide:
    """Windows along one axis of `extent`: element u of window i is at i*stride + u*dilation - before."""

    extent: Dim
    size: int
    stride: int
    dilation: int
    before: Dim
    count: Dim

    @property
    def after(self) -> Dim:
        """Padding behind that the last window needs."""
        return D.maximum(self.behind, 0)

    @property
    def behind(self) -> Dim:
        """How far the last window reaches behind the extent; below 0 if it ends before."""
        last = (self.count - 1) * self.stride + (self.size - 1) * self.dilation - self.before
        return last + 1 - self.extent

    @property
    def padded(self) -> bool:
        return self.before != 0 or self.after != 0

    @property
    def covers(self) -> int:
        return most_holders(self.size, self.stride, self.dilation)

    def position(self, i: Dim, u: Dim) -> Dim:
        return i * self.stride + u * self.dilation - self.before

    def holder(self, at: Dim, q: Dim) -> tuple[Dim, Dim, Dim]:
        """Candidate q of the windows that hold an element: (window, element of it, 0 if it is there)."""
        if self.dilation == 1:
            first, rest = D.divide(at + self.before, self.stride)
            return first - q, rest + q * self.stride, 0
        window, rest = D.divide(at + self.before - q * self.dilation, self.stride)
        return window, q, rest


def most_holders(size: int, stride: int, dilation: int) -> int:
    """At most so many windows hold one element."""
    return -(-size // stride) if dilation == 1 else size


def slide(extent: Dim, size: Any, stride: int, dilation: int, padding: Any) -> Slide:
    """`padding` is "SAME" (ceil(extent / stride) windows), "VALID" or a pair (before, after)."""
    reach = (size - 1) * dilation + 1
    if padding == "SAME":
        count = (extent + stride - 1) // stride
        total = D.maximum((count - 1) * stride + reach - extent, 0)
        return Slide(extent, size, stride, dilation, total // 2, count)
    before, after = (0, 0) if padding == "VALID" else padding
    return Slide(extent, size, stride, dilation, before, (extent + before + after - reach) // stride + 1)


def window_attrs(op: Operation) -> dict[str, Any]:
    """Those of an op's attributes that say where its windows lie."""
    return {key: op.attrs[key] for key in ("strides", "padding", "dilations")}


def slides(extents: Sequence[Any], size: Sequence[Any], attrs: Any) -> tuple[Slide, ...]:
    """One Slide per spatial axis, from the attributes strides, dilations and padding."""
    return tuple(slide(extent, size[k], attrs["strides"][k], attrs["dilations"][k], axis_padding(attrs, k))
                 for k, extent in enumerate(extents))


def axis_padding(attrs: Any, k: int) -> Any:
    padding = attrs["padding"]
    return padding if isinstance(padding, str) else padding[k]


def check_geometry(op: Operation, rank: int) -> None:
    """The attributes hold a number of 1 or more, and a pair of 0 or more, for each of `rank` spatial axes."""
    for key in ("strides", "dilations", *(("size",) if "size" in op.attrs else ())):
        value = op.attrs[key]
        if isinstance(value, tuple) and any(isinstance(v, Poly) for v in value):
            raise shape_error(op, f"(C3): {key} {value} is unknown while the graph is compiled")
        if not isinstance(value, tuple) or len(value) != rank or any(
                not isinstance(v, int) or v < 1 for v in value):
            raise shape_error(op,
                              f"(C3): {key} {value} must hold a number of 1 or more for each of the {rank} "
                                  f"spatial axes")
    padding = op.padding
    if padding in ("SAME", "VALID"):
        return
    if not isinstance(padding, tuple) or len(padding) != rank or any(
            len(pair) != 2 or min(pair) < 0 for pair in padding):
        raise shape_error(op,
                          f'(C4): padding {padding!r} must be "SAME", "VALID" or a pair of numbers of 0 or '
                              f"more for each of the {rank} spatial axes")


def window_counts(op: Operation, extents: Any, size: Sequence[Any]) -> tuple[Dim | None, ...]:
    """How many windows there are along each axis; None where the extent is unknown.

    Raises: ShapeError where a window is larger than the padded axis
    """
    counts: list[Dim | None] = []
    for k, extent in enumerate(extents):
        if extent is None or (size[k] is None and op.padding != "SAME"):
            counts.append(None)
            continue
        found = slide(extent, 1 if size[k] is None else size[k], op.strides[k], op.dilations[k],
                      axis_padding(op.attrs, k))
        if op.padding != "SAME":
            _require_room(op, k, extent, size[k])
        counts.append(found.count)
    return tuple(counts)


def _require_room(op: Operation, k: int, extent: Dim, size: Any) -> None:
    reach = (size - 1) * op.dilations[k] + 1
    before, after = (0, 0) if op.padding == "VALID" else op.padding[k]
    room = extent + before + after
    try:
        op.graph.rules.require(D.maximum(room, reach), room)
    except ValueError:
        raise shape_error(op, f"(C5): a window reaches over {reach} elements of spatial axis {k}, which has "
                              f"{room} with its padding", 'padding="SAME" would fit') from None


def kernel_axes(rank: int) -> tuple[int, ...]:
    """The axes of `windows` over the elements of a window, for so many spatial axes."""
    return tuple(range(1 + rank, 1 + 2 * rank))


# In numpy: one window element at a time, for all windows at once

def parts(found: Sequence[Slide]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each element of a window, with where all windows have it in the padded array."""
    for u in np.ndindex(*(s.size for s in found)):
        starts = [v * s.dilation for v, s in zip(u, found, strict=True)]
        cut = tuple(slice(b, b + (number(s.count) - 1) * s.stride + 1 if s.count else b, s.stride)
                    for b, s in zip(starts, found, strict=True))
        yield u, (slice(None), *cut)


def number(d: Any) -> int:
    """A dim as the int that it is once there are arrays."""
    return int(d)


def pad_array(x: Array, found: Sequence[Slide], fill: Any = 0) -> Array:
    pairs = [(number(s.before), number(s.after)) for s in found]
    return np.pad(x, [(0, 0), *pairs, (0, 0)], constant_values=np.asarray(fill, x.dtype))


def padded_zeros(batch: int, found: Sequence[Slide], channels: int, dtype: Any) -> Array:
    extents = [number(s.extent + s.before + s.after) for s in found]
    return np.zeros((batch, *extents, channels), dtype)


def cropped(x: Array, found: Sequence[Slide]) -> Array:
    cut = [slice(number(s.before), number(s.before + s.extent)) for s in found]
    key = (slice(None), *cut)
    return x[key]


# windows: gathered

GEOMETRY: dict[str, Any] = {"size": REQUIRED, "strides": REQUIRED, "padding": "VALID", "dilations": REQUIRED}
BACK: dict[str, Any] = {"shape": REQUIRED, **GEOMETRY}


def spatial_dims(op: Operation, t: Tensor, extra: int = 0) -> Any:
    """The dims between batch and channels; None for an unknown rank."""
    dims, rank = t.type.dims, len(op.size)
    check_geometry(op, rank)
    if dims is None:
        return None
    if len(dims) != 2 + rank + extra:
        raise shape_error(op, f"(C2): {t.name} must have rank {2 + rank + extra}: batch, "
                              f"{rank} spatial axes{', as many of the window' if extra else ''}, channels")
    return dims[1:-1]


def _windows_type(op: Operation) -> TensorType:
    spatial = spatial_dims(op, op.x)
    if spatial is None:
        return TensorType(op.x.dtype, None)
    dims = op.x.type.dims
    return TensorType(op.x.dtype, (dims[0], *window_counts(op, spatial, op.size), *op.size, dims[-1]))


def _windows_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    rank = len(op.size)
    index, tests = [], []
    found = slides(op.x.type.known_dims[1:-1], op.size, op.attrs)
    for s, i, u in zip(found, at[1:1 + rank], at[1 + rank:-1], strict=True):
        index.append(s.position(i, u))
        if s.before != 0:
            tests.append(E.index(index[-1]) >= 0)
        if s.after != 0:
            tests.append(E.index(index[-1]) < E.index(s.extent))
    whole = (at[0], *index, at[-1])
    if tests:
        inside = let(all_of(tests))
        value = load(0, whole, inside)
        return value if op.fill == 0 else E.select(inside, value, E.const(op.fill, value.dtype))
    if any(s.covers > 1 for s in found):  # several windows read an element: it is computed once, in memory
        return load(0, whole, E.const(True, bool_))
    return load(0, whole)


def all_of(tests: Sequence[E.Expr]) -> E.Expr:
    result = tests[0]
    for test in tests[1:]:
        result = result & test
    return result


def windows_numpy(x: Any, size: Any, fill: Any = 0, copy: int = 0, **attrs: Any) -> Any:
    found = slides(x.shape[1:-1], size, attrs)
    padded, counts = pad_array(x, found, fill), [number(s.count) for s in found]
    result = np.empty((x.shape[0], *counts, *size, x.shape[-1]), x.dtype)
    for u, cut in parts(found):
        result[element_of_all(u)] = padded[cut]
    return result


def element_of_all(u: tuple[int, ...]) -> Any:
    """The key of one element of each of the `windows`."""
    return (slice(None),) * (1 + len(u)) + u


def geometry(op: Operation) -> dict[str, Any]:
    return {key: op.attrs[key] for key in GEOMETRY}


def spatial_shape(t: Tensor) -> tuple[Dim, ...]:
    """The spatial dims of a tensor, as an attribute."""
    rank = t.type.rank
    if rank is None:
        raise shape_error(t.op, f"gives {t.name} of unknown rank, but windows over it need its rank")
    return tuple(dim_of(t, k) for k in range(1, rank - 1))


def back_attrs(op: Operation, t: Tensor) -> dict[str, Any]:
    """The geometry of an op over windows of t, with the spatial dims of t."""
    return {**geometry(op), "shape": spatial_shape(t)}


def calls(*rows: tuple[Any, ...], **options: Any) -> list[Sample]:
    """Samples of (operands..., size, strides, padding, dilations)."""
    return [Sample(row[:-4], dict(zip(("size", "strides", "padding", "dilations"), row[-4:], strict=True),
                                  **options)) for row in rows]


_WINDOWS = (((2, 5, 4, 3), (2, 2), (1, 1), "VALID", (1, 1)), ((1, 5, 6, 2), (3, 3), (2, 2), "SAME", (1, 1)),
            ((2, 7, 1), (3,), (2,), ((1, 2),), (2,)), ((1, 4, 5, 3), (2, 1), (2, 3), "VALID", (1, 1)),
            ((0, 4, 1), (2,), (1,), "SAME", (1,)), ((1, 3, 3, 3, 1), (2, 2, 2), (1, 1, 1), "SAME", (1, 1, 1)))

windows: OpDef = OpDef(
    "windows", "x", infer=_windows_type, attrs={**GEOMETRY, "fill": 0, "copy": 0}, numpy=windows_numpy,
    grad=lambda op, g: fold_windows(g, **back_attrs(op, op.x)),
    lower=Indexed(_windows_element, cheap=True), tf_name="ExtractImagePatches",
    doc="The elements of each window, and `fill` where a window is over the edge: [batch, spatial..., c] -> "
        "[batch, counts..., size..., c]. Those of another `copy` are computed again.",
    samples=(*calls(*_WINDOWS), *calls(((1, 3, 3, 1), (2, 2), (2, 2), "SAME", (1, 1)), fill=-9.5)))


# The way back: for each element, the windows that hold it

def _covering_type(op: Operation) -> TensorType:
    check_geometry(op, len(op.size))
    t = op.operands[0]
    dims = t.type.dims
    covers = map(most_holders, op.size, op.strides, op.dilations)
    ends = (None, None) if dims is None else (dims[0], dims[-1])
    return TensorType(t.dtype, (ends[0], *open_dims(op.shape), *covers, ends[1]))


def _covering_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    rank = len(op.size)
    holders, tests = [], []
    for s, h, q in zip(slides(op.shape, op.size, op.attrs), at[1:1 + rank], at[1 + rank:-1], strict=True):
        holder = s.holder(h, q)
        holders.append(holder[:2])
        tests += _holder_tests(s, *holder)
    inside = let(all_of(tests)) if tests else None
    where = (at[0], *(i for i, _ in holders))
    element_of = tuple(u for _, u in holders)
    if len(op.operands) == 1:
        return load(0, (*where, *(element_of if op.whole else ()), at[-1]), inside)
    if op.whole:
        return load(0, (*where, at[-1]), inside) * load(1, (*element_of, at[-1]), inside)
    number: Dim = 0
    for u, size in zip(element_of, op.size, strict=True):
        number = number * size + u
    hit = E.eq(load(1, (*where, at[-1]), inside), E.index(number, op.operands[1].dtype))
    return E.select(hit, load(0, (*where, at[-1]), inside), E.const(0, op.out.dtype))


def _holder_tests(s: Slide, window: Dim, element: Dim, rest: Dim) -> list[E.Expr]:
    """What must hold for a candidate to be a window that holds the element; what is certain is left out."""
    tests = []
    if rest != 0:
        tests.append(E.eq(E.index(rest), 0))
    if rest == 0 and s.covers * s.stride != s.size:
        tests.append(E.index(element) < E.index(s.size))
    if s.covers > 1:
        tests.append(E.index(window) >= 0)
    if s.covers > 1 or not D.is_nonnegative(s.count * s.stride - s.before - s.extent):
        tests.append(E.index(window) < E.index(s.count))
    return tests


def _holder_table(s: Slide) -> Array:
    """`holder` for every element and candidate: [extent, candidates, 3]"""
    rows = [[s.holder(h, q) for q in range(s.covers)] for h in range(number(s.extent))]
    return np.array(rows, np.int64).reshape(number(s.extent), s.covers, 3)


def _covering_numpy(values: Any, chosen: Any = None, *, whole: bool, shape: Any, size: Any,
                    **attrs: Any) -> Any:
    found = slides(shape, size, attrs)
    rank = len(found)
    tables = [_holder_table(s) for s in found]
    inside: Any = np.ones((1,) * (2 * rank), bool)
    index, element = [], []
    for k, (s, table) in enumerate(zip(found, tables, strict=True)):
        lay = [1] * (2 * rank)
        lay[k], lay[rank + k] = table.shape[:2]
        i, u, rest = (table[..., j].reshape(lay) for j in range(3))
        ok = (rest == 0) & (i >= 0) & (i < number(s.count)) & (u < s.size)
        inside = inside & ok
        index.append(np.where(ok, i, 0))
        element.append(np.where(ok, u, 0))
    if 0 in values.shape:
        return np.zeros((values.shape[0], *inside.shape, values.shape[-1]), values.dtype)
    at = (slice(None), *index)
    taken = values[at + tuple(element)] if whole and chosen is None else values[at]
    inside = inside[None, ..., None]
    if chosen is not None and whole:
        taken = taken * chosen[tuple(element)]
    elif chosen is not None:
        numbers = np.ravel_multi_index(np.broadcast_arrays(*element), size)
        inside = inside & (chosen[at] == numbers[None, ..., None])
    return np.where(inside, taken, np.zeros((), values.dtype))


_CHOICES = np.arange(18, dtype=np.int32).reshape(1, 3, 3, 2) % 9
_COVER_SAMPLES = (
    *calls(((2, 4, 3, 2, 2, 3), (2, 2), (1, 1), "VALID", (1, 1)), whole=True, shape=(5, 4)),
    *calls(((1, 2, 2, 2), (2, 2), (2, 2), "VALID", (1, 1)), shape=(5, 4)),
    *calls(((1, 3, 3, 2), _CHOICES, (3, 3), (2, 2), "SAME", (1, 1)), shape=(5, 6)),
    *calls(((2, 3, 3, 1), (3,), (2,), ((1, 2),), (2,)), whole=True, shape=(7,)),
    *calls(((1, 3, 3, 2), (3, 2, 2), (3, 2), (2, 1), "SAME", (1, 2)), whole=True, shape=(5, 3)))

covering = OpDef(
    "covering", "*values", infer=_covering_type, attrs={**BACK, "whole": False},
    dim_attrs=("shape",), mixed=True,
    lower=Indexed(_covering_element, cheap=True), numpy=_covering_numpy, samples=_COVER_SAMPLES,
    doc="For each element, a value of each window that may hold it, 0 where none does: "
        "[batch, counts..., c] -> [batch, shape..., candidates..., c]. With `whole` the operand has the "
        "window's axes as well, or is multiplied by a second one that has them; else a second operand, of "
        "numbers, is the element that a window chose, for which alone it counts.")


def summed(op: Operation, *values: Tensor, whole: bool = False) -> Tensor:
    rank = len(op.size)
    found = covering(*values, whole=whole, **{key: op.attrs[key] for key in BACK})
    result: Tensor = reduce_sum(found, axis=kernel_axes(rank))
    return result


def back_type(op: Operation, t: Tensor, extra: int) -> TensorType:
    """[batch, counts..., (size...,) c] -> [batch, shape..., c]"""
    spatial = spatial_dims(op, t, extra)
    shape = open_dims(op.shape)
    if len(shape) != len(op.size):
        raise shape_error(op,
                          f"(C2): shape {list(op.shape)} must hold {len(op.size)} spatial dims")
    if spatial is None:
        return TensorType(t.dtype, (None, *shape, None))
    counts = window_counts(op, shape, op.size)
    equal_dims(op, [(*counts, *op.size[:extra]), spatial])
    dims = t.type.dims
    assert dims is not None
    return TensorType(t.dtype, (dims[0], *shape, dims[-1]))


def _fold_numpy(g: Any, shape: Any, size: Any, **attrs: Any) -> Any:
    found = slides(shape, size, attrs)
    result = padded_zeros(g.shape[0], found, g.shape[-1], g.dtype)
    for u, cut in parts(found):
        result[cut] += g[element_of_all(u)]
    return cropped(result, found)


fold_windows: OpDef = OpDef(
    "fold_windows", "g", infer=lambda op: back_type(op, op.g, len(op.size)), attrs=BACK, dim_attrs=("shape",),
    expand=lambda op: summed(op, op.g, whole=True), numpy=_fold_numpy,
    grad=lambda op, g: windows(g, **geometry(op)),
    doc="The sum, for each element, of its values in the windows that hold it: the way back of `windows`.",
    samples=(*calls(((2, 4, 3, 2, 2, 3), (2, 2), (1, 1), "VALID", (1, 1)), shape=(5, 4)),
             *calls(((1, 3, 3, 3, 3, 2), (3, 3), (2, 2), "SAME", (1, 1)), shape=(5, 6)),
             *calls(((2, 3, 3, 1), (3,), (2,), ((1, 2),), (2,)), shape=(7,)),
             *calls(((1, 1, 2, 2, 1, 3), (2, 1), (2, 3), "VALID", (1, 1)), shape=(3, 5)),
             *calls(((0, 4, 2, 1), (2,), (1,), "SAME", (1,)), shape=(4,))))


def _sum_windows(op: Operation, g: Tensor) -> Tensor:
    result: Tensor = reduce_sum(windows(g, **geometry(op)), axis=kernel_axes(len(op.size)))
    return result


def _spread_numpy(g: Any, shape: Any, size: Any, **attrs: Any) -> Any:
    found = slides(shape, size, attrs)
    result = padded_zeros(g.shape[0], found, g.shape[-1], g.dtype)
    for _, cut in parts(found):
        result[cut] += g
    return cropped(result, found)


spread_windows: OpDef = OpDef(
    "spread_windows", "g", infer=lambda op: back_type(op, op.g, 0), attrs=BACK, dim_attrs=("shape",),
    expand=lambda op: summed(op, op.g), numpy=_spread_numpy, grad=_sum_windows,
    doc="The sum, for each element, of one value of each window that holds it: the way back of their sums.",
    samples=(*calls(((2, 4, 3, 3), (2, 2), (1, 1), "VALID", (1, 1)), shape=(5, 4)),
             *calls(((1, 3, 3, 2), (3, 3), (2, 2), "SAME", (1, 1)), shape=(5, 6)),
             *calls(((1, 2, 2, 3), (2, 2), (2, 2), "VALID", (1, 1)), shape=(4, 5)),
             *calls(((2, 3, 1), (3,), (2,), ((1, 2),), (2,)), shape=(7,)),
             *calls(((1, 0, 1), (2,), (1,), "SAME", (1,)), shape=(0,))))
