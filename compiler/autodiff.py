"""Symbolic gradients: reverse mode over the graph, built from the ops' own gradient rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphflow.compiler.errors import DTypeError, GraphError, ShapeError
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.registry import HOOKS, REGISTRY
from graphflow.compiler.ir.tensor import Tensor

Sums = dict[Tensor, list[Tensor]]


def gradients(ys: Sequence[Tensor], xs: Sequence[Tensor], grad_ys: Sequence[Any] | None = None,
              stop: Sequence[Tensor] = ()) -> list[Tensor | None]:
    """The derivative of sum(ys) with respect to each of `xs`; None for one that ys do not depend on.

    Formula:  gx = sum over y of  grad_y * dy/dx, grad_y being ones where it is not given
    Shapes:   as xs
    `stop` tensors are taken for constants. Cost: one gradient rule for each operation between xs and ys.
    """
    between = _operations_between(ys, xs, stop)
    sums: Sums = {}
    for k, y in enumerate(ys):
        given = None if grad_ys is None else grad_ys[k]
        sums.setdefault(y, []).append(_seed(y, given))
    targets = set(xs)
    blocked = set(stop)
    found: dict[Tensor, Tensor] = {}
    for op in reversed(between):
        outs = [_total(sums.pop(t, [])) for t in op.outputs]
        for t, g in zip(op.outputs, outs, strict=True):
            if t in targets and g is not None:
                found[t] = g
        if any(g is not None for g in outs) and not blocked.issuperset(op.outputs):
            _propagate(op, outs, sums)
    return [found[x] if x in found else _total(sums.get(x, [])) for x in xs]


def _operations_between(ys: Sequence[Tensor], xs: Sequence[Tensor],
                        stop: Sequence[Tensor]) -> list[Operation]:
    """Operations that depend on an x and that a y depends on, in creation order; those of the xs included."""
    blocked = set(stop)
    above: set[Operation] = set()
    stack = [y.op for y in ys]
    while stack:
        op = stack.pop()
        if op not in above:
            above.add(op)
            stack.extend(t.op for t in op.operands if t not in blocked)
    asked = set(xs)  # an x that is stopped as well still has a gradient: the partial derivative
    reached = {x.op for x in xs}
    order = sorted(above, key=lambda op: op.id)
    for op in order:
        if op not in reached and any(t in asked or (t.op in reached and t not in blocked)
                                     for t in op.operands):
            reached.add(op)
    return [op for op in order if op in reached]


def _seed(y: Tensor, given: Any) -> Tensor:
    if not y.dtype.is_floating:
        raise DTypeError(f"gradients of {y.name} are not defined: it is {y.dtype.name}, "
                         f"made at {y.op.source[0]}:{y.op.source[1]}\n"
                         f"hint: tf.cast(y, tf.float32) makes a float of it")
    if given is None:
        result: Tensor = REGISTRY["ones_like"](y)
        return result
    g = as_tensor(given, y.dtype, for_op="gradients")
    if not g.shape.is_compatible_with(y.shape):
        raise ShapeError(f"grad_ys: the gradient given for {y.name} is {g.type}, but {y.type} is needed")
    return g


def _total(parts: list[Tensor]) -> Tensor | None:
    if not parts:
        return None
    result: Tensor = parts[0] if len(parts) == 1 else REGISTRY["add_n"](*parts)
    return result


def _propagate(op: Operation, outs: list[Tensor | None], sums: Sums) -> None:
    """Add the gradients of one operation's operands to `sums`."""
    if not op.operands or op.opdef.effect:
        return
    rule = op.opdef.grad
    if rule is None:
        if op.outputs[0].dtype.is_floating and any(t.dtype.is_floating for t in op.operands):
            raise GraphError(f"op {op.opdef.name!r} has no gradient (operation {op.name!r}, "
                             f"made at {op.source[0]}:{op.source[1]})\n"
                             f"hint: tf.stop_gradient around it ends the search there")
        return
    filled = outs if op.opdef.partial else [
        REGISTRY["zeros_like"](t) if g is None else g for g, t in zip(outs, op.outputs, strict=True)]
    grads = rule(op, *filled)
    grads = grads if isinstance(grads, (tuple, list)) else (grads,)
    if len(grads) != len(op.operands):
        raise GraphError(f"the gradient rule of {op.opdef.name!r} gives {len(grads)} gradients for "
                         f"{len(op.operands)} operands")
    for t, g in zip(op.operands, grads, strict=True):
        if g is not None and t.dtype.is_floating:
            sums.setdefault(t, []).append(g)


HOOKS["gradients"] = gradients
