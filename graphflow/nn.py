"""tf.nn: activations, losses and layers' building blocks, with TF1's signatures."""

from __future__ import annotations

from numbers import Real
from typing import Any

from graphflow import convolutions, normalization, pooling, random, sampling
from graphflow.arrays import concat, shape, transpose
from graphflow.basics import name_scope, stop_gradient
from graphflow.compiler.errors import ShapeError
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.explain import misfit
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import activations, elementwise, logic, reductions
from graphflow.compiler.ops import nn as records
from graphflow.convolutions import *  # noqa: F403
from graphflow.embedding import embedding_lookup
from graphflow.image import depth_to_space, space_to_batch, space_to_depth
from graphflow.math import (
    cast,
    log_sigmoid,
    matmul,
    reduce_mean,
    sigmoid,
    softplus,
    tanh,
)
from graphflow.missing import missing_names
from graphflow.normalization import *  # noqa: F403
from graphflow.ordering import top_k
from graphflow.pooling import *  # noqa: F403
from graphflow.renamed import either, plain_axis
from graphflow.sampling import *  # noqa: F403

__all__ = [
    *convolutions.__all__, *normalization.__all__, *pooling.__all__, *sampling.__all__,
    "bias_add", "crelu", "depth_to_space", "dropout", "elu", "embedding_lookup", "in_top_k", "l2_loss",
    "l2_normalize", "leaky_relu", "log_sigmoid", "log_softmax", "relu", "relu6", "relu_layer",
    "selu",
    "sigmoid", "sigmoid_cross_entropy_with_logits", "softmax", "softmax_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits_v2", "softplus", "softsign", "space_to_batch",
    "space_to_depth", "top_k",
    "sparse_softmax_cross_entropy_with_logits",
    "swish", "tanh", "weighted_cross_entropy_with_logits", "xw_plus_b", "zero_fraction",
]

# Activations


def relu(features: Any, name: str | None = None) -> Tensor:
    """max(features, 0)"""
    result: Tensor = activations.relu(features, name=name)
    return result


def relu6(features: Any, name: str | None = None) -> Tensor:
    """min(max(features, 0), 6)"""
    result: Tensor = activations.relu6(features, name=name)
    return result


def elu(features: Any, name: str | None = None) -> Tensor:
    """features, or exp(features) - 1 below 0. Source: Clevert et al. 2015"""
    result: Tensor = activations.elu(features, name=name)
    return result


def selu(features: Any, name: str | None = None) -> Tensor:
    """The self-normalizing elu. Source: Klambauer et al. 2017"""
    result: Tensor = activations.selu(features, name=name)
    return result


def crelu(features: Any, name: str | None = None, axis: int = -1) -> Tensor:
    """relu of features and of -features, side by side."""
    x = as_tensor(features)
    return relu(concat([x, -x], axis), name or "CRelu")


def leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Tensor:
    """features, or alpha * features below 0."""
    result: Tensor = activations.leaky_relu(features, alpha=alpha, name=name)
    return result


def softsign(features: Any, name: str | None = None) -> Tensor:
    """features / (1 + |features|)"""
    result: Tensor = activations.softsign(features, name=name)
    return result


def swish(features: Any) -> Tensor:
    """features * sigmoid(features)"""
    x = as_tensor(features)
    result: Tensor = x * sigmoid(x)
    return result


def softmax(logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None) -> Tensor:
    """exp(logits) / sum(exp(logits)) along an axis, by default the last."""
    axis = either("softmax", "axis", axis, dim=dim)
    result: Tensor = records.softmax(logits, axis=-1 if axis is None else axis, name=name)
    return result


def log_softmax(logits: Any, axis: int | None = None, name: str | None = None,
                dim: int | None = None) -> Tensor:
    """log(softmax(logits)), without overflow."""
    axis = either("log_softmax", "axis", axis, dim=dim)
    result: Tensor = records.log_softmax(logits, axis=-1 if axis is None else axis, name=name)
    return result


