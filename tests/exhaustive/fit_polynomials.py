"""Compute the numbers of compiler/loops/maths and print them as its coefficients.py or tables.py.

    python tests/exhaustive/fit_polynomials.py > compiler/loops/maths/coefficients.py
    python tests/exhaustive/fit_polynomials.py tables > compiler/loops/maths/tables.py

Each is a minimax fit (Remez exchange on a Chebyshev grid, 60 digits) of the least degree that meets its
target. The error printed is that of the rounded coefficients, relative to the function they serve (see
`weight`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mpmath import mp, mpf

mp.dps = 60
Fn = Callable[[mpf], mpf]
ERF_SHIFT = 0.025  # erf is less than 1/4 in the first of its intervals alone

HEADER = '''"""{}

Printed by tests/exhaustive/fit_polynomials.py, not edited by hand.
"""

from __future__ import annotations


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float.fromhex, text.split()))

'''


@dataclass(frozen=True)
class Fit:
    """p(x) ~ f(x) on [lo, hi] with |weight(x) * (p(x) - f(x))| <= 2^-target; rounded to `bits`."""

    name: str
    bits: int
    formula: str
    f: Fn
    lo: mpf
    hi: mpf
    weight: Fn
    target: float


def chebyshev_grid(lo: mpf, hi: mpf, count: int) -> list[mpf]:
    return [(lo + hi) / 2 - (hi - lo) / 2 * mp.cos(mp.pi * (k + mpf(1) / 2) / count) for k in range(count)]


def polynomial(coefficients: list[mpf], x: mpf) -> mpf:
    total = mpf(0)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def extrema(errors: list[mpf], count: int) -> list[int]:
    """The largest error of each run of one sign; the best `count` neighbours among them."""
    runs: list[int] = []
    for k, e in enumerate(errors):
        if runs and (e > 0) == (errors[runs[-1]] > 0):
            if abs(e) > abs(errors[runs[-1]]):
                runs[-1] = k
        else:
            runs.append(k)
    while len(runs) > count:
        runs.pop(0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1)
    return runs


def remez(values: list[mpf], weights: list[mpf], grid: list[mpf], terms: int) -> list[mpf]:
    """The polynomial of `terms` coefficients with the least weighted maximum error on the grid."""
    last = len(grid) - 1
    reference = [round(last * k / terms) for k in range(terms + 1)]  # even steps on a Chebyshev grid
    best: tuple[mpf, list[mpf]] | None = None
    for _ in range(12):
        system = mp.matrix(terms + 1, terms + 1)
        for row, k in enumerate(reference):
            for column in range(terms):
                system[row, column] = grid[k] ** column
            system[row, terms] = (-1) ** row / weights[k]
        try:
            solved = mp.lu_solve(system, mp.matrix([values[k] for k in reference]))
        except ZeroDivisionError:  # nothing left to fit: the errors are rounding
            break
        coefficients = [solved[k] for k in range(terms)]
        errors = [w * (polynomial(coefficients, x) - v)
                  for x, v, w in zip(grid, values, weights, strict=True)]
        worst = max(abs(e) for e in errors)
        if best is None or worst < best[0]:
            best = worst, coefficients
        chosen = extrema(errors, terms + 1)
        if len(chosen) < terms + 1 or worst < abs(solved[terms]) * 1.02:
            break
        reference = chosen
    return best[1] if best else [mpf(0)] * terms


def nearest(value: mpf, bits: int) -> float:
    return float(np.float32(float(value))) if bits == 32 else float(value)


def rounded(exact: list[mpf], bits: int, values: list[mpf], weights: list[mpf],
            grid: list[mpf]) -> list[float]:
    """The coefficients as floats: each is rounded in turn, and those above it are fitted anew."""
    kept: list[float] = []
    for left in range(len(exact) - 1, -1, -1):
        kept.append(nearest(exact[0], bits))
        values = [(v - kept[-1]) / x for x, v in zip(grid, values, strict=True)]
        weights = [w * abs(x) for x, w in zip(grid, weights, strict=True)]
        refit = remez(values, weights, grid, left) if left > 1 else exact[1:]
        exact = refit if any(refit) else exact[1:]
    return kept


def solve(fit: Fit, fewest: int = 2) -> tuple[list[float], float]:
    """The shortest polynomial that meets the target, and log2 of its error."""
    grid = chebyshev_grid(fit.lo, fit.hi, 400)  # even: never at 0
    values, weights = [fit.f(x) for x in grid], [abs(fit.weight(x)) for x in grid]

    def error(coefficients: list[mpf]) -> mpf:
        return max(w * abs(polynomial(coefficients, x) - v)
                   for x, v, w in zip(grid, values, weights, strict=True))

    for terms in range(fewest, 40):
        exact = remez(values, weights, grid, terms)
        if error(exact) <= mpf(2) ** -fit.target:
            choices = [nearest(c, fit.bits) for c in exact], rounded(exact, fit.bits, values, weights, grid)
            kept = min(choices, key=lambda choice: error([mpf(c) for c in choice]))
            return kept, float(mp.log(error([mpf(c) for c in kept]), 2))
    raise ValueError(f"{fit.name}: no polynomial of 40 terms is good enough")


def root(f: Fn) -> Fn:
    """f(sqrt(z)), for odd and even functions fitted in the square."""
    return lambda z: f(mp.sqrt(z))


def fits() -> list[Fit]:
    """Every polynomial, f32 then f64."""
    ln2, one = mp.log(2), mpf(1)
    half, third = ln2 / 2 * mpf("1.01"), one / 3
    s2 = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2
    out: list[Fit] = []
    for bits, t in (32, 28.0), (64, 58.0):
        def add(name: str, formula: str, f: Fn, lo: mpf, hi: mpf, weight: Fn, target: float = t,
                width: int = bits) -> None:
            out.append(Fit(f"{name}_{width}", width, formula, f, mpf(lo), mpf(hi), weight, target))

        add("EXP", "(exp(r) - 1 - r) / r^2", lambda r: (mp.expm1(r) - r) / r**2, -half, half,
            lambda r: r * r / mp.expm1(r))
        add("EXP_PRECISE", "(exp(r) - 1 - r) / r^2", lambda r: (mp.expm1(r) - r) / r**2,
            *((-one / 32, one / 32) if bits == 32 else (-5 * one / 64, 5 * one / 64)), lambda r: r * r, t + 3)
        add("LOG_PRECISE", "(log1p(r) - r + r^2/2) / r^3", lambda r: (mp.log1p(r) - r + r * r / 2) / r**3,
            *((-one / 32, one / 16) if bits == 32 else (-one / 16, one / 8)), lambda r: r**3,
            38 if bits == 32 else 63)
        step = ln2 / (32 if bits == 32 else 16) * mpf("1.01")
        add("EXP_STEP", "(exp(r) - 1 - r) / r^2", lambda r: (mp.expm1(r) - r) / r**2, -step, step,
            lambda r: r * r)
        if bits == 32:
            add("LOG", "(log1p(f) - f + f^2/2) / f^3", lambda f: (mp.log1p(f) - f + f * f / 2) / f**3, -third,
                third, lambda f: f**3 / mp.log1p(f))
            add("LOG_REST", "(log1p(r) - r) / r^2", lambda r: (mp.log1p(r) - r) / r**2, -one / 32, one / 16,
                lambda r: r * r / mp.log1p(r))
            add("LOG2_REST", "(log2(1 + r) - r / log(2)) / r^2", lambda r: (mp.log1p(r) - r) / ln2 / r**2,
                -one / 32, one / 16, lambda r: r * r / mp.log1p(r) * ln2)
        else:
            add("LOG", "(2 atanh(s)/s - 2) / z, z = s^2", root(lambda s: (2 * mp.atanh(s) / s - 2) / s**2), 0,
                s2, lambda z: z / 2)
        add("EXP2", "(2^r - 1) / r", lambda r: (mp.power(2, r) - 1) / r, -one / 2, one / 2,
            lambda r: r / mp.power(2, r))
        if bits == 64:
            add("POW", "(atanh(s)/s - 1 - z/3) / z^2, z = s^2",
                root(lambda s: (mp.atanh(s) / s - 1 - s**2 / 3) / s**4), 0, s2, lambda z: z * z, 70)
            add("POW_LOG2", "log2(1 + v) / v, for float32", lambda v: mp.log1p(v) / v / ln2, -third, third,
                lambda v: v * ln2 / mp.log1p(v), 36)
            add("POW_EXP2", "2^r, for float32", lambda r: mp.power(2, r), mpf("-0.5"), mpf("0.5"),
                lambda r: mp.power(2, -r), 29)
        add_waves(add)
        if bits == 64:
            add("ERF", "erf(x)/x - 1, z = x^2", root(lambda x: mp.erf(x) / x - 1), 0, 1, lambda z: one)
        add("CBRT", "m^(-2/3)", lambda m: 1 / mp.cbrt(m) ** 2, 3 * one / 4, 3 * one / 2,
            lambda m: mp.cbrt(m) ** 2, 10 if bits == 32 else 20)
        add_erfc(out, bits, t)
        add_erfinv(out, bits, t)
    add_gamma(out)
    return out


def add_waves(add: Callable[..., None]) -> None:
    """Circular and hyperbolic functions and their inverses, by squares."""
    quarter, half = (mp.pi / 4 * mpf("1.01")) ** 2, (mp.log(2) / 2 * mpf("1.01")) ** 2
    add("SIN", "(sin(r)/r - 1) / z, z = r^2", root(lambda r: (mp.sin(r) / r - 1) / r**2), 0, quarter,
        lambda z: z)
    add("COS", "(cos(r) - 1 + z/2) / z^2, z = r^2", root(lambda r: (mp.cos(r) - 1 + r * r / 2) / r**4), 0,
        quarter, lambda z: z * z)
    add("TAN", "(tan(r)/r - 1) / z, z = r^2", root(lambda r: (mp.tan(r) / r - 1) / r**2), 0, quarter,
        lambda z: z / root(lambda r: mp.tan(r) / r)(z))
    add("ASIN", "(asin(x)/x - 1) / z, z = x^2", root(lambda x: (mp.asin(x) / x - 1) / x**2), 0,
        0.25, lambda z: z)
    add("ATAN_REST", "(atan(q)/q - 1) / z, z = q^2", root(lambda q: (mp.atan(q) / q - 1) / q**2), 0, 0.0625,
        lambda z: z)
    add("ATAN", "(atan(x)/x - 1) / z, z = x^2", root(lambda x: (mp.atan(x) / x - 1) / x**2), 0, 1,
        lambda z: z)
    add("SINH", "(sinh(x)/x - 1) / z, z = x^2", root(lambda x: (mp.sinh(x) / x - 1) / x**2), 0, half,
        lambda z: z)
    add("COSH", "(cosh(x) - 1 - z/2) / z^2, z = x^2", root(lambda x: (mp.cosh(x) - 1 - x * x / 2) / x**4), 0,
        half, lambda z: z * z)


def add_erfc(out: list[Fit], bits: int, target: float) -> None:
    """exp(x^2) erfc(x) (x + 2) - 5/4 + 3t/4 in t = (x - 2)/(x + 2), which maps [0, inf) to [-1, 1)."""
    top = mpf("10.5") if bits == 32 else mpf(28)

    def f(t: mpf) -> mpf:
        x = 2 * (1 + t) / (1 - t)
        return mp.exp(x * x) * mp.erfc(x) * (x + 2)

    if bits == 64:
        out.append(Fit("ERF_FAR_64", 64, "exp(x^2) erfc(x) (x + 2), t = (x - 2)/(x + 2)", f,
                       -mpf(1) / 3, mpf(1) / 2, lambda t: 1 / f(t), 54))
    out.append(Fit(f"ERFC_{bits}", bits, "exp(x^2) erfc(x) (x + 2) - 5/4 + 3t/4, t = (x - 2)/(x + 2)",
                   lambda t: f(t) - (5 - 3 * t) / 4,
                   mpf(-1), (top - 2) / (top + 2), lambda t: 1 / f(t), target + 1))


def add_gamma(out: list[Fit]) -> None:
    """lgamma about 2 and from 4.25 on, digamma on [1, 2] and from 2 on; float64's serve float32 too."""
    half, middle, curve = mpf("0.5"), digamma_slope(mpf("1.5")), (mp.zeta(2) - 1) / 2

    def stirling(z: mpf) -> mpf:
        x = 1 / mp.sqrt(z)
        return (mp.loggamma(x) - (x - mpf("0.5")) * mp.log(x) + x - mp.log(2 * mp.pi) / 2) * x

    def midpoint(u: mpf) -> mpf:
        y = 1 / mp.sqrt(u)
        return (mp.digamma(y + mpf("0.5")) - mp.log(y)) / u

    out += [
        Fit("LGAMMA_64", 64, "((lgamma(2 + d)/d - 1 + euler)/d - (zeta(2) - 1)/2) / d",
            lambda d: ((mp.loggamma(2 + d) / d - 1 + mp.euler) / d - curve) / d, mpf("-0.75"), mpf("0.25"),
            lambda d: d**3 / mp.loggamma(2 + d), 58),
        Fit("STIRLING_64", 64, "x (lgamma(x) - (x - 1/2) log(x) + x - log(2 pi)/2), z = 1/x^2", stirling,
            mpf(0), 1 / mpf("4.25") ** 2, lambda z: mp.sqrt(z) / mp.loggamma(1 / mp.sqrt(z)), 58),
        Fit("DIGAMMA_64", 64, "(digamma(x)/(x - zero) - middle) / v, v = x - 3/2",
            lambda v: (digamma_slope(v + mpf("1.5")) - middle) / v, -half, half,
            lambda v: v / digamma_slope(v + mpf("1.5")), 58),
        Fit("MIDPOINT_64", 64, "(digamma(y + 1/2) - log(y)) / u, u = 1/y^2", midpoint, mpf(0), mpf(4) / 9,
            lambda u: u / mp.digamma(1 / mp.sqrt(u) + mpf("0.5")), 58)]


