"""tf.nn: normalisation and moments, with TF1's signatures. Re-exported by `nn`."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.arrays import gather, shape, squeeze
from graphflow.basics import name_scope, stop_gradient
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.dtypes import float16, float32
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import elementwise
from graphflow.compiler.ops import normalization as records
from graphflow.math import cast, reduce_mean, reduce_prod, reduce_sum
from graphflow.renamed import either, plain_axis

__all__ = ["batch_norm_with_global_normalization", "batch_normalization", "fused_batch_norm",
           "local_response_normalization", "lrn", "moments", "normalize_moments", "sufficient_statistics",
           "weighted_moments"]

_LEAST_EPSILON = 1.001e-5  # TF1 raises smaller ones to it


def fused_batch_norm(x: Any, scale: Any, offset: Any, mean: Any = None, variance: Any = None,
                     epsilon: float = 0.001, data_format: str = "NHWC", is_training: bool = True,
                     name: str | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset for each channel; also mean and variance.

    In training they are those of the batch, and the variance that is given back is the unbiased one; else
    they are `mean` and `variance` as given.

    Shapes:  x [batch, h, w, c], or [batch, c, h, w] with data_format="NCHW"; the others [c]
    Raises:  ShapeError C2 x has a known rank of 2 or more; C3 data_format is one of these; C4 the others
             have rank 1
    Source:  TF 1.15 tf.nn.fused_batch_norm
    """
    x = as_tensor(x, for_op="fused_batch_norm")
    statistic = float32 if x.dtype.size == 2 else x.dtype
    if is_training and (mean is not None or variance is not None):
        raise ValueError("fused_batch_norm: mean and variance are those of the batch where is_training is "
                         "True: give neither")
    if not is_training and (mean is None or variance is None):
        raise ValueError("fused_batch_norm: mean and variance must be given where is_training is False")
    none = np.zeros(0, statistic.numpy)
    operands = (as_tensor(none if t is None else t, statistic, for_op="fused_batch_norm")
                for t in (scale, offset, mean, variance))
    y, mean, variance = records.fused_batch_norm(
        x, *operands, epsilon=max(epsilon, _LEAST_EPSILON), is_training=bool(is_training),
        data_format=data_format,
        name=name or "FusedBatchNorm")
    return y, mean, variance


def batch_normalization(x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: Any,
                        name: str | None = None) -> Tensor:
    """(x - mean) / sqrt(variance + variance_epsilon) * scale + offset; scale and offset may be None."""
    with name_scope(name, "batchnorm", [x, mean, variance, offset, scale]):
        x = as_tensor(x)
        factor = elementwise.rsqrt(as_tensor(variance) + variance_epsilon)
        if scale is not None:
            factor = factor * scale
        shift = -as_tensor(mean) * factor if offset is None else offset - as_tensor(mean) * factor
        result: Tensor = x * factor + shift
        return result


def batch_norm_with_global_normalization(t: Any = None, m: Any = None, v: Any = None, beta: Any = None,
                                         gamma: Any = None, variance_epsilon: Any = None,
                                         scale_after_normalization: Any = None, name: str | None = None,
                                         input: Any = None, mean: Any = None, variance: Any = None) -> Tensor:
    """`batch_normalization` in the argument order of TF 0.x; gamma counts if scale_after_normalization."""
    function = "batch_norm_with_global_normalization"
    t = either(function, "input", input, t=t)
    m = either(function, "mean", mean, m=m)
    v = either(function, "variance", variance, v=v)
    return batch_normalization(t, m, v, beta, gamma if scale_after_normalization else None,
                               variance_epsilon, name)


def lrn(input: Any, depth_radius: int = 5, bias: float = 1, alpha: float = 1, beta: float = 0.5,
        name: str | None = None) -> Tensor:
    """input / (bias + alpha * sum of the squares of `depth_radius` channels on each side) ** beta.

    Shapes:  input [batch, height, width, channels]
    """
    result: Tensor = records.lrn(input, depth_radius=depth_radius, bias=bias, alpha=alpha, beta=beta,
                                 name=name)
    return result


local_response_normalization = lrn


# Moments


def moments(x: Any, axes: Any, shift: Any = None, name: str | None = None, keep_dims: bool | None = None,
            keepdims: bool | None = None) -> tuple[Tensor, Tensor]:
    """Mean and variance over `axes`; the variance is the mean squared distance from the mean."""
    keep = bool(either("moments", "keepdims", keepdims, keep_dims=keep_dims))
    with name_scope(name, "moments", [x]):
        x = as_tensor(x)
        wide = cast(x, float32) if x.dtype is float16 else x  # sums of halves lose too much
        mean = reduce_mean(wide, axes, True, "mean")
        # the derivative with respect to the mean is 0, so it is not computed (as in TF1)
        variance = reduce_mean(elementwise.squared_difference(wide, stop_gradient(mean)), axes, keep,
                               "variance")
        mean = mean if keep else squeeze(mean, plain_axis(axes))
        return cast(mean, x.dtype), cast(variance, x.dtype)


def weighted_moments(x: Any, axes: Any, frequency_weights: Any, name: str | None = None,
                     keep_dims: bool | None = None, keepdims: bool | None = None) -> tuple[Tensor, Tensor]:
    """Mean and variance over `axes`, each element counting by its weight; weights broadcast with x."""
    keep = bool(either("weighted_moments", "keepdims", keepdims, keep_dims=keep_dims))
    with name_scope(name, "weighted_moments", [x, frequency_weights]):
        x = as_tensor(x)
        wide = cast(x, float32) if x.dtype is float16 else x
        weights = cast(as_tensor(frequency_weights), wide.dtype) + 0 * wide  # in the shape of x
        total = reduce_sum(weights, axes, True)
        mean = reduce_sum(weights * wide, axes, True) / total
        squares = elementwise.squared_difference(wide, stop_gradient(mean))
        variance = reduce_sum(weights * squares, axes, True) / total
        if not keep:
            mean, variance = squeeze(mean, plain_axis(axes)), squeeze(variance, plain_axis(axes))
        return cast(mean, x.dtype), cast(variance, x.dtype)


def sufficient_statistics(x: Any, axes: Any, shift: Any = None, keep_dims: bool | None = None,
                          name: str | None = None,
                          keepdims: bool | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The count, the sum and the sum of squares over `axes` of x - shift, and the shift."""
    keep = bool(either("sufficient_statistics", "keepdims", keepdims, keep_dims=keep_dims))
    with name_scope(name, "sufficient_statistics", [x, shift]):
        x = as_tensor(x)
        away = None if shift is None else as_tensor(shift, x.dtype)
        moved = x if away is None else x - away
        count = cast(reduce_prod(gather(shape(x), plain_axis(axes))), x.dtype)
        return (count, reduce_sum(moved, axes, keep), reduce_sum(elementwise.square(moved),
                                                                              axes, keep),
                away)


def normalize_moments(counts: Any, mean_ss: Any, variance_ss: Any, shift: Any,
                      name: str | None = None) -> tuple[Tensor, Tensor]:
    """Mean and variance from what `sufficient_statistics` gives."""
    with name_scope(name, "normalize", [counts, mean_ss, variance_ss, shift]):
        moved = as_tensor(mean_ss) / counts
        variance = as_tensor(variance_ss) / counts - elementwise.square(moved)
        mean = moved if shift is None else moved + shift
        return mean, variance
