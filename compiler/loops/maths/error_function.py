"""erf, erfc and the inverse of erf."""

from __future__ import annotations

import math

from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, fma, select
from graphflow.compiler.loops.maths import exponential
from graphflow.compiler.loops.maths.floats import (
    Format,
    at_most,
    fast_two_sum,
    magnitude,
    multiply,
    root,
    signed,
    two_product,
    two_sum,
)
from graphflow.compiler.loops.maths.logarithm import log_pair, split


def erfc_positive(f: Format, x: Expr) -> Expr:
    """exp(-x^2) F(t) / (x + 2) for x >= 0, t = 1 - 4/(x + 2), x^2 as a pair."""
    x = at_most(x, f.pick(10.5, 28.0))
    square, e = two_product(x, x)
    high, low = f.table("LN2")
    n, word = f.round(-square, f.table("LOG2_E")[0])
    a = fma(n, -high, -square)
    r = fma(n, -low, a)
    h, l = exponential.exp_pair(f, r)
    power = h, fma(h, fma(n, -low, a - r) - e, l)
    d, c = two_sum(x, f.number(2.0))
    inverse = 1.0 / d
    rest = (fma(-inverse, d, 1.0) - inverse * c) * inverse
    t = fma(rest, -4.0, fma(inverse, -4.0, 1.0))
    h, l = multiply(multiply(fast_two_sum(1.0, f.polynomial("ERFC", t)), (inverse, rest)), power)
    p, q = f.powers_of_two(word)
    return (h + l) * p * q


def erfc(f: Format, x: Expr) -> Expr:
    tail = erfc_positive(f, magnitude(x))
    return select(x < 0.0, 2.0 - tail, tail)


def erf(f: Format, x: Expr) -> Expr:
    """An odd polynomial up to 1; beyond, a polynomial about 2.5 (f32) or 1 - erfc (f64)."""
    a = magnitude(x)
    near = fma(x, f.polynomial("ERF", x * x), x)
    far = 1.0 - erfc_positive(f, a) if f.wide else 1.0 + f.polynomial("ERF_FAR", at_most(a, 4.0) - 2.5)
    return select(a < 1.0, near, signed(far, x))


def erfinv(f: Format, x: Expr) -> Expr:
    """x times a polynomial in w = -log(1 - x^2) near 0, and in sqrt(w) beyond."""
    a = magnitude(x)
    m, k, _ = split(f, fma(-a, a, 1.0))
    h, l = log_pair(f, k, m - 1.0)
    w = -(h + l)
    s = root(w)
    pieces = [("NEAR", 1.0, f.pick(2.5, 3.125)), ("FAR", 2.0, f.pick(3.0, 3.25)), ("TAIL", 4.0, 5.0)]
    values = [fma(a, f.polynomial(f"ERFINV_{name}", (-h - middle) - l if name == "NEAR" else s - middle), base * a)
              for name, base, middle in pieces[:3 if f.wide else 2]]
    value = values.pop()
    if f.wide:
        value = select(s < 4.0, values.pop(), value)
    value = select(w < f.pick(5.0, 6.25), values.pop(), value)
    outside = select(E.eq(a, 1.0), f.number(math.inf), f.number(math.nan))
    return signed(select(a < 1.0, value, outside), x)
