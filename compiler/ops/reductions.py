"""Reductions over axes: sums, extremes, means, arguments of extremes. `axis` None means all axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.dtypes import DType, bool_, float64, int32, int64
from graphflow.compiler.ir.explain import shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops.forms import Reduction
from graphflow.compiler.ops.core import cast, literal
from graphflow.compiler.ops.elementwise import abs_, sign, square
from graphflow.compiler.ops.logic import equal, is_finite, is_nan, where_v2, zero_unless, zero_where
from graphflow.compiler.ops.mathematics import exp, log
from graphflow.compiler.ops.rules import (
    axes_of,
    check_kind,
    equal_dims,
    like_first,
    normal_axis,
    reduced,
    require_within,
)
from graphflow.compiler.ops.samples import Sample, shapes
from graphflow.compiler.ops.sequences import range_op
from graphflow.compiler.ops.shapes import broadcast_to, dim_value, reshape

_ATTRS: dict[str, Any] = {"axis": None, "keepdims": False}


def _samples(**options: Any) -> tuple[Sample, ...]:
    """All axes, one, several, negative ones, none; kept and not; empty results and empty sums."""
    empty = options.pop("empty", True)  # False: the op is not smooth, or not defined, over nothing
    return (*shapes([()], [(5,)], [(3, 4)], [(37,)], **options), *shapes([(3, 4)], axis=0, **options),
            *shapes([(2, 3, 4)], [(2, 5, 70)], axis=-1, **options),
            *shapes([(2, 3, 4)], axis=(0, -1), **options),
            *shapes([(2, 3, 4)], axis=(1,), keepdims=True, **options),
            *shapes([(2, 3)], keepdims=True, **options),
            *shapes([(2, 3)], axis=(), **options), *shapes([(0, 3)], axis=1, **options),
            *shapes([(0, 3)], axis=0, **{**options, "smooth": options.get("smooth", True) and empty}))


_FLOATS = (*_samples(), *shapes([(3, 4)], dtype=int32, axis=1, smooth=False))
_EXTREMES = (*_samples(empty=False), *shapes([(3, 4)], dtype=int32, axis=1, smooth=False),
             *shapes([(0, 4)], dtype=int32, axis=0, smooth=False))
_SOME_ZEROS = np.array([[2, 0, 3, 1], [0, 0, 1, 4], [1, 2, 3, 5], [0, 0, 0, 2]], np.float32)
_WITH_NAN = Sample((np.array([[1, np.nan], [np.inf, 3]], np.float32),), {"axis": 1}, smooth=False)


# A gradient goes back over the reduced axes

def _with_ones(dims: Any, axes: tuple[int, ...]) -> Any:
    return tuple(1 if k in axes else d for k, d in enumerate(dims))


def _spread_type(op: Operation) -> TensorType:
    """The type of `like`; the dims of g are its dims without the axes."""
    like = op.like.type.dims
    if like is not None:
        axes = _spread_axes(op, len(like))
        without = tuple(d for k, d in enumerate(like) if k not in axes)
        kept = _with_ones(like, axes) if op.keepdims else without
        equal_dims(op, [kept, op.g])
    return TensorType(op.g.dtype, like)


def _spread(op: Operation) -> Tensor:
    """Once the dims are decided: reshape and broadcast."""
    dims = op.like.type.known_dims
    axes = _spread_axes(op, len(dims))
    g = op.g if op.keepdims else reshape(op.g, shape=_with_ones(dims, axes))
    result: Tensor = broadcast_to(g, shape=dims)
    return result


def _spread_axes(op: Operation, rank: int) -> tuple[int, ...]:
    if op.axis is None:
        return tuple(range(rank))
    return tuple(normal_axis(op, a, rank) for a in (op.axis if isinstance(op.axis, tuple) else (op.axis,)))


def _spread_numpy(g: Any, like: Any, axis: Any, keepdims: bool) -> Any:
    axes = tuple(range(like.ndim)) if axis is None else tuple(np.atleast_1d(np.array(axis,
                                                                                     int)) % max(like.ndim,
                                                                                                 1))
    return np.broadcast_to(g.reshape(_with_ones(like.shape, axes)), like.shape)


spread = OpDef("spread", "g like", infer=_spread_type, attrs=_ATTRS,
               dim_attrs=("axis",), expand=_spread, numpy=_spread_numpy, mixed=True,
               grad=lambda op, g: (reduce_sum(g, axis=op.axis, keepdims=op.keepdims), None),
               doc="A reduced tensor repeated along the reduced axes, in the shape of `like`.",
               samples=(*shapes([(3,), (3, 4)], axis=1), *shapes([(4,), (3, 4)], axis=-2),
                        *shapes([(), (2, 3)]),
                        *shapes([(1, 4), (3, 4)], axis=(0,), keepdims=True), *shapes([(0,), (0, 3)], axis=1),
                        *shapes([(), ()])))


def spread_back(op: Operation, g: Tensor) -> Tensor:
    """g, in the shape of a reduction's result, spread over its operand's shape."""
    result: Tensor = spread(g, op.operands[0], axis=op.axis, keepdims=op.keepdims)
    return result


# The primitive reductions

def _reduction(name: str, combine: str, numpy: Callable[..., Any], grad: Callable[..., Any] | None,
               tf_name: str,
               kind: str = "number", samples: tuple[Sample, ...] = _FLOATS, symbolic: bool = False) -> OpDef:
    def apply(x: Any, axis: Any, keepdims: bool) -> Any:
        return numpy(x, axis=axis, keepdims=keepdims)

    return OpDef(name, "input", infer=reduced(kind), attrs=_ATTRS, dim_attrs=("axis",), grad=grad,
                 numpy=apply,
                 lower=Reduction(combine, axes_of), samples=samples, tf_name=tf_name, symbolic=symbolic)


def _lowest(dtype: np.dtype[Any]) -> Any:
    return np.array(-np.inf, dtype) if dtype.kind not in "iu" else np.iinfo(dtype).min


def _highest(dtype: np.dtype[Any]) -> Any:
    return np.array(np.inf, dtype) if dtype.kind not in "iu" else np.iinfo(dtype).max


def _max_numpy(x: Any, **options: Any) -> Any:
    return np.max(x, initial=_lowest(x.dtype), **options)


def _min_numpy(x: Any, **options: Any) -> Any:
    return np.min(x, initial=_highest(x.dtype), **options)


def _extreme_grad(op: Operation, g: Tensor) -> Tensor:
    """Shared equally between the elements that have the extreme value."""
    chosen = equal(op.input, spread_back(op, op.out))
    count = reduce_sum(cast(chosen, dtype=g.dtype), axis=op.axis, keepdims=op.keepdims)
    return zero_unless(chosen, spread_back(op, g / count))


def _prod_grad(op: Operation, g: Tensor) -> Tensor:
    others: Tensor = prod_others(op.input, axis=op.axis)
    return spread_back(op, g) * others


def _without_zeros(x: Tensor, axis: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where x is 0; x with 1 there; the product of that and the number of zeros over `axis`, kept as 1."""
    zero = equal(x, literal(0, x.dtype))
    factors = where_v2(zero, literal(1, x.dtype), x)
    return (zero, factors, reduce_prod(factors, axis=axis, keepdims=True),
            reduce_sum(cast(zero, dtype=x.dtype), axis=axis, keepdims=True))


