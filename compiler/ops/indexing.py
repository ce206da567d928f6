"""Parts of a tensor by position: slices as in Python, and rows by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.errors import ShapeError
from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.ir.dtypes import int32
from graphflow.compiler.ir.explain import misfit, shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.registry import HOOKS, REGISTRY
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import EACH, Indexed, Let, Load, view
from graphflow.compiler.ops.gathering import gather
from graphflow.compiler.ops.logic import where_v2
from graphflow.compiler.ops.rules import listed, open_dims, require_within
from graphflow.compiler.ops.samples import Sample, shapes
from graphflow.compiler.ops.shapes import dim_of, dim_value
from graphflow.compiler.records import record

# slice: begin and size

def _slice_type(op: Operation) -> TensorType:
    source, begin, size = op.input.type.dims, listed(op, "begin"), listed(op, "size")
    if isinstance(begin, Tensor) or isinstance(size, Tensor):
        return TensorType(op.input.dtype, None if source is None else (None,) * len(source))
    if len(begin) != len(size) or (source is not None and len(begin) != len(source)):
        raise shape_error(op,
                          f"(C1): begin {list(begin)} and size {list(size)} must hold a number for each axis")
    dims = source if source is not None else (None,) * len(begin)
    return TensorType(op.input.dtype, tuple(_slice_dim(op, k, *row) for k, row in enumerate(
        zip(dims, begin, open_dims(begin), open_dims(size), strict=True))))


def _slice_dim(op: Operation, k: int, dim: Any, begin: Any, start: Any, size: Any) -> Dim | None:
    if size == -1:
        size = None if dim is None or start is None else dim - start
    try:
        require_within(op, 0, start, None)
        require_within(op, 0, size, None)
        require_within(op, 0, None if size is None or start is None else start + size, dim)
    except ValueError:
        raise shape_error(op, f"(C2): begin {begin} with size {op.size[k]} leaves axis {k}, "
                              f"whose dim is {dim}") from None
    return size  # type: ignore[no-any-return]


def _slice_numpy(x: Any, begin: Any, size: Any) -> Any:
    return x[tuple(slice(b, None if n == -1 else b + n) for b, n in zip(begin, size, strict=True))]


def _slice_grad(op: Operation, g: Tensor) -> Tensor:
    """Zeros around g."""
    begin = op.begin
    after = tuple(0 if n == -1 else dim_of(op.input, k) - b - n
                  for k, (b, n) in enumerate(zip(begin, op.size, strict=True)))
    result: Tensor = REGISTRY["pad"](g, paddings=tuple(zip(begin, after, strict=True)))
    return result


slice_ = OpDef("slice", "input", infer=_slice_type, attrs={"begin": REQUIRED, "size": REQUIRED},
               dim_attrs=("begin", "size"), grad=_slice_grad, numpy=_slice_numpy, symbolic=True,
               lower=view(lambda op, at: tuple(i + b for i, b in zip(at, op.begin, strict=True)),
                          follows={"begin": EACH, "size": EACH}),
               samples=(*shapes([(5,)], begin=(1,), size=(3,)), *shapes([(5,)], begin=(2,), size=(-1,)),
                        *shapes([(3, 4)], begin=(0, 1), size=(2, -1)), *shapes([()], begin=(), size=()),
                        *shapes([(3, 4)], begin=(3, 0), size=(0, 4)),
                        *shapes([(4,)], begin=(0,), size=(2,), dtype=int32)))


# strided_slice: TF1's five masks; bit k of a mask is for entry k of begin, end and strides

@record
class _Axis:
    """How one axis of the operand is read: elements start, start + step, ... `count` of them.

    kept is False where the axis is left out of the result; dims are None while they are unknown.
    """

    start: Any
    step: int
    count: Any
    kept: bool = True


def _entries(op: Operation, rank: int) -> list[tuple[str, int]]:
    """(kind, entry) in order: "slice" and "index" read an axis, "all" all of it, "new" makes one of 1."""
    count = len(op.begin)
    used = sum(not _bit(op.new_axis_mask, k) and not _bit(op.ellipsis_mask, k) for k in range(count))
    if used > rank:
        raise shape_error(op, f"(C1): {used} indices for a tensor of rank {rank}")
    found: list[tuple[str, int]] = []
    for k in range(count):
        if _bit(op.ellipsis_mask, k):
            found += [("all", k)] * (rank - used)
        elif _bit(op.new_axis_mask, k):
            found.append(("new", k))
        else:
            found.append(("index" if _bit(op.shrink_axis_mask, k) else "slice", k))
    if not op.ellipsis_mask:
        found += [("all", count)] * (rank - used)
    return found


def _bit(mask: int, k: int) -> bool:
    return bool(mask >> k & 1)


def _axes(op: Operation, dims: tuple[Any, ...]) -> list[_Axis | None]:
    """One entry per axis of the operand, with None for each new axis of the result in between."""
    plan: list[_Axis | None] = []
    left = iter(dims)
    for kind, k in _entries(op, len(dims)):
        if kind == "new":
            plan.append(None)
            continue
        dim = next(left)
        if kind == "all":
            plan.append(_Axis(0, 1, dim))
        elif kind == "index":
            plan.append(_Axis(_position(op, k, dim), 1, 1, kept=False))
        else:
            plan.append(_range_axis(op, k, dim))
    return plan


def _position(op: Operation, k: int, dim: Any) -> Any:
    position, = open_dims((op.begin[k],))
    found = _from_end(position, dim)
    try:
        require_within(op, 0, found, None if dim is None else dim - 1)
    except ValueError:
        raise shape_error(op, f"(C2): index {position} is outside of an axis with dim {dim}") from None
    return found


def _from_end(position: Any, dim: Any) -> Any:
    """Negative positions count from the end, also where only the run knows which they are."""
    if position is None or D.is_nonnegative(position):
        return position
    if dim is None or D.is_nonnegative(-position - 1):
        return None if dim is None else dim + position
    is_negative = D.minimum(D.maximum(-position, 0), 1)
    return position + is_negative * dim


def _range_axis(op: Operation, k: int, dim: Any) -> _Axis:
    step = op.strides[k]
    if not isinstance(step, int) or step == 0:
        raise shape_error(op, f"(C3): the stride of index {k} must be a number other than 0, not {step}")
    begin, end = open_dims((op.begin[k], op.end[k]))
    open_begin, open_end = _bit(op.begin_mask, k), _bit(op.end_mask, k)
    if dim is None or (not open_begin and begin is None) or (not open_end and end is None):
        return _Axis(None, step, None)
    low, high = (0, dim) if step > 0 else (-1, dim - 1)
    start = (low if step > 0 else high) if open_begin else _clamped(_from_end(begin, dim), low, high)
    stop = (high if step > 0 else low) if open_end else _clamped(_from_end(end, dim), low, high)
    span = stop - start if step > 0 else start - stop
    if step > 0 and open_end and not open_begin:  # x[1:] and x[:-1] are to be seen to be of one length
        span = D.maximum(dim - D.maximum(_from_end(begin, dim), 0), 0)
    return _Axis(start, step, D.maximum((span + abs(step) - 1) // abs(step), 0))


def _clamped(position: Any, low: Dim, high: Dim) -> Dim:
    """The position, or the end that it is beyond; low <= high."""
    at_least = D.maximum(position, low)
    return at_least if D.is_nonnegative(high - position) else D.minimum(at_least, high)


def _strided_type(op: Operation) -> TensorType:
    begin, end, strides = (listed(op, key) for key in ("begin", "end", "strides"))
    if op.input.type.dims is None or any(isinstance(v, Tensor) for v in (begin, end, strides)):
        return TensorType(op.input.dtype, None)
    if not len(begin) == len(end) == len(strides):
        raise shape_error(op, f"(C1): begin {list(begin)}, end {list(end)} and strides {list(strides)} must "
                              f"be of one length")
    axes = _axes(op, op.input.type.dims)
    return TensorType(op.input.dtype, tuple(1 if a is None else a.count for a in axes if a is None or a.kept))


def _strided_index(op: Operation, at: E.Index) -> E.Index:
    positions, index = iter(at), []
    for a in _axes(op, op.input.type.known_dims):
        if a is None:
            next(positions)
        else:
            index.append(a.start + a.step * next(positions) if a.kept else a.start)
    return tuple(index)


def _python_key(begin: Any, end: Any, strides: Any, begin_mask: int, end_mask: int, ellipsis_mask: int,
                new_axis_mask: int, shrink_axis_mask: int) -> tuple[Any, ...]:
    key: list[Any] = []
    for k, (b, e, s) in enumerate(zip(begin, end, strides, strict=True)):
        if _bit(ellipsis_mask, k):
            key.append(Ellipsis)
        elif _bit(new_axis_mask, k):
            key.append(None)
        elif _bit(shrink_axis_mask, k):
            key.append(b)
        else:
            key.append(slice(None if _bit(begin_mask, k) else b, None if _bit(end_mask, k) else e, s))
    return tuple(key)


def _strided_numpy(x: Any, **spec: Any) -> Any:
    result = x[_python_key(**spec)]
    if x.dtype == object and not isinstance(result, np.ndarray):
        return result
    return np.asarray(result)


_MASKS = {"begin_mask": 0, "end_mask": 0, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 0}
_SPEC: dict[str, Any] = {"begin": REQUIRED, "end": REQUIRED, "strides": REQUIRED, **_MASKS}


def _spec(op: Operation) -> dict[str, Any]:
    return {k: op.attrs[k] for k in _SPEC}


def _strided(begin: Any, end: Any, strides: Any, *operands: Any, **masks: int) -> Sample:
    return Sample(operands, {"begin": begin, "end": end, "strides": strides, **masks})


strided_slice = OpDef(
    "strided_slice", "input", infer=_strided_type, attrs=_SPEC, dim_attrs=("begin", "end", "strides"),
    grad=lambda op, g: strided_slice_grad(g, op.input, **_spec(op)), lower=view(_strided_index),
    numpy=_strided_numpy, symbolic=True,
    samples=(_strided((1,), (4,), (1,), (5,)), _strided((4,), (0,), (-2,), (6,)),
             _strided((-3,), (99,), (1,), (5,)),
             _strided((0, 1), (0, 0), (1, -1), (3, 4), begin_mask=3, end_mask=3),
             _strided((1, 0), (2, 3), (1, 2), (3, 4), shrink_axis_mask=1),
             _strided((0, 0, -1), (0, 0, 0), (1, 1, 1), (2, 3, 4), ellipsis_mask=1, new_axis_mask=2,
                      shrink_axis_mask=4),
             _strided((3,), (1,), (1,), (5, 2)), _strided((0,), (0,), (1,), (0, 2), end_mask=1),
             _strided((), (), (), (3, 2)), _strided((2,), (0,), (3,), (8,), end_mask=1)))


def _strided_grad_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    """The element of g that was read from here, or 0."""
    dims = op.out.type.known_dims
    rows = iter(zip(at, dims, strict=True))
    inside: E.Expr | None = None
    index: list[Dim] = []
    for a in _axes(op, dims):
        if a is None:
            index.append(0)
            continue
        i, dim = next(rows)
        offset = i - a.start if a.step > 0 else a.start - i
        quotient, rest = D.divide(offset, abs(a.step))
        if a.kept:
            index.append(quotient)
        for test in _read_tests(a, dim, offset, quotient, rest):
            inside = test if inside is None else inside & test
    return load(0, tuple(index), inside)


def _read_tests(a: _Axis, dim: Dim, offset: Dim, quotient: Dim, rest: Dim) -> list[E.Expr]:
    """What must hold for a position to be one of those that the slice reads."""
    if not a.kept:
        return [E.eq(E.index(offset), 0)]
    tests = []
    if a.start != (0 if a.step > 0 else dim - 1):
        tests.append(E.index(offset) >= 0)
    if abs(a.step) != 1:
        tests.append(E.eq(E.index(rest), 0))
    if a.step != 1 or a.start + a.count != dim:
        tests.append(E.index(quotient) < E.index(a.count))
    return tests


def _strided_grad_numpy(g: Any, like: Any, **spec: Any) -> Any:
    result = np.zeros(like.shape, g.dtype)
    result[_python_key(**spec)] = g
    return result


strided_slice_grad: OpDef = OpDef(
    "strided_slice_grad", "g like", infer=lambda op: TensorType(op.g.dtype, op.like.type.dims), attrs=_SPEC,
    dim_attrs=("begin", "end", "strides"), grad=lambda op, g: (strided_slice(g, **_spec(op)), None),
    mixed=True,
    lower=Indexed(_strided_grad_element), numpy=_strided_grad_numpy,
    doc="Zeros in the shape of `like`, with g where the slice was read.",
    samples=(_strided((1,), (4,), (1,), (3,), (5,)), _strided((4,), (0,), (-2,), (2,), (6,)),
             _strided((0, 1), (0, 0), (1, -1), (3, 2), (3, 4), begin_mask=1, end_mask=3),
             _strided((1, 0), (2, 3), (1, 2), (2,), (3, 4), shrink_axis_mask=1),
             _strided((0, 0, -1), (0, 0, 0), (1, 1, 1), (2, 3, 4, 1), (2, 3, 4), ellipsis_mask=1,
                      new_axis_mask=4,
                      end_mask=2, begin_mask=2)))


# tensor[...]

def getitem(x: Any, key: Any) -> Tensor:
    """Python's indexing of a tensor by ints, slices, `...`, None and scalar int tensors.

    Raises: ShapeError for any other index, and for one outside of a known dim
    """
    entries = key if isinstance(key, tuple) else (key,)
    spec, chosen = _slicing(entries)
    result: Tensor = strided_slice(x, **spec, name="strided_slice")
    for axis, index in chosen:
        result = gather(result, _wrapped(index, result, axis), axis=axis)
    return result


def _slicing(entries: tuple[Any, ...]) -> tuple[dict[str, Any], list[tuple[int, Tensor]]]:
    """The attributes of a strided_slice, and what is left to gather: (axis of its result, index)."""
    begin: list[Any] = []
    end: list[Any] = []
    strides: list[Any] = []
    masks = dict(_MASKS)
    chosen: list[tuple[int, Tensor]] = []
    for k, entry in enumerate(entries):
        b, e, s, flags = _entry(entry)
        begin.append(b)
        end.append(e)
        strides.append(s)
        for flag in flags:
            masks[flag] |= 1 << k
        if isinstance(entry, Tensor) and "shrink_axis_mask" not in flags:
            chosen.append((_result_axis(entries, k), entry))
    if masks["ellipsis_mask"].bit_count() > 1:
        raise ShapeError(f"an index may hold one `...`, but {entries} has more")
    # axes after `...` are counted from the end; each gather then leaves the axes still to do where they are
    chosen.sort(key=lambda pair: (pair[0] >= 0, pair[0] if pair[0] < 0 else -pair[0]))
    return {"begin": tuple(begin), "end": tuple(end), "strides": tuple(strides), **masks}, chosen


def _entry(entry: Any) -> tuple[Any, Any, Any, tuple[str, ...]]:
    """begin, end, stride and masks of one index."""
    if entry is Ellipsis:
        return 0, 0, 1, ("ellipsis_mask",)
    if entry is None:
        return 0, 0, 1, ("new_axis_mask",)
    if isinstance(entry, slice):
        flags = (*(("begin_mask",) if entry.start is None else ()),
                 *(("end_mask",) if entry.stop is None else ()))
        begin, end = (0 if v is None else _bound(v) for v in (entry.start, entry.stop))
        return begin, end, 1 if entry.step is None else _bound(entry.step), flags
    if isinstance(entry, (bool, float, str, list, tuple)) or (isinstance(entry, Tensor) and (
            not entry.dtype.is_integer or entry.type.rank not in (0, None))):
        raise misfit("", f"a tensor is indexed by ints, slices, ..., None and scalar int tensors, not by "
                         f"{entry!r}", hint="tf.gather takes several indices, tf.boolean_mask a mask")
    position = _bound(entry)
    if isinstance(entry, Tensor) and not isinstance(position, int):
        return 0, 0, 1, ("begin_mask", "end_mask")
    return position, position + 1, 1, ("shrink_axis_mask",)


def _bound(value: Any) -> Any:
    return HOOKS["dims_attr"](value)


def _result_axis(entries: tuple[Any, ...], k: int) -> int:
    """The axis of the slice's result that entry k is for; negative behind `...`."""
    def kept(entry: Any) -> bool:
        return "shrink_axis_mask" not in _entry(entry)[3]

    if not any(e is Ellipsis for e in entries[:k]):
        return sum(kept(e) for e in entries[:k])
    return -sum(kept(e) for e in entries[k:])


def _wrapped(index: Tensor, x: Tensor, axis: int) -> Tensor:
    """The index with negative values counted from the end."""
    rank = x.type.rank
    extent = dim_value(value=dim_of(x, axis if rank is None else axis % rank), dtype=index.dtype)
    result: Tensor = where_v2(index < 0, index + extent, index)
    return result


HOOKS["getitem"] = getitem