def digamma_zero() -> mpf:
    return mp.findroot(mp.digamma, mpf("1.4616321449683623"))


def digamma_slope(x: mpf) -> mpf:
    return mp.digamma(x) / (x - digamma_zero())


def erfinv_ratio(w: mpf) -> mpf:
    """erfinv(x)/x where w = -log(1 - x^2); Newton on log(erfc), which keeps the tail exact."""
    x = mp.sqrt(-mp.expm1(-w))
    tail = mp.exp(-w) / (1 + x)  # 1 - x
    y = mp.sqrt(w) * mpf("0.886") if w < 1 else mp.sqrt(max(w - mp.log(mp.sqrt(w) + 1), mpf("0.3")))
    for _ in range(60):
        e = mp.erfc(y)
        step = (mp.log(e) - mp.log(tail)) * e * mp.sqrt(mp.pi) / 2 * mp.exp(y * y)
        y += step
        if abs(step) < mpf(10) ** -45 * y:
            break
    return y / x


def add_erfinv(out: list[Fit], bits: int, target: float) -> None:
    """erfinv(x)/x less 0.875 + w/4 near 0 and less sqrt(w) beyond, w = -log(1 - x^2)."""
    pieces = {32: [("NEAR", 2.5, 0, 5), ("FAR", 3, mp.sqrt(5), 4.2)],
              64: [("NEAR", 3.125, 0, 6.25), ("FAR", 3.25, 2.5, 4), ("TAIL", 5, 4, 6.1)]}[bits]
    centre, half = (mpf("0.1695"), mpf("0.0745")) if bits == 32 else (mpf("0.1015"), mpf("0.0675"))

    def end(u: mpf) -> mpf:
        return erfinv_ratio((u + centre) ** -2)

    out.append(Fit(f"ERFINV_END_{bits}", bits,
                   f"erfinv(x)/x - sqrt(w), w = -log(1 - x^2), u = 1/sqrt(w) - {float(centre):g}",
                   lambda u: end(u) - 1 / (u + centre), -half, half, lambda u: 1 / end(u), target))
    for name, middle, lo, hi in pieces:
        def ratio(u: mpf, middle: mpf = mpf(middle), near: bool = name == "NEAR") -> mpf:
            return erfinv_ratio(u + middle if near else (u + middle) ** 2)

        def rest(u: mpf, ratio: Fn = ratio, middle: mpf = mpf(middle), near: bool = name == "NEAR") -> mpf:
            return ratio(u) - ((u + middle) / 4 + mpf("0.875") if near else u + middle)

        base, inner = ("0.875 - w/4", "w") if name == "NEAR" else ("sqrt(w)", "sqrt(w)")
        out.append(Fit(f"ERFINV_{name}_{bits}", bits,
                       f"erfinv(x)/x - {base}, w = -log(1 - x^2), u = {inner} - {middle}",
                       rest, mpf(lo) - middle, mpf(hi) - middle, lambda u, f=ratio: 1 / f(u), target))


