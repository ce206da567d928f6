"""exp and what is made of it: exp2, expm1, tanh, sigmoid, sinh, cosh.

exp(x) = 2^n exp(r), exp(r) = 1 + r + r^2 q(r), n being x / log 2 rounded: to a multiple of 1/16 (1/8 in
float64) by `split_exp`, with the power of its fraction from a table; to an integer by `reduce`.
"""

from __future__ import annotations

from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, fma, select
from graphflow.compiler.loops.maths.floats import (
    Format,
    Pair,
    at_least,
    at_most,
    divide,
    fast_two_sum,
    ldexp,
    magnitude,
    multiply,
    signed,
    two_product,
    two_sum,
)


def reduce_pair(f: Format, x: Expr) -> tuple[Expr, Pair]:
    """(the word of n, r as a pair); n times the first part of log 2 cancels exactly."""
    high, low = f.table("LN2")
    n, word = f.round(x, f.table("LOG2_E")[0])
    a = fma(n, -high, x)
    r = fma(n, -low, a)
    return word, (r, fma(n, -low, a - r))


def reduce(f: Format, x: Expr) -> tuple[Expr, Expr]:
    """(the word of n, r rounded)."""
    word, (r, _) = reduce_pair(f, x)
    return word, r


def curve(f: Format, r: Expr) -> Expr:
    """exp(r) - 1 - r."""
    return r * r * f.polynomial("EXP", r)


def times_power(f: Format, x: Expr, n: Expr) -> Expr:
    """x 2^n, n of `round`, where x and the result are normal."""
    return f.of_bits(f.bits(x) + (n << f.fraction))


def split_exp(f: Format, x: Expr) -> tuple[Expr, Pair]:
    """(n, (h, l)), exp(x) = 2^floor(n) (h + l), h from 1 to 2 and l below h/20."""
    high, low = f.table("LN2")
    shifted = fma(x, f.table("LOG2_E")[0], f.rounder / f.entries)
    n = shifted - f.rounder / f.entries
    r = fma(n, -low, fma(n, -high, x))
    power, rest = f.lookups("POWER", f.bits(shifted))
    return n, (power, fma(power, fma(r * r, f.polynomial("EXP_STEP", r), r), rest))


def exp(f: Format, x: Expr) -> Expr:
    n, (h, l) = split_exp(f, at_most(at_least(x, f.pick(-104.0, -746.0)), f.pick(89.0, 710.0)))
    return ldexp(h + l, n)


def exp_pair(f: Format, x: Expr) -> tuple[Expr, Pair]:
    """`split_exp` with a normalised pair."""
    n, p = split_exp(f, x)
    return n, fast_two_sum(*p)


def exp2_of_pair(f: Format, n: Expr, r: Pair) -> Expr:
    """2^(n + r) for a whole n."""
    high, low = f.table("LN2")
    t, e = multiply(r, (high, low))
    h, l = fast_two_sum(1.0, t)
    return ldexp(h + (l + (curve(f, t) + fma(e, t, e))), n)


def exp2_of_sum(f: Format, x: Expr, low: Expr) -> Expr:
    """2^(x + low) by the table, for a normal result and |low| below 1/32."""
    shifted = x + f.rounder / f.entries
    n = shifted - f.rounder / f.entries
    ln2, d = f.table("LN2")[0], x - n
    h = d * ln2
    l = fma(low, ln2, fma(d, ln2, -h))
    r = h + l
    power, rest = f.lookups("POWER", f.bits(shifted))
    tail = fma(r * r, f.polynomial("EXP_PRECISE", r), l)
    return ldexp(power + fma(power, h, fma(power, tail, rest)), n)


def exp2(f: Format, x: Expr) -> Expr:
    x = at_most(at_least(x, f.pick(-151.0, -1076.0)), f.pick(129.0, 1025.0))
    n, _ = f.round(x)
    r = x - n
    return ldexp(fma(r, f.polynomial("EXP2", r), 1.0), n)


def expm1_is_near(f: Format, x: Expr) -> Expr:
    return magnitude(x) <= f.pick(16.0, 36.0)


