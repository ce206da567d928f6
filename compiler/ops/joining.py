"""Ops that put tensors together and take them apart: concat, stack, split, unstack, pad."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.ir.dtypes import int32
from graphflow.compiler.ir.explain import as_given, shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import AXIS, EACH, Indexed, Join, Let, Load, Part, Scatter
from graphflow.compiler.ops.indexing import slice_
from graphflow.compiler.ops.rules import equal_dims, normal_axis, open_dims, require_within, same_dtype
from graphflow.compiler.ops.samples import Sample, shapes
from graphflow.compiler.ops.shapes import dim_of, squeeze

# concat

def _rank(op: Operation) -> int:
    return next((t.type.rank for t in op.operands if t.type.rank is not None), 0)


def _concat_type(op: Operation) -> TensorType:
    dtype = same_dtype(op)
    known = [t.type.dims for t in op.operands if t.type.dims is not None]
    if not known:
        return TensorType(dtype, None)
    axis = normal_axis(op, op.axis, _rank(op))
    dims = equal_dims(op, known, skip=axis)
    parts = [None] if len(known) < len(op.operands) else [d[axis] for d in known]
    total: Any = None if None in parts else sum(parts)
    return TensorType(dtype, (*dims[:axis], total, *dims[axis + 1:]))


def _at(at: E.Index, axis: int, value: Dim) -> E.Index:
    return (*at[:axis], value, *at[axis + 1:])


def _concat_parts(op: Operation) -> list[Part]:
    axis = normal_axis(op, op.axis, _rank(op))
    starts = itertools.accumulate((t.type.known_dims[axis] for t in op.operands), initial=0)

    def part(start: Dim) -> Part:
        return Part(op.out, lambda at: _at(at, axis, at[axis] + start))

    return [part(start) for start, _ in zip(starts, op.operands, strict=False)]


def _concat_grad(op: Operation, g: Tensor) -> list[Tensor]:
    axis = normal_axis(op, op.axis, _rank(op))
    start: Dim = 0
    grads = []
    for t in op.operands:
        count = dim_of(t, axis)
        begin = tuple(start if k == axis else 0 for k in range(_rank(op)))
        grads.append(slice_(g, begin=begin, size=tuple(count if k == axis else -1 for k in range(_rank(op)))))
        start = start + count
    return grads


concat = OpDef("concat", "*values", infer=_concat_type, attrs={"axis": REQUIRED}, dim_attrs=("axis",),
               grad=_concat_grad, lower=Join(_concat_parts, follows={"axis": AXIS}),
               numpy=lambda *v, axis: np.concatenate(v, axis),
               symbolic=True, tf_name="ConcatV2",
               samples=(*shapes([(3,), (4,)], [(2, 3), (1, 3), (4, 3)], [(0, 3), (2, 3)], [(5,)], axis=0),
                        *shapes([(2, 3), (2, 1)], [(2, 0), (2, 0)], axis=-1),
                        *shapes([(2,), (3,)], axis=0, dtype=int32),
                        *shapes([(2, 3, 4), (2, 1, 4)], axis=1)))


# stack

def _stack_type(op: Operation) -> TensorType:
    dtype, dims = same_dtype(op), equal_dims(op, op.operands)
    if dims is None:
        return TensorType(dtype, None)
    axis = normal_axis(op, op.axis, len(dims) + 1)
    return TensorType(dtype, (*dims[:axis], len(op.operands), *dims[axis:]))


def _stack_parts(op: Operation) -> list[Part]:
    axis = normal_axis(op, op.axis, len(op.out.type.known_dims))

    def part(k: int) -> Part:
        return Part(op.out, lambda at: (*at[:axis], k, *at[axis:]))

    return [part(k) for k in range(len(op.operands))]


stack = OpDef("stack", "*values", infer=_stack_type, attrs={"axis": 0}, dim_attrs=("axis",),
              grad=lambda op, g: _parts(g, op.axis, len(op.operands)), lower=Join(_stack_parts),
              symbolic=True,
              numpy=lambda *v, axis: np.stack(v, axis), tf_name="Pack",
              samples=(*shapes([(3,), (3,)], [(), (), ()], [(2, 3)], [(0, 2), (0, 2)]),
                       *shapes([(2, 3), (2, 3)], axis=-1), *shapes([(2, 3), (2, 3)], axis=1)))


# interleave

def interleaved(batches: Sequence[Dim], strides: Sequence[int]) -> list[tuple[Dim, Dim, tuple[int, ...]]]:
    """For each part the images from the first to the one past the last, and its phase."""
    phases = list(np.ndindex(*strides))
    ends = itertools.accumulate(batches[::len(phases)], initial=0)
    return [(first, end, phase) for first, end in itertools.pairwise(ends) for phase in phases]


def _interleave_type(op: Operation) -> TensorType:
    dims: Any = [t.type.dims for t in op.operands]
    batches = [d[0] for d in dims[::len(dims) // op.pieces]]
    batch = None if None in batches else sum(batches)
    return TensorType(op.operands[0].dtype, (batch, *open_dims(op.shape), dims[0][-1]))


def _interleave_parts(op: Operation) -> list[Part]:
    def part(first: Dim, phase: tuple[int, ...], piece: int) -> Part:
        def index(at: E.Index) -> E.Index:
            inner = zip(at[1:-1], op.strides, phase, strict=True)
            return (at[0] + first, *(i * stride + e for i, stride, e in inner), at[-1])
        return Part(op.out, index, piece)

    places = interleaved([t.type.known_dims[0] for t in op.operands], op.strides)
    pieces = len(places) if op.apart else op.pieces
    return [part(first, phase, k * pieces // len(places)) for k, (first, _, phase) in enumerate(places)]


def _interleave_numpy(*values: Any, shape: Any, strides: Any, pieces: int, apart: bool) -> Any:
    places: Any = interleaved([v.shape[0] for v in values], strides)
    result = np.empty((places[-1][1], *shape, values[0].shape[-1]), values[0].dtype)
    for (first, end, phase), v in zip(places, values, strict=True):
        inner = (slice(e, None, s) for e, s in zip(phase, strides, strict=True))
        at = (slice(first, end), *inner)
        result[at] = v
    return result


interleave: OpDef = OpDef(
    "interleave", "*phases", infer=_interleave_type,
    attrs={"shape": REQUIRED, "strides": REQUIRED, "pieces": 1, "apart": False}, dim_attrs=("shape",),
    lower=Join(_interleave_parts), numpy=_interleave_numpy,
    doc="out[b, i*stride + e.., c] = phase e.. [b, i.., c], phases in the order of their numbers e; where "
        "the batch is in pieces, all phases of a piece come before those of the next. Phases `apart` have "
        "nothing in common: each is computed in its place by a kernel of its own.",
    samples=(*shapes([(2, 3, 4), (2, 2, 4)], shape=(5,), strides=(2,)),
             *shapes([(2, 2, 4), (2, 1, 4), (1, 2, 4), (1, 1, 4)], shape=(3,), strides=(2,), pieces=2),
             *shapes([(1, 2, 2, 3), (1, 2, 1, 3), (1, 1, 2, 3), (1, 1, 1, 3)], shape=(3, 3), strides=(2, 2))))


# Taking apart

def _parts(x: Tensor, axis: int, count: int) -> tuple[Tensor, ...]:
    """The slices of x along an axis, without it."""
    result = unstack(x, num=count, axis=axis)
    return (result,) if isinstance(result, Tensor) else result


def _unstack_type(op: Operation) -> tuple[TensorType, ...]:
    dims = op.value.type.dims
    if dims is None:
        if op.num is None:
            raise shape_error(op, "(C1): its rank is unknown, so num= must say how many parts there are")
        return (TensorType(op.value.dtype, None),) * int(op.num)
    axis = normal_axis(op, op.axis, len(dims))
    num = dims[axis] if op.num is None else op.num
    if not isinstance(num, int):
        raise shape_error(op, f"(C1): dim {axis} is unknown, so num= must say how many parts there are")
    if isinstance(dims[axis], int) and dims[axis] != num:
        raise shape_error(op, f"(C2): num is {num}, but dim {axis} is {dims[axis]}")
    op.graph.rules.require(dims[axis], num)
    return (TensorType(op.value.dtype, (*dims[:axis], *dims[axis + 1:])),) * num


def _unstack_parts(op: Operation) -> list[Tensor]:
    rank = op.value.type.rank
    assert rank is not None
    axis = normal_axis(op, op.axis, rank)
    return [squeeze(slice_(op.value, begin=tuple(k if j == axis else 0 for j in range(rank)),
                           size=tuple(1 if j == axis else -1 for j in range(rank))), axis=axis)
            for k in range(len(op.outputs))]


unstack = OpDef("unstack", "value", infer=_unstack_type, attrs={"num": None, "axis": 0},
                dim_attrs=("num", "axis"),
                grad=lambda op, *g: stack(*g, axis=op.axis) if g else None, expand=_unstack_parts,
                symbolic=True,
                numpy=lambda x, num, axis: tuple(np.moveaxis(x, axis, 0)), tf_name="Unpack",
                samples=(*shapes([(3,)], [(2, 3)], [(1, 4)], [(2, 0)]), *shapes([(2, 3, 4)], axis=-1),
                         *shapes([(2, 3)], num=3, axis=1)))


def _split_sizes(op: Operation) -> tuple[Any, ...]:
    """The length of each part along the axis; None for what is unknown."""
    rank, wanted = op.value.type.rank, op.num_or_size_splits
    total = None if rank is None else op.value.type.dims[normal_axis(op, op.axis, rank)]
    if isinstance(wanted, int):
        _require_total(op, total, None if total is None or wanted < 1 else total // wanted * wanted,
                       wanted > 0, f"{wanted} equal parts")
        return (None if total is None else total // wanted,) * wanted
    if not isinstance(wanted, tuple):
        raise shape_error(op, "(C1): the number of parts must be known while the graph is built")
    sizes = open_dims(wanted)
    if sizes.count(-1) > 1:
        raise shape_error(op, f"(C1): num_or_size_splits {list(wanted)} may hold one -1")
    known: list[Any] = [d for d in sizes if d != -1]
    left: Any = None if total is None or None in sizes else total - sum(known)
    _require_total(op, left, left if -1 in sizes and left is not None else 0,
                   not isinstance(left, int) or left >= 0, f"parts of {list(wanted)}")
    return tuple(left if d == -1 else d for d in sizes)


def _require_total(op: Operation, a: Any, b: Any, possible: bool, parts: str) -> None:
    """The parts make up the whole axis."""
    try:
        if not possible:
            raise ValueError
        op.graph.rules.require(a, b)
    except ValueError:
        raise shape_error(op, f"(C1): axis {op.axis} of {op.value.type} does not split into "
                              f"{parts}") from None


def _split_type(op: Operation) -> tuple[TensorType, ...]:
    dims, sizes = op.value.type.dims, _split_sizes(op)
    if dims is None:
        return (TensorType(op.value.dtype, None),) * len(sizes)
    axis = normal_axis(op, op.axis, len(dims))
    return tuple(TensorType(op.value.dtype,
                            _at(dims, axis, size)) for size in sizes)


def _split_parts(op: Operation) -> list[Tensor]:
    rank = op.value.type.rank
    assert rank is not None
    axis, start, parts = normal_axis(op, op.axis, rank), 0, []
    for size in _split_sizes(op):
        parts.append(slice_(op.value, begin=tuple(start if k == axis else 0 for k in range(rank)),
                            size=tuple(size if k == axis else -1 for k in range(rank))))
        start = start + size
    return parts


def _split_numpy(x: Any, num_or_size_splits: Any, axis: int) -> Any:
    if isinstance(num_or_size_splits, int):
        return tuple(np.split(x, num_or_size_splits, axis))
    known = sum(d for d in num_or_size_splits if d != -1)
    sizes = [x.shape[axis] - known if d == -1 else d for d in num_or_size_splits]
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis))


split = OpDef("split", "value", infer=_split_type, attrs={"num_or_size_splits": REQUIRED, "axis": 0},
              dim_attrs=("num_or_size_splits", "axis"), grad=lambda op, *g: concat(*g, axis=op.axis),
              expand=_split_parts, numpy=_split_numpy, symbolic=True,
              samples=(*shapes([(6,)], [(3, 4)], [(0, 2)], num_or_size_splits=3),
                       *shapes([(3, 4)], num_or_size_splits=2, axis=-1),
                       *shapes([(3,)], num_or_size_splits=1),
                       *shapes([(2, 6)], num_or_size_splits=(1, 2, 3), axis=1),
                       *shapes([(7,)], num_or_size_splits=(2, -1))))


# pad

_MODES = ("CONSTANT", "REFLECT", "SYMMETRIC")


def _pad_type(op: Operation) -> TensorType:
    source, pairs = op.tensor.type.dims, op.paddings
    if op.mode not in _MODES:
        raise shape_error(op, f"(C1): mode {op.mode!r} is none of {', '.join(_MODES)}")
    if not isinstance(op.constant_values, (bool, int, float)):
        raise shape_error(op, f"(C3): constant_values must be a number, known while the graph is built, not "
                              f"{op.constant_values!r}")
    if isinstance(pairs, Tensor):
        return TensorType(op.tensor.dtype, None if source is None else (None,) * len(source))
    if not _are_pairs(pairs) or (source is not None and len(pairs) != len(source)):
        each = "each axis" if source is None else f"each of the {len(source)} axes"
        raise shape_error(op, f"(C1): paddings {as_given(pairs)} must hold a pair (before, after) for {each}")
    if source is None:
        return TensorType(op.tensor.dtype, (None,) * len(pairs))
    _check_paddings(op, source)
    opened = [open_dims(p) for p in pairs]
    return TensorType(op.tensor.dtype, tuple(
        None if d is None or None in p else d + p[0] + p[1] for d, p in zip(source, opened, strict=True)))


def _are_pairs(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(p, tuple) and len(p) == 2 for p in value)


def _check_paddings(op: Operation, dims: Any) -> None:
    """Nothing negative, and no more than a mirror can give."""
    for k, (d, pair) in enumerate(zip(dims, op.paddings, strict=True)):
        most = None if op.mode == "CONSTANT" or d is None else d - (op.mode == "REFLECT")
        for p in open_dims(pair):
            try:
                require_within(op, 0, p, most)
            except ValueError:
                raise shape_error(op, f"(C2): padding {p} of axis {k} is outside of 0 <= p"
                                      f"{'' if most is None else f' <= {most}'} for mode {op.mode}") from None


def _pad_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    if op.mode != "CONSTANT":
        return load(0, _mirrored(op, op.tensor.type.known_dims, at, let))
    dims, inside, index = op.tensor.type.known_dims, None, []
    for i, d, (before, after) in zip(at, dims, op.paddings, strict=True):
        index.append(i - before)
        for needed, test in ((before, E.index(i - before) >= 0), (after, E.index(i - before) < E.index(d))):
            if needed != 0:
                inside = test if inside is None else inside & test
    if inside is None:
        return load(0, tuple(index))
    return E.select(inside, load(0, tuple(index), inside), E.const(op.constant_values, op.tensor.dtype))


def _mirrored(op: Operation, dims: Any, at: E.Index, let: Let) -> E.Index:
    """The index in the unpadded tensor; SYMMETRIC repeats the border, REFLECT does not."""
    shift, index = int(op.mode == "SYMMETRIC"), []
    for i, d, (before, after) in zip(at, dims, op.paddings, strict=True):
        if before == 0 and after == 0:
            index.append(i)
            continue
        p = E.index(i - before)
        p = E.select(p < 0, -shift - p, p)
        top = E.index(2 * d - 2 + shift)
        index.append(E.as_offset(let(E.select(p >= E.index(d), top - p, p))))
    return tuple(index)


def _pad_numpy(x: Any, paddings: Any, mode: str, constant_values: Any) -> Any:
    if not paddings:
        return x
    if mode == "CONSTANT":
        return np.pad(x, paddings, constant_values=np.asarray(constant_values, x.dtype))
    return _mirror(x, paddings, mode)


def _mirror(x: Any, paddings: Any, mode: str) -> Any:
    how: Any = mode.lower()
    return np.pad(x, paddings, mode=how)


def _pad_grad(op: Operation, g: Tensor) -> Tensor:
    size = tuple(dim_of(op.tensor, k) for k in range(len(op.paddings)))
    if op.mode != "CONSTANT":
        result: Tensor = mirror_pad_grad(g, paddings=op.paddings, mode=op.mode, shape=size)
    else:
        result = slice_(g, begin=tuple(p[0] for p in op.paddings), size=size)
    return result


pad = OpDef("pad", "tensor", infer=_pad_type,
            attrs={"paddings": REQUIRED, "mode": "CONSTANT", "constant_values": 0},
            dim_attrs=("paddings",), grad=_pad_grad, numpy=_pad_numpy,
            lower=Indexed(_pad_element, follows={"paddings": EACH}), tf_name="PadV2",
            samples=(*shapes([(5,)], [(0,)], paddings=((1, 2),)),
                     *shapes([(3, 4)], paddings=((0, 0), (2, 0))),
                     *shapes([(2, 3)], paddings=((1, 1), (0, 2)), constant_values=1.5),
                     *shapes([()], paddings=()),
                     *shapes([(3, 4)], paddings=((2, 1), (3, 0)), mode="REFLECT"),
                     *shapes([(3, 4)], paddings=((3, 1), (0, 4)), mode="SYMMETRIC"),
                     *shapes([(3,)], paddings=((1, 1),), dtype=int32, constant_values=7)))


def _mirror_target(op: Operation, at: E.Index, load: Load, let: Let) -> E.Index:
    return _mirrored(op, op.out.type.known_dims, at, let)


def _mirror_pad_grad(g: Any, paddings: Any, mode: str, shape: Any) -> Any:
    source = [_mirror(np.arange(n), p, mode) for n, p in zip(shape, paddings, strict=True)]
    result = np.zeros(shape, g.dtype)
    np.add.at(result, np.ix_(*source), g)
    return result


mirror_pad_grad = OpDef(
    "mirror_pad_grad", "g", infer=lambda op: TensorType(op.g.dtype, open_dims(op.shape)),
    attrs={"paddings": REQUIRED, "mode": REQUIRED, "shape": REQUIRED}, dim_attrs=("paddings", "shape"),
    grad=lambda op, g: pad(g, paddings=op.paddings, mode=op.mode), lower=Scatter(_mirror_target),
    numpy=_mirror_pad_grad,
    doc="The sum, for each element, over the places that a mirroring pad copies it to.",
    samples=(Sample(((6, 7),), {"paddings": ((2, 1), (3, 0)), "mode": "REFLECT", "shape": (3, 4)}),
             Sample(((5,),), {"paddings": ((0, 2),), "mode": "SYMMETRIC", "shape": (3,)})))
