"""Activation functions of one operand."""

from __future__ import annotations

import numpy as np

from graphflow.compiler.ir.explain import shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import pointwise_op
from graphflow.compiler.ops.core import literal
from graphflow.compiler.ops.elementwise import abs_, floats, square, unary
from graphflow.compiler.ops.logic import where_v2, zero_unless
from graphflow.compiler.ops.rules import like_first
from graphflow.compiler.ops.samples import UNARY, Sample, shapes

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017
_EDGES = (Sample((floats(np.nan, np.inf, -np.inf, 0.0, 7.0),), smooth=False),)


relu = unary("relu", lambda x: E.maximum(x, 0), lambda x: np.maximum(x, 0),
             lambda op, g: zero_unless(op.out > 0, g), kind="number", extra=_EDGES)
relu6 = unary("relu6", lambda x: E.minimum(E.maximum(x, 0), 6), lambda x: np.clip(x, 0, 6),
              lambda op, g: zero_unless((op.out > 0) & (op.out < 6), g), kind="number", low=-9, high=9,
              extra=_EDGES)
elu = unary("elu", lambda x: E.select(x < 0, E.call("expm1", x), x),
            lambda x: np.where(x < 0, np.expm1(x), x),
            lambda op, g: where_v2(op.out < 0, g * (op.out + 1), g), extra=_EDGES)


def _selu_grad(op: Operation, g: Tensor) -> Tensor:
    slope: Tensor = where_v2(op.out < 0, op.out + _SELU_ALPHA * _SELU_SCALE, literal(_SELU_SCALE, g.dtype))
    return g * slope


selu = unary("selu", lambda x: _SELU_SCALE * E.select(x < 0, _SELU_ALPHA * E.call("expm1", x), x),
             lambda x: _SELU_SCALE * np.where(x < 0, _SELU_ALPHA * np.expm1(x), x), _selu_grad, extra=_EDGES)
softsign = unary("softsign", lambda x: x / (1 + E.call("abs", x)), lambda x: x / (1 + np.abs(x)),
                 lambda op, g: g / square(1 + abs_(op.x)))

def _leaky_type(op: Operation) -> TensorType:
    if not isinstance(op.alpha, (int, float)):
        raise shape_error(op, f"(C2): alpha must be a number, known while the graph is built, not "
                              f"{op.alpha!r}")
    return like_first("float")(op)


leaky_relu = OpDef(
    "leaky_relu", "x", infer=_leaky_type, attrs={"alpha": 0.2}, tf_name="LeakyRelu",
    grad=lambda op, g: where_v2(op.x > 0, g, g * op.alpha),
    lower=pointwise_op(lambda op, x: E.select(x > 0, x, x * op.alpha)),
    numpy=lambda x, alpha: np.where(x > 0, x, np.asarray(alpha, x.dtype) * x),
    samples=(*shapes(*UNARY), *shapes([(3, 4)], alpha=0.01)))
