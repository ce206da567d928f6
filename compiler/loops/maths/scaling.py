"""Powers of two and mantissas by the bits of floats: what AVX-512 has instructions for, for other CPUs."""

from __future__ import annotations

import math

from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, select
from graphflow.compiler.loops.maths.floats import Format, magnitude


def is_moderate(f: Format, x: Expr, n: Expr) -> Expr:
    """Whether 2^floor(n) is a normal number."""
    return magnitude(n) <= f.bias - 1.0


def ldexp(f: Format, x: Expr, n: Expr, near: bool = False) -> Expr:
    """x 2^floor(n), rounded once, for |n| up to twice a number's largest: two steps pass any limit."""
    _, word = f.round(E.call("floor", n))
    if near:
        return x * f.power_of_two(word)
    a, b = f.powers_of_two(word)
    return x * a * b


def is_normal(f: Format, x: Expr) -> Expr:
    """Positive, finite and no denormal."""
    least = 1 << f.fraction
    return f.bits(x) - least < (2 * f.bias + 1) * least - least


def _exponent_of_normal(f: Format, x: Expr) -> Expr:
    word = (f.bits(x) >> f.fraction) | ((f.bias + f.fraction) << f.fraction)
    return f.of_bits(word) - (2.0**f.fraction + f.bias)


def exponent(f: Format, x: Expr, near: bool = False) -> Expr:
    """floor(log2|x|): -infinity at 0, infinity at infinity."""
    if near:
        return _exponent_of_normal(f, x)
    a, up = magnitude(x), f.fraction + 1.0
    denormal = a < f.least_normal
    whole = _exponent_of_normal(f, select(denormal, a * 2.0**up, a)) - select(denormal, f.number(up), 0.0)
    return select(a < math.inf, select(a > 0.0, whole, -math.inf), a)


def _mantissa_of_normal(f: Format, x: Expr) -> Expr:
    bits, half = f.bits(x), 1 << (f.fraction - 1)
    return f.of_bits((bits + f.one) - ((bits + half) & (((1 << f.width) - 1) ^ ((1 << f.fraction) - 1))))


def mantissa(f: Format, x: Expr, near: bool = False) -> Expr:
    """m in [3/4, 3/2) with x = m 2^k; 1 at 0 and infinity, NaN below 0."""
    if near:
        return _mantissa_of_normal(f, x)
    part = _mantissa_of_normal(f, select(x < f.least_normal, x * 2.0**(f.fraction + 1), x))
    edge = select(E.eq(x, 0.0) | (x > 0.0), f.number(1.0), math.nan)
    return select((x > 0.0) & (x < math.inf), part, edge)
