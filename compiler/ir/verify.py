"""What must hold of every graph between passes."""

from __future__ import annotations

from graphflow.compiler.ir.dims import Poly
from graphflow.compiler.ir.graph import Graph, Operation
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
        for key in op.opdef.regions:
            _verify_region(op, op.attrs[key], f"{when}: {key} of {op.name}")
        seen.update(op.outputs)
    for t in (*graph.inputs, *graph.outputs, *graph.updates.values()):
        assert t in seen, f"{when}: {t.name} is not in the graph"


def _verify_region(op: Operation, graph: Graph, when: str) -> None:
    """A subgraph is sound and takes the operation's last operands."""
    verify(graph, when)
    given = op.operands[len(op.operands) - len(graph.inputs):]
    assert len(given) == len(graph.inputs), f"{when} has {len(graph.inputs)} inputs"
    for t, inner in zip(given, graph.inputs, strict=True):
        assert t.dtype is inner.dtype and t.type.rank == inner.type.rank, \
            f"{when} takes {inner.type} for {t.name}, which is {t.type}"
