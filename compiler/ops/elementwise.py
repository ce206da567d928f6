"""Arithmetic, element by element. Operands broadcast as in numpy; ints wrap, x // 0 is an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.compiler.errors import InvalidArgumentError
from graphflow.compiler.ir import dims
from graphflow.compiler.ir.dtypes import DType, float32, float64, int32, int64
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import OpDef
from graphflow.compiler.ir.registry import REGISTRY
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops import interpret
from graphflow.compiler.loops.forms import Form, pointwise, pointwise_op
from graphflow.compiler.ops.broadcasting import unbroadcast
from graphflow.compiler.ops.core import literal
from graphflow.compiler.ops.logic import where_v2, zero_unless, zero_where
from graphflow.compiler.ops.rules import (
    broadcast_dims,
    check_kind,
    elementwise,
    equal_dims,
    like_first,
    same_dtype,
)
from graphflow.compiler.ops.samples import BINARY, UNARY, Sample, shapes

_INTS: tuple[Sample, ...] = (*shapes([(3, 4), (4,)], [(37,), ()], [(0,), (1,)], dtype=int32, low=-9, high=9,
                                     smooth=False),
                             *shapes([(5,), (5,)], dtype=int64, low=-9, high=9, smooth=False))


def unary(name: str, fn: Callable[..., E.Expr], numpy: Callable[..., Any], grad: Callable[..., Any] | None,
          kind: str = "float", tf_name: str = "", symbolic: bool = False, extra: tuple[Sample, ...] = (),
          **sample: Any) -> OpDef:
    """A function of one operand; `grad` is (op, g) -> gradient."""
    ints = shapes([(7,)], dtype=int32, low=-9, high=9, smooth=False) if kind == "number" else ()
    return OpDef(name, "x", infer=elementwise(kind), grad=grad, lower=pointwise(fn), numpy=numpy,
                 tf_name=tf_name,
                 symbolic=symbolic, samples=(*shapes(*UNARY, **sample), *ints, *extra))


def binary(name: str, fn: Callable[..., E.Expr] | Form, numpy: Callable[..., Any],
           grad: Callable[[Operation, Tensor], tuple[Any, Any]] | None, kind: str = "number",
           tf_name: str = "",
           symbolic: bool = False, infer: Any = None, extra: tuple[Sample, ...] = (),
           ints: tuple[Sample, ...] = _INTS, fails: bool = False, **sample: Any) -> OpDef:
    """A function of two operands; the gradients that `grad` gives are summed over the broadcast axes."""
    ints = ints if kind in ("number", "int") else ()
    return OpDef(name, "x y", infer=infer or elementwise(kind), grad=summed(grad) if grad else None,
                 lower=fn if isinstance(fn, Form) else pointwise(fn), numpy=numpy, tf_name=tf_name,
                 symbolic=symbolic, fails=fails, samples=(*shapes(*BINARY, **sample), *ints, *extra))


def summed(grad: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """A gradient rule whose results are summed over the axes along which its operands were broadcast."""
    def rule(op: Operation, g: Tensor) -> tuple[Any, ...]:
        pairs = zip(grad(op, g), op.operands, strict=True)
        return tuple(None if d is None else unbroadcast(d, t) for d, t in pairs)
    return rule


def floats(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


add = binary("add", lambda x, y: x + y, np.add, lambda op, g: (g, g), symbolic=True)
sub = binary("sub", lambda x, y: x - y, np.subtract, lambda op, g: (g, -g), symbolic=True)
mul = binary("mul", lambda x, y: x * y, np.multiply, lambda op, g: (g * op.y, op.x * g), symbolic=True)
neg = unary("neg", lambda x: -x, np.negative, lambda op, g: -g, kind="number", symbolic=True)


# Division. TF1: `/` on ints gives floats, tf.div keeps the dtype and rounds ints down.

def _quotient_dtype(dtype: DType) -> DType:
    """float64 for int32 and int64, float32 for shorter ints, as in TF1."""
    if dtype.is_floating:
        return dtype
    return float32 if dtype.size < 4 else float64


def _truediv_type(op: Operation) -> TensorType:
    check_kind(op, "number")
    return TensorType(_quotient_dtype(same_dtype(op)), broadcast_dims(op))


def _truediv_element(op: Operation, x: E.Expr, y: E.Expr) -> E.Expr:
    dtype = _quotient_dtype(x.dtype)
    return E.cast(x, dtype) / E.cast(y, dtype)


_BY_ZERO = "integer division by zero"
_NEGATIVE_POWER = "integers to negative integer powers are not allowed"


def _demand(op: Operation, value: E.Expr, condition: E.Expr, complaint: str) -> E.Expr:
    """The value, with a check at run time unless it is a constant that passes."""
    if value.op == "const" and bool(interpret.evaluate(condition, interpret.Env())):
        return value
    return E.checked(value, condition, f"{op.location}: {complaint}")


def _divisor(op: Operation, y: E.Expr) -> E.Expr:
    return _demand(op, y, E.ne(y, 0), _BY_ZERO)


def _require(holds: Any, complaint: str) -> None:
    if not np.all(holds):
        raise InvalidArgumentError(None, None, complaint)


def _floor_divide(op: Operation, x: E.Expr, y: E.Expr) -> E.Expr:
    return E.call("floor", x / y) if x.dtype.is_floating else E.call("floordiv", x, _divisor(op, y))


def _floor_divide_numpy(x: Any, y: Any) -> Any:
    x, y = np.asarray(x), np.asarray(y)
    if object in (x.dtype, y.dtype):
        return np.floor_divide(x, y)
    if x.dtype.kind not in "iu":
        return np.floor(x / y)
    _require((y != 0) | (np.size(x) == 0), _BY_ZERO)
    return E.SCALAR["floordiv"].numpy(x, y)


def _floor_mod(op: Operation, x: E.Expr, y: E.Expr) -> E.Expr:
    if x.dtype.is_floating:
        return E.call("modulo", x, y, x / y)
    return E.call("floormod", x, _divisor(op, y))


def _floor_mod_numpy(x: Any, y: Any) -> Any:
    x, y = np.asarray(x), np.asarray(y)
    if object in (x.dtype, y.dtype) or x.dtype.kind not in "iu":
        return np.mod(x, y)
    _require((y != 0) | (np.size(x) == 0), _BY_ZERO)
    return E.SCALAR["floormod"].numpy(x, y)


def _div_element(op: Operation, x: E.Expr, y: E.Expr) -> E.Expr:
    return x / y if x.dtype.is_floating else E.call("floordiv", x, _divisor(op, y))


def _div_numpy(x: Any, y: Any) -> Any:
    return np.divide(x, y) if np.asarray(x).dtype.kind not in "iuO" else _floor_divide_numpy(x, y)


def _div_no_nan(x: E.Expr, y: E.Expr) -> E.Expr:
    return E.select(E.eq(y, 0), 0, x / y)


def _quotient_grad(op: Operation, g: Tensor) -> tuple[Any, Any]:
    return g / op.y, -g * op.out / op.y


_INT_DIVISORS = (Sample((np.array([[7, -7, 0, 5], [9, -9, 8, -8]], np.int32),
                         np.array([2, -3, 1, -1], np.int32)), smooth=False),
                 Sample((np.arange(-20, 20), np.int64(7)), smooth=False),
                 *shapes([(0,), (1,)], dtype=int32, low=1, high=9, smooth=False))
_NONZERO: dict[str, Any] = {"low": 0.5, "high": 3.0}
truediv = binary("truediv", pointwise_op(_truediv_element), np.true_divide, _quotient_grad,
                 infer=_truediv_type,
                 tf_name="RealDiv", **_NONZERO)
realdiv = binary("realdiv", lambda x, y: x / y, np.divide, _quotient_grad, kind="float", tf_name="RealDiv",
                 **_NONZERO)
div = binary("div", pointwise_op(_div_element), _div_numpy, _quotient_grad, ints=_INT_DIVISORS,
             fails=True, **_NONZERO)
floordiv = binary("floordiv", pointwise_op(_floor_divide), _floor_divide_numpy, lambda op, g: (None, None),
                  tf_name="FloorDiv", symbolic=True, ints=_INT_DIVISORS, fails=True, **_NONZERO)
floormod = binary("floormod", pointwise_op(_floor_mod), _floor_mod_numpy,
                  lambda op, g: (g, -g * floordiv(op.x, op.y)),
                  tf_name="FloorMod", symbolic=True, ints=_INT_DIVISORS, fails=True, extra=(Sample(
                      (floats(7.5, -7.5, 7.5, -7.5, -1), floats(2, 2, -2, -2, np.inf)), smooth=False),),
                  **_NONZERO)
div_no_nan: OpDef = binary("div_no_nan", _div_no_nan,
                           lambda x, y: np.where(y == 0, 0, x / np.where(y == 0, 1, y)),
                    lambda op, g: (div_no_nan(g, op.y), div_no_nan(-g * op.out, op.y)), kind="float",
                    tf_name="DivNoNan", extra=(Sample((floats(1, 0, 3), floats(0, 0, 2)), smooth=False),),
                    **_NONZERO)


# Extremes

def _extremum(name: str, combine: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """numpy's function, which also works on dims."""
    on_dims = np.frompyfunc(combine, 2, 1)
    plain = getattr(np, name)
    return lambda x, y: (on_dims if object in (np.asarray(x).dtype, np.asarray(y).dtype) else plain)(x, y)


