"""Loops and conditionals: operations whose attributes are graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphflow.compiler.errors import DTypeError, ShapeError
from graphflow.compiler.ir.dtypes import bool_, int32, uint32
from graphflow.compiler.ir.explain import dtype_error, location, shape_error
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef, Subgraph
from graphflow.compiler.ir.regions import as_graph, cut_out, made_since
from graphflow.compiler.ir.registry import HOOKS
from graphflow.compiler.ir.shape import TensorShape
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.ops.conditional_gradient import conditional_gradient
from graphflow.compiler.ops.core import program_input
from graphflow.compiler.ops.loop_gradient import loop_gradient
from graphflow.compiler.ops.rules import may_fail

# while_loop

def _while_types(op: Operation) -> tuple[TensorType, ...]:
    """The loop variables at the end. With `history` also a tensor with a row for each iteration of what the
    body gives besides, the same of the variables before the iterations and of the keys of their random
    numbers, and the number of iterations.
    """
    last = [t.type for t in op.body.inputs[:op.count]]
    if not op.history:
        return tuple(last)
    rows = [*(t.type for t in op.body.outputs[op.count:]), *last]
    rows.append(TensorType(uint32, (4,)))
    return (*last, *(TensorType(t.dtype, None if t.dims is None else (None, *t.dims)) for t in rows),
            TensorType(int32, ()))


def _while_numpy(*operands: Any, cond: Subgraph, body: Subgraph, count: int, history: bool,
                 replays: int | None = None) -> list[Any]:
    state, captured = list(operands[:count]), operands[count:]
    kept: list[list[Any]] = []
    while bool(cond(*state, *captured)[0]):
        before, state = state, body(*state, *captured)
        kept.append([*state[count:], *before])
        del state[count:]
    if not history:
        return state
    if not kept:  # dims that only an iteration would tell are taken for 0
        given = [np.zeros([d if isinstance(d, int) else 0 for d in t.dims or ()], t.dtype.numpy)
                 for t in body.types[count:]]
        return [*state, *(np.zeros((0, *r.shape), r.dtype) for r in (*given, *state)), _keys(0), np.int32(0)]
    return [*state, *map(_stacked, zip(*kept, strict=True)), _keys(len(kept)), np.int32(len(kept))]


def _keys(count: int) -> Any:
    """Those of no random numbers: what is evaluated has none that it draws itself."""
    return np.zeros((count, 4), np.uint32)


def _stacked(rows: Sequence[Any]) -> Any:
    if len({r.shape for r in rows}) > 1:
        return np.zeros((0, *rows[0].shape), rows[0].dtype)  # it changes its shape: no gradient can use it
    return np.stack(rows)


while_loop = OpDef(
    "while_loop", "*operands", infer=_while_types, grad=loop_gradient, numpy=_while_numpy, mixed=True,
    partial=True, attrs={"cond": REQUIRED, "body": REQUIRED, "count": REQUIRED, "history": True,
                         "replays": None},
    regions=("cond", "body"), tf_name="While",
    doc="Operands are `count` loop variables, then what cond and body use besides; both graphs take all. "
        "`replays` is the operand with the keys of another loop's random numbers, to be drawn again from the "
        "last to the first: variable 0 is the number of iterations left.")


def make_loop(cond: Callable[..., Any], body: Callable[..., Sequence[Tensor]], values: Sequence[Tensor],
              types: Sequence[TensorType], graph: Graph, name: str | None = None,
              replayed: Tensor | None = None) -> tuple[Tensor, ...]:
    """Add a loop to a graph: while cond(*values): values = body(*values). Gives the values at the end.

    types     of the loop variables inside; an unknown dim is one that the run decides
    replayed  the keys of random numbers to be drawn again, from the last to the first
    What the body gives besides is collected: the result has a tensor with a row for each iteration.
    Raises:  ShapeError, DTypeError when the body gives a variable of another type than it takes
    """
    first = len(graph.operations)
    with graph.as_default(), graph.region():
        inputs = [_entry(t, v) for t, v in zip(types, values, strict=True)]
        test = cond(*inputs)
        results = list(body(*inputs))
    for k, (before, after) in enumerate(zip(inputs, results, strict=False)):
        _check_variable(k, before, after)
    if test.dtype is not bool_ or test.type.rank not in (0, None):
        raise DTypeError(f"while_loop: cond must give a bool scalar, but {test.name} is {test.type}, "
                         f"made at {location(test)}")
    always = set(made_since([test], first))  # the condition is looked at even when there is no iteration
    cut = cut_out(inputs, [test, *results], first, hoist=lambda op: op in always or not may_fail(op))
    replays = None
    if replayed is not None:
        replays = len(values) + len(cut.captures)
        cut = replace(cut, captures=[*cut.captures, replayed])
    attrs = {"cond": as_graph(cut, inputs, [test]), "body": as_graph(cut, inputs, results),
             "count": len(values), "replays": replays}
    with graph.as_default(), graph.control_dependencies(cut.controls):
        op = while_loop.apply([*values, *cut.captures], name or "while", attrs)
    return op.outputs[:len(results)]


def _entry(type: TensorType, like: Tensor) -> Tensor:
    result: Tensor = program_input(kind="loop", label=like.name, type=type, name="loop_variable")
    return result


def _check_variable(k: int, before: Tensor, after: Tensor) -> None:
    if after.dtype is not before.dtype:
        raise DTypeError(f"while_loop: variable {k} enters the body as {before.dtype.name}, but the body "
                         f"gives {after.dtype.name}: {after.name}, made at {location(after)}\n"
                         f"hint: tf.cast(x, tf.{before.dtype.name}) converts it")
    if not TensorShape(before.type.dims).is_compatible_with(TensorShape(after.type.dims)):
        raise ShapeError(f"while_loop: variable {k} enters the body with shape {before.shape}, but has shape "
                         f"{after.shape} after one iteration: {after.name}, made at {location(after)}\n"
                         f"hint: shape_invariants= tells which dims may change; or write to a tensor (or "
                         f"tf.TensorArray) that is large enough from the start")


# cond

def _cond_types(op: Operation) -> tuple[TensorType, ...]:
    pred = op.operands[0]
    if pred.dtype is not bool_:
        raise dtype_error(op, f"(C1): the predicate {pred.name} is {pred.dtype.name}, not bool")
    if pred.type.rank not in (0, None):
        raise shape_error(op, f"(C2): the predicate must be a scalar, but it is {pred.type}")
    pairs = zip(op.then.outputs, op.otherwise.outputs, strict=True)
    return tuple(_common_type(op, k, a, b) for k, (a, b) in enumerate(pairs))


def _common_type(op: Operation, k: int, a: Tensor, b: Tensor) -> TensorType:
    if a.dtype is not b.dtype:
        raise dtype_error(op, f"(C3): result {k} is {a.dtype.name} in one branch, {b.dtype.name} in another")
    x, y = a.type.dims, b.type.dims
    try:
        return TensorType(a.dtype, op.graph.rules.common(x, y))
    except ValueError:
        raise shape_error(op, f"(C4): result {k} is {a.type} in one branch, {b.type} in the other",
                          "shapes may differ where all iterations of a loop choose alike") from None


def _cond_numpy(pred: Any, *captured: Any, then: Subgraph, otherwise: Subgraph) -> list[Any]:
    return (then if bool(pred) else otherwise)(*captured)


cond = OpDef(
    "cond", "*operands", infer=_cond_types, grad=conditional_gradient, numpy=_cond_numpy, mixed=True,
    partial=True, attrs={"then": REQUIRED, "otherwise": REQUIRED}, regions=("then", "otherwise"),
    tf_name="If", doc="Operand 0 chooses the graph that runs on the other operands.")


def make_cond(pred: Tensor, then: Callable[[], Sequence[Tensor]], otherwise: Callable[[], Sequence[Tensor]],
              graph: Graph, name: str | None = None) -> Operation:
    """Add a conditional to a graph: then() where `pred` holds, else otherwise(). Only one of them runs."""
    first = len(graph.operations)
    with graph.as_default(), graph.region():
        one, other = list(then()), list(otherwise())
    cut = cut_out([], [*one, *other], first)
    attrs = {"then": as_graph(cut, [], one), "otherwise": as_graph(cut, [], other)}
    with graph.as_default(), graph.control_dependencies(cut.controls):
        return cond.apply([pred, *cut.captures], name or "cond", attrs)


HOOKS["make_loop"], HOOKS["make_cond"] = make_loop, make_cond
