"""Mathematical functions of one float, and atan2."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops import expr as E
from graphflow.compiler.ops.elementwise import binary, floats, reciprocal, rsqrt, square, unary
from graphflow.compiler.ops.samples import Sample


def _function(name: str, grad: Callable[[Operation, Tensor], Any], special: tuple[float, ...] = (),
              **sample: Any) -> OpDef:
    """An op for the scalar function of the same name; `special` values are tested too."""
    extra = (Sample((floats(*special),), smooth=False),) if special else ()
    return unary(name, lambda x: E.call(name, x), E.SCALAR[name].numpy, grad, extra=extra, **sample)


_EDGES = (0.0, -0.0, math.inf, -math.inf, math.nan)
_UNIT: dict[str, Any] = {"low": -0.9, "high": 0.9}

exp = _function("exp", lambda op, g: g * op.out, (*_EDGES, 88, 89, -104))
expm1 = _function("expm1", lambda op, g: g * (op.out + 1), (*_EDGES, 1e-6))
log = _function("log", lambda op, g: g / op.x, (*_EDGES, -1), low=0.1)
exp2 = _function("exp2", lambda op, g: g * (op.out * math.log(2)), (*_EDGES, 127, 128, -149, -150))
log2 = _function("log2", lambda op, g: g / (op.x * math.log(2)), (*_EDGES, -1, 8), low=0.1)
log1p = _function("log1p", lambda op, g: g / (1 + op.x), (*_EDGES, -1, -2, 1e-6), low=-0.5)

sin = _function("sin", lambda op, g: g * cos(op.x), (*_EDGES, 1e4))
cos: OpDef = _function("cos", lambda op, g: -g * sin(op.x), (*_EDGES, 1e4))
tan = _function("tan", lambda op, g: g * (1 + square(op.out)), _EDGES, low=-1.2, high=1.2)
asin = _function("asin", lambda op, g: g * rsqrt(1 - square(op.x)), (*_EDGES, 1, -1, 2), **_UNIT)
acos = _function("acos", lambda op, g: -g * rsqrt(1 - square(op.x)), (*_EDGES, 1, -1, 2), **_UNIT)
atan = _function("atan", lambda op, g: g / (1 + square(op.x)), _EDGES)


def _atan2_grad(op: Operation, g: Tensor) -> tuple[Tensor, Tensor]:
    scaled = g / (square(op.x) + square(op.y))  # atan2(x, y): the first operand is the opposite side
    return scaled * op.y, -scaled * op.x


atan2 = binary("atan2", lambda x, y: E.call("atan2", x, y), np.arctan2, _atan2_grad, kind="float",
               tf_name="Atan2",
               extra=(Sample((floats(0, -0.0, 1, -1, 0), floats(-1, -1, 0, 0, 0)), smooth=False),))

sinh = _function("sinh", lambda op, g: g * cosh(op.x), _EDGES)
cosh: OpDef = _function("cosh", lambda op, g: g * sinh(op.x), _EDGES)
tanh = _function("tanh", lambda op, g: g * (1 - square(op.out)), (*_EDGES, 20, 1e-5))
asinh = _function("asinh", lambda op, g: g * rsqrt(1 + square(op.x)), _EDGES)
acosh = _function("acosh", lambda op, g: g * rsqrt(square(op.x) - 1), (*_EDGES, 1), low=1.5, high=4.0)
atanh = _function("atanh", lambda op, g: g * reciprocal(1 - square(op.x)), (*_EDGES, 1, -1, 2), **_UNIT)

sigmoid = _function("sigmoid", lambda op, g: g * (op.out * (1 - op.out)), (*_EDGES, 100, -100))
softplus = _function("softplus", lambda op, g: g * sigmoid(op.x), (*_EDGES, 100, -100))

_TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)
erf = _function("erf", lambda op, g: g * (_TWO_OVER_ROOT_PI * exp(-square(op.x))), (*_EDGES, 6))
erfc = _function("erfc", lambda op, g: g * (-_TWO_OVER_ROOT_PI * exp(-square(op.x))), (*_EDGES, 6))
_ROOT_TWO_PI = math.sqrt(2 * math.pi)
erfinv = _function("erfinv", lambda op, g: g * (exp(square(op.out)) / _TWO_OVER_ROOT_PI), (*_EDGES, 1, -1, 2),
                   **_UNIT)
ndtri = _function("ndtri", lambda op, g: g * (_ROOT_TWO_PI * exp(square(op.out) / 2)),
                  (*_EDGES, 1, 0.5, 1e-30, 2), low=0.1, high=0.9)
cbrt = _function("cbrt", lambda op, g: g / (3 * square(op.out)), (*_EDGES, 27, -8, 1e-40), low=0.3)
