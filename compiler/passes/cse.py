"""cse: one operation for all that compute the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.rewrite import rebuild
from graphflow.compiler.ir.tensor import Tensor


def cse(graph: Graph) -> Graph:
    """Merge pure operations with equal record, operands and attributes.

    Example:  %1 = exp(x) ; %2 = exp(x) ; %3 = add(%1, %2)
    -->       %1 = exp(x) ; %3 = add(%1, %1)
    """
    known: dict[Any, Sequence[Tensor]] = {}

    def rule(new: Graph, op: Operation, operands: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if op.opdef.effect:
            return None
        key = (op.opdef.name, operands, tuple((k, exact_key(v)) for k, v in op.attrs.items()))
        found = known.get(key)
        if found is None:
            types = tuple(t.type for t in op.outputs)
            found = known[key] = new.append_copy(op, operands, types=types).outputs
        return found

    return rebuild(graph, rule)


def exact_key(value: Any) -> Any:
    """A key under which only the same value is equal: not 0.0 and -0.0, nor 1, 1.0 and True."""
    if isinstance(value, tuple):
        return tuple(map(exact_key, value))
    if isinstance(value, float):
        return value.hex()
    return type(value), value
