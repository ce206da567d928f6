"""The logarithm of the gamma function and its derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from graphflow.compiler.ir.dtypes import float64
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import pointwise_op
from graphflow.compiler.ops.elementwise import floats, unary
from graphflow.compiler.ops.rules import like_first
from graphflow.compiler.ops.samples import UNARY, Sample, shapes

_EDGES = (math.inf, -math.inf, math.nan, 0.0, 1.0, 2.0, -1.0, -0.5, -7.25, 1e-30, 1e30)
_TERMS = 10


def _bernoulli(count: int) -> list[Any]:
    """B0, B1, ... of `count` terms, as fractions."""
    from fractions import Fraction  # with decimal, 2 ms of every import

    out = [Fraction(1)]
    for n in range(1, count):
        out.append(-sum((math.comb(n + 1, k) * b for k, b in enumerate(out)), Fraction(0)) / (n + 1))
    return out


def _zeta_parts(s: int, terms: int) -> list[float]:
    """B2j/(2j)! s (s+1) ... (s+2j-2), j = 1, 2, ..."""
    numbers = _bernoulli(2 * terms + 1)
    return [float(numbers[2 * j] / math.factorial(2 * j) * math.perm(s + 2 * j - 2, 2 * j - 1))
            for j in range(1, terms + 1)]


def _zeta(s: int, x: Any) -> Any:
    """sum_k (x + k)^-s for x > 0, by Euler and Maclaurin's formula; on arrays and on expressions."""
    steps = _TERMS + s
    total, y = _power(1 / x, s), x + steps
    for k in range(1, steps):
        total = total + _power(1 / (x + k), s)
    w = 1 / y
    z, tail = w * w, 0.0
    for part in reversed(_zeta_parts(s, _TERMS)):
        tail = tail * z + part
    return total + _power(w, s - 1) * (1 / (s - 1) + w * (0.5 + w * tail))


def _power(x: Any, n: int) -> Any:
    """x^n, n >= 1, by squares."""
    result, square = None, x
    while n:
        if n & 1:
            result = square if result is None else result * square
        n, square = n >> 1, square * square if n > 1 else square
    return result


def _cotangent_derivative(order: int, cot: Any) -> Any:
    """The derivative of cot(pi x) in terms of c = cot(pi x), whose own is -pi (1 + c^2)."""
    row = [0.0, 1.0]
    for _ in range(order):
        slope = [k * c for k, c in enumerate(row)][1:]
        row = [-math.pi * (a + b) for a, b in zip([*slope, 0.0, 0.0], [0.0, 0.0, *slope], strict=True)]
    total = row[-1]
    for c in reversed(row[:-1]):
        total = total * cot + c
    return total


def _polygamma(order: int, x: Any, where: Callable[..., Any], tan: Callable[..., Any],
               rint: Callable[..., Any]) -> Any:
    """Derivative `order` of digamma; left of 0 by (-1)^n f(1 - x) = f(x) + pi (d/dx)^n cot(pi x)."""
    sign = 1 if order % 2 else -1
    left = x < 0
    right = sign * math.factorial(order) * _zeta(order + 1, where(left, 1 - x, x))
    d = x - rint(x)
    mirrored = -sign * right - math.pi * _cotangent_derivative(order, 1 / tan(math.pi * d))
    return where(left, where((d <= 0) & (d >= 0), sign * math.inf, mirrored), right)


def _expression(op: Operation, x: E.Expr) -> E.Expr:
    tan, rint = partial(E.call, "tan"), partial(E.call, "rint")
    value: E.Expr = _polygamma(op.order, E.cast(x, float64), E.select, tan, rint)
    return E.cast(value, x.dtype)


def _on_arrays(x: Any, order: int) -> Any:
    wide = np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        return np.asarray(_polygamma(order, wide, np.where, np.tan, np.rint)).astype(np.asarray(x).dtype)


def _polygamma_grad(op: Operation, g: Tensor) -> Tensor:
    slope: Tensor = polygamma(op.x, order=op.order + 1)
    return g * slope


polygamma: OpDef = OpDef(
    "polygamma", "x", infer=like_first("float"), attrs={"order": 1}, grad=_polygamma_grad,
    lower=pointwise_op(_expression), numpy=_on_arrays,
    samples=(*shapes(*UNARY, low=0.2, high=9.0), *shapes([(7,)], order=2, low=0.5, high=4.0),
             *shapes([(7,)], low=-2.8, high=-2.2), *shapes([(4,)], order=3, low=-1.7, high=-1.3),
             Sample((floats(*_EDGES),), smooth=False),
             Sample((floats(*_EDGES),), {"order": 2}, smooth=False)))
digamma = unary("digamma", lambda x: E.call("digamma", x), E.SCALAR["digamma"].numpy,
                lambda op, g: g * polygamma(op.x, order=1), low=0.3, high=5.0,
                extra=(Sample((floats(*_EDGES),), smooth=False), *shapes([(9,)], low=-3.8, high=-3.2)))
lgamma = unary("lgamma", lambda x: E.call("lgamma", x), E.SCALAR["lgamma"].numpy,
               lambda op, g: g * digamma(op.x), low=0.3, high=5.0,
               extra=(Sample((floats(*_EDGES),), smooth=False), *shapes([(9,)], low=-3.8, high=-3.2)))
