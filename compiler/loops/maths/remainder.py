"""Remainders of divisions that round down, exact for quotients of any size."""

from __future__ import annotations

import math

from graphflow.compiler.ir.dtypes import float32, float64
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, fma, select
from graphflow.compiler.loops.maths.floats import Format, at_least, at_most, ldexp, magnitude, signed

_BITS = 48     # of a quotient, found at once: as a product in float64 they are off by less than 1/16
_WINDOW = 720  # powers of two by which x passes y at once, far from overflow


def has_few_digits(f: Format, x: Expr, y: Expr, quotient: Expr) -> Expr:
    """Whether rounding moved the quotient no further than to the next whole number; NaN passes, and stays."""
    return ~(magnitude(quotient) > 2.0**f.fraction)


def modulo(f: Format, x: Expr, y: Expr, quotient: Expr, near: bool = False) -> Expr:
    """x - floor(x/y) y, rounded once, with the sign of y, which a zero has too: numpy's.

    As if y were positive: x changes its sign with y, and the result changes it back.
    """
    a, b = f.of_bits(f.bits(x) ^ (f.bits(y) & f.sign)), magnitude(y)
    if near:
        rest = fma(-E.call("floor", quotient), at_most(b, f.most), a)  # 0 times an infinite y would be NaN
    else:
        rest = select(magnitude(a) < b, a, _wide_rest(a, b) if f.wide else _rest(a, b))
    rest = signed(select(rest < 0.0, rest + b, rest), y)
    return rest if near else select((magnitude(a) < math.inf) & (b > 0.0), rest, math.nan)


def _reduced(x: Expr, y: Expr, bits: int) -> Expr:
    """What whole multiples of y leave of x, about y/2 at most; x/y below 2^bits, in float64.

    Digits of the quotient are rounded to the nearest, so none needs a correction. Each rest is exact: it is
    a multiple of the last place of x or of y 2^k, and no larger.
    """
    inverse = -1.0 / y
    for k in range(bits // _BITS * _BITS, -1, -_BITS):
        digits = E.call("rint", x * (inverse * 2.0**-k))
        x = fma(digits, y * 2.0**k, x)
    return x


def _rest(x: Expr, y: Expr) -> Expr:
    """float32's in float64, where its exponents pass no limit."""
    return E.cast(_reduced(E.cast(x, float64), E.cast(y, float64), 278), float32)


def _wide_rest(x: Expr, y: Expr) -> Expr:
    """float64's by mantissas: x comes by its power of two in three parts, reduced after each."""
    high, low = E.call("exponent", x), E.call("exponent", y)
    rest, divisor, up = ldexp(x, -high), ldexp(y, -low), high - low
    for k in range(3):
        part = at_most(at_least(up - k * float(_WINDOW), 0.0), float(_WINDOW))
        rest = _reduced(ldexp(rest, part), divisor, _WINDOW + 1)
    return ldexp(rest, low)