def _others(op: Operation) -> Tensor:
    """The product divided by the factor; where that is the only 0, the product of the rest."""
    zero, factors, product, zeros = _without_zeros(op.input, op.axis)
    return zero_unless(equal(zeros, cast(zero, dtype=zeros.dtype)), product / factors)


def _others_grad(op: Operation, g: Tensor) -> Tensor:
    """The sum over i != k of g_i * (the product without i and k), which is 0 where a zero is left."""
    zero, factors, product, zeros = _without_zeros(op.input, op.axis)
    each = g / factors
    at_others = reduce_sum(zero_where(zero, each), axis=op.axis, keepdims=True)
    at_zeros = reduce_sum(zero_unless(zero, g), axis=op.axis, keepdims=True)
    none, one, two = (equal(zeros, literal(k, zeros.dtype)) for k in range(3))
    of_factor = where_v2(none, at_others - each, zero_unless(one, at_zeros)) * (product / factors)
    of_zero = where_v2(one, at_others, zero_unless(two, at_zeros - g)) * product
    result: Tensor = where_v2(zero, of_zero, of_factor)
    return result


def _others_numpy(x: Any, axis: Any) -> Any:
    chosen = range(x.ndim) if axis is None else np.atleast_1d(np.array(axis, int)) % max(x.ndim, 1)
    axes = tuple(int(k) for k in chosen)
    rest = tuple(k for k in range(x.ndim) if k not in axes)
    count = math.prod(x.shape[k] for k in axes)
    rows = x.transpose(*rest, *axes).reshape(*(x.shape[k] for k in rest), count)
    without = np.where(np.eye(count, dtype=bool), 1, rows[..., None, :]).prod(-1, dtype=x.dtype)
    shape = tuple(x.shape[k] for k in (*rest, *axes))
    return without.reshape(shape).transpose(np.argsort((*rest, *axes)))


