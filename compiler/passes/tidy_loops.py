"""tidy_loops: what a loop or conditional carries and captures without need."""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.regions import inline, subgraphs
from graphflow.compiler.ir.rewrite import ancestors, rebuild
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.forms import Pointwise
from graphflow.compiler.ops.control import while_loop
from graphflow.compiler.ops.core import constant
from graphflow.compiler.ops.logic import where_v2
from graphflow.compiler.ops.rules import may_fail

_LITTLE_WORK = 40
_SMALL = 16  # elements: such a constant is cheaper to have inside than to pass


def tidy_loops(graph: Graph) -> Graph:
    """Move what does not change out of loops, constants into them, and drop what nothing uses.

    Example:  %1, %2, %3 = while_loop(0, x, y, ...) whose body gives (i + 1, x, y * x), and %3 alone is used
    -->       %1, %3 = while_loop(0, y, ..., x) with x captured
    A conditional of cheap scalars becomes a selection.
    """
    used = {t for op in graph.operations for t in op.operands} | {*graph.outputs, *graph.updates.values()}

    def rule(new: Graph, op: Operation, operands: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if not op.opdef.regions:
            return None
        if op.opdef is while_loop:
            return _tidy_while(new, op, operands, used)
        if _is_cheap(op):
            return _selected(op, operands)
        inner = [_Inner(g, list(g.outputs), list(range(len(g.inputs)))) for g in subgraphs(op)]
        kept, graphs = _tidy_captures(inner, operands, 1, 0)
        attrs = dict(op.attrs, **dict(zip(op.opdef.regions, graphs, strict=True)))
        return new.append_copy(op, (operands[0], *kept), attrs, tuple(t.type for t in op.outputs)).outputs

    if not any(op.opdef.regions for op in graph.operations):
        return graph
    return rebuild(graph, rule)


def _is_cheap(op: Operation) -> bool:
    """Whether both branches are a little arithmetic on scalars that cannot fail: to branch costs more."""
    inside = [o for g in subgraphs(op) for o in g.operations if o.opdef.effect != "input"]
    small = all(o.opdef is constant or (isinstance(o.opdef.lower, Pointwise) and o.out.type.size == 1
                                        and not may_fail(o)) for o in inside)
    return small and all(t.type.size == 1 for t in op.outputs) and \
        sum(o.opdef.lower.work(o) for o in inside if o.opdef is not constant) <= _LITTLE_WORK


def _selected(op: Operation, operands: tuple[Tensor, ...]) -> list[Tensor]:
    """Both branches, and a choice between their results."""
    pred, given = operands[0], operands[1:]
    pairs = zip(*(inline(g, given, pred.graph) for g in subgraphs(op)), strict=True)
    return [where_v2(pred, a, b) for a, b in pairs]


class _Inner:
    """A subgraph, the outputs wanted of it, and for each input the operand (by number) that it is."""

    def __init__(self, graph: Graph, outputs: list[Tensor], operands: list[int]) -> None:
        self.graph = graph
        self.outputs = outputs
        self.operands = operands


def _tidy_while(new: Graph, op: Operation, operands: tuple[Tensor, ...],
                used: set[Tensor]) -> Sequence[Tensor]:
    count, body = op.count, op.body
    still = [k for k in range(count) if body.outputs[k] is not body.inputs[k]]
    carried = _needed(op, still, used)
    order = [*carried, *(k for k in range(count) if k not in still), *range(count, len(operands))]
    inner = [_Inner(op.cond, list(op.cond.outputs), order),
             _Inner(body, [body.outputs[k] for k in carried], order)]
    kept, (test, step) = _tidy_captures(inner, operands, 0, len(carried))
    attrs = {"cond": test, "body": step, "count": len(carried), "history": False}
    if not carried:
        return operands[:count]  # nothing changes: it is over at once, or never
    made = new.append_copy(op, (*(operands[k] for k in carried), *kept), attrs,
                           tuple(operands[k].type for k in carried)).outputs
    results = dict(zip(carried, made, strict=True))
    return [results.get(k, operands[k]) for k in range(count)]


def _needed(op: Operation, still: Sequence[int], used: set[Tensor]) -> list[int]:
    """The variables that change and that the condition, or a result that is used, depends on."""
    body, number = op.body, {t: k for k, t in enumerate(op.body.inputs[:op.count])}
    roots = [op.cond.inputs.index(t) for t in _inputs_of([*op.cond.outputs, *op.cond.kept])]
    of_test = {*roots, *(body.inputs.index(t) for t in _inputs_of(body.kept))}
    left = [k for k in still if op.outputs[k] in used or k in of_test]
    found = set(left)
    while left:
        for t in _inputs_of([body.outputs[left.pop()]]):
            k = number.get(t, -1)
            if k in still and k not in found:
                found.add(k)
                left.append(k)
    return sorted(found)


def _inputs_of(outputs: Sequence[Tensor]) -> list[Tensor]:
    return [op.out for op in ancestors(outputs) if op.opdef.effect == "input"]


def _tidy_captures(inner: Sequence[_Inner], operands: Sequence[Tensor], skip: int,
                   count: int) -> tuple[list[Tensor], list[Graph]]:
    """Keep one capture of each tensor that some subgraph uses; small constants go inside."""
    wanted: dict[Tensor, None] = {}
    for part in inner:
        uses = set(_inputs_of([*part.outputs, *part.graph.kept]))
        for k in part.operands[count:]:
            t = operands[k + skip]
            if part.graph.inputs[k] in uses and not _goes_inside(t):
                wanted[t] = None
    kept = list(wanted)
    return kept, [_with_inputs(part, operands, skip, count, kept) for part in inner]


def _goes_inside(t: Tensor) -> bool:
    return t.op.opdef is constant and t.op.value.array.size <= _SMALL


def _with_inputs(part: _Inner, operands: Sequence[Tensor], skip: int, count: int,
                 kept: Sequence[Tensor]) -> Graph:
    """The subgraph with the first `count` inputs of its order, then one per kept capture."""
    old = part.graph
    new = Graph(old.rules)
    mapping: dict[Tensor, Tensor] = {}
    with new.as_default():
        first = [old.inputs[k] for k in part.operands[:count]]
        for t in first:
            mapping[t] = new.append_copy(t.op, ()).out
        new.inputs = [mapping[t] for t in first]
        of_capture: dict[Tensor, Tensor] = {}
        for k in part.operands[count:]:
            t, source = old.inputs[k], operands[k + skip]
            if source not in of_capture:
                of_capture[source] = new.append_copy(source.op if _goes_inside(source) else t.op, ()).out
            mapping[t] = of_capture[source]
        new.inputs += [of_capture[t] for t in kept]
        for op in ancestors([*part.outputs, *old.kept]):
            if op.opdef.effect != "input":
                made = new.append_copy(op, tuple(mapping[t] for t in op.operands),
                                       types=tuple(t.type for t in op.outputs))
                mapping.update(zip(op.outputs, made.outputs, strict=True))
    new.outputs = [mapping[t] for t in part.outputs]
    new.kept = [mapping[t] for t in old.kept]
    return new
