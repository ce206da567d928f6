"""erf, erfc, the inverse of erf and the normal quantile."""

from __future__ import annotations

import math

from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, fma, select
from graphflow.compiler.loops.maths import exponential
from graphflow.compiler.loops.maths.floats import (
    F64,
    Format,
    Pair,
    at_most,
    fast_two_sum,
    ldexp,
    magnitude,
    multiply,
    root,
    signed,
    two_product,
    two_sum,
)
from graphflow.compiler.loops.maths.logarithm import log_pair, split, split_any


def erfc_positive(f: Format, x: Expr) -> Expr:
    """exp(-x^2) F(t) / (x + 2) for x >= 0, t = 1 - 4/(x + 2), x^2 as a pair."""
    x = at_most(x, f.pick(10.5, 28.0))
    square, e = two_product(x, x)
    n, (h, l) = exponential.exp_pair(f, -square)
    power = h, fma(h, -e, l)
    d, c = two_sum(x, f.number(2.0))
    inverse = 1.0 / d
    rest = (fma(-inverse, d, 1.0) - inverse * c) * inverse
    four = 4.0 * inverse
    t = 1.0 - four
    left = fma(rest, -4.0, (1.0 - t) - four)
    _, slope, bend, *_ = f.table("ERFC")
    lost = fma(left, fma(t, 2.0 * bend, slope), rest * 3.0)
    line = fma(inverse, 3.0, 0.5)  # 5/4 - 3t/4
    h, l = fast_two_sum(line, f.polynomial("ERFC", t))
    scaled = h, l + (lost + fma(inverse, 3.0, 0.5 - line))
    h, l = multiply(multiply(scaled, (inverse, rest)), power)
    return ldexp(h + l, n)


def erfc(f: Format, x: Expr) -> Expr:
    tail = erfc_positive(f, magnitude(x))
    return select(x < 0.0, 2.0 - tail, tail)


def _short_erfc(x: Expr) -> Expr:
    """float64's erfc from 1 on to a few units in the last place: 1 less it hides them."""
    x = at_most(x, 6.0)
    square, e = two_product(x, x)
    n, (h, l) = exponential.split_exp(F64, -square)
    power = ldexp(h + fma(h, -e, l), n)
    inverse = 1.0 / (x + 2.0)
    return power * (inverse * F64.polynomial("ERF_FAR", fma(inverse, -4.0, 1.0)))


def erf(f: Format, x: Expr) -> Expr:
    """float32: erf(c + u) = erf(c) + u p(u), c the nearest of 16; float64: odd up to 1, 1 - erfc beyond."""
    a = magnitude(x)
    if f.wide:
        return select(a < 1.0, fma(x, f.polynomial("ERF", x * x), x), signed(1.0 - _short_erfc(a), x))
    return signed(f.near_centre("ERF", at_most(a, 3.97), 4.025, 19), x)


def erfinv_is_near(f: Format, x: Expr) -> Expr:
    return magnitude(x) <= f.pick(0.996, 0.999)


def erfinv(f: Format, x: Expr, near: bool = False) -> Expr:
    a = magnitude(x)
    scale = f.pick(2.0**40, 2.0**80)  # so that parts of denormals count
    h, l = _inverse(f, a * scale, f.number(0.0), fma(-a, a, 1.0), near)
    value = (h + l) * (1.0 / scale)
    if not near:
        outside = select(E.eq(a, 1.0), f.number(math.inf), f.number(math.nan))
        value = select(a < 1.0, value, outside)
    return signed(value, x)


def ndtri_is_near(f: Format, x: Expr) -> Expr:
    least = f.pick(0.002, 0.0005)
    return (x >= least) & (x <= 1.0 - least)


def ndtri(f: Format, x: Expr, near: bool = False) -> Expr:
    """The quantile of the normal distribution: sqrt(2) erfinv(2x - 1), where 1 - (2x - 1)^2 = 4x (1 - x)."""
    a, low = two_sum(2.0 * x, f.number(-1.0))
    h, l = multiply(_inverse(f, a, low, 4.0 * x * (1.0 - x), near, end=True), f.pair("ROOT2"))
    if near:
        return h + l
    infinity = f.number(math.inf)
    edge = select(E.eq(x, 0.0), -infinity, select(E.eq(x, 1.0), infinity, math.nan))
    return select((x > 0.0) & (x < 1.0), h + l, edge)


def _inverse(f: Format, a: Expr, low: Expr, c: Expr, near: bool, end: bool = False) -> Pair:
    """a + low times 0.875 + w/4 + p(w) near 0 and sqrt(w) + p(sqrt(w)) beyond, w = -log(c), c = 1 - x^2."""
    m, k = split_any(f, c) if end and not near else split(f, c)[:2]
    h, l = log_pair(f, k, m - 1.0)
    w = -(h + l)
    high, rest = two_sum(f.number(0.875), h * -0.25)
    slope = fma(l, -0.25, rest) + f.polynomial("ERFINV_NEAR", w - f.pick(2.5, 3.125))
    if not near:
        s, close = root(w), w < f.pick(5.0, 6.25)
        far = _far(f, s, end) + (fma(-s, s, -h) - l) * 0.5 / (s + f.least_normal)
        high, slope = select(close, high, s), select(close, slope, far)
    p, e = two_product(a, high)
    return p, fma(a, slope, fma(low, high, e))


def _far(f: Format, s: Expr, end: bool) -> Expr:
    """erfinv(x)/x - s, from the polynomials for more and more of s."""
    value = f.polynomial("ERFINV_FAR", s - f.pick(3.0, 3.25))
    if f.wide:
        value = select(s < 4.0, value, f.polynomial("ERFINV_TAIL", s - 5.0))
    if end:
        last = f.polynomial("ERFINV_END", 1.0 / s - f.pick(0.1695, 0.1015))
        value = select(s < f.pick(4.2, 6.0), value, last)
    return value