prod_others: OpDef = OpDef(
    "prod_others", "input", infer=like_first("float"), attrs={"axis": None}, dim_attrs=("axis",),
    expand=_others, numpy=_others_numpy, grad=_others_grad,
    doc="For each element the product of all others over the axes; its gradient is exact at zeros, "
        "the gradient of that is not.",
    samples=(*shapes([(5,)], [(2, 3)], [()], [(0,)], low=0.5), *shapes([(2, 3, 4)], axis=(0, -1), low=0.5),
             *shapes([(0, 3)], axis=0),
             *(Sample((_SOME_ZEROS,), {"axis": k}, smooth=False) for k in (0, 1))))
reduce_sum: OpDef = _reduction("reduce_sum", "add", np.sum, spread_back, "Sum", symbolic=True)
reduce_prod = _reduction("reduce_prod", "mul", np.prod, _prod_grad, "Prod", symbolic=True, samples=(
    *_samples(low=0.5), *shapes([(3, 4)], dtype=int32, axis=1, smooth=False),
    Sample((_SOME_ZEROS,), {"axis": 1})))
reduce_max = _reduction("reduce_max", "max", _max_numpy, _extreme_grad, "Max",
                        samples=(*_EXTREMES, _WITH_NAN))
reduce_min = _reduction("reduce_min", "min", _min_numpy, _extreme_grad, "Min",
                        samples=(*_EXTREMES, _WITH_NAN))
_BOOLS = _samples(dtype=bool_, smooth=False)
reduce_any = _reduction("reduce_any", "or", np.any, None, "Any", kind="bool", samples=_BOOLS)
reduce_all = _reduction("reduce_all", "and", np.all, None, "All", kind="bool", samples=_BOOLS)


# mean

def _number(count: D.Dim, dtype: DType) -> Tensor:
    """A count as a scalar: a constant where it is known."""
    result: Tensor = literal(count, dtype) if isinstance(count, int) else dim_value(value=count, dtype=dtype)
    return result


