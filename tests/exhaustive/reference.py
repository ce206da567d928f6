"""Reference values and the measure of error for the mathematical functions.

float32 is judged against float64 (numpy, scipy), float64 against mpmath. An error is in units in the last
place of the exact result, with infinity standing for 2^128 or 2^1024.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special
from mpmath import mp, mpf

from graphflow.compiler.loops import numeric

Array = np.ndarray[Any, Any]


def _softplus(x: Array) -> Array:
    return np.where(x > 0, x, 0) + np.log1p(np.exp(-np.abs(x)))


def _lgamma(x: Array) -> Array:
    """scipy's, but for the ends of the range."""
    edge = np.isinf(x) | (np.abs(x) < 1e-300)
    return np.where(edge, numeric.lgamma(x), scipy.special.gammaln(x))


def _digamma(x: Array) -> Array:
    """scipy's, reflected here, since its own loses digits near the poles."""
    d = x - np.rint(x)
    left = scipy.special.digamma(1 - x) - np.pi / np.tan(np.pi * np.where(d == 0, np.nan, d))
    return np.where(x < 0, left, scipy.special.digamma(x))


BINARY = ("pow", "atan2")
WIDE: dict[str, Callable[..., Array]] = {
    "sigmoid": scipy.special.expit, "softplus": _softplus, "rsqrt": lambda x: 1 / np.sqrt(x),
    "erf": scipy.special.erf, "erfc": scipy.special.erfc,
    "erfinv": lambda x: np.copysign(scipy.special.erfinv(x), x),
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2, "asinh": np.arcsinh,
    "acosh": np.arccosh, "cbrt": np.cbrt,
    "ndtri": scipy.special.ndtri, "lgamma": _lgamma,
    "digamma": _digamma, "atanh": np.arctanh, "pow": np.power,
} | {name: getattr(np, name) for name in (
    "exp", "exp2", "expm1", "log", "log1p", "log2", "tanh", "sinh", "cosh", "sin", "cos", "tan")}


def _erfinv(x: mpf) -> mpf:
    """Newton from scipy's value; on erfc near 1, where erf has lost its digits."""
    a = abs(x)
    y = mpf(float(scipy.special.erfinv(float(a))))
    for _ in range(2):
        error = mp.erf(y) - a if a < 0.5 else (1 - a) - mp.erfc(y)
        y -= error * mp.sqrt(mp.pi) / 2 * mp.exp(y * y)
    return mp.sign(x) * y


def _ndtri(p: mpf) -> mpf:
    """Newton's from scipy's value, on the logarithm of the lesser tail."""
    tail = min(p, 1 - p)
    y = -mpf(float(scipy.special.ndtri(float(tail))))
    for _ in range(3):
        e = mp.erfc(y / mp.sqrt(2)) / 2
        y += (mp.log(e) - mp.log(tail)) * e * mp.sqrt(2 * mp.pi) * mp.exp(y * y / 2)
    return y if p > 0.5 else -y


EXACT: dict[str, Callable[..., mpf]] = {
    "exp2": lambda x: mp.power(2, x), "log2": lambda x: mp.log(x) / mp.log(2), "pow": mp.power,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)), "softplus": lambda x: mp.log1p(mp.exp(x)),
    "rsqrt": lambda x: 1 / mp.sqrt(x), "erfinv": _erfinv, "ndtri": _ndtri, "digamma": mp.digamma,
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)), "lgamma": lambda x: mp.log(abs(mp.gamma(x))),
} | {name: getattr(mp, name) for name in (
    "exp", "expm1", "log", "log1p", "tanh", "sinh", "cosh", "sin", "cos", "tan", "asin", "acos", "atan",
    "atan2", "asinh", "acosh", "atanh", "erf", "erfc")}


def ulps_f32(got: Array, exact: Array) -> Array:
    """The error of float32 results against float64 ones; infinite for a wrong NaN or sign of zero."""
    big = 2.0**128
    value, wanted = np.clip(got.astype(np.float64), -big, big), np.clip(exact, -big, big)
    _, exponent = np.frexp(np.where(np.isnan(wanted), 1.0, wanted))
    error = np.abs(value - wanted) / np.ldexp(1.0, np.clip(exponent - 24, -149, 104))
    error = np.where(np.isnan(got) & np.isnan(exact), 0.0, np.where(np.isnan(error), np.inf, error))
    return np.where((wanted == 0) & (value == 0) & (np.signbit(value) != np.signbit(wanted)), np.inf, error)


def ulps_f64(name: str, got: Array, *inputs: Array) -> Array:
    """The error of float64 results at finite inputs inside the function's domain, by mpmath."""
    with mp.workprec(160):
        return np.array([_ulps(float(g), EXACT[name](*(mpf(float(v)) for v in at)))
                         for g, *at in zip(got, *inputs, strict=True)])


def _ulps(got: float, exact: mpf) -> float:
    big = mp.ldexp(1, 1024)
    value, wanted = max(-big, min(big, mpf(got))), max(-big, min(big, exact))
    exponent = mp.frexp(wanted)[1] if wanted else -2000
    return float(abs(value - wanted) / mp.ldexp(1, min(max(exponent - 53, -1074), 971)))


def special_values(dtype: Any) -> Array:
    """What a function treats apart: zeros, infinities, NaN, ends of the range, whole numbers, halves."""
    info = np.finfo(dtype)
    top, least, denormal = float(info.max), float(info.tiny), float(info.smallest_subnormal)
    below, above, whole = 1 - float(info.epsneg), 1 + float(info.eps), 1 / float(info.epsneg)
    values = [0.0, 0.5, below, 1.0, above, 1.5, 2.0, 3.0, 7.0, 1e30, 1e-30, whole - 1, whole, top, least,
              denormal, np.inf]
    return np.array([*values, *(-v for v in values), np.nan], dtype)
