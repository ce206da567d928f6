"""log and what is made of it: log2, log1p, softplus, asinh, acosh, atanh.

log(x) = k log 2 + log(1 + v), x = 2^k (1 + v), 1 + v near 1.
"""

from __future__ import annotations

import math

from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, fma, select
from graphflow.compiler.loops.maths import exponential
from graphflow.compiler.loops.maths.floats import (
    Format,
    Pair,
    at_least,
    divide,
    fast_two_sum,
    ldexp,
    magnitude,
    multiply,
    root,
    signed,
    two_product,
    two_sum,
)
from graphflow.compiler.loops.maths.scaling import is_normal


def split(f: Format, x: Expr) -> tuple[Expr, Expr, Expr]:
    """(m, k, the word of 2^k) with x = m 2^k, for a normal x > 0.

    m is in [2/3, 4/3) for float32, which centres v = m - 1; in [sqrt 1/2, sqrt 2) for float64, which centres
    v/(2 + v).
    """
    least = f.pick(2.0 / 3.0, math.sqrt(0.5))
    bits = f.bits(x)
    least_bits = int(f.dtype.numpy.type(least).view(f.word.numpy))
    shifted = bits + (f.one - least_bits)
    power = shifted & (((1 << (f.width - 1 - f.fraction)) - 1) << f.fraction)
    exponent = f.of_bits((shifted >> f.fraction) | ((f.bias + f.fraction) << f.fraction))
    return f.of_bits((bits + f.one) - power), exponent - (2.0**f.fraction + f.bias), power


def split_any(f: Format, x: Expr) -> tuple[Expr, Expr]:
    """(m, k) for x > 0, denormals too."""
    denormal = x < f.least_normal
    m, k, _ = split(f, select(denormal, x * 2.0**(f.fraction + 1), x))
    return m, select(denormal, k - (f.fraction + 1.0), k)


def near_pair(f: Format, v: Expr) -> Pair:
    """log(1 + v) for float64, by s = v/(2 + v), which needs fewer terms than v; not normalised."""
    s = v / (2.0 + v)
    half = 0.5 * (v * v)
    return v, fma(s, fma(s * s, f.polynomial("LOG", s * s), half), -half)


def log_pair(f: Format, k: Expr, v: Expr, low: Expr | None = None) -> Pair:
    """k log 2 + log(1 + v + low), low far below v; the lesser part may be a quarter of the greater.

    float32's is v - v^2/2 + v^3 p(v).
    """
    high, rest = f.table("LN2_SHORT")
    p, e = near_pair(f, v) if f.wide else (v, None)
    h, l = fast_two_sum(k * high, p)
    l = l + fma(k, rest, e) if e is not None else fma(k, rest, l)
    if low is not None:
        l = l + fma(-v, low, low)
    return h, l if f.wide else fma(v * v, fma(v, f.polynomial("LOG", v), -0.5), l)


def log1p_pair(f: Format, a: Pair, doublings: Expr | None = None) -> Pair:
    """log(1 + a) + doublings log 2 as a pair, for a normalised a > -1."""
    u, c = two_sum(f.number(1.0), a[0])
    m, k, power = split(f, u)
    scale = f.of_bits((f.one + (2 << f.fraction)) - power + (f.one - (1 << f.fraction)))  # 2 / 2^k
    v, low = fast_two_sum(m - 1.0, c * scale * 0.5)
    return log_pair(f, k if doublings is None else k + doublings, v, fma(a[1] * scale, 0.5, low))


def positive_only(f: Format, x: Expr, inside: Expr) -> Expr:
    """The logarithm's special values: infinity at infinity, -infinity at 0, NaN below."""
    outside = select(E.eq(x, 0.0), f.number(-math.inf), f.number(math.nan))
    return select(x > 0.0, select(x < math.inf, inside, x), outside)


def near_table(f: Format, x: Expr, name: str) -> tuple[Expr, Expr, Expr, Expr]:
    """(k, r, base, its rest) with log(x) = k log 2 + base + log(1 + r), k infinite where log(x) is."""
    k, m = E.call("exponent", x), E.call("mantissa", x)
    inverse, base, rest = f.lookups(name, f.bits(m) >> (f.fraction - 4))
    return k, fma(m, inverse, -1.0), base, rest


