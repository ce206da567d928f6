"""Powers: pow, 1/sqrt and the cube root; quotients by what many numbers are divided by."""

from __future__ import annotations

import math

from graphflow.compiler.ir.dtypes import float32, float64
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, fma, select
from graphflow.compiler.loops.maths import exponential
from graphflow.compiler.loops.maths.floats import (
    F32,
    F64,
    Format,
    Pair,
    at_least,
    at_most,
    divide,
    fast_two_sum,
    ldexp,
    magnitude,
    multiply,
    root,
    signed,
    two_product,
)
from graphflow.compiler.loops.maths.logarithm import near_table, split_any


def log2_pair(f: Format, x: Expr) -> Pair:
    """log2(x) for finite x > 0, to about 2^-65: what a power in float64 needs.

    log2(m) = 2/log(2) s (1 + z/3 + z^2 q(z)), s = (m - 1)/(m + 1), z = s^2; all but q in pairs.
    """
    m, k = split_any(f, x)
    d = m + 1.0
    s = divide((m - 1.0, f.number(0.0)), (d, m - (d - 1.0)))
    s = fast_two_sum(*s)
    z = multiply(s, s)
    third, rest = f.table("THIRD")
    c, e = fast_two_sum(third, z[0] * f.polynomial("POW", z[0]))
    w = multiply(z, (c, e + rest))
    h, l = fast_two_sum(1.0, w[0])
    high, low = f.table("LOG2_E2")
    p, e = multiply(multiply(s, (h, l + w[1])), (high, low))
    h, l = fast_two_sum(k, p)
    return fast_two_sum(h, l + e)


def narrow_power(x: Expr, y: Expr) -> Expr:
    """x^y for finite x > 0 in float32, by way of float64, whose rounding ends overflow and denormals too."""
    m, k = split_any(F32, x)
    v, wide_y = E.cast(m - 1.0, float64), E.cast(y, float64)
    log = fma(v, F64.polynomial("POW_LOG2", v), E.cast(k, float64))
    p = at_most(at_least(at_most(at_least(wide_y, -1e30), 1e30) * log, -200.0), 200.0)
    n, word = F64.round(p)
    return E.cast(exponential.times_power(F64, F64.polynomial("POW_EXP2", p - n), word), float32)


def positive_power(f: Format, x: Expr, y: Expr) -> Expr:
    """x^y for finite x > 0. A huge y is cut where every x but 1 has long overflowed."""
    if not f.wide:
        return narrow_power(x, y)
    h, l = log2_pair(f, x)
    y = at_most(at_least(y, -2.0**800), 2.0**800)
    p, e = multiply((h, l), (y, f.number(0.0)))
    limit = 1100.0
    e = select(magnitude(p) < limit, e, 0.0)
    p = at_most(at_least(p, -limit), limit)
    n, _ = f.round(p)
    return exponential.exp2_of_pair(f, n, fast_two_sum(p - n, e))


def is_plain(f: Format, x: Expr, y: Expr) -> Expr:
    """Whether x is positive, x^y surely far from overflow and denormals, and y from -32 to 32 in float64."""
    k = magnitude(E.call("exponent", x))
    return (x > 0.0) & (magnitude(y) * (k + f.pick(1.0, 31.0)) <= f.pick(120.0, 1000.0))


def plain_power(f: Format, x: Expr, y: Expr) -> Expr:
    """2^(y log2(x)): the logarithm as a pair, to 2^-36 or 2^-62."""
    k, r, base, rest = near_table(f, x, "LOG2_TABLE")
    square = r * r
    h = fma(square, -0.5, r)
    l = fma(r * square, f.polynomial("LOG_PRECISE", r), fma(square, -0.5, r - h))
    p, e = multiply((h, l), f.pair("LOG2_E"))
    h, l = fast_two_sum(k + base, p)
    p, q = two_product(y, h)
    return exponential.exp2_of_sum(f, p, fma(y, l + (e + rest), q))


def pow(f: Format, x: Expr, y: Expr, near: bool = False) -> Expr:
    """x^y with the special values of C99."""
    if near:
        return plain_power(f, x, y)
    a = magnitude(x)
    half = y * 0.5
    whole = E.eq(E.call("floor", y), y)
    odd = whole & E.ne(E.call("floor", half), half)
    at_zero, at_infinity = E.eq(a, 0.0), E.eq(a, math.inf)
    limit = select(at_zero ^ (y > 0.0), f.number(math.inf), 0.0)
    result = positive_power(f, a, y)
    result = select(x < 0.0, select(whole, result, f.number(math.nan)), result)
    result = select(at_zero | at_infinity, limit, result)
    result = select(odd, signed(result, x), result)
    result = select(E.isnan(x) | E.isnan(y), x + y, result)
    return select(E.eq(x, 1.0) | E.eq(y, 0.0), f.number(1.0), result)


def rsqrt(f: Format, x: Expr) -> Expr:
    """y = 1/sqrt(x) with a step of Newton: y + y/2 (1 - x y^2)."""
    y = 1.0 / root(x)
    t, e = two_product(x, y)
    error = fma(-t, y, 1.0) - e * y
    return select(magnitude(error) < 1.0, fma(0.5 * y, error, y), y)


def cbrt(f: Format, x: Expr) -> Expr:
    """2^q b^(1/3), b = |x| / 2^3q from 1/2 to 4; b^(1/3) = y (1 + t)^(-1/3), y = b w, t = b^2 w^3 - 1.

    w is near b^(-2/3), by b = 2^k m, m from 3/4 to 3/2: there is no division.
    """
    a = magnitude(x)
    m = E.call("mantissa", a)
    q, word = f.round(E.call("exponent", a), 1.0 / 3.0)
    b = ldexp(a, q * -3.0)
    factor, = f.lookups("THIRDS", (f.bits(b) - f.bits(m)) >> f.fraction)
    w = f.polynomial("CBRT", m) * factor
    y = b * w
    square = y * y
    error, t = fma(square, y, -b) * w, fma(square, w, -1.0)  # the former is t y, to the last place
    root3 = exponential.times_power(f, fma(error, fma(t, 2.0 / 9.0, -1.0 / 3.0), y), word)
    return signed(select((a > 0.0) & (a < math.inf), root3, a), x)


def is_middling(f: Format, x: Expr, divisor: Expr, inverse: Expr) -> Expr:
    """Whether a quotient, its remainder and the inverse are far from overflow and denormals."""
    def within(v: Expr, least: float, when: Expr | None = None) -> Expr:
        low, high = ((f.bias + int(power)) << f.fraction for power in (-least, least))
        word = f.bits(magnitude(v)) - low
        return word < (high - low if when is None else select(when, E.const(high - low, word.dtype), 0))
    return within(x, f.pick(90, 900), within(divisor, f.pick(30, 100)))  # one test of each x


def quotient(f: Format, x: Expr, divisor: Expr, inverse: Expr, near: bool = False) -> Expr:
    """x / divisor to the bit, without a division: the inverse is rounded right, then so is this.

    Source: Markstein 1990, theorem 7; Brisebarre, Muller and Raina 2004, section 2
    """
    if not near:
        return x / divisor
    q = x * inverse
    return fma(fma(-q, divisor, x), inverse, q)