def parts(value: mpf, bits: int, count: int, short: int = 0) -> list[float]:
    """value as a sum of floats; with `short`, the leading one keeps only that many bits after the point."""
    out: list[float] = []
    for k in range(count):
        left = value - sum(mpf(p) for p in out)
        if short and not k:
            out.append(float(mp.floor(left * 2**short) / mpf(2) ** short))
        else:
            out.append(nearest(left, bits))
    return out


def constants() -> dict[str, tuple[str, list[float]]]:
    """Name -> (what it is, its parts)."""
    out: dict[str, tuple[str, list[float]]] = {}
    for bits in 32, 64:
        short = 15 if bits == 32 else 41
        out |= {f"LN2_{bits}": ("log 2", parts(mp.log(2), bits, 2)),
                f"LN2_SHORT_{bits}": ("log 2; an exponent times the first is exact",
                                      parts(mp.log(2), bits, 2, short)),
                f"LOG2_E_{bits}": ("1 / log 2", parts(1 / mp.log(2), bits, 2)),
                f"LOG2_E2_{bits}": ("2 / log 2", parts(2 / mp.log(2), bits, 2)),
                f"THIRD_{bits}": ("1/3", parts(mpf(1) / 3, bits, 2)),
                f"HALF_PI_{bits}": ("pi/2", parts(mp.pi / 2, bits, 3)),
                f"PI_{bits}": ("pi", parts(mp.pi, bits, 2)),
                f"ROOT2_{bits}": ("sqrt(2)", parts(mp.sqrt(2), bits, 2))}
    zero = digamma_zero()
    out |= {"INVERSE_PI_64": ("1/pi", parts(1 / mp.pi, 64, 2)),
            "EULER_64": ("1 - euler", parts(1 - mp.euler, 64, 2)),
            "CURVE_64": ("(zeta(2) - 1) / 2", parts((mp.zeta(2) - 1) / 2, 64, 2)),
            "STIRLING_BASE_64": ("(log(2 pi) - 1) / 2", parts((mp.log(2 * mp.pi) - 1) / 2, 64, 2)),
            "DIGAMMA_ZERO_64": ("the positive zero of digamma", parts(zero, 64, 2)),
            "DIGAMMA_MIDDLE_64": ("digamma(3/2) / (3/2 - zero)", parts(digamma_slope(mpf("1.5")), 64, 2))}
    with mp.workdps(120):
        for step in range(4):
            turn = mp.ldexp(1, 28 * step) / (2 * mp.pi)
            kept = [mp.ldexp(mpf(p), -28 * step) for p in parts(turn - mp.floor(turn), 64, 2, 55)]
            out[f"TURN{step}"] = (f"1/(2 pi) without the bits above 2^-{28 * step}", [float(p) for p in kept])
    out["TURNS_64"] = "1/(2 pi) without the bits above 2^-40k, in four; times 2^480 from k = 12 on", turns()
    return out


