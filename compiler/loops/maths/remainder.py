"""Remainders of divisions that round down, exact for quotients of any size."""

from __future__ import annotations

import math

from graphflow.compiler.ir.dtypes import float32, float64
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, fma, select
from graphflow.compiler.loops.maths.floats import Format, at_least, at_most, ldexp, magnitude, signed

_BITS = 48     # of a quotient found at once: its product in float64 is off by less than 1/16
_WINDOW = 720  # powers of two that x passes y at once: they and their inverses are far from overflow


def has_few_digits(f: Format, x: Expr, y: Expr, quotient: Expr) -> Expr:
    """Whether the quotient is no whole number or the one meant, but for 1; it may be NaN, as is the result."""
    return ~(magnitude(quotient) > 2.0**f.fraction)


def modulo(f: Format, x: Expr, y: Expr, quotient: Expr, near: bool = False) -> Expr:
    """x - floor(x/y) y, rounded once, as numpy's: with the sign of y, as a zero too."""
    if near:
        q = E.call("floor", quotient)
        return _on_the_side_of(y, select(E.eq(q, 0.0), x, fma(-q, y, x)))  # y may be infinite
    a, b = magnitude(x), magnitude(y)
    rest = select(a < b, x, _wide_rest(x, y) if f.wide else _rest(x, y))
    return select((a < math.inf) & (b > 0.0), _on_the_side_of(y, rest), math.nan)


def _on_the_side_of(y: Expr, rest: Expr) -> Expr:
    """A quotient that was rounded to the next whole number leaves a rest on the other side of 0."""
    return select(E.eq(rest, 0.0), signed(rest, y), select((rest < 0.0) ^ (y < 0.0), rest + y, rest))


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
    high, low = E.call("exponent", magnitude(x)), E.call("exponent", magnitude(y))
    rest, divisor, up = ldexp(x, -high), ldexp(y, -low), high - low
    for k in range(3):
        part = at_most(at_least(up - k * float(_WINDOW), 0.0), float(_WINDOW))
        rest = _reduced(ldexp(rest, part), divisor, _WINDOW + 1)
    return ldexp(rest, low)
