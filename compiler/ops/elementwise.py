"""Elementwise ops: arithmetic, comparison, logic and mathematics. Operands broadcast as in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import pointwise
from graphflow.compiler.ops.broadcasting import unbroadcast
from graphflow.compiler.ops.rules import elementwise
from graphflow.compiler.ops.samples import BINARY, UNARY, shapes


def _unary(name: str, fn: Callable[..., E.Expr], numpy: Callable[..., Any], grad: Callable[..., Any] | None,
           kind: str = "float", tf_name: str = "", **sample: Any) -> OpDef:
    """A function of one operand; `grad` is (op, g) -> gradient."""
    return OpDef(name, "x", infer=elementwise(kind), grad=grad, lower=pointwise(fn), numpy=numpy, tf_name=tf_name,
                 samples=shapes(*UNARY, **sample))


def _binary(name: str, fn: Callable[..., E.Expr], numpy: Callable[..., Any],
            grad: Callable[[Operation, Tensor], tuple[Any, Any]] | None, kind: str = "number", tf_name: str = "",
            **sample: Any) -> OpDef:
    """A function of two operands; the gradients that `grad` gives are summed over the broadcast axes."""
    def summed(op: Operation, g: Tensor) -> tuple[Any, ...]:
        assert grad is not None
        return tuple(None if d is None else unbroadcast(d, t) for d, t in zip(grad(op, g), op.operands, strict=True))

    return OpDef(name, "x y", infer=elementwise(kind), grad=summed if grad else None, lower=pointwise(fn),
                 numpy=numpy, tf_name=tf_name, samples=shapes(*BINARY, **sample))


add = _binary("add", lambda x, y: x + y, np.add, lambda op, g: (g, g))
sub = _binary("sub", lambda x, y: x - y, np.subtract, lambda op, g: (g, -g))
mul = _binary("mul", lambda x, y: x * y, np.multiply, lambda op, g: (g * op.y, op.x * g))
neg = _unary("neg", lambda x: -x, np.negative, lambda op, g: -g, kind="number")
exp = _unary("exp", lambda x: E.call("exp", x), np.exp, lambda op, g: g * op.out)
tanh = _unary("tanh", lambda x: E.call("tanh", x), np.tanh, lambda op, g: g * (1 - op.out * op.out))