def turns() -> list[float]:
    """Four parts of 1/(2 pi) mod 2^-40k, k = 0 to 24; scaled where the last would be denormal."""
    with mp.workdps(400):
        rows = [mp.ldexp(mp.frac(mp.ldexp(1, 40 * k) / (2 * mp.pi)), (480 if k >= 12 else 0) - 40 * k)
                for k in range(25)]
        return [p for row in rows for p in parts(row, 64, 4)]


def tables() -> dict[str, tuple[str, list[float]]]:
    """Name -> (what it is, its columns one after another): each fills a vector register."""
    return {"POWER_32": ("2^(k/16) in two parts", powers(32)),
            "POWER_64": ("2^(k/8) in two parts", powers(64)),
            "THIRDS_32": ("2^(-2k/3) by the last bits of k, from -1 to 2", thirds(32)),
            "THIRDS_64": ("2^(-2k/3) by the last bits of k, from -1 to 2", thirds(64)),
            "ATAN_TABLE_32": ("a number in each fourth of octaves of x + 1/2; its arc tangent in two parts",
                              arcs(32)),
            "ATAN_TABLE_64": ("the same in halves of octaves", arcs(64)),
            "LOG_TABLE_32": ("mantissas from 1 to 3/2, then from 3/4: c near the inverse; -log(c) in two "
                             "parts, log 2 more below 1", logarithms(mp.mpf(1), 32)),
            "LOG2_TABLE_32": ("the same for log2", logarithms(mp.log(2), 32)),
            "LOG2_TABLE_64": ("the same in eighths", logarithms(mp.log(2), 64)),
            "ERF_32": ("x near k/4 + 1/20, but 0; erf(x); (erf(x + u) - erf(x))/u, less 1 at 0", errors()),
            "TANH_32": ("the same for tanh, x + 1 in fourths of octaves", tangents())}