def _extremum_grad(op: Operation, g: Tensor) -> tuple[Any, Any]:
    """To x where x is chosen, ties included, else to y."""
    chosen = op.x >= op.y if op.opdef is maximum else op.x <= op.y
    return zero_unless(chosen, g), zero_where(chosen, g)


_NANS = (Sample((floats(np.nan, 1, np.nan, 2), floats(1, np.nan, np.nan, 2)), smooth=False),)
maximum = binary("maximum", E.maximum, _extremum("maximum", dims.maximum), _extremum_grad, symbolic=True,
                 extra=_NANS)
minimum = binary("minimum", E.minimum, _extremum("minimum", dims.minimum), _extremum_grad, symbolic=True,
                 extra=_NANS)


def _clip_type(op: Operation) -> TensorType:
    check_kind(op, "number")
    dtype = same_dtype(op)
    return TensorType(dtype, equal_dims(op, [op.x, broadcast_dims(op)]))


def _clip_grad(op: Operation, g: Tensor) -> tuple[Any, Any, Any]:
    below, above = op.x < op.low, op.x > op.high
    return zero_where(below | above, g), zero_unless(below, g), zero_unless(above, g)


clip_by_value = OpDef(
    "clip_by_value", "x low high", infer=_clip_type, grad=summed(_clip_grad), tf_name="ClipByValue",
    lower=pointwise(lambda x, low, high: E.maximum(E.minimum(x, high), low)),
    numpy=lambda x, low, high: np.maximum(np.minimum(x, high), low),
    samples=(Sample(((3, 4), np.float32(-0.5), np.float32(0.5))),
             Sample(((5,), np.full(5, -1, np.float32), floats(1))),
             Sample((np.array([1, 5, 9], np.int32), np.int32(2), np.int32(6)), smooth=False),
             Sample(((0, 3), np.float32(0), np.float32(1)))))


