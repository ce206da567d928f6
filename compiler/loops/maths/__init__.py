"""Mathematical functions as scalar expressions: one definition for vectors, GPU and Python.

`expand_math("exp", float32)` is a branch-free function Expr -> Expr of arithmetic, comparisons, selects and
bit operations. It relies on every operation rounding once, as written: no reassociation, and no contraction
but the `fma`s it has.

Accuracy: 1 unit in the last place, special values C99's. tests/exhaustive/maths_f32.txt has the figure of
each float32 function over all its inputs, tests/test_maths.py the limits of both formats. Left of 0
float64's lgamma and digamma are that good but for their zeros, see gamma.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.maths import (
    error_function,
    exponential,
    gamma,
    logarithm,
    power,
    remainder,
    scaling,
    trigonometry,
)
from graphflow.compiler.loops.maths.floats import F32, F64, Format

_BOTH = (F32, F64)
Expansion: TypeAlias = "Callable[..., Expr]"

_FUNCTIONS: tuple[Callable[..., Expr], ...] = (
    scaling.ldexp, scaling.exponent, scaling.mantissa,
    exponential.exp, exponential.exp2, exponential.expm1, exponential.tanh, exponential.sigmoid,
    exponential.sinh, exponential.cosh,
    logarithm.log, logarithm.log1p, logarithm.log2, logarithm.softplus, logarithm.asinh, logarithm.acosh,
    logarithm.atanh,
    power.pow, power.rsqrt, power.cbrt, power.quotient, remainder.modulo,
    error_function.erf, error_function.erfc, error_function.erfinv, error_function.ndtri,
    gamma.lgamma, gamma.digamma,
    trigonometry.sin, trigonometry.cos, trigonometry.tan, trigonometry.asin, trigonometry.acos,
    trigonometry.atan, trigonometry.atan2,
)

MATHS: dict[tuple[str, DType], Expansion] = {
    (fn.__name__, f.dtype): partial(fn, f) for fn in _FUNCTIONS for f in _BOTH}

_NEAR: tuple[tuple[Expansion, tuple[Expansion, ...], tuple[Format, ...]], ...] = (
    (scaling.is_moderate, (scaling.ldexp,), _BOTH),
    (scaling.is_normal, (scaling.exponent, scaling.mantissa), _BOTH),
    (trigonometry.is_near, (trigonometry.sin, trigonometry.cos, trigonometry.tan), _BOTH),
    (scaling.is_normal, (logarithm.log, logarithm.log2), (F64,)),
    (exponential.sinh_is_near, (exponential.sinh,), _BOTH),
    (exponential.expm1_is_near, (exponential.expm1,), _BOTH),
    (logarithm.log1p_is_normal, (logarithm.log1p,), _BOTH),
    (logarithm.asinh_is_near, (logarithm.asinh,), _BOTH),
    (logarithm.acosh_is_near, (logarithm.acosh,), _BOTH),
    (logarithm.atanh_is_near, (logarithm.atanh,), _BOTH),
    (error_function.erfinv_is_near, (error_function.erfinv,), _BOTH),
    (error_function.ndtri_is_near, (error_function.ndtri,), _BOTH),
    (gamma.is_near, (gamma.lgamma, gamma.digamma), _BOTH),
    (power.is_middling, (power.quotient,), _BOTH),
    (power.is_plain, (power.pow,), _BOTH),
    (remainder.has_few_digits, (remainder.modulo,), _BOTH),
    (trigonometry.is_plain, (trigonometry.atan2,), _BOTH),
)

NEAR: dict[tuple[str, DType], tuple[Expansion, Expansion]] = {
    (fn.__name__, f.dtype): (partial(is_near, f), partial(fn, f, near=True))
    for is_near, fns, formats in _NEAR for fn in fns for f in formats}

# Far paths that a module has once, not in each use. LLVM would compute what several have in common, such as
# the multiples of a divisor, before they branch.
APART = frozenset({"modulo"})

# What some CPUs have instructions for
IN_REGISTERS = frozenset({"ldexp", "exponent", "mantissa"})


def near_path(name: str, dtype: DType) -> tuple[Expansion, Expansion] | None:
    """(condition, cheaper function), or None.

    The cheaper one is as good where the condition holds; native code branches on its holding in every lane.
    """
    return NEAR.get((name, dtype))


def expand_math(name: str, dtype: DType) -> Expansion | None:
    """The function that builds the expression of `name` for a dtype, or None where there is none."""
    return MATHS.get((name, dtype))
