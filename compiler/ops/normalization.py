"""Normalisation: over a batch for each channel, and over neighbouring channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.ir.explain import shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.ops.core import cast, literal
from graphflow.compiler.ops.elementwise import maximum, pow_, rsqrt, square
from graphflow.compiler.ops.indexing import slice_
from graphflow.compiler.ops.reductions import reduce_mean, reduce_sum
from graphflow.compiler.ops.rules import check_kind, equal_dims
from graphflow.compiler.ops.samples import Sample, shapes
from graphflow.compiler.ops.shapes import dim_of, dim_value, reshape, zeros_like
from graphflow.compiler.ops.windows import windows

_PARTS = 16  # of a batch, the first of which gives a guess of its mean

# fused_batch_norm. Statistics are in the dtype of scale: float32 where x is of half precision.

def _channel_axis(op: Operation) -> int:
    rank = op.x.type.rank
    if rank is None or rank < 2:
        raise shape_error(op, f"(C2): the rank of x must be known and 2 or more, but it is "
                              f"{'unknown' if rank is None else rank}")
    if op.data_format not in ("NHWC", "NCHW"):
        raise shape_error(op, f"(C3): data_format {op.data_format!r} is neither NHWC nor NCHW")
    return 1 if op.data_format == "NCHW" else rank - 1


def _batch_norm_type(op: Operation) -> tuple[TensorType, ...]:
    check_kind(op, "float")
    axis, dims = _channel_axis(op), op.x.type.dims
    per_channel = op.operands[1:3] if op.is_training else op.operands[1:]
    for t in per_channel:
        if t.type.rank not in (1, None):
            raise shape_error(op, f"(C4): {t.name} must hold a number for each channel")
    channels, = equal_dims(op, [(dims[axis],), *per_channel])
    statistic = TensorType(op.scale.dtype, (channels,))
    return TensorType(op.x.dtype, (*dims[:axis], channels, *dims[axis + 1:])), statistic, statistic


class _BatchNorm:
    """What the values and the gradients have in common."""

    def __init__(self, op: Operation) -> None:
        self.op = op
        self.axis = _channel_axis(op)
        self.others = tuple(k for k in range(op.x.type.rank or 0) if k != self.axis)
        self.dtype: DType = op.scale.dtype
        self.x: Tensor = op.x if op.x.dtype is self.dtype else cast(op.x, dtype=self.dtype)
        self.epsilon = literal(op.epsilon, self.dtype)

    def spread(self, t: Tensor) -> Tensor:
        """One number per channel, shaped to broadcast with x."""
        after = len(self.others) - self.axis
        result: Tensor = reshape(t, shape=(dim_of(t, 0), *(1,) * after)) if after else t
        return result

    def total(self, t: Tensor) -> Tensor:
        result: Tensor = reduce_sum(t, axis=self.others)
        return result

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance in one walk over x, from sums about a guess.

        The guess is the mean of a part p of the batch, so that (mean - guess)^2 <= variance / p: there is
        little to cancel, whatever the data.
        """
        dims = self.x.type.known_dims
        part = slice_(self.x, begin=(0,) * len(dims), size=(-(-dims[0] // _PARTS), *dims[1:]))
        guess = reduce_mean(part, axis=self.others)
        away = self.x - self.spread(guess)
        rest, squares = (reduce_mean(t, axis=self.others) for t in (away, square(away)))
        return guess + rest, maximum(squares - square(rest), literal(0, self.dtype))

    def count(self, less: int = 0) -> Tensor:
        """How many elements a channel has, or one less, but never 0."""
        n = D.product(dim_of(self.op.x, k) for k in self.others)
        n = D.maximum(n - less, 1) if less else n
        result: Tensor = literal(n, self.dtype) if isinstance(n, int) else dim_value(value=n,
                                                                                     dtype=self.dtype)
        return result


def _batch_norm(op: Operation) -> tuple[Tensor, Tensor, Tensor]:
    parts = _BatchNorm(op)
    mean, variance = parts.moments() if op.is_training else (op.mean, op.variance)
    factor = parts.spread(op.scale * rsqrt(variance + parts.epsilon))
    y = (parts.x - parts.spread(mean)) * factor + parts.spread(op.offset)
    if op.is_training:  # the variance that is handed out has no bias
        variance = variance * (parts.count() / parts.count(less=1))
    return cast(y, dtype=op.x.dtype), mean, variance


def _batch_norm_numpy(x: Any, scale: Any, offset: Any, mean: Any, variance: Any, epsilon: float,
                      is_training: bool, data_format: str) -> Any:
    last = np.moveaxis(x, 1, -1) if data_format == "NCHW" else x
    wide = last.astype(scale.dtype)
    rows = wide.reshape(-1, x.shape[1] if data_format == "NCHW" else x.shape[-1])
    biased = variance
    if is_training:
        mean, biased = rows.mean(0), rows.var(0)
        variance = biased * scale.dtype.type(len(rows) / max(len(rows) - 1, 1))
    y = ((wide - mean) / np.sqrt(biased + scale.dtype.type(epsilon)) * scale + offset).astype(x.dtype)
    return np.moveaxis(y, -1, 1) if data_format == "NCHW" else y, mean, variance


def _batch_norm_grad(op: Operation, g: Tensor, g_mean: Tensor, g_variance: Tensor) -> Any:
    parts = _BatchNorm(op)
    g = g if g.dtype is parts.dtype else cast(g, dtype=parts.dtype)
    rule = _training_grad if op.is_training else _inference_grad
    gx, *rest = rule(parts, g, g_mean, g_variance)
    return cast(gx, dtype=op.x.dtype), *rest


def _training_grad(parts: _BatchNorm, g: Tensor, g_mean: Tensor, g_variance: Tensor) -> Any:
    """Less the mean of g and the part of g along the normalised x, both of which the statistics take out."""
    op, n, (_, mean, variance) = parts.op, parts.count(), parts.op.outputs
    inverse = rsqrt(variance * (parts.count(less=1) / n) + parts.epsilon)
    centred = parts.x - parts.spread(mean)
    g_scale, g_offset = parts.total(g * centred) * inverse, parts.total(g)
    gx = parts.spread(op.scale * inverse) * (
        g - parts.spread(g_offset / n) - centred * parts.spread(inverse * g_scale / n))
    if _is_used(g_mean):
        gx = gx + parts.spread(g_mean / n)
    if _is_used(g_variance):
        gx = gx + centred * parts.spread(g_variance * 2 / parts.count(less=1))
    return gx, g_scale, g_offset, None, None


def _inference_grad(parts: _BatchNorm, g: Tensor, g_mean: Tensor, g_variance: Tensor) -> Any:
    op = parts.op
    inverse = rsqrt(op.variance + parts.epsilon)
    factor = op.scale * inverse
    g_offset, g_normal = parts.total(g), parts.total(g * (parts.x - parts.spread(op.mean)))
    return (g * parts.spread(factor), g_normal * inverse, g_offset,
            g_mean - g_offset * factor, g_variance - g_normal * factor * square(inverse) * 0.5)


def _is_used(g: Tensor) -> bool:
    """Whether a gradient comes from something, and not from an output that nothing uses."""
    return g.op.opdef is not zeros_like


def _norm_samples(*rows: Any, **attrs: Any) -> list[Sample]:
    return [Sample((x, (c,), (c,), (c,), (c,)), {"epsilon": 0.1, **attrs}, low=0.5, high=2.0) for x,
            c in rows]


fused_batch_norm = OpDef(
    "fused_batch_norm", "x scale offset mean variance", infer=_batch_norm_type, mixed=True,
    attrs={"epsilon": 0.001, "is_training": True, "data_format": "NHWC"}, expand=_batch_norm,
    numpy=_batch_norm_numpy, grad=_batch_norm_grad, tf_name="FusedBatchNorm",
    doc="(x - mean) / sqrt(variance + epsilon) * scale + offset for each channel, with the mean and variance "
        "of the batch in training; also those, the variance without bias.",
    samples=(*_norm_samples(((2, 3, 2, 4), 4), ((5, 3), 3), ((2, 2, 2, 1), 1), ((1, 1, 1, 2), 2)),
             *_norm_samples(((2, 3, 4, 2), 3), ((4, 2), 2), data_format="NCHW"),
             *_norm_samples(((2, 3, 2, 4), 4), ((0, 2, 2, 3), 3), is_training=False),
             *_norm_samples(((2, 3, 4, 2), 3), is_training=False, data_format="NCHW"),
             Sample((np.linspace(-2, 2, 24).reshape(2, 3, 4).astype(np.float16), *((4,),) * 4),
                    smooth=False)))


# Local response: over neighbouring channels

def _channel_sums_type(op: Operation) -> TensorType:
    check_kind(op, "float")
    if op.x.type.rank == 0 or not isinstance(op.depth_radius, int) or op.depth_radius < 0:
        raise shape_error(op,
                          f"(C1): depth_radius must be 0 or more, and x must have channels, but the radius "
                              f"is {op.depth_radius} and x is {op.x.type}")
    result: TensorType = op.x.type
    return result


def _channel_sums(op: Operation) -> Tensor:
    dims, radius = op.x.type.known_dims, op.depth_radius
    rows = reshape(op.x, shape=(D.product(dims[:-1]), dims[-1], 1))
    found = windows(rows, size=(2 * radius + 1,), strides=(1,), dilations=(1,), padding=((radius, radius),))
    result: Tensor = reshape(reduce_sum(found, axis=2), shape=dims)
    return result


def _channel_sums_numpy(x: Any, depth_radius: int) -> Any:
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(depth_radius, depth_radius)])
    return sum(padded[..., k:k + x.shape[-1]] for k in range(2 * depth_radius + 1))


channel_sums: OpDef = OpDef(
    "channel_sums", "x", infer=_channel_sums_type, attrs={"depth_radius": REQUIRED}, expand=_channel_sums,
    numpy=_channel_sums_numpy, grad=lambda op, g: channel_sums(g, depth_radius=op.depth_radius),
    doc="For each channel the sum over it and `depth_radius` neighbours on each side.",
    samples=(*shapes([(2, 3, 5)], [(1, 2, 2, 37)], [(0, 3)], [(4,)], depth_radius=2),
             *shapes([(3, 2)], depth_radius=0), *shapes([(3, 2)], depth_radius=5)))


def _response(op: Operation) -> Tensor:
    sums = channel_sums(square(op.input), depth_radius=op.depth_radius)
    result: Tensor = sums * op.alpha + op.bias
    return result


def _power(x: Tensor, exponent: float) -> Tensor:
    result: Tensor = rsqrt(x) if exponent == -0.5 else pow_(x, literal(exponent, x.dtype))
    return result


def _lrn_grad(op: Operation, g: Tensor) -> Tensor:
    """Each channel is scaled, and is in the sums of its neighbours."""
    base = _response(op)
    around = channel_sums(g * op.input * _power(base, -op.beta - 1), depth_radius=op.depth_radius)
    result: Tensor = g * _power(base, -op.beta) - op.input * around * (2 * op.alpha * op.beta)
    return result


def _lrn_numpy(x: Any, depth_radius: int, bias: float, alpha: float, beta: float) -> Any:
    wide = x.astype(np.float64)
    return (wide * (bias + alpha * _channel_sums_numpy(wide * wide, depth_radius)) ** -beta).astype(x.dtype)


def _lrn_type(op: Operation) -> TensorType:
    check_kind(op, "float")
    if op.input.type.rank not in (4, None):
        raise shape_error(op, "(C2): input must have rank 4: batch, height, width, channels")
    if not isinstance(op.depth_radius, int) or op.depth_radius < 0:
        raise shape_error(op, f"(C3): depth_radius must be a whole number of 0 or more, not "
                              f"{op.depth_radius!r}")
    for key in ("bias", "alpha", "beta"):
        if not isinstance(op.attrs[key], (int, float)):
            raise shape_error(op, f"(C3): {key} must be a number, not {op.attrs[key]!r}")
    result: TensorType = op.input.type
    return result


lrn = OpDef(
    "lrn", "input", infer=_lrn_type, attrs={"depth_radius": 5, "bias": 1.0, "alpha": 1.0,
                                                      "beta": 0.5},
    expand=lambda op: op.input * _power(_response(op), -op.beta), numpy=_lrn_numpy, grad=_lrn_grad,
    tf_name="LRN",
    doc="input / (bias + alpha * sum of squares over neighbouring channels) ** beta",
    samples=(*shapes([(2, 1, 3, 5)], [(1, 2, 2, 18)], [(0, 1, 1, 3)]),
             *shapes([(2, 2, 2, 7)], depth_radius=2, bias=2.0, alpha=0.1, beta=0.75)))