def _add_n_type(op: Operation) -> TensorType:
    check_kind(op, "number")
    return TensorType(same_dtype(op), equal_dims(op, op.operands))


def _sum_all(*values: E.Expr) -> E.Expr:
    total = values[0]
    for v in values[1:]:
        total = total + v
    return total


add_n = OpDef("add_n", "*inputs", infer=_add_n_type, grad=lambda op, g: (g,) * len(op.operands),
              lower=pointwise(_sum_all), numpy=lambda *values: sum(values[1:], values[0]), tf_name="AddN",
              samples=shapes([(3, 4)], [(5,), (5,)], [(), (), ()], [(0, 2), (0, 2)]))


# Powers, roots and signs

def _sign(x: E.Expr) -> E.Expr:
    return E.select(x > 0, 1, x if x.dtype.is_unsigned else E.select(x < 0, -1, x))


abs_ = unary("abs", lambda x: E.call("abs", x), np.abs, lambda op, g: g * sign(op.x), kind="number")
sign: OpDef = unary("sign", _sign, np.sign,
             lambda op, g: REGISTRY["zeros_like"](g), kind="number",
             extra=(Sample((floats(np.nan, 0.0, np.inf, -np.inf),), smooth=False),))
square = unary("square", lambda x: x * x, np.square, lambda op, g: g * (2 * op.x), kind="number")
squared_difference = binary("squared_difference", lambda x, y: (x - y) * (x - y),
                            lambda x, y: np.square(x - y),
                            lambda op, g: (2 * g * (op.x - op.y), 2 * g * (op.y - op.x)))