def log(f: Format, x: Expr, near: bool = False) -> Expr:
    """float32's comes from a table of 16, and needs no special values."""
    if f.wide:
        m, k = split(f, x)[:2] if near else split_any(f, x)
        h, l = log_pair(f, k, m - 1.0)
        return h + l if near else positive_only(f, x, h + l)
    k, r, base, rest = near_table(f, x, "LOG_TABLE")
    high, low = f.table("LN2_SHORT")
    return fma(k, high, base) + (r + fma(r * r, f.polynomial("LOG_REST", r), fma(k, low, rest)))


def log2(f: Format, x: Expr, near: bool = False) -> Expr:
    high, low = f.table("LOG2_E")
    if f.wide:
        m, k = split(f, x)[:2] if near else split_any(f, x)
        p, e = multiply(near_pair(f, m - 1.0), (high, low))
        h, l = fast_two_sum(k, p)
        return h + (l + e) if near else positive_only(f, x, h + (l + e))
    k, r, base, rest = near_table(f, x, "LOG2_TABLE")
    p, e = two_product(r, f.number(high))
    return (k + base) + (p + (e + fma(r * r, f.polynomial("LOG2_REST", r), fma(r, low, rest))))


def log1p_is_normal(f: Format, x: Expr) -> Expr:
    return is_normal(f, x + 1.0)


def log1p(f: Format, x: Expr, near: bool = False) -> Expr:
    h, l = log1p_pair(f, (x, f.number(0.0)))
    value = signed(h + l, x)
    return value if near else positive_only(f, x + 1.0, value)


def softplus(f: Format, x: Expr) -> Expr:
    """max(x, 0) + log1p(exp(-|x|))."""
    n, (h, l) = exponential.exp_pair(f, at_least(-magnitude(x), f.pick(-104.0, -746.0)))
    h, l = log1p_pair(f, (ldexp(h, n), ldexp(l, n)))
    s, e = two_sum(select(x > 0.0, x, 0.0), h)
    return select(x > f.pick(40.0, 80.0), x, s + (e + l))


def asinh(f: Format, x: Expr) -> Expr:
    """log1p(|x| + x^2 / (1 + sqrt(1 + x^2))); log 2|x| for the largest."""
    a = magnitude(x)
    large = a > f.pick(2.0**30, 2.0**60)
    b = select(large, 1.0, a)
    q, rest = divide(two_product(b, b), fast_two_sum(root(fma(b, b, 1.0)), f.number(1.0)))
    h, l = fast_two_sum(a, select(large, 0.0, q))
    h, l = log1p_pair(f, (h, l + select(large, 0.0, rest)), select(large, f.number(1.0), 0.0))
    return signed(select(a < math.inf, h + l, a), x)


def acosh(f: Format, x: Expr) -> Expr:
    """log1p(t + sqrt(x^2 - 1)), t = x - 1; log 2x for the largest."""
    large = x > f.pick(2.0**30, 2.0**60)
    t = x - 1.0
    b = select(large, 1.0, x)
    p, e = two_product(b, b)
    p, e2 = fast_two_sum(p, f.number(-1.0))
    s = root(p + (e + e2))
    left = fma(-s, s, p) + (e + e2)
    c = 0.5 * left / (s + f.least_normal)
    h, l = fast_two_sum(select(large, t, s), select(large, 0.0, t))
    h, l = log1p_pair(f, fast_two_sum(h, select(large, 0.0, l + c)), select(large, f.number(1.0), 0.0))
    return select(x >= 1.0, select(x < math.inf, h + l, x), f.number(math.nan))


def atanh(f: Format, x: Expr) -> Expr:
    """log1p(2|x| / (1 - |x|)) / 2."""
    a = magnitude(x)
    h, l = log1p_pair(f, fast_two_sum(*divide((2.0 * a, f.number(0.0)), fast_two_sum(1.0, -a))))
    outside = select(E.eq(a, 1.0), f.number(math.inf), f.number(math.nan))
    return signed(select(a < 1.0, 0.5 * (h + l), outside), x)