def _mean(op: Operation) -> Tensor:
    total = reduce_sum(op.input, axis=op.axis, keepdims=op.keepdims)
    count = D.product(op.input.type.known_dims[k] for k in axes_of(op))
    if op.input.dtype.is_floating:
        result: Tensor = total / _number(count, op.input.dtype)
    else:  # rounds towards 0, as TF1
        result = sign(total) * (abs_(total) // _number(D.maximum(count, 1), op.input.dtype))
    return result


def _mean_numpy(x: Any, axis: Any, keepdims: bool) -> Any:
    with np.errstate(all="ignore"):
        if x.dtype.kind not in "iu":
            total = np.sum(x, axis=axis, keepdims=keepdims)
            return total / np.asarray(x.size / total.size if total.size else 1, x.dtype)
        total = np.sum(x, axis=axis, keepdims=keepdims, dtype=x.dtype)
        return np.sign(total) * (np.abs(total) // max(x.size // max(total.size, 1), 1))


def _mean_grad(op: Operation, g: Tensor) -> Tensor:
    result: Tensor = mean_spread(g, op.input, axis=op.axis, keepdims=op.keepdims)
    return result


reduce_mean = OpDef("reduce_mean", "input", infer=reduced(), attrs=_ATTRS, dim_attrs=("axis",), expand=_mean,
                    numpy=_mean_numpy, grad=_mean_grad, tf_name="Mean",
                    samples=(*_samples(empty=False), *shapes([(3, 4)], dtype=int32, axis=1, smooth=False)))


def _mean_spread(op: Operation) -> Tensor:
    dims = op.like.type.known_dims
    count = D.product(dims[k] for k in _spread_axes(op, len(dims)))
    result: Tensor = spread(op.g / _number(count, op.g.dtype), op.like, axis=op.axis, keepdims=op.keepdims)
    return result


def _mean_spread_numpy(g: Any, like: Any, axis: Any, keepdims: bool) -> Any:
    return _spread_numpy(g, like, axis, keepdims) / np.asarray(max(like.size // max(g.size, 1), 1), g.dtype)


mean_spread = OpDef("mean_spread", "g like", infer=_spread_type, attrs=_ATTRS, dim_attrs=("axis",),
                    expand=_mean_spread, numpy=_mean_spread_numpy, mixed=True,
                    grad=lambda op, g: (reduce_mean(g, axis=op.axis, keepdims=op.keepdims), None),
                    doc="`spread` of g divided by the number of elements that a mean goes over.",
                    samples=(*shapes([(3,), (3, 4)], axis=1), *shapes([(), (2, 3)]),
                             *shapes([(0,), (0, 3)], axis=1)))


# logsumexp, l2_loss

def _logsumexp(op: Operation) -> Tensor:
    """max first: exp overflows f32 above 88.7."""
    top = reduce_max(op.input, axis=op.axis, keepdims=True)
    shift = zero_unless(is_finite(top), top)
    total = log(reduce_sum(exp(op.input - shift), axis=op.axis, keepdims=op.keepdims))
    result: Tensor = total + (shift if op.keepdims else reshape(shift, shape=op.out.type.known_dims))
    return result


def _logsumexp_numpy(x: Any, axis: Any, keepdims: bool) -> Any:
    reduce: Any = np.logaddexp.reduce
    axes = tuple(range(x.ndim)) if axis is None else axis
    return reduce(x, axis=axes, keepdims=keepdims, initial=np.array(-np.inf, x.dtype))


reduce_logsumexp = OpDef(
    "reduce_logsumexp", "input", infer=reduced("float"), attrs=_ATTRS, dim_attrs=("axis",), expand=_logsumexp,
    numpy=_logsumexp_numpy,
    grad=lambda op, g: spread_back(op, g) * exp(op.input - spread_back(op, op.out)),
    tf_name="ReduceLogSumExp", samples=(*_samples(empty=False), Sample(
        (np.array([[1000, 1001], [-1000, -1001], [-np.inf, -np.inf], [np.inf, 0]], np.float32),), {"axis": 1},
        smooth=False)))


def _scalar_type(op: Operation) -> TensorType:
    check_kind(op, "float")
    return TensorType(op.t.dtype, ())


l2_loss = OpDef("l2_loss", "t", infer=_scalar_type,
                expand=lambda op: reduce_sum(square(op.t)) * 0.5, numpy=lambda t: np.sum(t * t) / 2,
                grad=lambda op, g: g * op.t, tf_name="L2Loss",
                samples=shapes([()], [(5,)], [(3, 4)], [(0, 3)]))


# argmax, argmin

def _arg_type(op: Operation) -> TensorType:
    check_kind(op, "number")
    dims = op.input.type.dims
    if dims is None:
        return TensorType(op.output_type, None)
    axis = normal_axis(op, op.axis, len(dims))
    if dims[axis] == 0:
        raise shape_error(op, f"(C1): axis {op.axis} has no elements")
    require_within(op, 1, dims[axis], None)
    return TensorType(op.output_type, (*dims[:axis], *dims[axis + 1:]))


def _arg(op: Operation) -> Tensor:
    """The first index that holds the extreme; the first NaN where there is one."""
    dims = op.input.type.known_dims
    axis = normal_axis(op, op.axis, len(dims))
    best = (reduce_max if op.opdef is argmax else reduce_min)(op.input, axis=axis, keepdims=True)
    hit = equal(op.input, best)
    if op.input.dtype.is_floating:
        hit = hit | is_nan(op.input)
    position = reshape(range_op(limit=dims[axis], dtype=op.output_type),
                       shape=tuple(d if k == axis else 1 for k, d in enumerate(dims)))
    last = dim_value(value=dims[axis] - 1, dtype=op.output_type)
    result: Tensor = reduce_min(where_v2(hit, position, last), axis=axis)
    return result


def _arg_op(name: str, numpy: Callable[..., Any], tf_name: str) -> OpDef:
    values = np.array([[3, 1, 3], [np.nan, 5, np.nan], [-np.inf, -np.inf, -np.inf]], np.float32)
    return OpDef(name, "input", infer=_arg_type, attrs={"axis": 0, "output_type": int64}, dim_attrs=("axis",),
                 expand=_arg, grad=lambda op, g: None, tf_name=tf_name,
                 numpy=lambda x, axis, output_type: numpy(x, axis).astype(output_type.numpy),
                 samples=(*shapes([(5,)], [(3, 4)], [(37,)], [(3, 0)]),
                          *shapes([(3, 4)], [(2, 3, 4)], axis=-1, output_type=int32),
                          *shapes([(2, 3, 4)], axis=1), *shapes([(6,)], dtype=int32, smooth=False),
                          Sample((values,), {"axis": 1}, smooth=False), *shapes([(3,)], dtype=float64)))


argmax, argmin = _arg_op("argmax", np.argmax, "ArgMax"), _arg_op("argmin", np.argmin, "ArgMin")
