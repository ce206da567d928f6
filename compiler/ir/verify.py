"""What must hold of every graph between passes."""

from __future__ import annotations

from graphflow.compiler.ir.dims import Poly
from graphflow.compiler.ir.graph import Graph
from graphflow.compiler.ir.tensor import Tensor


def verify(graph: Graph, when: str = "") -> None:
    """Raise AssertionError unless operands come first, types are decided, and roots are in the graph."""
    seen: set[Tensor] = set()
    for op in graph.operations:
        assert op.graph is graph, f"{when}: {op.name} belongs to another graph"
        for t in op.operands:
            assert t in seen, f"{when}: {op.name} ({op.opdef.name}) uses {t.name} before it is made"
        for t in op.outputs:
            dims = t.type.dims
            assert dims is not None and all(isinstance(d, (int, Poly)) for d in dims), \
                f"{when}: {op.name} ({op.opdef.name}) has the undecided type {t.type}"
        seen.update(op.outputs)
    for t in (*graph.inputs, *graph.outputs, *graph.updates.values()):
        assert t in seen, f"{when}: {t.name} is not in the graph"
