"""The compiler: from a fetch signature to a Program, pass by pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from graphflow.compiler import flags
from graphflow.compiler.ir.graph import Graph
from graphflow.compiler.ir.rewrite import ancestors, everywhere
from graphflow.compiler.ir.verify import verify
from graphflow.compiler.passes.check import Checker
from graphflow.compiler.passes.cse import cse
from graphflow.compiler.passes.emit import describe_buffers, emit
from graphflow.compiler.passes.expand import expand, expand_late
from graphflow.compiler.passes.fetch_ahead import fetch_ahead
from graphflow.compiler.passes.fold import fold
from graphflow.compiler.passes.fuse import fuse
from graphflow.compiler.passes.group import Grouping
from graphflow.compiler.passes.hoist import hoist, settled_inputs
from graphflow.compiler.passes.launch import Step, is_plain, launches_of, with_launches
from graphflow.compiler.passes.layout import layout
from graphflow.compiler.passes.lone_terms import lone_terms
from graphflow.compiler.passes.lower import kernels
from graphflow.compiler.passes.lower_dtypes import lower_dtypes
from graphflow.compiler.passes.order import order
from graphflow.compiler.passes.plan_memory import MemoryPlan, plan_memory, without_self_copies
from graphflow.compiler.passes.prune import Pruned, prune
from graphflow.compiler.passes.schedule import schedule
from graphflow.compiler.passes.share import share
from graphflow.compiler.passes.simplify import simplify
from graphflow.compiler.passes.sink_joins import sink_joins
from graphflow.compiler.passes.sparse import sparse
from graphflow.compiler.passes.split_reductions import split_reductions
from graphflow.compiler.passes.stream import stream
from graphflow.compiler.passes.tidy_loops import tidy_loops
from graphflow.compiler.program import Program
from graphflow.compiler.signature import Signature
from graphflow.compiler.target import Target

# Passes from Graph to Graph. What follows: hoist, fuse, lower, band, block, share, lone_terms, schedule,
# fetch_ahead, plan_memory, order, emit.
PIPELINE: tuple[Callable[[Graph], Graph], ...] = (
    lower_dtypes, expand, fold, simplify, layout, expand_late, cse, tidy_loops, lower_dtypes, fold, sparse,
    simplify, sink_joins, split_reductions, cse)


def compile_signature(signature: Signature, target: Target,
                      passed: Callable[[str], None] = lambda name: None) -> Program:
    """Compile what a Session asks for.

    target  the machine to compile for
    passed  called with the name of each pass when it is done, for timing
    Raises: prune.Undecided when dims must be pinned; our own errors for graphs that cannot be compiled
    """
    dumps = _Dumps()
    pruned, graph, checker = _pure_graph(signature, passed, dumps)
    hoisted = hoist(graph)
    if checker is not None:
        checker.check(hoisted.graph, "hoist", hoisted.origins)
    dumps.graph("hoist", hoisted.graph)
    grouping = fuse(hoisted.graph)
    grouping.settled = settled_inputs(grouping.graph)
    plan = _planned(grouping, target, passed)
    dumps.nests("nests", plan)
    setup = None
    if plan.held:
        graph = hoisted.setup(grouping.graph.inputs, plan.held)
        dumps.graph("taking out the setup", graph)
        setup = _compile_setup(graph, target, passed, dumps)
    program = emit(pruned, grouping.graph, plan, target.vector_bits, count_ops(signature), dumps.texts,
                   setup)
    passed("emit")
    return program


def _compile_setup(graph: Graph, target: Target, passed: Callable[[str], None], dumps: _Dumps) -> Program:
    grouping = fuse(graph)
    plan = _planned(grouping, target, passed)
    dumps.nests("nests of the setup", plan)
    return emit(Pruned(graph, {}, [], {}), grouping.graph, plan, target.vector_bits, 0)


def _planned(grouping: Grouping, target: Target, passed: Callable[[str], None]) -> MemoryPlan:
    """The kernels of all groups, in order, and where in memory their values are."""
    passed("fuse")
    steps = kernels(grouping, target)
    passed("lower")
    steps = _scheduled(steps, target)
    plan = plan_memory(grouping.graph, steps)
    if is_plain(steps):
        sequence = order(plan.launches, plan)
        if sequence != list(range(len(steps))):
            plan = plan_memory(grouping.graph, [steps[k] for k in sequence])
    without_self_copies(plan)
    passed("plan_memory")
    return plan


def check_shapes(signature: Signature) -> None:
    """Apply the shape rules of all operations that a signature needs, and of those that passes make.

    Raises:  ShapeError of the first rule that is broken; prune.Undecided
    """
    _pure_graph(signature, lambda name: None, _Dumps())


def _pure_graph(signature: Signature, passed: Callable[[str], None],
                dumps: _Dumps) -> tuple[Pruned, Graph, Checker | None]:
    """The signature as pruned, its graph after the graph passes, and what checks these if something does."""
    pruned = prune(signature)
    graph = pruned.graph
    verify(graph, "prune")
    checker = Checker(graph, pruned.symbols) if flags.check_passes() else None
    dumps.graph("prune", graph)
    passed("prune")
    for run_pass in PIPELINE:
        graph = everywhere(run_pass, graph)
        verify(graph, run_pass.__name__)
        if checker is not None:
            checker.check(graph, run_pass.__name__)
        dumps.graph(run_pass.__name__, graph)
        passed(run_pass.__name__)
    pruned.take_late_assumptions(graph)
    return pruned, graph, checker


def count_ops(signature: Signature) -> int:
    """How many operations of the user's graph the run needs, besides placeholders, constants and reads."""
    needed = ancestors(signature.fetches, signature.given, signature.targets)
    return sum(op.opdef.effect not in ("input", "read", "group") and op.opdef.name != "constant"
               for op in needed)


def _scheduled(steps: Sequence[Step], target: Target) -> list[Step]:
    launches = [stream(x, target) for x in share(launches_of(steps))]
    nests = {nest: fetch_ahead(schedule(lone_terms(nest), target.vector_bits), target)
             for nest in dict.fromkeys(x.nest for x in launches)}
    return with_launches(steps, (replace(x, nest=nests[x.nest]) for x in launches))


class _Dumps:
    """What the debug level asks to see of a compilation."""

    def __init__(self) -> None:
        self.level = flags.debug_level()
        self.texts: list[tuple[str, str]] = []

    def graph(self, pass_name: str, graph: Graph) -> None:
        if self.level >= 3:
            self.texts.append((f"after {pass_name}", str(graph)))

    def nests(self, name: str, plan: MemoryPlan) -> None:
        if self.level >= 4:
            nests = [str(launch.nest) for launch in plan.launches]
            self.texts.append((name, "\n".join([*nests, describe_buffers(plan.buffers)])))
