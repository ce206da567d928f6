"""Comparison, logic and selection. Operands broadcast as in numpy, except in TF1's `where`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.compiler.ir.dtypes import bool_, float64, int32
from graphflow.compiler.ir.explain import dtype_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REGISTRY, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import pointwise
from graphflow.compiler.ops.broadcasting import unbroadcast
from graphflow.compiler.ops.core import literal
from graphflow.compiler.ops.rules import broadcast_dims, check_kind, comparison, equal_dims
from graphflow.compiler.ops.samples import BINARY, UNARY, Sample, shapes

_TIES = Sample((np.array([1, 2, np.nan, -0.0], np.float32), np.array([1, 3, np.nan, 0.0], np.float32)),
               smooth=False)
_INTS = shapes([(3, 4), (4,)], [(7,), ()], dtype=int32, smooth=False)
_SPECIAL = Sample((np.array([1, np.nan, np.inf, -np.inf, 0, -3e38], np.float32),), smooth=False)


def _compare(name: str, fn: Callable[..., E.Expr], numpy: Callable[..., Any], kind: str = "number") -> OpDef:
    return OpDef(name, "x y", infer=comparison(kind), lower=pointwise(fn), numpy=numpy,
                 samples=(*shapes(*BINARY, smooth=False), *_INTS, _TIES))


equal = _compare("equal", E.eq, np.equal, "any")
not_equal = _compare("not_equal", E.ne, np.not_equal, "any")
less = _compare("less", lambda x, y: x < y, np.less)
less_equal = _compare("less_equal", lambda x, y: x <= y, np.less_equal)
greater = _compare("greater", lambda x, y: x > y, np.greater)
greater_equal = _compare("greater_equal", lambda x, y: x >= y, np.greater_equal)


def _test(name: str, fn: Callable[..., E.Expr], numpy: Callable[..., Any]) -> OpDef:
    return OpDef(name, "x", infer=comparison("float"), lower=pointwise(fn), numpy=numpy,
                 tf_name=f"Is{name[3:].title()}",
                 samples=(*shapes(*UNARY, smooth=False), *shapes([(4,)], dtype=float64, smooth=False),
                          _SPECIAL))


is_nan = _test("is_nan", E.isnan, np.isnan)
is_inf = _test("is_inf", lambda x: E.eq(E.call("abs", x), np.inf), np.isinf)
is_finite = _test("is_finite", lambda x: E.call("abs", x) < np.inf, np.isfinite)


def _logical(name: str, fn: Callable[..., E.Expr], numpy: Callable[..., Any], params: str = "x y") -> OpDef:
    calls = BINARY if params == "x y" else UNARY
    return OpDef(name, params, infer=comparison("bool"), lower=pointwise(fn), numpy=numpy,
                 samples=shapes(*calls, dtype=bool_, smooth=False))


logical_and = _logical("logical_and", lambda x, y: x & y, np.logical_and)
logical_or = _logical("logical_or", lambda x, y: x | y, np.logical_or)
logical_xor = _logical("logical_xor", lambda x, y: x ^ y, np.logical_xor)
logical_not = _logical("logical_not", lambda x: ~x, np.logical_not, "x")


# Selection

def _check_branches(op: Operation) -> None:
    check_kind(op, "bool", [op.condition])
    if op.x.dtype is not op.y.dtype:
        raise dtype_error(op, f"(C1): the branches are {op.x.dtype.name} and {op.y.dtype.name}",
                          f"tf.cast(x, tf.{op.x.dtype.name}) converts one of them")


def _where_v2_type(op: Operation) -> TensorType:
    _check_branches(op)
    return TensorType(op.x.dtype, broadcast_dims(op))


def zero_unless(mask: Tensor, g: Tensor) -> Tensor:
    """g where the mask holds, else 0; unlike a product with the mask, it drops infinities and NaN."""
    result: Tensor = where_v2(mask, g, literal(0, g.dtype))
    return result


def zero_where(mask: Tensor, g: Tensor) -> Tensor:
    """g where the mask does not hold, else 0."""
    result: Tensor = where_v2(mask, literal(0, g.dtype), g)
    return result


def _select_grad(op: Operation, g: Tensor) -> tuple[None, Tensor, Tensor]:
    return None, unbroadcast(zero_unless(op.condition, g), op.x), unbroadcast(zero_where(op.condition, g),
                                                                              op.y)


_MASK = np.array([[True, False, True], [False, False, True]])
where_v2 = OpDef(
    "where_v2", "condition x y", infer=_where_v2_type, grad=_select_grad, lower=pointwise(E.select),
    numpy=np.where,
    mixed=True, tf_name="SelectV2",
    samples=(Sample((_MASK, (2, 3), (2, 3))), Sample((_MASK, (3,), ())), Sample((_MASK[0], (2, 3), (1,))),
             Sample((np.array(True), (2,), (2,))), Sample((np.zeros((0, 3), bool), (0, 3), ())),
             Sample((_MASK, np.float32(np.inf), (3,)), smooth=False)))


def _where_type(op: Operation) -> TensorType:
    _check_branches(op)
    dims = equal_dims(op, [op.x, op.y])
    mask = op.condition.type.dims
    if mask is None or dims is None:
        return TensorType(op.x.dtype, dims)
    if len(mask) == 1 and len(dims) > 1:
        equal_dims(op, [(mask[0],), (dims[0],)])
    elif mask:
        dims = equal_dims(op, [mask, dims])
    return TensorType(op.x.dtype, dims)


def _where(op: Operation) -> Tensor:
    """A condition of rank 1 chooses rows."""
    rank, dims = op.out.type.rank or 0, op.condition.type.known_dims
    rows = len(dims) == 1 and rank > 1
    condition = REGISTRY["reshape"](op.condition, shape=(*dims, *(1,) * (rank - 1))) if rows else op.condition
    result: Tensor = where_v2(condition, op.x, op.y)
    return result


def _where_numpy(condition: Any, x: Any, y: Any) -> Any:
    return np.where(condition.reshape(condition.shape + (1,) * (x.ndim - condition.ndim)), x, y)


def _where_grad(op: Operation, g: Tensor) -> tuple[None, Tensor, Tensor]:
    zero = REGISTRY["zeros_like"](g)
    return None, where(op.condition, g, zero), where(op.condition, zero, g)


where = OpDef(
    "where", "condition x y", infer=_where_type, grad=_where_grad, expand=_where,
    numpy=_where_numpy,
    mixed=True, tf_name="Select",
    samples=(Sample((_MASK, (2, 3), (2, 3))), Sample((_MASK[0], (3, 4), (3, 4))),
             Sample((_MASK[0], (3,), (3,))),
             Sample((np.array(True), (2, 2), (2, 2))), Sample((np.zeros((0, 3), bool), (0, 3), (0, 3)))))
