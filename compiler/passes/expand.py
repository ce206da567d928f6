"""expand and expand_late: composites become the ops they are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.rewrite import rebuild, scratch_operation
from graphflow.compiler.ir.tensor import Tensor

_DEEPEST = 20  # composites made of composites; more would be a record that expands to itself


def expand(graph: Graph) -> Graph:
    """Replace every op whose record has `expand`, but for `late` ones, until none is left.

    Example:  %1 = softmax(x)
    -->       %1 = reduce_max(x) ; %2 = sub(x, %1) ; %3 = exp(%2) ; %4 = reduce_sum(%3) ; %5 = truediv(%3, %4)
    """
    return _expand_where(graph, lambda op: is_composite(op) and not op.opdef.late)


def expand_late(graph: Graph) -> Graph:
    """Replace the `late` composites too, once the other graph passes have seen them whole.

    Example:  %1 = convolution(x, w)        w being 1x1 filters
    -->       %1 = reshape(x) ; %2 = reshape(w) ; %3 = matmul(%1, %2) ; %4 = reshape(%3)
    """
    return _expand_where(graph, is_composite)


def is_composite(op: Operation) -> bool:
    return op.opdef.expand is not None and not op.opdef.effect


def _expand_where(graph: Graph, wanted: Callable[[Operation], bool]) -> Graph:
    def one(graph: Graph, op: Operation, operands: tuple[Tensor, ...]) -> Tensor | Sequence[Tensor] | None:
        return _expand_one(graph, op, operands) if wanted(op) else None

    for _ in range(_DEEPEST):
        if not any(map(wanted, graph.operations)):
            return graph
        graph = rebuild(graph, one)
    names = {op.opdef.name for op in graph.operations if wanted(op)}
    raise AssertionError(f"the records of {', '.join(sorted(names))} expand without end")


def _expand_one(graph: Graph, op: Operation, operands: tuple[Tensor, ...]) -> Tensor | Sequence[Tensor]:
    assert op.opdef.expand is not None
    result: Tensor | Sequence[Tensor] = op.opdef.expand(scratch_operation(graph, op, operands))
    return result