sqrt = unary("sqrt", lambda x: E.call("sqrt", x), np.sqrt, lambda op, g: g * 0.5 / op.out, low=0.1)
rsqrt = unary("rsqrt", lambda x: E.call("rsqrt", x), E.SCALAR["rsqrt"].numpy,
              lambda op, g: g * -0.5 * (op.out * op.out * op.out), low=0.1)
reciprocal = unary("reciprocal", lambda x: 1 / x, lambda x: 1 / x, lambda op, g: -g * (op.out * op.out),
                   low=0.5)


def _power(op: Operation, x: E.Expr, y: E.Expr) -> E.Expr:
    """Floats: the scalar function. Ints: square and multiply by each bit of y."""
    if x.dtype.is_floating:
        return E.call("pow", x, y)
    y = y if y.dtype.is_unsigned else _demand(op, y, y >= 0, _NEGATIVE_POWER)
    result: E.Expr = E.const(1, x.dtype)
    for bit in range(8 * x.dtype.size - (not x.dtype.is_unsigned)):
        result = E.select(E.ne((y >> bit) & 1, 0), result * x, result)
        x = x * x
    return result


def _power_numpy(x: Any, y: Any) -> Any:
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype.kind not in "iu":  # for one exponent of 0.5 numpy takes the square root: -0 of -0, NaN of -inf
        return np.power(np.where((y == 0.5) & ((x == 0) | (x == -np.inf)), np.abs(x), x), y)
    _require((y >= 0) | (np.size(x) == 0), _NEGATIVE_POWER)
    return np.power(x, y)


def _power_grad(op: Operation, g: Tensor) -> tuple[Any, Any]:
    positive = op.x > 0
    log_x = zero_unless(positive, REGISTRY["log"](where_v2(positive, op.x, literal(1, g.dtype))))
    return g * op.y * pow_(op.x, op.y - 1), g * op.out * log_x


pow_ = binary("pow", pointwise_op(_power), _power_numpy, _power_grad, low=0.3, ints=(), fails=True, extra=(
    Sample((floats(-2, -1, 0, 3, 2), floats(2, 3, 2, 0, -1)), smooth=False),
    Sample((np.array([3, -2, 7, 0, 2], np.int64), np.array([5, 3, 40, 0, 1], np.int64)), smooth=False)))


# Rounding

def _rounding(name: str, fn: str, tf_name: str = "") -> OpDef:
    """A step function; its gradient is none, as in TF1."""
    return unary(name, lambda x: E.call(fn, x), getattr(np, fn), lambda op, g: None, tf_name=tf_name,
                 extra=(Sample((floats(0.5, 1.5, 2.5, -0.5, -1.5, np.nan, np.inf, 1e9),), smooth=False),))


floor, ceil = _rounding("floor", "floor"), _rounding("ceil", "ceil")
rint = _rounding("rint", "rint")
round_ = OpDef("round", "x", infer=like_first("number"), grad=lambda op, g: None, numpy=np.rint,
               lower=pointwise(lambda x: E.call("rint", x) if x.dtype.is_floating else x),
               samples=(*shapes(*UNARY),
                        Sample((floats(0.5, 1.5, 2.5, -0.5, -1.5, np.nan, np.inf),), smooth=False),
                        *shapes([(5,)], dtype=int32, smooth=False)))
