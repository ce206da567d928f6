"""sin, cos, tan and their inverses.

An angle is x = n pi/2 + r, |r| <= pi/4, for every x; up to `near_angle` a cheaper reduction serves, and
`near` asks for it.
"""

from __future__ import annotations

import math

from graphflow.compiler.ir.dtypes import float32, float64
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, fma, select
from graphflow.compiler.loops.maths import coefficients
from graphflow.compiler.loops.maths.floats import (
    F32,
    F64,
    Format,
    Pair,
    at_most,
    fast_two_sum,
    magnitude,
    multiply,
    root,
    rough_inverse,
    signed,
    two_product,
    two_sum,
)


def near_angle(f: Format) -> float:
    return f.pick(1e5, 2.0**45)


def is_near(f: Format, x: Expr) -> Expr:
    return magnitude(x) <= near_angle(f)


def reduce(f: Format, x: Expr, near: bool) -> tuple[Expr, Pair]:
    """(a word with n in its low bits, r as a pair)."""
    if near:
        return _subtract(f, x)
    return _wide_turns(x) if f.wide else _turns(x)


def _subtract(f: Format, x: Expr) -> tuple[Expr, Pair]:
    """Cody and Waite's subtraction in three parts; n times the first cancels exactly.

    What it leaves is a multiple of the last place of n times the second: `fast_two_sum` holds.
    """
    n, word = f.round(x, 2.0 / math.pi)
    p1, p2, p3 = f.table("HALF_PI")
    p, e = two_product(n, -p2)
    r, low = fast_two_sum(fma(n, -p1, x), p)
    return word, (r, low + fma(n, -p3, e))


def _turns(x: Expr) -> tuple[Expr, Pair]:
    """float32's angle by x/(2 pi) mod 1 in float64; bits of 1/(2 pi) that give whole turns are left out.

    From 2^51 on x is a multiple of 2^28, so the bits of 1/(2 pi) above 2^-28 give whole turns; and so on. x
    times the first part is a whole number of turns, a fraction and a rounding error, all exact.
    """
    first, second = (E.const(c, float64) for c in coefficients.TURN0)
    for k, turn in enumerate((coefficients.TURN1, coefficients.TURN2, coefficients.TURN3)):
        beyond = magnitude(x) >= 2.0**(51 + 28 * k)
        first, second = select(beyond, turn[0], first), select(beyond, turn[1], second)
    wide = E.cast(x, float64)
    turns = wide * first
    fraction, error = turns - F64.round(turns)[0], fma(wide, first, -turns)
    n, _ = F64.round(fma(wide, second, fraction + error), 4.0)
    left = fma(wide, second, fma(n, -0.25, fraction) + error)
    r = left * (2.0 * math.pi)
    high = E.cast(r, float32)
    return F32.round(E.cast(n, float32))[1], (high, E.cast(r - E.cast(high, float64), float32))


def _window(x: Expr) -> tuple[Expr, list[Expr]]:
    """(x, four parts of 1/(2 pi) without bits that give whole turns); one or both scaled by 2^480.

    From 2^(52 + 40k) on x is a multiple of 2^40k, so the bits above 2^-40k give whole turns. The parts reach
    2^-123 turns: the nearest that any x comes to a quarter is about 2^-62.
    """
    table = coefficients.TURNS_64
    rows = [table[k:k + 4] for k in range(0, len(table), 4)]
    parts = [E.const(c, float64) for c in rows[0]]
    for k, row in enumerate(rows[1:], 1):
        beyond = magnitude(x) >= 2.0**(52 + 40 * k)
        parts = [select(beyond, c, p) for c, p in zip(row, parts, strict=True)]
    return select(magnitude(x) >= 2.0**(52 + 40 * 12), x * 2.0**-480, x), parts


def _accumulate(sums: list[Expr], value: Expr) -> list[Expr]:
    """An unevaluated sum with a value added, leading part first."""
    out = []
    for s in sums:
        s, value = two_sum(s, value)
        out.append(s)
    return out


def _fraction(x: Expr) -> Expr:
    return x - E.call("rint", x)