def expm1(f: Format, x: Expr, near: bool = False) -> Expr:
    """(2^n - 1) + 2^n (exp(r) - 1), where 2^n - 1 is exact; halved beyond, so that the power stays finite."""
    x_in = x if near else at_most(at_least(x, f.pick(-20.0, -40.0)), f.pick(89.0, 710.0))
    word, (r, low) = reduce_pair(f, x_in)
    scale = f.power_of_two(word if near else word - 1)
    base, lost = (scale - 1.0, None) if near else two_sum(scale, f.number(-0.5))
    h = fma(scale, r, base)
    l = fma(scale, r, base - h)
    square, e = two_product(r, r)
    rest = fma(square, f.polynomial("EXP", r), fma(e, 0.5, low))
    whole = h + fma(scale, rest, l if lost is None else l + lost)
    return signed(whole, x) if near else select(magnitude(x) < f.pick(2.0**-25, 2.0**-54), x, whole + whole)


def tanh(f: Format, x: Expr) -> Expr:
    """float32: tanh(c + u) = tanh(c) + u p(u), c the nearest of 16.

    float64: -t / (2 + t), t = expm1(-2|x|) as a pair.
    """
    a = magnitude(x)
    if not f.wide:
        return signed(f.near_centre("TANH", at_most(a, 9.5), 1.0, 21), x)
    word, r = reduce(f, at_least(-2.0 * a, -40.0))
    scale = f.power_of_two(word)
    base, lost = fast_two_sum(-1.0, scale)
    h, l = fast_two_sum(base, scale * r)
    h, l = fast_two_sum(h, fma(scale, curve(f, r), l + lost))
    d, e = fast_two_sum(2.0, h)
    q, c = divide((h, l), (d, e + l))
    return signed(q + c, x)


def sigmoid(f: Format, x: Expr) -> Expr:
    """1 / (1 + e) for x >= 0 and e / (1 + e) below, e = exp(-|x|): accurate down to the denormals."""
    n, (h, l) = exp_pair(f, at_least(-magnitude(x), f.pick(-104.0, -746.0)))
    scale = ldexp(f.number(1.0), n)
    d, e = fast_two_sum(1.0, scale * h)
    below = x < 0.0
    q, c = divide((select(below, h, 1.0), select(below, l, 0.0)), (d, fma(scale, l, e)))
    return ldexp(q + c, select(below, n, 0.0))


def _half_exp(f: Format, x: Expr) -> tuple[Pair, Expr, Expr]:
    """For x >= 0: (h, l), w and n with exp(x)/2 = (h + l) 2^n and exp(-x)/2 = w 2^n."""
    n, p = exp_pair(f, at_most(x, f.pick(89.45, 710.6)))
    whole = E.call("floor", n)
    return p, ldexp(1.0 / p[0], at_least(-2.0 * whole, 4.0 - 2.0 * f.bias)), whole - 1.0


def sinh_is_near(f: Format, x: Expr) -> Expr:
    return magnitude(x) <= f.pick(80.0, 700.0)


def sinh(f: Format, x: Expr, near: bool = False) -> Expr:
    """sinh(n log 2) cosh(r) + cosh(n log 2) sinh(r); among large numbers (exp|x| - exp(-|x|))/2 from 1 on."""
    if near:
        return _near_sinh(f, x)
    (h, l), w, n = _half_exp(f, magnitude(x))
    d, e = fast_two_sum(h, -w)
    far = signed(ldexp(d + (e + l), n), x)
    return select(magnitude(x) < 1.0, _near_sinh(f, at_most(at_least(x, -1.0), 1.0)), far)


def _near_sinh(f: Format, x: Expr) -> Expr:
    word, (r, low) = reduce_pair(f, magnitude(x))
    up = f.power_of_two(word - 1)
    down = f.of_bits(2 * f.one - (2 << f.fraction) - f.bits(up))
    sine, lost = fast_two_sum(up, -down)
    cosine = up + down  # what it loses shows no more in its product with r
    z = r * r
    h = fma(cosine, r, sine)
    l = fma(cosine, r, sine - h) + lost
    odd = fma(r * z, f.polynomial("SINH", z), low)
    even = fma(z, 0.5, z * z * f.polynomial("COSH", z))
    return signed(h + fma(sine, even, fma(cosine, odd, l)), x)


def cosh(f: Format, x: Expr) -> Expr:
    (h, l), w, n = _half_exp(f, magnitude(x))
    d, e = fast_two_sum(h, w)
    return ldexp(d + (e + l), n)
