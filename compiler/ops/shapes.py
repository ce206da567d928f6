"""Ops on shapes: what a shape is, and the same elements under another shape or order."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.ir.dtypes import as_dtype, int32, int64
from graphflow.compiler.ir.explain import shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.registry import REGISTRY
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import AXIS, EACH, Indexed, Let, Load, broadcast_index, view
from graphflow.compiler.ops.broadcasting import unbroadcast
from graphflow.compiler.ops.core import literal
from graphflow.compiler.ops.rules import check_kind, listed, normal_axis, open_dims
from graphflow.compiler.ops.samples import UNARY, Sample, shapes
from graphflow.compiler.ops.symbolic import shape_symbols

# What is known of a tensor's shape

def dim_of(t: Tensor, k: int) -> Dim:
    """One dim of a tensor: an int where it is known, else a symbol for its run-time value."""
    known = None if t.type.dims is None else t.type.dims[k]
    return D.atom("dim", f"dim({t.name},{k})", t, k) if known is None else known


def dims_of(t: Tensor) -> Any:
    """The dims of a tensor as a shape attribute; a Tensor when the rank is unknown."""
    found = shape_symbols(t)
    return shape(t) if found is None else tuple(found)


def _shape_type(op: Operation) -> TensorType:
    return TensorType(op.out_type, (op.input.type.rank,))


def _shape_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    dims = op.input.type.known_dims
    value: E.Expr = E.const(0, op.out_type)
    for k in reversed(range(len(dims))):
        element = E.index(dims[k], op.out_type)
        value = element if k == len(dims) - 1 else E.select(E.eq(E.index(at[0]), k), element, value)
    return value


shape = OpDef("shape", "input", infer=_shape_type, attrs={"out_type": int32}, grad=lambda op, g: None,
              lower=Indexed(_shape_element, cheap=True), symbolic=lambda op: shape_symbols(op.input),
              numpy=lambda x, out_type: np.array(x.shape, out_type.numpy),
              samples=(*shapes(*UNARY, [(2, 3, 4)]), *shapes([(2, 3)], out_type=int64)))


def _size_symbols(op: Operation) -> Any:
    found = shape_symbols(op.input)
    return None if found is None else _scalar_symbol(D.product(found))


def _scalar_symbol(value: Dim) -> Any:
    array = np.empty((), object)
    array[()] = value
    return array


size = OpDef("size", "input", infer=lambda op: TensorType(op.out_type, ()), attrs={"out_type": int32},
             lower=Indexed(lambda op, at, load, let: E.index(op.input.type.size, op.out_type), cheap=True),
             symbolic=_size_symbols, numpy=lambda x, out_type: np.array(x.size, out_type.numpy),
             samples=(*shapes(*UNARY), *shapes([(2, 3)], out_type=int64)))

rank = OpDef("rank", "input", infer=lambda op: TensorType(int32, ()),
             numpy=lambda x: np.array(x.ndim, np.int32),
             lower=Indexed(lambda op, at, load, let: E.const(op.input.type.rank, int32), cheap=True),
             symbolic=lambda op: None if op.input.type.rank is None else _scalar_symbol(op.input.type.rank),
             samples=shapes(*UNARY))

dim_value = OpDef(
    "dim_value", "", infer=lambda op: TensorType(op.dtype, ()), attrs={"value": REQUIRED, "dtype": int32},
    dim_attrs=("value",), numpy=lambda value, dtype: np.array(value, dtype.numpy),
    lower=Indexed(lambda op, at, load, let: E.index(op.value, op.dtype), cheap=True),
    symbolic=lambda op: _scalar_symbol(op.value), samples=(Sample((), {"value": 7}), Sample((), {
        "value": 7, "dtype": as_dtype("float32")})),
    doc="A dim of a shape as a number, for a mean over an axis of unknown length.")


# The same elements in the same order

def _wanted_shape(op: Operation, wanted: Any, total: Dim | None) -> Any:
    """The target of a reshape with its -1 replaced; None for a dim that is not known."""
    free = [k for k, d in enumerate(wanted) if d == -1]
    if len(free) > 1 or any(isinstance(d, int) and d < -1 for d in wanted):
        raise shape_error(op, f"(C1): shape {list(wanted)} has dims below 0; one may be -1")
    known = open_dims(wanted)
    if not free:
        return known
    rest = D.product(d for k, d in enumerate(known) if k != free[0] and d is not None)
    if rest == 0 or (isinstance(total, int) and isinstance(rest, int) and total % rest and None not in known):
        count = "" if total is None else f"{total} "
        raise shape_error(op,
                          f"(C2): {count}elements do not fill shape {list(wanted)}: no value fits for -1")
    if total is None or None in known:
        return tuple(None if k == free[0] else d for k, d in enumerate(known))
    return tuple(total // rest if k == free[0] else d for k, d in enumerate(known))


def _total(dims: Any) -> Dim | None:
    return None if dims is None or None in dims else D.product(dims)


def _reshape_type(op: Operation) -> TensorType:
    source = op.tensor.type.dims
    wanted = listed(op, "shape")
    if isinstance(wanted, Tensor):
        return TensorType(op.tensor.dtype, None)
    result = _wanted_shape(op, wanted, _total(source))
    before, after = _total(source), _total(result)
    try:
        op.graph.rules.require(before, after)
    except ValueError:
        raise shape_error(op, f"(C2): {before} elements do not fill shape {list(op.shape)}, "
                              f"which has {after}") from None
    return TensorType(op.tensor.dtype, result)


def split_linear(linear: Dim, dims: Any) -> E.Index:
    """The index in `dims` of a row-major linear offset."""
    if 0 in dims:
        return (0,) * len(dims)
    index: list[Dim] = []
    for d in reversed(dims[1:]):
        linear, rest = D.divide(linear, d)
        index.append(rest)
    return (linear, *reversed(index)) if dims else ()


def _reshape_index(op: Operation, at: E.Index) -> E.Index:
    """Equal dims on the left and on the right keep their index; only what is between is taken apart."""
    source, target = op.operands[0].type.known_dims, op.out.type.known_dims
    most = min(len(source), len(target))
    left = next((k for k in range(most) if source[k] != target[k]), most)
    right = next((k for k in range(most - left) if source[-1 - k] != target[-1 - k]), most - left)
    linear: Dim = 0
    for i, d in zip(at[left:len(at) - right], target[left:len(at) - right], strict=True):
        linear = linear * d + i
    return (*at[:left], *split_linear(linear, source[left:len(source) - right]), *at[len(at) - right:])


def reshape_like(g: Tensor, like: Tensor) -> Tensor:
    """g in the shape of `like`, which has as many elements."""
    if g.type.is_static and g.type.dims == like.type.dims:
        return g
    result: Tensor = reshape(g, shape=dims_of(like))
    return result


_RESHAPE: dict[str, Any] = {"lower": view(_reshape_index, alias=True), "symbolic": True}

reshape = OpDef("reshape", "tensor", infer=_reshape_type, attrs={"shape": REQUIRED}, dim_attrs=("shape",),
                grad=lambda op, g: reshape_like(g, op.tensor), numpy=lambda x, shape: np.reshape(x, shape),
                **_RESHAPE,
                samples=(*shapes([(3, 4)], shape=(2, 6)), *shapes([(3, 4)], shape=(-1,)),
                         *shapes([()], shape=(1, 1)),
                         *shapes([(2, 3, 4)], shape=(2, 12)), *shapes([(6, 20)], shape=(2, 3, -1, 5)),
                         *shapes([(0, 3)], shape=(3, 0)), *shapes([(1, 1)], shape=()),
                         *shapes([(0, 3)], shape=(-1, 3)),
                         *shapes([(4, 3, 5)], shape=(3, 4, 5)), *shapes([(3, 4)], dtype=int32, shape=(4, 3))))


def _expand_dims_type(op: Operation) -> TensorType:
    dims = op.input.type.dims
    if dims is None:
        return TensorType(op.input.dtype, None)
    k = normal_axis(op, op.axis, len(dims) + 1)
    return TensorType(op.input.dtype, (*dims[:k], 1, *dims[k:]))


expand_dims = OpDef("expand_dims", "input", infer=_expand_dims_type, attrs={"axis": REQUIRED},
                    dim_attrs=("axis",), grad=lambda op, g: reshape_like(g, op.input),
                    numpy=lambda x, axis: np.expand_dims(x, axis), **_RESHAPE,
                    samples=(*shapes(*UNARY, axis=0), *shapes(*UNARY, axis=-1), *shapes([(3, 4)], axis=1)))


def _squeeze_type(op: Operation) -> TensorType:
    dims = op.input.type.dims
    if dims is None or (op.axis in (None, ()) and None in dims):
        return TensorType(op.input.dtype, None)
    if op.axis in (None, ()):
        for d in dims:
            op.graph.rules.decide(d)
        return TensorType(op.input.dtype, tuple(d for d in dims if d != 1))
    wanted = op.axis if isinstance(op.axis, tuple) else (op.axis,)
    axes = {normal_axis(op, a, len(dims)) for a in wanted}
    for k in sorted(axes):
        try:
            op.graph.rules.equal(1, dims[k])
        except ValueError:
            raise shape_error(op,
                              f"(C1): axis {k} is squeezed, so it must be 1, but it is {dims[k]}") from None
    return TensorType(op.input.dtype, tuple(d for k, d in enumerate(dims) if k not in axes))


squeeze = OpDef("squeeze", "input", infer=_squeeze_type, attrs={"axis": None}, dim_attrs=("axis",),
                grad=lambda op, g: reshape_like(g, op.input),
                numpy=lambda x, axis: np.squeeze(x, None if axis == () else axis), **_RESHAPE,
                samples=(*shapes([(1, 3, 1)], [(2, 3)], [(1,)], [(1, 0)]), *shapes([(1, 3, 1)], axis=0),
                         *shapes([(1, 3, 1)], axis=(-1,)), *shapes([(1, 3, 1)], axis=(0, 2))))


# The same elements in another order

def permutation(op: Operation) -> tuple[int, ...]:
    """Which axis of the operand each axis of the result is."""
    rank = op.a.type.rank
    assert rank is not None
    if op.perm is None:
        return tuple(range(rank))[::-1]
    perm = tuple(normal_axis(op, p, rank, "perm") for p in op.perm) if len(op.perm) == rank else op.perm
    if sorted(perm) != list(range(rank)):
        raise shape_error(op, f"(C1): perm {list(op.perm)} does not name each of the {rank} axes once")
    return perm


def _transpose_type(op: Operation) -> TensorType:
    dims, perm = op.a.type.dims, None if op.perm is None else listed(op, "perm")
    if dims is None or isinstance(perm, Tensor):
        return TensorType(op.a.dtype, (None,) * len(perm) if isinstance(perm, tuple) else None)
    return TensorType(op.a.dtype, tuple(dims[p] for p in permutation(op)))


def _transpose_index(op: Operation, at: E.Index) -> E.Index:
    perm = permutation(op)
    return tuple(at[perm.index(k)] for k in range(len(perm)))


def _transpose_grad(op: Operation, g: Tensor) -> Tensor:
    inverse = None if op.perm is None else tuple(int(k)
                                                 for k in np.argsort([p % len(op.perm) for p in op.perm]))
    result: Tensor = transpose(g, perm=inverse)
    return result


transpose = OpDef("transpose", "a", infer=_transpose_type, attrs={"perm": None}, dim_attrs=("perm",),
                  grad=_transpose_grad, lower=view(_transpose_index),
                  numpy=lambda a, perm: np.transpose(a, perm),
                  samples=(*shapes(*UNARY, [(2, 3, 4)]), *shapes([(2, 3, 4)], perm=(1, 2, 0)),
                           *shapes([(5, 7)], perm=(1, 0)), *shapes([(2, 0, 3)], perm=(2, 0, 1))))


def _reversed_axes(op: Operation) -> set[int]:
    rank = op.tensor.type.rank
    assert rank is not None
    axes = [normal_axis(op, a, rank) for a in (op.axis if isinstance(op.axis, tuple) else (op.axis,))]
    if len(set(axes)) != len(axes):
        raise shape_error(op, f"(C3): axis {op.axis} names an axis twice")
    return set(axes)


def _reverse_type(op: Operation) -> TensorType:
    result: TensorType = op.tensor.type
    if result.dims is not None:
        _reversed_axes(op)
    return result


def _reverse_index(op: Operation, at: E.Index) -> E.Index:
    axes = _reversed_axes(op)
    pairs = zip(at, op.out.type.known_dims, strict=True)
    return tuple(d - 1 - i if k in axes else i for k, (i, d) in enumerate(pairs))


reverse: OpDef = OpDef(
    "reverse", "tensor", infer=_reverse_type, attrs={"axis": REQUIRED}, dim_attrs=("axis",),
    grad=lambda op, g: reverse(g, axis=op.axis), lower=view(_reverse_index, follows={"axis": AXIS}),
    tf_name="ReverseV2", numpy=lambda x, axis: np.flip(x, axis), symbolic=True,
    samples=(*shapes([(5,)], [(3, 4)], [(0, 3)], axis=(0,)), *shapes([(3, 4)], axis=(-1, 0)),
             *shapes([(2, 3)], axis=()), *shapes([(2, 3)], axis=1)))


# More elements of the same values

def _broadcast_to_type(op: Operation) -> TensorType:
    source = op.input.type.dims
    if isinstance(op.shape, Tensor):
        return TensorType(op.input.dtype, None)
    result = open_dims(op.shape)
    if source is None:
        return TensorType(op.input.dtype, result)
    extra = len(result) - len(source)
    try:
        if extra < 0:
            raise ValueError
        for d, wanted in zip(source, result[extra:], strict=True):
            if d != 1 and not (wanted is None or d is None):
                op.graph.rules.equal(d, wanted)
    except ValueError:
        raise shape_error(op, f"(C1): it does not broadcast to {list(op.shape)}: aligned from the right, its "
                              f"dims must be 1 or equal") from None
    return TensorType(op.input.dtype, result)


broadcast_to = OpDef(
    "broadcast_to", "input", infer=_broadcast_to_type, attrs={"shape": REQUIRED}, dim_attrs=("shape",),
    grad=lambda op, g: unbroadcast(g, op.input),
    lower=view(lambda op, at: broadcast_index(op.input.type, at), follows={"shape": EACH}),
    numpy=lambda x, shape: np.broadcast_to(x, shape), symbolic=True,
    samples=(*shapes([()], [(4,)], [(3, 1)], [(3, 4)], shape=(3, 4)), *shapes([(1, 4)], shape=(0, 4)),
             *shapes([(1, 3)], shape=(2, 5, 3)), *shapes([()], shape=())))


def _tile_type(op: Operation) -> TensorType:
    source, times = op.input.type.dims, listed(op, "multiples")
    if isinstance(times, Tensor) or source is None:
        return TensorType(op.input.dtype, None if isinstance(times, Tensor) else (None,) * len(times))
    if len(times) != len(source) or any(isinstance(m, int) and m < 0 for m in times):
        raise shape_error(op,
                          f"(C1): multiples {list(times)} must hold one number of 0 or more for each of the "
                              f"{len(source)} axes")
    return TensorType(op.input.dtype, tuple(
        None if d is None or m is None else d * m for d, m in zip(source, open_dims(times), strict=True)))


def _tile_index(op: Operation, at: E.Index) -> E.Index:
    source = op.input.type.known_dims
    return tuple(i if m == 1 else 0 if d == 0 else D.divide(i, d)[1]
                 for i, d, m in zip(at, source, op.multiples, strict=True))


def _tile_grad(op: Operation, g: Tensor) -> Tensor:
    """Each axis becomes (times, dim); the sum over the times is left."""
    pairs = tuple(p for k, m in enumerate(op.multiples) for p in (m, dim_of(op.input, k)))
    parts = reshape(g, shape=pairs)
    result: Tensor = REGISTRY["reduce_sum"](parts, axis=tuple(range(0, len(pairs), 2)))
    return result


tile = OpDef("tile", "input", infer=_tile_type, attrs={"multiples": REQUIRED}, dim_attrs=("multiples",),
             grad=_tile_grad, lower=view(_tile_index, follows={"multiples": EACH}),
             numpy=lambda x, multiples: np.tile(x, multiples),
             samples=(*shapes([(3, 4)], multiples=(2, 3)), *shapes([(5,)], multiples=(1,)),
                      *shapes([()], multiples=()),
                      *shapes([(2, 0)], multiples=(2, 2)), *shapes([(2, 3)], multiples=(0, 1))))


# Constant tensors of a shape

def _fill_type(op: Operation) -> TensorType:
    if op.value.type.rank not in (0, None):
        raise shape_error(op, "(C1): the value must be a scalar")
    dims = listed(op, "dims")
    return TensorType(op.value.dtype, None if isinstance(dims, Tensor) else open_dims(dims))


fill = OpDef("fill", "value", infer=_fill_type, attrs={"dims": REQUIRED}, dim_attrs=("dims",),
             grad=lambda op, g: REGISTRY["reduce_sum"](g),
             lower=view(lambda op, at: (), follows={"dims": EACH}),
             numpy=lambda value, dims: np.full(dims, value), symbolic=True,
             samples=(*shapes([()], dims=(3, 4)), *shapes([()], dims=()), *shapes([()], dims=(0, 2)),
                      *shapes([()], dims=(5,), dtype=int32)))


def zeros(shape: Any, dtype: Any = "float32", name: str | None = None) -> Tensor:
    """A tensor of zeros; False for bool."""
    result: Tensor = fill(literal(0, as_dtype(dtype)), dims=shape, name=name or "zeros")
    return result


def ones(shape: Any, dtype: Any = "float32", name: str | None = None) -> Tensor:
    """A tensor of ones; True for bool."""
    result: Tensor = fill(literal(1, as_dtype(dtype)), dims=shape, name=name or "ones")
    return result


def _constant_like(name: str, number: int) -> OpDef:
    def infer(op: Operation) -> TensorType:
        check_kind(op, "any")
        return TensorType(op.dtype or op.input.dtype, op.input.type.dims)

    return OpDef(name, "input", infer=infer, attrs={"dtype": None}, grad=lambda op, g: None,
                 lower=Indexed(lambda op, at, load, let: E.const(number, op.out.dtype), cheap=True,
                               follows={}),
                 numpy=lambda x, dtype: np.full(x.shape, number, dtype.numpy if dtype else x.dtype),
                 symbolic=True,
                 samples=(*shapes(*UNARY), *shapes([(3,)], dtype=int32), Sample(((2, 2),), {"dtype": int64})))


zeros_like, ones_like = _constant_like("zeros_like", 0), _constant_like("ones_like", 1)
