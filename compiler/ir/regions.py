"""Subgraphs: operations made in a user's graph cut out as graphs of their own, and put back on new inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from graphflow.compiler.ir.dims import Poly, atom, atoms_of, substitute
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.registry import REGISTRY
from graphflow.compiler.ir.rewrite import ancestors
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.records import record

Mapped = dict[Tensor, Tensor]


def subgraphs(op: Operation) -> list[Graph]:
    """The graphs among an operation's attributes."""
    return [op.attrs[key] for key in op.opdef.regions]


def all_operations(graph: Graph) -> list[Operation]:
    """The operations of a graph and of all graphs within it."""
    found, graphs = [], [graph]
    while graphs:
        for op in graphs.pop().operations:
            found.append(op)
            graphs += subgraphs(op)
    return found


def effects_of(op: Operation) -> set[str]:
    """The effects of an operation and of what its subgraphs hold."""
    inner = (o for g in subgraphs(op) for o in all_operations(g))
    return {o.opdef.effect for o in (op, *inner)} - {"", "input"}


def writes_within(ops: Iterable[Operation]) -> list[Operation]:
    """The writes among these operations and those in their subgraphs."""
    inner = [o for op in ops for o in (op, *(i for g in subgraphs(op) for i in all_operations(g)))]
    return [o for o in inner if o.opdef.effect == "write"]


def variables_written(ops: Iterable[Operation]) -> list[Any]:
    """The handles of the variables that these operations, or those in their subgraphs, write."""
    return list(dict.fromkeys(o.attrs["variable"] for o in writes_within(ops)))


@record
class Cut:
    """Operations to be cut out of a graph.

    members   what belongs inside, in order
    captures  tensors from outside that they use
    controls  operations outside that must come before them
    """

    members: list[Operation]
    captures: list[Tensor]
    controls: list[Operation]


def cut_out(inputs: Sequence[Tensor], outputs: Sequence[Tensor], first: int,
            hoist: Callable[[Operation], bool] | None = None) -> Cut:
    """What `outputs` need of the operations with an id of `first` or more.

    What is computed from none of `inputs`, has no effect, and may leave by `hoist`, stays outside: it is the
    same each time. So do reads of variables that are not written inside.
    """
    entries = {t.op for t in inputs}
    near = [op for op in made_since(outputs, first) if op not in entries]
    written = variables_written(near)
    inside: set[Operation] = set()
    for op in near:
        stays_out = op.attrs["variable"] not in written if op.opdef.effect == "read" else \
            hoist and op.operands and not effects_of(op) & {"random", "write"} and hoist(op)
        if not stays_out or any(d in entries or d in inside for d in op.dependencies):
            inside.add(op)
    members = [op for op in near if op in inside]
    used = [t for op in members for t in (*op.operands, *op.dim_deps)]
    outside = [t for t in dict.fromkeys([*used, *outputs]) if t.op not in inside and t.op not in entries]
    before = dict.fromkeys(c for op in members for c in op.control_inputs if c.id < first)
    return Cut(members, outside, list(before))


def made_since(outputs: Sequence[Tensor], first: int) -> list[Operation]:
    """The ancestors of `outputs` with an id of `first` or more, in order."""
    found: set[Operation] = set()
    stack = [t.op for t in outputs]
    while stack:
        op = stack.pop()
        if op.id >= first and op not in found:
            found.add(op)
            stack.extend(op.dependencies)
    return sorted(found, key=lambda op: op.id)


def as_graph(cut: Cut, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Graph:
    """The part of a cut that `outputs` need, as a graph with `inputs` and the captures as its inputs."""
    graph = Graph(inputs[0].graph.rules if inputs else None)
    mapping: Mapped = {}
    for t in (*inputs, *cut.captures):
        new = _input(graph, t)
        mapping[t] = new
        graph.inputs.append(new)
    members = set(cut.members)
    needed = [op for op in made_since(outputs, 0 if not members else min(op.id for op in members))
              if op in members]
    copied: dict[Operation, Operation] = {}
    for op in needed:
        operands, attrs = tuple(mapping[t] for t in op.operands), mapped_attrs(op, mapping)
        new_op = graph.append_copy(op, operands, attrs, tuple(t.type for t in op.outputs))
        new_op.control_inputs = tuple(copied[c] for c in op.control_inputs if c in copied)
        copied[op] = new_op
        mapping.update(zip(op.outputs, new_op.outputs, strict=True))
    graph.outputs = [mapping[t] for t in outputs]
    return graph


def _input(graph: Graph, t: Tensor) -> Tensor:
    with graph.as_default():
        new: Tensor = REGISTRY["input"](kind="loop", label=t.op.name, type=t.type, name=t.op.name)
    return new


def inline(graph: Graph, values: Sequence[Tensor], target: Graph | None = None,
           known: Mapping[Tensor, Tensor] | None = None,
           outputs: Sequence[Tensor] | None = None) -> list[Tensor]:
    """Add what a subgraph computes to the graph of `values`, which take the place of its inputs.

    known    what takes the place of other tensors of the subgraph, which are then not computed
    outputs  what is to be given, if not the subgraph's outputs
    """
    outputs = graph.outputs if outputs is None else outputs
    mapping: Mapped = {**dict(zip(graph.inputs, values, strict=True)), **(known or {})}
    target = target or values[0].graph
    entries = {t.op for t in graph.inputs}
    for op in ancestors(outputs, stop=tuple(mapping)):
        if op in entries:
            continue
        operands, attrs = tuple(mapping[t] for t in op.operands), mapped_attrs(op, mapping)
        new = target.create(op.opdef, operands, attrs, op.name.rpartition("/")[2], op.source)
        for old, made in zip(op.outputs, new.outputs, strict=True):
            made.set_shape(old.shape)
            mapping[old] = made
    return [mapping[t] for t in outputs]


def mapped_attrs(op: Operation, mapping: Mapping[Tensor, Tensor]) -> dict[str, Any]:
    """The attributes with dims that refer to tensors referring to what stands for those."""
    if not op.dim_deps:
        return op.attrs
    return {k: _mapped(v, mapping) if k in op.opdef.dim_attrs else v for k, v in op.attrs.items()}


def _mapped(value: Any, mapping: Mapping[Tensor, Tensor]) -> Any:
    if isinstance(value, tuple):
        return tuple(_mapped(v, mapping) for v in value)
    if isinstance(value, Tensor):
        return mapping[value]
    if not isinstance(value, Poly):
        return value
    new = {}
    for a in atoms_of(value):
        if a.kind in ("dim", "elem"):
            t, k = mapping[a.payload[0]], a.payload[1]
            known = t.type.dims[k] if a.kind == "dim" and t.type.dims is not None else None
            new[a] = atom(a.kind, f"{a.kind}({t.name},{k})", t, k) if known is None else known
    return substitute(value, new)


