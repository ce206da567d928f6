"""emit: launches, scheduled and placed in memory, become a Program with its LLVM IR."""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.entry import emit_entry, emit_module, slot_table
from graphflow.compiler.codegen.kernel import emit_kernel
from graphflow.compiler.codegen.shared import shared_loops
from graphflow.compiler.ir.dims import Dim, substitute
from graphflow.compiler.ir.explain import location
from graphflow.compiler.ir.graph import Graph
from graphflow.compiler.loops.nest import LoopNest, deepest_extents, work_each
from graphflow.compiler.passes.launch import Launch
from graphflow.compiler.passes.plan_memory import MemoryPlan
from graphflow.compiler.passes.prune import Pruned
from graphflow.compiler.placement import place_arena
from graphflow.compiler.program import Buffer, Call, Program
from graphflow.compiler.records import record

ENTRY = "program"


def emit(pruned: Pruned, graph: Graph, plan: MemoryPlan, vector_bits: int, ops: int,
         dumps: Sequence[tuple[str, str]] = (), setup: Program | None = None) -> Program:
    """One function per different kernel, and the entry that calls them in order.

    Example:  two launches of equal structure on different buffers
    -->       define @k0 once; @program calls it twice
    """
    module = Module(vector_bits, shared_loops(dict.fromkeys(launch.nest for launch in plan.launches)))
    kernels: dict[LoopNest, _Kernel] = {}
    functions: dict[str, str] = {}
    checks: list[str] = []
    calls: list[Call] = []
    for launch, buffers in zip(plan.launches, plan.arguments, strict=True):
        nest = launch.nest
        kernel = kernels.get(nest)
        if kernel is None:
            name = _function(nest, module, functions)
            kernel = kernels[nest] = _Kernel(name, deepest_extents(nest.body), work_each(nest.body))
        calls.append(_call(launch, kernel, buffers, len(checks)))
        checks += nest.checks
    entry = emit_entry(ENTRY, plan.buffers, calls, plan.steps, plan.copies)
    texts = [body.replace("@(", f"@{name}(", 1) for body, name in functions.items()]
    table = slot_table(plan.buffers, calls, plan.steps, plan.copies)
    inputs = graph.inputs
    return Program(
        ir=emit_module(module, texts, f"{table}\n{entry}".lstrip()), entry=ENTRY,
        feeds=tuple(t.type for t in inputs if t.op.kind == "feed"),
        outputs=tuple(t.type for t in graph.outputs),
        buffers=tuple(plan.buffers), calls=tuple(calls), steps=plan.steps, copies=tuple(plan.copies),
        constants=tuple(t.op.value.array for t in plan.constants),
        reads=tuple(t.op.variable for t in inputs if t.op.kind == "state"), writes=tuple(graph.updates),
        symbols=pruned.symbols, guards=tuple(pruned.guards), required=pruned.required,
        checks=tuple(checks), uses_key=any(t.op.kind == "rng" for t in inputs), alone=pruned.alone,
        ops=ops,
        arena=_arena(plan.buffers), setup=setup, dumps=tuple(dumps))


def _function(nest: LoopNest, module: Module, functions: dict[str, str]) -> str:
    """The name of a nest's function, one for all of equal text: loops cut into parts are told their ends."""
    name = f"k{len(functions)}"
    return functions.setdefault(emit_kernel(nest, name, module).replace(f"@{name}(", "@(", 1), name)


def _arena(buffers: Sequence[Buffer]) -> tuple[tuple[int, ...], int] | None:
    sizes = [b.size * b.dtype.size for b in buffers]
    known = [size for size in sizes if isinstance(size, int)]
    return place_arena(buffers, known) if len(known) == len(sizes) else None


@record
class _Kernel:
    """A nest's function, and what is said of it in each of its calls."""

    name: str
    extents: tuple[Dim, ...]
    work: int


def _call(launch: Launch, kernel: _Kernel, buffers: tuple[int, ...], check: int) -> Call:
    names = ", ".join(dict.fromkeys(t.op.opdef.name for t in launch.members))
    given = dict(zip(launch.nest.symbols, launch.symbols, strict=True))
    known = kernel.extents if launch.kind != "while" else ()  # of a while known as it runs
    extents = tuple(substitute(d, given) for d in known)
    return Call(kernel.name, launch.nest, buffers, launch.symbols, check, names, len(launch.members),
                launch.kind, extents, kernel.work, location(launch.members[-1]))


def describe_buffers(buffers: Sequence[Buffer]) -> str:
    """One line per buffer, for the debug output."""
    def life(b: Buffer) -> str:
        return f" live {b.first}-{b.last}" if b.role == "arena" else ""

    return "\n".join(f"  b{k}: {b.role} {b.dtype.code}[{b.size}]{life(b)}" for k, b in enumerate(buffers))
