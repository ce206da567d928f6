"""emit: launches, scheduled and placed in memory, become a Program with its LLVM IR."""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.entry import emit_entry, emit_module, slot_table
from graphflow.compiler.codegen.kernel import emit_kernel
from graphflow.compiler.ir.explain import location
from graphflow.compiler.ir.graph import Graph
from graphflow.compiler.loops.nest import LoopNest, deepest_extents, work_each
from graphflow.compiler.passes.launch import Launch
from graphflow.compiler.passes.plan_memory import MemoryPlan
from graphflow.compiler.passes.prune import Pruned
from graphflow.compiler.placement import place_arena
from graphflow.compiler.program import Buffer, Call, Program

ENTRY = "program"


def emit(pruned: Pruned, graph: Graph, plan: MemoryPlan, vector_bits: int, ops: int,
         dumps: Sequence[tuple[str, str]] = (), setup: Program | None = None) -> Program:
    """One function per different kernel, and the entry that calls them in order.

    Example:  two launches of equal structure on different buffers
    -->       define @k0 once; @program calls it twice
    """
    module = Module(vector_bits)
    names: dict[LoopNest, str] = {}
    texts: list[str] = []
    checks: list[str] = []
    calls: list[Call] = []
    for launch, buffers in zip(plan.launches, plan.arguments, strict=True):
        nest = launch.nest
        if nest not in names:
            names[nest] = f"k{len(names)}"
            texts.append(emit_kernel(nest, names[nest], module))
        calls.append(_call(launch, names[nest], buffers, len(checks)))
        checks += nest.checks
    entry = emit_entry(ENTRY, plan.buffers, calls, plan.steps, plan.copies)
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


def _arena(buffers: Sequence[Buffer]) -> tuple[tuple[int, ...], int] | None:
    sizes = [b.size * b.dtype.size for b in buffers]
    known = [size for size in sizes if isinstance(size, int)]
    return place_arena(buffers, known) if len(known) == len(sizes) else None


def _call(launch: Launch, function: str, buffers: tuple[int, ...], check: int) -> Call:
    nest = launch.nest
    names = ", ".join(dict.fromkeys(t.op.opdef.name for t in launch.members))
    extents = () if launch.kind == "while" else deepest_extents(nest.body)  # of a while known as it runs
    return Call(function, nest, buffers, launch.symbols, check, names, len(launch.members), launch.kind,
                extents, work_each(nest.body), location(launch.members[-1]))


def describe_buffers(buffers: Sequence[Buffer]) -> str:
    """One line per buffer, for the debug output."""
    def life(b: Buffer) -> str:
        return f" live {b.first}-{b.last}" if b.role == "arena" else ""

    return "\n".join(f"  b{k}: {b.role} {b.dtype.code}[{b.size}]{life(b)}" for k, b in enumerate(buffers))
