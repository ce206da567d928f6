"""How passes build a new graph from an old one, and orders of operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.tensor import Tensor

Rule = Callable[[Graph, Operation, "tuple[Tensor, ...]"], "Tensor | Sequence[Tensor] | None"]


def ancestors(outputs: Iterable[Tensor], stop: Iterable[Tensor] = (),
              targets: Iterable[Operation] = ()) -> list[Operation]:
    """What `outputs` and `targets` need, in creation order; nothing above a tensor in `stop`."""
    blocked = set(stop)
    found: set[Operation] = set()
    stack = [t.op for t in outputs if t not in blocked]
    stack.extend(targets)
    while stack:
        op = stack.pop()
        if op in found:
            continue
        found.add(op)
        needed = op.operands + op.dim_deps if op.dim_deps else op.operands
        stack += [t.op for t in needed if t not in blocked]
        stack += op.control_inputs
    return sorted(found, key=lambda op: op.id)


def rebuild(graph: Graph, rule: Rule) -> Graph:
    """A new graph, operation by operation, without those that nothing needs.

    `rule(new_graph, op, new_operands)` gives what stands for its outputs, or None to keep the operation.
    """
    new = Graph(graph.rules)
    mapping: dict[Tensor, Tensor] = {}
    with new.as_default():
        for op in live_operations(graph):
            operands = tuple(mapping[t] for t in op.operands)
            new.origin = op
            result = rule(new, op, operands)
            if result is None:
                result = new.append_copy(op, operands, types=tuple(t.type for t in op.outputs)).outputs
            mapping.update(zip(op.outputs, (result,) if isinstance(result, Tensor) else result, strict=True))
    new.origin = None
    connect(new, graph, mapping)
    return new


def everywhere(run_pass: Callable[[Graph], Graph], graph: Graph) -> Graph:
    """A pass on a graph and on the subgraphs of its operations, innermost first."""
    if not any(op.opdef.regions for op in graph.operations):
        return run_pass(graph)

    def rule(new: Graph, op: Operation, operands: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if not op.opdef.regions:
            return None
        inner = {key: everywhere(run_pass, op.attrs[key]) for key in op.opdef.regions}
        return new.append_copy(op, operands, op.attrs | inner, tuple(t.type for t in op.outputs)).outputs

    return run_pass(rebuild(graph, rule))


def connect(new: Graph, old: Graph, mapping: dict[Tensor, Tensor]) -> None:
    """Carry inputs, outputs and updates over to the new graph."""
    new.inputs = [mapping[t] for t in old.inputs]
    new.outputs = [mapping[t] for t in old.outputs]
    new.updates = {v: mapping[t] for v, t in old.updates.items()}
    new.kept = [mapping[t] for t in old.kept]


def live_operations(graph: Graph) -> list[Operation]:
    """What the outputs and updates need, what is kept, and all inputs, in order."""
    roots = [*graph.inputs, *graph.outputs, *graph.updates.values(), *graph.kept]
    return ancestors(roots)


def scratch_operation(graph: Graph, op: Operation, operands: tuple[Tensor, ...]) -> Operation:
    """The operation on new operands, outside of any graph: what an `expand` function reads from."""
    new = Operation(graph, op.opdef, operands, op.attrs, op.name, op.source)
    new.outputs = tuple(Tensor(new, i, t.type) for i, t in enumerate(op.outputs))
    return new
