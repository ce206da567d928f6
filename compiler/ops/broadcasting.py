"""Between shapes: unbroadcast sums a gradient back to the shape of the operand that was broadcast."""

from __future__ import annotations

from typing import Any

from graphflow.compiler.ir.explain import shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import OpDef
from graphflow.compiler.ir.registry import REGISTRY
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.ops.samples import shapes


def unbroadcast(g: Tensor, like: Tensor) -> Tensor:
    """Sum `g` over the axes along which an operand of the shape of `like` was broadcast."""
    a, b = g.type, like.type
    if a.is_static and a.dims == b.dims:
        return g
    result: Tensor = unbroadcast_op(g, like)
    return result


def _unbroadcast_type(op: Operation) -> TensorType:
    """The operand's type; dims that the operand was not broadcast along are those of g."""
    g, like = op.g.type.dims, op.like.type.dims
    if g is None or like is None:
        return TensorType(op.g.dtype, like)
    try:
        for a, b in zip(g[len(g) - len(like):], like, strict=True):
            op.graph.rules.broadcast(a, b)
    except ValueError:
        raise shape_error(op, "(C1): like does not broadcast to the shape of g") from None
    return TensorType(op.g.dtype, like)


def _sum_to_shape(g: Any, like: Any) -> Any:
    extra = g.ndim - like.ndim
    axes = tuple(range(extra)) + tuple(
        k for k in range(extra, g.ndim) if like.shape[k - extra] == 1 and g.shape[k] != 1)
    return g.sum(axis=axes).reshape(like.shape) if axes else g.reshape(like.shape)


def _expand(op: Operation) -> Tensor:
    """Once the dims are decided: nothing, or a sum and a reshape."""
    g, like = op.g.type.known_dims, op.like.type.known_dims
    extra = len(g) - len(like)
    axes = tuple(range(extra)) + tuple(k + extra for k, d in enumerate(like) if d == 1 and g[k + extra] != 1)
    result: Tensor = op.g
    if axes:
        result = REGISTRY["reduce_sum"](result, axis=axes, keepdims=False)
    if len(axes) > extra:
        result = REGISTRY["reshape"](result, shape=like)
    return result


def _broadcast_like(g: Tensor, like: Tensor) -> Tensor:
    shape = REGISTRY["shape"](like)
    result: Tensor = REGISTRY["broadcast_to"](g, shape=shape)
    return result


unbroadcast_op = OpDef(
    "unbroadcast", "g like", infer=_unbroadcast_type, mixed=True,
    numpy=_sum_to_shape, expand=_expand, grad=lambda op, g: (_broadcast_like(g, op.g), None),
    samples=shapes([(3, 4), (4,)], [(3, 4), (3, 1)], [(2, 3), ()], [(0, 4), (4,)], [(2, 3), (2, 3)]))