def _wide_turns(x: Expr) -> tuple[Expr, Pair]:
    """float64's angle by x/(2 pi) mod 1 as a sum of three; x below 1/2, where products may underflow."""
    scaled, parts = _window(x)
    products = [two_product(scaled, part) for part in parts]
    (p0, e0), (p1, e1), (p2, e2), (p3, _) = products
    sums = list(two_sum(_fraction(p0), _fraction(p1)))
    for value in _fraction(e0), _fraction(p2), e1, e2 + p3:
        sums = _accumulate([*sums, F64.number(0.0)][:3], value)
    turn, *rest = sums
    whole, word = F64.round(turn, 4.0)
    h, l = two_sum(fma(whole, -0.25, turn), rest[0])
    again, more = F64.round(h, 4.0)  # the sums' leading part may round to the other side
    h, l = fast_two_sum(fma(again, -0.25, h), l + rest[1])
    high, low, _ = F64.table("HALF_PI")
    r, e = multiply((4.0 * h, 4.0 * l), (high, low))
    small = magnitude(x) < 0.5
    return select(small, 0, word + more), (select(small, x, r), select(small, 0.0, e))


def sine(f: Format, r: Pair) -> Pair:
    z = r[0] * r[0]
    return r[0], fma(r[0] * z, f.polynomial("SIN", z), r[1])


def tangent(f: Format, r: Pair) -> Pair:
    """5/4 r and a rest, which is less near pi/4 than tan(r) - r, and so are its rounding errors."""
    z = r[0] * r[0]
    low = fma(1.5 * z, r[1], r[1])  # nearly r[1] times the slope, 1 + tan^2(r)
    rest = fma(r[0], fma(z, f.polynomial("TAN", z), -0.25), low)
    h = fma(r[0], 1.25, rest)
    return h, fma(r[0], 1.25, -h) + rest


def cosine(f: Format, r: Pair) -> Pair:
    z, e = two_product(r[0], r[0])
    h, l = fast_two_sum(1.0, -0.5 * z)
    return h, fma(z * z, f.polynomial("COS", z), fma(-r[0], r[1], fma(e, -0.5, l)))


def _wave(f: Format, n: Expr, r: Pair) -> Expr:
    """sin(n pi/2 + r)."""
    (s, s_low), (c, c_low) = sine(f, r), cosine(f, r)
    even = E.eq(n & 1, 0)
    value = select(even, s, c) + select(even, s_low, c_low)
    return f.of_bits(f.bits(value) ^ ((n & 2) << (f.width - 2)))


def sin(f: Format, x: Expr, near: bool = False) -> Expr:
    """Of |x|, so that a zero keeps its sign."""
    n, r = reduce(f, magnitude(x), near)
    return _flipped(f, _wave(f, n, r), x)


def cos(f: Format, x: Expr, near: bool = False) -> Expr:
    n, r = reduce(f, x, near)
    return _wave(f, n + 1, r)


def _flipped(f: Format, value: Expr, x: Expr) -> Expr:
    """A value, its sign changed if x is negative."""
    return f.of_bits(f.bits(value) ^ (f.bits(x) & f.sign))


def tan(f: Format, x: Expr, near: bool = False) -> Expr:
    """tan(r), or -1/tan(r) in the odd quadrants; of |x|, so that a zero keeps its sign."""
    n, r = reduce(f, magnitude(x), near)
    h, l = tangent(f, r)
    inverse = 1.0 / h
    inverse = fma(inverse, fma(-inverse, l, fma(-inverse, h, 1.0)), inverse)
    value = select(E.eq(n & 1, 0), h, inverse)
    return _flipped(f, f.of_bits(f.bits(value) ^ (n << (f.width - 1))), x)


def _arc(f: Format, a: Expr) -> tuple[Expr, Pair]:
    """(whether a <= 1/2, t): asin(a) is t, or pi/2 - 2t beyond 1/2; for 0 <= a <= 1."""
    near = a <= 0.5
    z = select(near, a * a, fma(a, -0.5, 0.5))
    s = root(z)
    correction = fma(-s, s, z) * rough_inverse(f, s + s)
    s = select(near, a, s)
    return near, (s, fma(s * z, f.polynomial("ASIN", z), select(near, 0.0, correction)))