def powers(bits: int) -> list[float]:
    count = 512 // bits
    rows = [parts(mp.power(2, mpf(k) / count), bits, 2) for k in range(count)]
    return [row[column] for column in (0, 1) for row in rows]


def thirds(bits: int) -> list[float]:
    return [nearest(mp.power(2, mpf((2, 0, -2, -4)[(k + 1) % 4]) / 3), bits) for k in range(512 // bits)]


def arcs(bits: int) -> list[float]:
    """By the exponent's last two bits and the fraction's first; x of six bits, 0 up to 1/4."""
    count = 512 // bits // 4
    rows = []
    for k in range(4 * count):
        octave = 2.0 ** ((k // count + 2) % 4 - 1)  # from 1/2 to 4
        low, high = (octave * (1 + mpf(k % count + end) / count) - 0.5 for end in (0, 1))
        top = mp.pi / 2 if high == 7.5 else mp.atan(high)
        middle = mp.tan(mp.atan(low) * 0.55 + top * 0.45)
        x = mp.nint(mp.ldexp(middle, 6 - mp.frexp(middle)[1])) * mp.ldexp(1, mp.frexp(middle)[1] - 6)
        x = mpf(0) if high <= 0.25 else x
        rows.append([float(x), *parts(mp.atan(x), bits, 2)])
    return [row[column] for column in range(3) for row in rows]


def logarithms(unit: mpf, bits: int) -> list[float]:
    """c has so few bits that r = m c - 1 is a float."""
    inverses, rows, count = [], [], 512 // bits
    short = 15 if bits == 32 else 41
    for k in range(count):
        below = k >= count // 2
        low = (1 + mpf(k) / count) / (2 if below else 1)
        middle = low + mpf(1) / (4 * count if below else 2 * count)
        steps, whole = (32, mp.nint if below else mp.ceil) if bits == 32 else (16 if below else 32, mp.nint)
        inverses.append(1.0 if k in (0, count - 1) else float(whole(steps / middle) / steps))
        one, rest = parts(mp.log(2) / unit, bits, 2, short) if below else (0.0, 0.0)
        high, low = parts(-mp.log(inverses[-1]) / unit, bits, 2, short)
        rows.append((high + one, nearest(mpf(low) + mpf(rest), bits)))
    return inverses + [row[column] for column in (0, 1) for row in rows]


def loss(value: mpf) -> mpf:
    """What rounding to float32 changes."""
    return abs(value - nearest(value, 32))


def errors() -> list[float]:
    return centres(mp.erf, lambda x: 2 / mp.sqrt(mp.pi) * mp.exp(-x**2), 5, [
        (mpf(k) / 4 - ERF_SHIFT, mpf(k) / 4 - ERF_SHIFT + 0.25, k / 4 + 0.05, 1e-5 if k < 13 else 6e-5)
        for k in range(16)])


def tangents() -> list[float]:
    """Fourths of octaves of x + 1, by the exponent's last bits: from 2 to 16, then from 1 to 2."""
    rows = []
    for k in (*range(4, 16), *range(4)):
        octave, fourth = divmod(k, 4)
        low, width = 2.0**octave * (1 + fourth / 4) - 1, 2.0**octave / 4
        rows.append((mpf(low), mpf(low + width), low + 0.52 * width, width / 1e5))
    return centres(mp.tanh, lambda x: mp.sech(x)**2, 6, rows)


def centres(f: Fn, slope: Fn, terms: int, rows: list[tuple[mpf, mpf, float, float]]) -> list[float]:
    """Columns of a table by (from, to, about, step): x, which is 0 in the first; f(x); polynomials.

    f(x) and the slope there are nearly float32; errors are weighed as units in the last place.
    """
    out: list[list[float]] = []
    for low, high, middle, step in rows:
        choices = [nearest(mpf(middle + step * s), 32) for s in range(-1000, 1001)] if low > 0 else [0.0]
        x = min(choices, key=lambda c: loss(f(mpf(c))) + loss(slope(mpf(c))) / 8)

        def rise(u: mpf, x: mpf = mpf(x)) -> mpf:
            return (f(x + u) - f(x)) / u - (0 if x else 1)

        def weight(u: mpf, x: mpf = mpf(x)) -> mpf:
            return u / 2 ** mp.floor(mp.log(f(x + u), 2))

        fit = Fit("", 32, "", rise, max(low, mpf(0)) - x, high - x, weight, 24.0)
        out.append([x, nearest(f(mpf(x)), 32), *solve(fit, fewest=terms)[0]])
    return [value for column in zip(*out, strict=True) for value in column]


def show(comment: str, name: str, values: list[float]) -> None:
    """Four numbers a line; float32's without the zeros of float64."""
    words = [v.hex().replace("0000000p", "p") for v in values]
    lines = [" ".join(words[k:k + 4]) for k in range(0, len(words), 4)]
    text = f'"{lines[0]}"' if len(lines) == 1 else '"""\n    ' + "\n    ".join(lines) + '"""'
    print(f"\n# {comment}\n{name} = _numbers({text})", flush=True)


def main() -> None:
    if sys.argv[1:] == ["tables"]:
        print(HEADER.format("Tables by columns, each of as many numbers as a vector register holds."), end="")
        for name, (comment, values) in tables().items():
            show(comment, name, values)
        return
    print(HEADER.format("Minimax polynomials, lowest power first; split constants, greatest first."), end="")
    for name, (comment, values) in constants().items():
        show(comment, name, values)
    for fit in fits():
        coefficients, error = solve(fit)
        interval = f"[{float(fit.lo):.5g}, {float(fit.hi):.5g}]"
        show(f"{fit.formula} on {interval}; error 2^{error:.1f}", fit.name, coefficients)


if __name__ == "__main__":
    main()
