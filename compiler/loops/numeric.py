"""Scalar functions that numpy lacks: conversion that saturates, sigmoid, the error function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.compiler.ir.dtypes import DType, as_dtype


def cast_array(x: Any, dtype: DType) -> Any:
    """numpy's astype, but floats out of an int's range saturate and NaN is 0; arrays of dims pass."""
    x = np.asarray(x)
    if x.dtype == object:
        return x
    if not (as_dtype(x.dtype).is_floating and dtype.is_integer):
        return x.astype(dtype.numpy)
    wide = np.trunc(x.astype(np.float64))
    low, high = float(dtype.min), float(dtype.max)
    inside = (wide > low) & (wide < high)
    limits = np.where(wide >= high, dtype.max, np.where(wide <= low, dtype.min, 0)).astype(dtype.numpy)
    return np.where(inside, np.where(inside, wide, 0).astype(dtype.numpy), limits)


def ldexp(x: Any, n: Any) -> Any:
    """x 2^floor(n), rounded once; n up to twice the exponents of numbers."""
    return np.ldexp(x, np.clip(np.nan_to_num(np.floor(n)), -10000, 10000).astype(np.int32))


def exponent(x: Any) -> Any:
    """floor(log2|x|): -infinity at 0, infinity at infinity."""
    x = np.abs(x)
    whole = np.frexp(x)[1] - 1
    return np.where(x > 0, np.where(x < math.inf, whole, x), np.where(x == 0, -math.inf, x)).astype(x.dtype)


def mantissa(x: Any) -> Any:
    """m in [3/4, 3/2) with x = m 2^k; 1 at 0 and infinity, NaN below 0."""
    part = np.frexp(x)[0]
    part = np.where(part < 0.75, 2 * part, part)
    edge = np.where((x == 0) | (x > 0), 1, math.nan)
    return np.where((x > 0) & (x < math.inf), part, edge).astype(x.dtype)


def sigmoid(x: Any) -> Any:
    x = np.asarray(x)
    return (1 / (1 + np.exp(-x))).astype(x.dtype)


def softplus(x: Any) -> Any:
    """log(1 + exp(x)) without overflow."""
    x = np.asarray(x)
    return np.logaddexp(x, np.zeros((), x.dtype)).astype(x.dtype)


def rsqrt(x: Any) -> Any:
    x = np.asarray(x)
    return (1 / np.sqrt(x)).astype(x.dtype)


def _by_element(fn: Callable[[float], float]) -> Callable[[Any], Any]:
    def apply(x: Any) -> Any:
        x = np.asarray(x)
        values = np.fromiter((fn(v) for v in x.ravel().tolist()), np.float64, x.size)
        return values.reshape(x.shape).astype(x.dtype)
    return apply


erf = _by_element(math.erf)
erfc = _by_element(math.erfc)


def _erfinv(x: float) -> float:
    """Newton on erfc, which keeps its relative accuracy near 1; started from Winitzki's formula."""
    if not abs(x) < 1.0:
        return math.copysign(math.inf, x) if abs(x) == 1.0 else math.nan
    tail = 1.0 - abs(x)
    log = math.log(tail * (1.0 + abs(x)))
    a = 2 / (math.pi * 0.147) + log / 2
    y = math.sqrt(max(math.sqrt(a * a - log / 0.147) - a, 0.0))
    for _ in range(4):
        error = (math.erfc(y) - tail) if tail < 0.5 else abs(x) - math.erf(y)
        step = error * math.sqrt(math.pi) / 2 * math.exp(y * y)
        y += step / (1 - y * step)  # Halley: the second derivative of erf is -2y times the first
    return math.copysign(y, x)


erfinv = _by_element(_erfinv)


def _ndtri(p: float) -> float:
    """Newton on the logarithm of erfc, which neither tail exhausts; symmetric about 1/2."""
    if not 0.0 < p < 1.0:
        return math.copysign(math.inf, p - 0.5) if p in (0.0, 1.0) else math.nan
    if 0.25 <= p <= 0.75:
        return math.sqrt(2) * _erfinv(2 * p - 1)
    tail = 2 * min(p, 1 - p)  # erfc(y)
    y = math.sqrt(-math.log(tail * (2 - tail))) * 0.9
    for _ in range(20):
        scaled = _scaled_erfc(y)
        y += (math.log(scaled) - math.log(tail) - y * y) * scaled * math.sqrt(math.pi) / 2
    return math.copysign(math.sqrt(2) * y, p - 0.5)


def _scaled_erfc(y: float) -> float:
    """exp(y^2) erfc(y), by its continued fraction where erfc runs out of range."""
    if y < 5:
        return math.exp(y * y) * math.erfc(y)
    value = y
    for k in range(60, 0, -1):
        value = y + k / 2 / value
    return 1 / (value * math.sqrt(math.pi))


def _lgamma(x: float) -> float:
    pole = x <= 0 and x.is_integer()
    return math.inf if pole or x > 2.5563481638716906e305 else math.lgamma(x)


def _digamma(x: float) -> float:
    """The asymptotic series, reached by the recurrence; left of 0 the reflection."""
    if x == 0:
        return math.copysign(math.inf, -x)
    if x < 0:
        d = x - round(x) if math.isfinite(x) else math.nan
        return _digamma(1 - x) - math.pi / math.tan(math.pi * d) if d else math.nan
    total = 0.0
    while x < 12:
        total -= 1 / x
        x += 1
    z = 1 / (x * x)
    series = 0.0
    for c in (1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12):  # B2j / 2j
        series = z * (c + series)
    return total + math.log(x) - 0.5 / x - series


ndtri, lgamma, digamma = _by_element(_ndtri), _by_element(_lgamma), _by_element(_digamma)