def asin(f: Format, x: Expr) -> Expr:
    a = magnitude(x)
    near, (h, l) = _arc(f, a)
    high, low, _ = f.table("HALF_PI")
    b, c = fast_two_sum(high, -2.0 * h)
    return signed(select(near, h + l, b + (c + fma(l, -2.0, low))), x)


def acos(f: Format, x: Expr) -> Expr:
    """pi/2 - asin(x) near 0, 2t from 1/2 on, pi - 2t up to -1/2."""
    near, (h, l) = _arc(f, magnitude(x))
    half, quarter = f.table("PI"), f.table("HALF_PI")
    below = x < 0.0
    sign = select(below, f.number(-1.0), 1.0)
    base = select(near, quarter[0], select(below, f.number(half[0]), 0.0))
    rest = select(near, quarter[1], select(below, f.number(half[1]), 0.0))
    factor = select(near, -sign, 2.0 * sign)
    b, c = fast_two_sum(base, factor * h)
    return b + (c + fma(l, factor, rest))


def _arc_tangent(f: Format, q: Pair, base: Expr, low: Expr) -> Expr:
    """base + low + atan(q), for |q| up to 1 and a base of 0 or larger than that."""
    h, l = q
    z, e = two_product(h, h)
    l = fma(h * e, -0.14, l)  # the slope of atan(h)/h by z at 1, where the square's rounding error tells
    t = fma(h * z, f.polynomial("ATAN", z), fma(z * l, -0.5, l))
    b, c = fast_two_sum(base, h)
    return b + (c + (low + t))


def atan(f: Format, x: Expr) -> Expr:
    """atan(c) + atan(q), q = (|x| - c) / (1 + c |x|), c one of 16 numbers (8 in float64), 0 up to 1/4."""
    a = at_most(magnitude(x), 2.0**60)
    row = f.bits(at_most(a + 0.5, 7.5)) >> (f.fraction + 3 - f.entries.bit_length())
    c, base, low = f.lookups("ATAN_TABLE", row)
    q = (a - c) / fma(a, c, 1.0)
    z = q * q
    h, l = fast_two_sum(base, q)
    return signed(h + (l + fma(q * z, f.polynomial("ATAN_REST", z), low)), x)


def sides(y: Expr, x: Expr) -> tuple[Expr, Expr, Expr]:
    """(whether |y| > |x|, the smaller of both, the larger)."""
    a, b = magnitude(y), magnitude(x)
    over = a > b
    return over, select(over, b, a), select(over, a, b)


def is_plain(f: Format, y: Expr, x: Expr) -> Expr:
    """Whether a point is off the origin, and its quotient and remainder far from overflow and denormals."""
    _, small, large = sides(y, x)
    least, most = (f.pick(2.0**(31 * k), 2.0**(300 * k)) for k in (-1, 1))
    return (large <= most) & (large >= least) & ((small >= least * least) | E.eq(small, 0.0))


def atan2(f: Format, y: Expr, x: Expr, near: bool = False) -> Expr:
    """The angle of the point (x, y), in [-pi, pi]: 0, pi/2 or pi, more or less an arc tangent up to pi/4."""
    over, small, large = sides(y, x)
    if not near:
        edge = E.eq(large, 0.0) | E.eq(large, math.inf)
        small = select(edge, select(E.eq(small, math.inf), f.number(1.0), 0.0), small)
        large = select(edge, 1.0, large)
        scale = select(large < f.pick(2.0**-64, 2.0**-800), f.number(f.pick(2.0**64, 2.0**200)), 1.0)
        small, large = small * scale, large * scale  # so that the quotient's correction does not underflow
    inverse = 1.0 / large
    left = f.bits(x) >= f.sign
    inverse = select(over ^ left, -inverse, inverse)
    large = select(over ^ left, -large, large)
    q = small * inverse if near else small / large
    (quarter, rest, _), half = f.table("HALF_PI"), f.table("PI")
    base, low = (select(over, f.number(k), select(left, f.number(m), 0.0))
                 for k, m in ((quarter, half[0]), (rest, half[1])))
    angle = signed(_arc_tangent(f, (q, fma(-q, large, small) * inverse), base, low), y)
    return angle if near else select(E.isnan(x) | E.isnan(y), x + y, angle)
