"""The gradient of a conditional: a conditional of the branches' gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.regions import inline
from graphflow.compiler.ir.registry import HOOKS, REGISTRY
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops.core import identity


def conditional_gradient(op: Operation, *outs: Tensor | None) -> list[Tensor | None]:
    """Zeros where the branch that runs does not use a captured tensor."""
    captured = op.operands[1:]
    used = [k for k, t in enumerate(captured) if t.dtype.is_floating]
    if not used:
        return [None] * len(op.operands)

    def branch(graph: Graph) -> Callable[[], list[Tensor]]:
        return lambda: _branch_gradients(graph, captured, used, outs)

    made = HOOKS["make_cond"](op.operands[0], branch(op.then), branch(op.otherwise), op.graph,
                              "gradient_cond")
    found = dict(zip(used, made.outputs, strict=True))
    return [None, *(found.get(k) for k in range(len(captured)))]


def _branch_gradients(graph: Graph, captured: Sequence[Tensor], used: Sequence[int],
                      outs: Sequence[Tensor | None]) -> list[Tensor]:
    given = [identity(t) for t in captured]
    results = inline(graph, given)
    pairs = [(y, g) for y, g in zip(results, outs, strict=True) if g is not None]
    grads = HOOKS["gradients"]([y for y, _ in pairs], [given[k] for k in used], [g for _, g in pairs],
                               stop=given)
    return [REGISTRY["zeros_like"](captured[k]) if g is None else g for k, g in zip(used, grads, strict=True)]
