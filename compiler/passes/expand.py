"""expand: composites become the ops they are made of."""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.rewrite import rebuild, scratch_operation
from graphflow.compiler.ir.tensor import Tensor

_DEEPEST = 20  # composites made of composites; more would be a record that expands to itself


def expand(graph: Graph) -> Graph:
    """Replace every op whose record has `expand`, until none is left.

    Example:  %1 = softmax(x)
    -->       %1 = reduce_max(x) ; %2 = sub(x, %1) ; %3 = exp(%2) ; %4 = reduce_sum(%3) ; %5 = truediv(%3, %4)
    """
    for _ in range(_DEEPEST):
        if not any(is_composite(op) for op in graph.operations):
            return graph
        graph = rebuild(graph, _expand_one)
    names = {op.opdef.name for op in graph.operations if is_composite(op)}
    raise AssertionError(f"the records of {', '.join(sorted(names))} expand without end")


def is_composite(op: Operation) -> bool:
    return op.opdef.expand is not None and not op.opdef.effect


def _expand_one(graph: Graph, op: Operation,
                operands: tuple[Tensor, ...]) -> Tensor | Sequence[Tensor] | None:
    if not is_composite(op):
        return None
    assert op.opdef.expand is not None
    result: Tensor | Sequence[Tensor] = op.opdef.expand(scratch_operation(graph, op, operands))
    return result
