"""lgamma and digamma, in float64 for float32 too: their zeros leave no bits to spare.

Left of 0 both reflect, by the sine and tangent of pi x. There the zeros are irrational, one to an interval,
and the error is absolute: about 1e-16 of the terms, which float32 does not see.
"""

from __future__ import annotations

import math

from graphflow.compiler.ir.dtypes import float64
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, fma, select
from graphflow.compiler.loops.maths import trigonometry
from graphflow.compiler.loops.maths.floats import (
    F64,
    Format,
    Pair,
    divide,
    fast_two_sum,
    magnitude,
    multiply,
    signed,
    two_product,
    two_sum,
)
from graphflow.compiler.loops.maths.logarithm import log_pair, split, split_any

_STIRLING_FROM = 4.25


def is_near(f: Format, x: Expr) -> Expr:
    return x > 0.0


def lgamma(f: Format, x: Expr, near: bool = False) -> Expr:
    """log|gamma(x)|; infinite at 0, -1, -2, ..."""
    wide = E.cast(x, float64)
    if near:
        return E.cast(_sum(_lgamma_positive(wide)), f.dtype)
    a = magnitude(wide)
    right = _lgamma_positive(a)
    value = select((wide < 0.0) & (a > 2.0**-60), _lgamma_left(a, right), _sum(right))
    whole = E.eq(a, 0.0) | (wide < 0.0) & E.eq(_fraction(a), 0.0) | E.eq(a, math.inf)
    return E.cast(select(whole, F64.number(math.inf), value), f.dtype)


def _sum(p: Pair) -> Expr:
    """h + l, but h alone where it is infinite and l the NaN of inf - inf."""
    return select(magnitude(p[0]) < math.inf, p[0] + p[1], p[0])


def _log(a: Pair) -> Pair:
    """log(a) for a > 0; a denormal a is exact."""
    m, k = split_any(F64, a[0])
    _, _, power = split(F64, a[0])
    half = F64.of_bits((F64.one + (2 << 52)) - power + (F64.one - (1 << 52)))  # 2 / 2^k
    return log_pair(F64, k, m - 1.0, select(a[0] < F64.least_normal, 0.0, a[1] * half * 0.5))


def _lgamma_positive(x: Expr) -> Pair:
    """base + factor log(product): moved to [5/4, 9/4) by one or two factors, or Stirling's from 4.25 on.

    lgamma(x) = (x - 1/2) (log(x) - 1) + (log(2 pi) - 1)/2 + S(1/x^2)/x
    """
    low, below, beyond = x < 0.25, x < 1.25, x >= _STIRLING_FROM
    inside, third = x < 2.25, x < 3.25
    first = select(below | beyond, x, select(inside, 1.0, x - 1.0))
    near_one = x + 1.0
    second = select(low, near_one, select(third | beyond, 1.0, x - 2.0))
    p, e = two_product(first, second)
    h, l = _log((p, fma(first, select(low, x - (near_one - 1.0), 0.0), e)))
    h, lost = two_sum(h, select(beyond, F64.number(-1.0), 0.0))
    p, e = multiply((h, l + lost), (select(beyond, x - 0.5, select(below, F64.number(-1.0), 1.0)), 0.0))
    base, rest = _base(x, low, below, inside, third)
    near = select(beyond, F64.table("STIRLING_BASE")[0], base)
    w = 1.0 / x
    far = fma(w, F64.polynomial("STIRLING", w * w), F64.table("STIRLING_BASE")[1])
    s, lost = two_sum(near, p)
    return s, lost + (e + select(beyond, far, rest))


def _base(x: Expr, low: Expr, below: Expr, inside: Expr, third: Expr) -> Pair:
    """lgamma(2 + d) = d (1 - euler + d ((zeta(2) - 1)/2 + d q(d))), 2 + d what x is moved to."""
    two, four = F64.number(2.0), F64.number(4.0)
    down = select(inside, two, select(third, 3.0, four))
    d = x - select(low, 0.0, select(below, 1.0, down))
    slope, curve = F64.table("EULER"), F64.table("CURVE")
    p, e = two_product(d, curve[0])
    h, l = fast_two_sum(slope[0], p)
    l = fma(d, fma(d, F64.polynomial("LGAMMA", d), curve[1]), l + (e + slope[1]))
    return multiply((h, l), (d, 0.0))


