"""Composites of neural networks: softmax, the cross entropies, bias_add, normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.ir.dtypes import bool_, int32
from graphflow.compiler.ir.explain import shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import Indexed, Let, Load
from graphflow.compiler.ops.activations import relu
from graphflow.compiler.ops.core import cast, literal
from graphflow.compiler.ops.elementwise import abs_, maximum, rsqrt, square
from graphflow.compiler.ops.gathering import check_range
from graphflow.compiler.ops.logic import is_finite, zero_unless, zero_where
from graphflow.compiler.ops.mathematics import exp, log, log1p, sigmoid
from graphflow.compiler.ops.reductions import reduce_max, reduce_sum
from graphflow.compiler.ops.rules import (
    axes_of,
    check_kind,
    equal_dims,
    normal_axis,
    same_dtype,
)
from graphflow.compiler.ops.samples import Sample, shapes
from graphflow.compiler.ops.sequences import one_hot
from graphflow.compiler.ops.shapes import dim_of, expand_dims, reshape

_HUGE = Sample((np.array([[1e4, 0, -1e4], [-np.inf, 0, 1], [5, 5, 5]], np.float32),), smooth=False)


# softmax

def _softmax_type(op: Operation) -> TensorType:
    check_kind(op, "float")
    if op.logits.type.rank is not None:
        normal_axis(op, op.axis, op.logits.type.rank)
    result: TensorType = op.logits.type
    return result


def _softmax(op: Operation) -> Tensor:
    shifted = exp(op.logits - reduce_max(op.logits, axis=op.axis, keepdims=True))
    result: Tensor = shifted / reduce_sum(shifted, axis=op.axis, keepdims=True)
    return result


def _softmax_grad(op: Operation, g: Tensor) -> Tensor:
    result: Tensor = (g - reduce_sum(g * op.out, axis=op.axis, keepdims=True)) * op.out
    return result


def _log_softmax(op: Operation) -> Tensor:
    shifted = op.logits - reduce_max(op.logits, axis=op.axis, keepdims=True)
    result: Tensor = shifted - log(reduce_sum(exp(shifted), axis=op.axis, keepdims=True))
    return result


_SOFTMAX_SAMPLES = (*shapes([(5,)], [(3, 4)], [(2, 3, 4)], [(0, 3)], [(2, 37)]),
                    *shapes([(3, 4)], [(2, 3, 4)], axis=0),
                    *shapes([(2, 3, 4)], axis=1), _HUGE)
softmax = OpDef("softmax", "logits", infer=_softmax_type, attrs={"axis": -1}, dim_attrs=("axis",),
                expand=_softmax,
                grad=_softmax_grad, samples=_SOFTMAX_SAMPLES)
log_softmax = OpDef("log_softmax", "logits", infer=_softmax_type, attrs={"axis": -1}, dim_attrs=("axis",),
                    expand=_log_softmax, samples=_SOFTMAX_SAMPLES,
                    grad=lambda op, g: g - exp(op.out) * reduce_sum(g, axis=op.axis, keepdims=True))


# Cross entropies

def _rows_type(op: Operation, dims: Any) -> TensorType:
    if dims is not None and not dims:
        raise shape_error(op, "(C1): logits must have an axis of classes")
    return TensorType(op.logits.dtype, None if dims is None else dims[:-1])


def _cross_entropy_type(op: Operation) -> TensorType:
    check_kind(op, "float")
    same_dtype(op)
    return _rows_type(op, equal_dims(op, op.operands))


def _cross_entropy_grad(op: Operation, g: Tensor) -> tuple[Tensor, Tensor]:
    """To the logits softmax - labels, as TF1 has it: exact where the labels of a row sum to 1."""
    g = expand_dims(g, axis=-1)
    return -g * log_softmax(op.logits), g * (softmax(op.logits) - op.labels)


_LABELS = np.array([[0.2, 0.5, 0.3], [1, 0, 0]], np.float64)
softmax_cross_entropy_with_logits = OpDef(
    "softmax_cross_entropy_with_logits", "labels logits", infer=_cross_entropy_type, grad=_cross_entropy_grad,
    expand=lambda op: -reduce_sum(op.labels * log_softmax(op.logits), axis=-1),
    samples=(Sample((_LABELS.astype(np.float32), (2, 3))), Sample((_LABELS[:1].astype(np.float32), (1, 3))),
             Sample((np.full((2, 2, 4), 0.25, np.float32), (2, 2, 4))), *shapes([(0, 3), (0, 3)]),
             *shapes([(3, 4), (3, 4)], smooth=False),
             Sample((_LABELS.astype(np.float32), np.array([[1e4, 0, -1e4], [0, 99, 3]], np.float32)),
                    smooth=False)))


def _sparse_type(op: Operation) -> TensorType:
    check_kind(op, "int", [op.labels])
    check_kind(op, "float", [op.logits])
    result = _rows_type(op, op.logits.type.dims)
    return TensorType(result.dtype, equal_dims(op, [result.dims, op.labels]))


def _classes(op: Operation, labels: Tensor, scores: Tensor) -> Tensor:
    """A mask with the class of each row."""
    count = dim_of(scores, -1 if scores.type.rank is None else scores.type.rank - 1)
    classes = check_index(labels, extent=count, what=f"a label of {op.opdef.name}", name=op.name)
    result: Tensor = one_hot(classes, depth=count, on_value=True, off_value=False, dtype=bool_)
    return result


def _sparse_cross_entropy(op: Operation) -> Tensor:
    chosen = zero_unless(_classes(op, op.labels, op.logits), log_softmax(op.logits))
    result: Tensor = -reduce_sum(chosen, axis=-1)
    return result


def _sparse_grad(op: Operation, g: Tensor) -> tuple[None, Tensor]:
    target = cast(_classes(op, op.labels, op.logits), dtype=g.dtype)
    return None, expand_dims(g, axis=-1) * (softmax(op.logits) - target)


sparse_softmax_cross_entropy_with_logits = OpDef(
    "sparse_softmax_cross_entropy_with_logits", "labels logits", infer=_sparse_type, grad=_sparse_grad,
    mixed=True, fails=True,
    expand=_sparse_cross_entropy,
    samples=(Sample((np.array([0, 2], np.int32), (2, 3))),
             Sample((np.array([[1], [0]], np.int64), (2, 1, 4))),
             Sample((np.array(1, np.int32), (3,))), Sample((np.zeros((0,), np.int32), (0, 3))),
             Sample((np.array([1, 0], np.int32), np.array([[1e4, -np.inf], [0, 99]], np.float32)),
                    smooth=False)))


def _check_index_type(op: Operation) -> TensorType:
    check_kind(op, "int")
    result: TensorType = op.indices.type
    return result


def _check_index_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    where = f"{op.location}: {op.what}" if op.what else op.location
    checked = let(E.checked_index(load(0, at), op.extent, where))
    return E.cast(checked, op.indices.dtype)


def _check_index_numpy(indices: Any, extent: int, what: str) -> Any:
    check_range(indices, extent)
    return indices


check_index = OpDef("check_index", "indices", infer=_check_index_type, attrs={"extent": REQUIRED, "what": ""},
                    dim_attrs=("extent",), fails=True, lower=Indexed(_check_index_element),
                    numpy=_check_index_numpy,
                    samples=(Sample((np.array([0, 2, 1], np.int32),), {"extent": 3}),
                             Sample((np.array(0, np.int64),), {"extent": 1})),
                    doc="The indices unchanged; a run with one outside of 0 <= index < extent fails.")

_PAIRS = (*shapes([(5,), (5,)], [(3, 4), (3, 4)], [(), ()], [(0, 2), (0, 2)]),)


def _same_type(op: Operation) -> TensorType:
    check_kind(op, "float")
    return TensorType(same_dtype(op), equal_dims(op, op.operands))


def _sigmoid_cross_entropy(op: Operation) -> Tensor:
    """max(x, 0) - x*z + log(1 + exp(-|x|)): no exp of a positive number."""
    x: Tensor = op.logits
    result: Tensor = relu(x) - x * op.labels + log1p(exp(-abs_(x)))
    return result


sigmoid_cross_entropy_with_logits = OpDef(
    "sigmoid_cross_entropy_with_logits", "labels logits", infer=_same_type, expand=_sigmoid_cross_entropy,
    grad=lambda op, g: (-g * op.logits, g * (sigmoid(op.logits) - op.labels)), tf_name="logistic_loss",
    samples=(*_PAIRS, Sample((np.array([0, 1, 1], np.float32), np.array([1000, -1000, 1000], np.float32)),
                             smooth=False)))


# bias_add

_CHANNELS_FIRST = ("NCHW", "NCW", "NCDHW")


def _channel_axis(op: Operation) -> int:
    return 1 if op.data_format in _CHANNELS_FIRST else (op.value.type.rank or 0) - 1


def _bias_type(op: Operation) -> TensorType:
    check_kind(op, "number")
    dtype, dims, bias = same_dtype(op), op.value.type.dims, op.bias.type.dims
    if (bias is not None and len(bias) != 1) or (dims is not None and len(dims) < 2):
        raise shape_error(op, "(C1): value must have rank 2 or more and bias rank 1")
    if dims is None or bias is None:
        return TensorType(dtype, dims)
    k = _channel_axis(op)
    return TensorType(dtype, (*dims[:k], *equal_dims(op, [(dims[k],), bias]), *dims[k + 1:]))


def _bias_grad(op: Operation, g: Tensor) -> tuple[Tensor, Tensor]:
    k = _channel_axis(op)
    return g, reduce_sum(g, axis=tuple(a for a in range(op.value.type.rank or 0) if a != k))


def _bias_numpy(value: Any, bias: Any, data_format: str) -> Any:
    return value + (bias.reshape((-1,) + (1,) * (value.ndim - 2)) if data_format in _CHANNELS_FIRST else bias)


def _bias(op: Operation) -> Tensor:
    after = (op.value.type.rank or 0) - 1 - _channel_axis(op)
    result: Tensor = op.value + (reshape(op.bias, shape=(-1, *(1,) * after)) if after else op.bias)
    return result


bias_add = OpDef("bias_add", "value bias", infer=_bias_type, attrs={"data_format": "NHWC"}, grad=_bias_grad,
                 expand=_bias, numpy=_bias_numpy,
                 samples=(*shapes([(3, 4), (4,)], [(0, 4), (4,)], [(2, 3, 4, 5), (5,)]),
                          *shapes([(2, 3, 4, 5), (3,)], [(2, 3), (3,)], data_format="NCHW"),
                          *shapes([(2, 3, 4), (3,)], data_format="NCW")))


# in_top_k, l2_normalize

def _top_type(op: Operation) -> TensorType:
    check_kind(op, "float", [op.predictions])
    check_kind(op, "int", [op.targets])
    dims = op.predictions.type.dims
    if dims is not None and len(dims) != 2:
        raise shape_error(op, "(C1): predictions must have rank 2")
    return TensorType(bool_, equal_dims(op, [None if dims is None else dims[:1], op.targets]))


def _in_top_k(op: Operation) -> Tensor:
    """Fewer than k classes score above the target; ties count for it, a score not finite never does."""
    scores = op.predictions
    own = reduce_sum(zero_unless(_classes(op, op.targets, scores), scores), axis=1, keepdims=True)
    above = reduce_sum(cast(scores > own, dtype=int32), axis=1)
    result: Tensor = (above < literal(op.k, int32)) & is_finite(reduce_sum(own, axis=1))
    return result


in_top_k = OpDef("in_top_k", "predictions targets", infer=_top_type, attrs={"k": REQUIRED}, expand=_in_top_k,
                 tf_name="InTopKV2", mixed=True,
                 samples=(Sample(((4, 5), np.array([0, 4, 2, 2], np.int32)), {"k": 2}, smooth=False),
                          Sample((np.array([[1, 2, 2], [3, 1, np.nan]], np.float32),
                                  np.array([1, 2], np.int64)),
                                 {"k": 1}, smooth=False)))


def _norm_inverse(op: Operation) -> tuple[Tensor, Tensor]:
    total = reduce_sum(square(op.x), axis=op.axis, keepdims=True)
    return total, rsqrt(maximum(total, literal(op.epsilon, op.x.dtype)))


def _l2_normalize_grad(op: Operation, g: Tensor) -> Tensor:
    """Where the norm is above the bound, the part of g along the result is taken away."""
    total, inverse = _norm_inverse(op)
    along = reduce_sum(g * op.out, axis=op.axis, keepdims=True)
    free = zero_where(total < literal(op.epsilon, g.dtype), along)
    result: Tensor = (g - op.out * free) * inverse
    return result


def _l2_normalize_type(op: Operation) -> TensorType:
    check_kind(op, "float")
    if op.x.type.rank is not None:
        axes_of(op)
    result: TensorType = op.x.type
    return result


l2_normalize = OpDef("l2_normalize", "x", infer=_l2_normalize_type, attrs={"axis": None, "epsilon": 1e-12},
                     dim_attrs=("axis",), expand=lambda op: op.x * _norm_inverse(op)[1],
                     grad=_l2_normalize_grad,
                     samples=(*shapes([(5,)], [(3, 4)]), *shapes([(3, 4)], [(2, 3, 4)], axis=1),
                              *shapes([(3, 4)], axis=(0, 1), epsilon=100.0), *shapes([(2, 3)], axis=-1),
                              Sample((np.zeros((2, 2), np.float32),), {"axis": 0}, smooth=False)))
