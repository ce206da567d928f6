"""hoist: what constants and unwritten variables alone decide is computed once, and held between runs.

It becomes a program of its own, the setup, from variables to the values that are held. The runtime runs it
before the first run, and again when one of its variables was written.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.rewrite import ancestors, live_operations, rebuild
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.forms import Form, Indexed, Pointwise, Reduction
from graphflow.compiler.ops.core import cast, constant, program_input
from graphflow.compiler.ops.joining import pad
from graphflow.compiler.ops.shapes import reshape, transpose
from graphflow.compiler.passes.fold import has_symbols
from graphflow.compiler.passes.launch import Panels
from graphflow.compiler.records import record

MOST_GROWTH = 4     # what is held, against what it is made of: as from uint8 to float32
LEAST_WORK = 4096   # additions; less is not worth a program


@record
class Hoisted:
    """A graph cut in two.

    graph    what each run computes; the held values are inputs, after those of the graph before
    origins  the tensors of the graph before that its inputs stand for
    """

    graph: Graph
    origins: tuple[Tensor, ...]

    def setup(self, inputs: Sequence[Tensor], held: Sequence[Tensor | Panels]) -> Graph:
        """The graph that computes held values, given the inputs of `graph`, which passes may have copied."""
        origin = dict(zip(inputs, self.origins, strict=True))
        sources = [h.matrix if isinstance(h, Panels) else h for h in held]
        roots = [origin.get(t, t) for t in sources]
        new = Graph(self.graph.rules)
        mapping: dict[Tensor, Tensor] = {}
        for op in ancestors(roots):
            types = tuple(t.type for t in op.outputs)
            copy = new.append_copy(op, tuple(mapping[t] for t in op.operands), types=types)
            mapping.update(zip(op.outputs, copy.outputs, strict=True))
            new.inputs += copy.outputs if op.opdef is program_input else ()
        with new.as_default():
            new.outputs = [in_panels(mapping[t], h) if isinstance(h, Panels) else mapping[t]
                           for t, h in zip(roots, held, strict=True)]
        return new


def hoist(graph: Graph) -> Hoisted:
    """Take out of the graph what is the same in every run, and worth holding.

    Example:  %0 = rsqrt(variance) ; %1 = mul(x, %0)      variance being a variable that is not written
    -->       %1 = mul(x, held)                           setup: held = rsqrt(variance)
    """
    wanted = _worth_holding(graph)
    if not wanted:
        return Hoisted(graph, tuple(graph.inputs))
    origins, held = list(graph.inputs), list[Tensor]()

    def rule(new: Graph, op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
        if not op.outputs or op.out not in wanted:
            return None
        t: Tensor = program_input(kind="held", label=op.name, type=op.out.type, name=op.name)
        held.append(t)
        origins.append(op.out)
        return t

    main = rebuild(graph, rule)
    main.inputs += held
    return Hoisted(main, tuple(origins))


def settled_inputs(graph: Graph) -> dict[Tensor, Tensor]:
    """The inputs that are the same in every run, each as what it is itself."""
    return {t: t for t in graph.inputs if t.op.kind == "held" or _is_unwritten(t.op, graph)}


def in_panels(t: Tensor, p: Panels) -> Tensor:
    """[matrix, panel, group of k, column, k of a group], with zeros beyond the last column."""
    outside, none, units = (0, p.count * p.columns - p.n), (0, 0), p.k // p.group
    t.graph.origin = t.op
    if t.dtype is not p.dtype:
        t = cast(t, dtype=p.dtype)
    result: Tensor
    if p.transposed:
        t = pad(reshape(t, shape=(p.matrices, p.n, p.k)), paddings=(none, outside, none))
        apart = reshape(t, shape=(p.matrices, p.count, p.columns, units, p.group))
        result = transpose(apart, perm=(0, 1, 3, 2, 4))
    else:
        t = pad(reshape(t, shape=(p.matrices, p.k, p.n)), paddings=(none, none, outside))
        apart = reshape(t, shape=(p.matrices, units, p.group, p.count, p.columns))
        result = transpose(apart, perm=(0, 3, 1, 4, 2))
    return result


# What is worth it

def _worth_holding(graph: Graph) -> set[Tensor]:
    """Settled tensors that others are computed from.

    No views that a kernel reads through for nothing, nothing much larger than what it is made of, and all of
    it only if it is not little work.
    """
    sources = _settled(graph)
    seen: set[tuple[Tensor, bool]] = set()
    found: set[Tensor] = set()
    wants = [(t, not _reads_elements(op)) for op in live_operations(graph) for t in op.operands
             if t in sources and sources.keys().isdisjoint(op.outputs)]
    while wants:
        t, in_memory = want = wants.pop()
        if want in seen or t.op.opdef in (constant, program_input):
            continue
        seen.add(want)
        form: Form = t.op.opdef.lower
        if (not form.alias and (in_memory or not form.cheap)
                and _size(t) * t.dtype.size <= MOST_GROWTH * sources[t]):
            found.add(t)
        else:
            wants += [(o, in_memory and form.alias) for o in t.op.operands]
    return found if _work(found) >= LEAST_WORK else set()


def _settled(graph: Graph) -> dict[Tensor, int]:
    """What is the same in every run -> the bytes of the constants and variables that it is made of."""
    found: dict[Tensor, int] = {}
    for op in graph.operations:
        if op.opdef is constant:
            found[op.out] = op.value.array.nbytes
        elif _is_steady(op) and op.operands and all(t in found for t in op.operands):
            found[op.out] = sum(found[t] for t in set(op.operands))
        elif _is_unwritten(op, graph) and op.out.type.is_static:
            found[op.out] = _size(op.out) * op.out.dtype.size
    return found


def _is_unwritten(op: Operation, graph: Graph) -> bool:
    """Whether an operation is the value of a variable that the program does not write."""
    return op.opdef is program_input and op.kind == "state" and op.variable not in graph.updates


def _is_steady(op: Operation) -> bool:
    """Whether an operation gives the same for the same operands, and never fails."""
    d = op.opdef
    return (isinstance(d.lower, Form) and not (d.effect or d.fails or has_symbols(op))
            and len(op.outputs) == 1 and op.out.type.is_static)


def _reads_elements(op: Operation) -> bool:
    """Whether it can read an operand through a view, and needs none of it in memory."""
    return isinstance(op.opdef.lower, (Pointwise, Indexed, Reduction))


def _work(found: set[Tensor]) -> int:
    made = [op for op in ancestors(found) if op.opdef not in (constant, program_input)]
    return sum(_size(op.out) * max(op.opdef.lower.work(op), 1) for op in made)


def _size(t: Tensor) -> int:
    size = t.type.size
    assert isinstance(size, int)
    return size
