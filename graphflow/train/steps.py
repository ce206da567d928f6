"""The global step, and learning rates that depend on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow.basics import name_scope
from graphflow.compiler.errors import GraphError
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.dtypes import int64
from graphflow.compiler.ir.graph import Graph, get_default_graph
from graphflow.compiler.ir.registry import REGISTRY
from graphflow.compiler.ir.tensor import Tensor
from graphflow.keys import GraphKeys
from graphflow.scopes import get_variable
from graphflow.variables import Variable


def create_global_step(graph: Graph | None = None) -> Variable:
    """Make the int64 variable "global_step"; GraphError when the graph has one."""
    graph = graph or get_default_graph()
    if get_global_step(graph) is not None:
        raise GraphError("the graph has a global step already: get_global_step() gives it")
    with graph.as_default(), graph.name_scope(None):
        return get_variable("global_step", dtype=int64, initializer=np.int64(0), trainable=False,
                            collections=[GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP])


def get_global_step(graph: Graph | None = None) -> Variable | None:
    """The global step of the graph, or None."""
    graph = graph or get_default_graph()
    found = graph.get_collection(GraphKeys.GLOBAL_STEP) or [
        v for v in graph.get_collection(GraphKeys.GLOBAL_VARIABLES) if v.name == "global_step:0"]
    return found[0] if found else None


def get_or_create_global_step(graph: Graph | None = None) -> Variable:
    """The global step of the graph, made when there is none."""
    found = get_global_step(graph)
    return create_global_step(graph) if found is None else found


def global_step(sess: Any, global_step_tensor: Any) -> int:
    """The number of steps made so far."""
    return int(sess.run(global_step_tensor))


# Schedules. step is the global step; all arithmetic is in the dtype of the learning rate.


def exponential_decay(learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any,
                      staircase: bool = False, name: str | None = None) -> Tensor:
    """learning_rate * decay_rate ^ (step / decay_steps), the quotient rounded down with `staircase`."""
    with name_scope(name, "ExponentialDecay", [learning_rate, global_step]):
        rate, step, steps, base = _floats(learning_rate, global_step, decay_steps, decay_rate)
        return rate * base ** _periods(step / steps, staircase)


def natural_exp_decay(learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any,
                      staircase: bool = False, name: str | None = None) -> Tensor:
    """learning_rate * exp(-decay_rate * step / decay_steps), the quotient rounded down with `staircase`."""
    with name_scope(name, "NaturalExpDecay", [learning_rate, global_step]):
        rate, step, steps, base = _floats(learning_rate, global_step, decay_steps, decay_rate)
        result: Tensor = rate * REGISTRY["exp"](-base * _periods(step / steps, staircase))
        return result


def inverse_time_decay(learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any,
                       staircase: bool = False, name: str | None = None) -> Tensor:
    """learning_rate / (1 + decay_rate * step / decay_steps), the quotient rounded down with `staircase`."""
    with name_scope(name, "InverseTimeDecay", [learning_rate, global_step]):
        rate, step, steps, base = _floats(learning_rate, global_step, decay_steps, decay_rate)
        return rate / (1 + base * _periods(step / steps, staircase))


def polynomial_decay(learning_rate: Any, global_step: Any, decay_steps: Any, end_learning_rate: Any = 0.0001,
                     power: Any = 1.0, cycle: bool = False, name: str | None = None) -> Tensor:
    """(learning_rate - end) * (1 - step/decay_steps)^power + end; after decay_steps it stays, or cycles."""
    with name_scope(name, "PolynomialDecay", [learning_rate, global_step]):
        rate, step, steps, end, p = _floats(learning_rate, global_step, decay_steps, end_learning_rate, power)
        if cycle:
            steps = steps * REGISTRY["maximum"](REGISTRY["ceil"](step / steps), 1.0)
        else:
            step = REGISTRY["minimum"](step, steps)
        return (rate - end) * (1 - step / steps) ** p + end


def cosine_decay(learning_rate: Any, global_step: Any, decay_steps: Any, alpha: float = 0.0,
                 name: str | None = None) -> Tensor:
    """learning_rate * ((1 - alpha) * (1 + cos(pi * step / decay_steps)) / 2 + alpha)."""
    with name_scope(name, "CosineDecay", [learning_rate, global_step]):
        rate, step, steps = _floats(learning_rate, global_step, decay_steps)
        wave = 0.5 * (1 + REGISTRY["cos"](math.pi * REGISTRY["minimum"](step, steps) / steps))
        result: Tensor = rate * ((1 - alpha) * wave + alpha)
        return result


def piecewise_constant(x: Any, boundaries: Sequence[Any], values: Sequence[Any],
                       name: str | None = None) -> Tensor:
    """values[0] while x <= boundaries[0], values[1] while x <= boundaries[1], ..., the last one beyond."""
    if len(boundaries) != len(values) - 1:
        raise ValueError(f"piecewise_constant: {len(boundaries)} boundaries need one value more, "
                         f"not {len(values)}")
    with name_scope(name, "PiecewiseConstant", [x]):
        step = as_tensor(x)
        result = as_tensor(values[-1])
        for bound, value in zip(reversed(boundaries), reversed(values[:-1]), strict=True):
            below = step <= as_tensor(bound, step.dtype)
            result = REGISTRY["where_v2"](below, as_tensor(value, result.dtype), result)
        return result


def _floats(learning_rate: Any, *others: Any) -> list[Tensor]:
    rate = as_tensor(learning_rate)
    return [rate, *[_as(v, rate) for v in others]]


def _as(value: Any, like: Tensor) -> Tensor:
    t = as_tensor(value)
    result: Tensor = t if t.dtype is like.dtype else REGISTRY["cast"](t, dtype=like.dtype)
    return result


def _periods(quotient: Tensor, staircase: bool) -> Tensor:
    result: Tensor = REGISTRY["floor"](quotient) if staircase else quotient
    return result