# Losses


def softmax_cross_entropy_with_logits_v2(labels: Any, logits: Any, axis: int | None = None,
                                         name: str | None = None, dim: int | None = None) -> Tensor:
    """-sum(labels * log_softmax(logits)) along an axis, by default the last; gradients reach labels too."""
    axis = either("softmax_cross_entropy_with_logits_v2", "axis", axis, dim=dim)
    x = as_tensor(logits)
    z = as_tensor(labels, x.dtype, for_op="softmax_cross_entropy_with_logits")
    if axis not in (None, -1) and axis != (x.type.rank or 0) - 1:
        x, z = _axis_last(x, axis), _axis_last(z, axis)
    result: Tensor = records.softmax_cross_entropy_with_logits(
        z, x, name=name or "softmax_cross_entropy_with_logits")
    return result


def _axis_last(x: Tensor, axis: int) -> Tensor:
    if x.type.rank is None:
        raise ShapeError(f"softmax_cross_entropy_with_logits: with an axis, the rank of {x.name} is needed")
    axes = list(range(x.type.rank))
    return transpose(x, [*axes[:axis % x.type.rank], *axes[axis % x.type.rank + 1:], axis % x.type.rank])


def softmax_cross_entropy_with_logits(_sentinel: Any = None, labels: Any = None, logits: Any = None,
                                      dim: int = -1, name: str | None = None,
                                      axis: int | None = None) -> Tensor:
    """-sum(labels * log_softmax(logits)) along an axis; labels are taken for constants."""
    labels, logits = _named("softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    return softmax_cross_entropy_with_logits_v2(stop_gradient(labels), logits, dim if axis is None else axis,
                                                name or "softmax_cross_entropy_with_logits_sg")


def sparse_softmax_cross_entropy_with_logits(_sentinel: Any = None, labels: Any = None, logits: Any = None,
                                             name: str | None = None) -> Tensor:
    """-log_softmax(logits)[label], labels being indices of classes."""
    labels, logits = _named("sparse_softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    result: Tensor = records.sparse_softmax_cross_entropy_with_logits(
        labels, logits, name=name or "SparseSoftmaxCrossEntropyWithLogits")
    return result


def sigmoid_cross_entropy_with_logits(_sentinel: Any = None, labels: Any = None, logits: Any = None,
                                      name: str | None = None, targets: Any = None) -> Tensor:
    """max(x, 0) - x*z + log(1 + exp(-|x|)), x being logits and z labels."""
    labels = either("sigmoid_cross_entropy_with_logits", "labels", labels, targets=targets)
    labels, logits = _named("sigmoid_cross_entropy_with_logits", _sentinel, labels, logits)
    result: Tensor = records.sigmoid_cross_entropy_with_logits(labels, logits, name=name or "logistic_loss")
    return result


def weighted_cross_entropy_with_logits(labels: Any = None, logits: Any = None, pos_weight: Any = None,
                                       name: str | None = None, targets: Any = None) -> Tensor:
    """(1 - z)*x + (1 + (pos_weight - 1)*z) * log(1 + exp(-x)), x being logits and z labels."""
    labels = either("weighted_cross_entropy_with_logits", "labels", labels, targets=targets)
    with name_scope(name, "logistic_loss", [logits, labels]) as scope:
        x = as_tensor(logits)
        z = as_tensor(labels, x.dtype, for_op="weighted_cross_entropy_with_logits")
        weight = 1 + (pos_weight - 1) * z
        tail = weight * (softplus(-elementwise.abs_(x)) + relu(-x))
        result: Tensor = elementwise.add((1 - z) * x, tail, name=scope)
        return result


def _named(function: str, first: Any, labels: Any, logits: Any) -> tuple[Any, Any]:
    """Labels and logits, which TF1 takes by name alone: their order changed over its life."""
    if first is not None or labels is None or logits is None:
        raise ValueError(f"{function}: give labels= and logits= by name")
    return labels, logits