def _fraction(a: Expr) -> Expr:
    return a - E.call("rint", a)


def _lgamma_left(a: Expr, right: Pair) -> Expr:
    """lgamma(-a) = -lgamma(a) - log(a |sin(pi a)| / pi)"""
    sine, _ = _half_turns(a)
    argument = multiply(multiply(sine, F64.pair("INVERSE_PI")), (a, 0.0))
    h, l = _log(fast_two_sum(*argument))
    s, e = two_sum(h, right[0])
    return -(s + (e + (l + right[1])))


def _half_turns(a: Expr) -> tuple[Pair, Pair]:
    """(|sin(pi a)|, cos(pi a) with the sign of the tangent), as pairs."""
    d = _fraction(a)
    n, word = F64.round(d, 2.0)
    r = fast_two_sum(*multiply((fma(n, -0.5, d), F64.number(0.0)), F64.pair("PI")))
    s, s_low = fast_two_sum(*trigonometry.sine(F64, r))
    c, c_low = fast_two_sum(*trigonometry.cosine(F64, r))
    even = E.eq(word & 1, 0)
    h, l = select(even, s, c), select(even, s_low, c_low)
    sign = select(h < 0.0, F64.number(-1.0), 1.0)
    flip = select(even, sign, -sign)
    return (h * sign, l * sign), (select(even, c, s) * flip, select(even, c_low, s_low) * flip)


def digamma(f: Format, x: Expr, near: bool = False) -> Expr:
    """The derivative of lgamma; infinite at 0, against the sign of the zero, and NaN at -1, -2, ..."""
    wide = E.cast(x, float64)
    if near:
        return E.cast(_sum(_digamma_positive(wide)), f.dtype)
    left = wide < 0.0
    h, l = _digamma_positive(select(left, 1.0 - wide, wide))
    sine, cosine = _half_turns(magnitude(wide))
    q, rest = divide(cosine, sine)
    p, e = multiply((q, rest), F64.pair("PI"))
    s, lost = two_sum(p, h)
    tiny = magnitude(wide) < 2.0**-60
    value = select(left, select(tiny, -1.0 / wide, s + (lost + (e + l))), _sum((h, l)))
    pole = left & E.eq(_fraction(wide), 0.0)
    value = select(pole, F64.number(math.nan), value)
    value = select(E.eq(wide, 0.0), signed(F64.number(math.inf), -wide), value)
    return E.cast(value, f.dtype)


def _digamma_positive(x: Expr) -> Pair:
    """(x - zero) (middle + v p(v)), less 1/x below 1; log(y) + q(1/y^2)/y^2 from 2 on, y = x - 1/2."""
    below, beyond = x < 1.0, x >= 2.0
    inverse = 1.0 / x
    rest = select(x > 2.0**-1000, fma(-inverse, x, 1.0) * inverse, 0.0)
    t = select(below, x + 1.0, x)
    moved = select(below, x - (t - 1.0), 0.0)
    zero, middle = F64.table("DIGAMMA_ZERO"), F64.table("DIGAMMA_MIDDLE")
    d, e = fast_two_sum(t - zero[0], moved - zero[1])
    v = t - 1.5
    curve = fma(v, F64.polynomial("DIGAMMA", v), middle[1])
    h, l = two_product(d, middle[0])
    l = fma(d, curve, fma(e, middle[0] + curve, l))
    h, lost = two_sum(h, select(below, -inverse, 0.0))
    y = select(beyond, x - 0.5, 1.0)
    log, log_rest = _log((y, F64.number(0.0)))
    u = 1.0 / (y * y)
    far = fma(u, F64.polynomial("MIDPOINT", u), log_rest)
    h = select(x < math.inf, select(beyond, log, h), x)
    return h, select(beyond, far, l + lost - select(below, rest, 0.0))
