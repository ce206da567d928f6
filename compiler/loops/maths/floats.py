"""What the mathematical functions are made of: a float format's constants, unevaluated sums, polynomials.

A pair (h, l) stands for h + l, a number to about twice the format's precision. Its arithmetic holds only
where every operation rounds as written, so these expressions are emitted without `contract` and `reassoc`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from graphflow.compiler.ir.dtypes import DType, float32, float64, uint32, uint64
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr, Value, fma
from graphflow.compiler.loops.maths import coefficients, tables
from graphflow.compiler.records import record

Pair: TypeAlias = "tuple[Expr, Expr]"


@record
class Format:
    """A binary float type: its unsigned word, the bits of its fraction, its exponent's bias."""

    dtype: DType
    word: DType
    fraction: int
    bias: int

    @property
    def width(self) -> int:
        return 8 * self.dtype.size

    @property
    def wide(self) -> bool:
        return self.dtype is float64

    @property
    def one(self) -> int:
        """The bits of 1.0."""
        return self.bias << self.fraction

    @property
    def sign(self) -> int:
        """The sign's bit."""
        return 1 << (self.width - 1)

    @property
    def rounder(self) -> float:
        """x + rounder has rint(x) in its low bits; (x + rounder) - rounder is rint(x)."""
        return 1.5 * 2.0**self.fraction

    @property
    def least_normal(self) -> float:
        return 2.0 ** (1 - self.bias)

    @property
    def most(self) -> float:
        """The largest number."""
        return (2.0 - 2.0**-self.fraction) * 2.0**self.bias

    def pick(self, narrow: float, wide: float) -> float:
        """A number that depends on the format."""
        return wide if self.wide else narrow

    def table(self, name: str) -> tuple[float, ...]:
        """A row of coefficients.py."""
        return getattr(coefficients, f"{name}_{self.width}")  # type: ignore[no-any-return]

    def pair(self, name: str) -> tuple[float, float]:
        """A constant in two parts."""
        high, low = self.table(name)
        return high, low

    @property
    def entries(self) -> int:
        """The numbers that a vector register may hold, and a lookup choose from."""
        return E.LOOKUP_BYTES // self.dtype.size

    def lookups(self, name: str, word: Expr) -> list[Expr]:
        """From each column of a table, the number that the low bits of a word say."""
        values, size = getattr(tables, f"{name}_{self.width}"), self.entries
        return [E.lookup(values[k:k + size], word, self.dtype) for k in range(0, len(values), size)]

    def near_centre(self, name: str, x: Expr, shift: float, bits: int) -> Expr:
        """g(c + u) = g(c) + u p(u) by a table of c, g(c) and p; x + shift without its last bits is its row.

        g(0) is 0 and p one less there, so that it adds little: u is more than g(c) about 0 alone.
        """
        centre, base, *slopes = self.lookups(name, self.bits(x + shift) >> bits)
        u = x - centre
        return fma(u, horner(slopes, u), at_least(base, u))

    def number(self, value: float) -> Expr:
        return E.const(value, self.dtype)

    def bits(self, x: Expr) -> Expr:
        return E.bitcast(x, self.word)

    def of_bits(self, word: Expr) -> Expr:
        return E.bitcast(word, self.dtype)

    def polynomial(self, name: str, x: Expr, skip: int = 0) -> Expr:
        """The polynomial of that name, or its terms from `skip` on over x^skip, by Horner's rule."""
        return horner([self.number(c) for c in self.table(name)[skip:]], x)

    def round(self, x: Expr, scale: float = 1.0) -> tuple[Expr, Expr]:
        """(rint(x * scale), a word with it in the low bits), for results below 2^(fraction - 1)."""
        shifted = fma(x, scale, self.rounder) if scale != 1.0 else x + self.rounder
        return shifted - self.rounder, self.bits(shifted)

    def power_of_two(self, n: Expr) -> Expr:
        """2^n for n in the low bits of a word and in the normal range."""
        return self.of_bits((n << self.fraction) + self.one)

    def powers_of_two(self, n: Expr) -> Pair:
        """Two floats whose product is 2^n, n of `round`: two steps, through overflow and denormals."""
        half = n >> 1
        return self.power_of_two(half), self.power_of_two(n - half)


F32 = Format(float32, uint32, 23, 127)
F64 = Format(float64, uint64, 52, 1023)


def horner(coefficients: Sequence[Expr], x: Expr) -> Expr:
    """A polynomial, lowest power first."""
    *rest, total = coefficients
    for c in reversed(rest):
        total = fma(total, x, c)
    return total


def two_sum(a: Expr, b: Expr) -> Pair:
    """a + b exactly."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def fast_two_sum(a: Value, b: Expr) -> Pair:
    """a + b exactly, where |a| >= |b| or a is 0."""
    s = a + b
    return s, b - (s - a)


def two_product(a: Expr, b: Value) -> Pair:
    """a * b exactly."""
    p = a * b
    return p, fma(a, b, -p)


def multiply(a: Pair, b: tuple[Value, Value]) -> Pair:
    """The product of two pairs, not normalised."""
    p, e = two_product(a[0], b[0])
    return p, fma(a[0], b[1], fma(a[1], b[0], e))


def divide(a: Pair, b: Pair) -> Pair:
    """a / b, as a quotient and its correction."""
    inverse = 1.0 / b[0]
    q = a[0] * inverse
    left = fma(-q, b[0], a[0]) + fma(-q, b[1], a[1])
    return q, left * inverse


def rough_inverse(f: Format, x: Expr) -> Expr:
    """1/x within 5.1 % for x > 0, enough to correct a rounding error; finite for 0.

    A number's bits are nearly its logarithm, so their negative is nearly the inverse's.
    """
    return f.of_bits(round((2 * f.bias - 0.101) * 2**f.fraction) - f.bits(x))


def at_least(x: Expr, low: Value) -> Expr:
    """max(x, low); NaN stays NaN, and it is one instruction."""
    return E.select(x < low, low, x)


def at_most(x: Expr, high: float) -> Expr:
    return E.select(x > high, high, x)


def magnitude(x: Expr) -> Expr:
    return E.call("abs", x)


def ldexp(x: Expr, n: Expr) -> Expr:
    """x 2^floor(n)."""
    return E.call("ldexp", x, n)


def root(x: Expr) -> Expr:
    return E.call("sqrt", x)


def signed(value: Expr, sign: Expr) -> Expr:
    """|value| with the sign of another number."""
    return E.call("copysign", value, sign)