def l2_loss(t: Any, name: str | None = None) -> Tensor:
    """sum(t^2) / 2"""
    result: Tensor = reductions.l2_loss(t, name=name or "L2Loss")
    return result


def zero_fraction(value: Any, name: str | None = None) -> Tensor:
    """The share of elements that are zero."""
    with name_scope(name, "zero_fraction", [value]):
        x = as_tensor(value)
        return reduce_mean(cast(logic.equal(x, as_tensor(0, x.dtype)), "float32"))


# Layers


def bias_add(value: Any, bias: Any, data_format: str | None = None, name: str | None = None) -> Tensor:
    """A 1-D bias added along the last axis, or with "NCHW" along axis 1."""
    if data_format not in (None, "N...C", "NC...", "NWC", "NCW", "NHWC", "NCHW", "NDHWC", "NCDHW"):
        raise misfit("bias_add", f"data_format {data_format!r} is neither NHWC nor NCHW")
    first = data_format is not None and data_format.startswith("NC")
    result: Tensor = records.bias_add(value, bias, data_format="NCHW" if first else "NHWC",
                                      name=name or "BiasAdd")
    return result


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """x @ weights + biases"""
    with name_scope(name, "xw_plus_b", [x, weights, biases]) as scope:
        return bias_add(matmul(x, weights), biases, name=scope)


def relu_layer(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """relu(x @ weights + biases)"""
    with name_scope(name, "relu_layer", [x, weights, biases]) as scope:
        return relu(bias_add(matmul(x, weights), biases), name=scope)


def dropout(x: Any, keep_prob: Any = None, noise_shape: Any = None, seed: int | None = None,
            name: str | None = None, rate: Any = None) -> Tensor:
    """Elements kept with a probability and scaled by its inverse, the others 0; draws anew at each run.

    Units:   keep_prob = 1 - rate; give one of them. It may be a tensor
    Shapes:  `noise_shape` (with 1 along an axis) drops whole slices; default: the shape of x
    """
    if (keep_prob is None) == (rate is None):
        raise misfit("dropout", "give one of keep_prob and rate")
    what, given = ("keep_prob", keep_prob) if rate is None else ("rate", rate)
    if not isinstance(given, Real) and not random.is_tensor(given):
        raise misfit("dropout", f"{what} must be a number or a tensor of one, not {given!r}")
    keep = keep_prob if rate is None else 1 - rate
    if isinstance(keep, Real) and not 0 < float(keep) <= 1:
        raise misfit("dropout", f"{what} must be in {'(0, 1]' if rate is None else '[0, 1)'}, not {given}")
    with name_scope(name, "dropout", [x]):
        x = as_tensor(x)
        if isinstance(keep, Real) and keep == 1:
            same: Tensor = x
            return same
        noise = random.uniform(shape(x) if noise_shape is None else noise_shape, 0, 1, x.dtype, seed)
        if noise_shape is None:
            noise.set_shape(x.shape)
        # a select, not a product with the mask: infinities that are dropped must be gone
        result: Tensor = logic.where_v2(noise >= 1 - keep, x / keep, as_tensor(0.0, x.dtype))
        result.set_shape(x.shape)  # a fed keep_prob may have no declared shape
        return result


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, name: str | None = None,
                 dim: Any = None) -> Tensor:
    """x / sqrt(max(sum(x^2), epsilon)) along an axis."""
    axis = either("l2_normalize", "axis", axis, dim=dim)
    result: Tensor = records.l2_normalize(x, axis=plain_axis(axis), epsilon=epsilon,
                                          name=name or "l2_normalize")
    return result


def in_top_k(predictions: Any, targets: Any, k: Any, name: str | None = None) -> Tensor:
    """Whether the target class is among the k largest predictions of its row, equals of the k-th too."""
    result: Tensor = records.in_top_k(predictions, targets, k=k, name=name)
    return result

__getattr__ = missing_names("graphflow.nn")
