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


def log_sum(f: Format, u: Expr, c: Expr, rest: Expr | None = None) -> Pair:
    """log(u + c + rest), to the last place about 1 too; u normal, c below its last place, rest below c's."""
    if f.wide:
        m, k, power = split(f, u)
        scale = f.of_bits((f.one + (2 << f.fraction)) - power + (f.one - (1 << f.fraction)))  # 2 / 2^k
        c = c if rest is None else c + rest
        return log_pair(f, k, *fast_two_sum(m - 1.0, c * scale * 0.5))
    high, short = f.table("LN2_SHORT")
    bits, k, m = f.bits(u), E.call("exponent", u), E.call("mantissa", u)
    inverse, base, base_rest = f.lookups("LOG_TABLE", bits >> (f.fraction - 4))
    r = fma(m, inverse, -1.0)
    scale = f.of_bits(f.bits(m) - bits + (f.one + (2 << f.fraction)))  # 4 m / u: a fourth may be denormal
    scale = scale * (inverse * 0.25)
    low = c * scale
    small = fma(k, short, base_rest) if rest is None else fma(rest, scale, fma(k, short, base_rest))
    small = fma(fma(low, -0.5, -r), low, small)
    return fma(k, high, base), r + (low + fma(r * r, f.polynomial("LOG_REST", r), small))


def positive_only(f: Format, x: Expr, inside: Expr) -> Expr:
    """The logarithm's special values: infinity at infinity, -infinity at 0, NaN below."""
    outside = select(E.eq(x, 0.0), f.number(-math.inf), f.number(math.nan))
    return select(x > 0.0, select(x < math.inf, inside, x), outside)


def near_table(f: Format, x: Expr, name: str) -> tuple[Expr, Expr, Expr, Expr]:
    """(k, r, base, its rest) with log(x) = k log 2 + base + log(1 + r), k infinite where log(x) is."""
    k, m = E.call("exponent", x), E.call("mantissa", x)
    inverse, base, rest = f.lookups(name, f.bits(m) >> (f.fraction - f.entries.bit_length() + 1))
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
    """log(u + c), where u + c is 1 + x: exactly up to where c is less than shows."""
    h, l = log_sum(f, *fast_two_sum(1.0, x))
    value = signed(h + l, x)
    return value if near else positive_only(f, x + 1.0, value)


def softplus(f: Format, x: Expr) -> Expr:
    """max(x, 0) + log1p(exp(-|x|))."""
    n, (h, l) = exponential.exp_pair(f, at_least(-magnitude(x), f.pick(-104.0, -746.0)))
    u, c = fast_two_sum(1.0, ldexp(h, n))
    h, l = log_sum(f, u, c, ldexp(l, n))
    s, e = two_sum(select(x > 0.0, x, 0.0), h)
    return select(x > f.pick(40.0, 80.0), x, s + (e + l))


def _is_small(f: Format, x: Expr) -> Expr:
    return x <= f.pick(2.0**60, 2.0**500)


def asinh_is_near(f: Format, x: Expr) -> Expr:
    return _is_small(f, magnitude(x))


def asinh(f: Format, x: Expr, near: bool = False) -> Expr:
    """log(|x| + sqrt(1 + x^2)); log 2|x| for the largest."""
    a = magnitude(x)
    large = ~_is_small(f, a)
    b = a if near else select(large, 1.0, a)
    square = fma(b, b, 1.0)
    s = root(square)
    left = (fma(-s, s, square) + fma(b, b, 1.0 - square)) * (0.5 / s)
    u, c = fast_two_sum(s, b)
    h, l = log_sum(f, u, c + left) if near else log_sum(f, select(large, a, u), select(large, 0.0, c + left))
    if near:
        return signed(h + l, x)
    h, l = _doubled(f, large, (h, l))
    return signed(select(a < math.inf, h + l, a), x)


def _doubled(f: Format, large: Expr, a: Pair) -> Pair:
    """A logarithm with log 2 added where a number was too large to be doubled."""
    high, low = f.table("LN2_SHORT")
    h, l = two_sum(a[0], select(large, f.number(high), 0.0))
    return h, a[1] + (l + select(large, f.number(low), 0.0))


def acosh_is_near(f: Format, x: Expr) -> Expr:
    return (x > 1.0) & _is_small(f, x)


def acosh(f: Format, x: Expr, near: bool = False) -> Expr:
    """log(x + sqrt(t^2 + 2t)), t = x - 1; log 2x for the largest."""
    large = ~_is_small(f, x)
    b = x if near else select(large, 2.0, x)
    t = b - 1.0
    double = t + t
    square = fma(t, t, double)
    s = root(square)
    left = (fma(-s, s, square) + fma(t, t, double - square)) * (0.5 / s)
    u, c = fast_two_sum(b, s)
    if near:
        h, l = log_sum(f, u, c + left)
        return h + l
    h, l = log_sum(f, select(large, x, u), select(large, 0.0, c + left))
    h, l = _doubled(f, large, (h, l))
    value = select(x > 1.0, select(x < math.inf, h + l, x), f.number(math.nan))
    return select(E.eq(x, 1.0), 0.0, value)


def atanh_is_near(f: Format, x: Expr) -> Expr:
    return magnitude(x) < 1.0


def atanh(f: Format, x: Expr, near: bool = False) -> Expr:
    """log1p(2|x| / (1 - |x|)) / 2."""
    a = magnitude(x)
    under, low = fast_two_sum(1.0, -a)
    q = (a + a) / under
    u, c = fast_two_sum(1.0, q)
    left = fma(-q, under, a + a) - q * low
    h, l = log_sum(f, u, fma(left, fma(u, 0.5, 0.5), c))  # 1 / (1 - |x|) is (1 + u) / 2
    value = 0.5 * (h + l)
    if not near:
        edge = select(E.eq(a, 1.0), f.number(math.inf), f.number(math.nan))
        value = select(a < 1.0, value, edge)
    return signed(value, x)
