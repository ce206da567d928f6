"""What a program moves, computes and holds for given shapes, and how close it comes to the machine's best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from graphflow.compiler import flags
from graphflow.compiler.codegen.entry import timed_module
from graphflow.compiler.codegen.frame import time_slots
from graphflow.compiler.codegen.limits import tick_counter
from graphflow.compiler.ir.dims import evaluate
from graphflow.compiler.loops.traffic import traffic
from graphflow.compiler.placement import alive_by_launch
from graphflow.compiler.program import Call, Program
from graphflow.compiler.records import record
from graphflow.runtime.jit import compile_ir
from graphflow.runtime.machine import limits, measured_again, ticks_per_second
from graphflow.runtime.pages import Array
from graphflow.runtime.plan import Compiled, Plan, is_in_parts
from graphflow.runtime.threads import machine_name

RUNS = 10


@record
class KernelFigures:
    """One launch of a kernel.

    source    where the user made the last of the operations that it fuses
    launches  how often it ran in one run, and `seconds` for all of these: the best of several runs
    share     of what the machine attains at most: memory traffic or arithmetic, whichever is more. The latter
              is that of float32: dot products of halves and of 8-bit integers may do more than 100 % of it
    Units:    bytes (each element that is touched once), operations (additions of one number; a multiply-add
              is two), seconds. What was not measured is None.
    """

    function: str
    kind: str
    fused: str
    ops: int
    source: str
    extents: tuple[int, ...]
    bytes_read: int
    bytes_written: int
    operations: int
    threads: int
    launches: int = 1
    seconds: float | None = None
    share: float | None = None


@record
class Holder:
    """A tensor in memory: its operation, where the user made it, bytes, first and last launch that use it."""

    name: str
    source: str
    size: int
    first: int
    last: int


def kernel_figures(plan: Plan) -> list[KernelFigures]:
    """Figures of each launch, without running it."""
    return [_figures(plan, c) for c in plan.program.calls]


def _figures(plan: Plan, c: Call) -> KernelFigures:
    buffers = [plan.program.buffers[k] for k in c.buffers]
    integers = {a: evaluate(d, plan.values) for a, d in c.integers.items()}
    found = traffic(c.nest, [plan.sizes[k] // b.dtype.size for k, b in zip(c.buffers, buffers, strict=True)],
                    integers)
    read, written = (sum(n * b.dtype.size for n, b in zip(counts, buffers, strict=True))
                     for counts in (found.reads, found.writes))
    extents = tuple(evaluate(d, plan.values) for d in c.extents)
    shared = c.nest.calls_blas or is_in_parts(c, plan.values, plan.threads)
    return KernelFigures(c.function, c.kind, c.fused, c.ops, c.source, extents, read, written,
                         found.operations, plan.threads if shared else 1)


def peak_holders(plan: Plan) -> tuple[int, list[Holder]]:
    """The launch with the most bytes alive in the arena, and what these are, the largest first."""
    arena = [(b, size) for b, size in zip(plan.program.buffers, plan.sizes, strict=True) if b.role == "arena"]
    alive = alive_by_launch([size for _, size in arena], [(b.first, b.last) for b, _ in arena])
    peak = int(np.argmax(alive)) if alive else 0
    held = [Holder(b.name, b.source, size, b.first, b.last) for b, size in arena if b.first <= peak <= b.last]
    return peak, sorted(held, key=lambda h: -h.size)


def held_values(plan: Plan) -> list[Holder]:
    """What is computed once and held between runs, the largest first; for a packed matrix, the matrix."""
    last = len(plan.program.calls) - 1
    held = [Holder(b.name, b.source, size, 0, last)
            for b, size in zip(plan.program.buffers, plan.sizes, strict=True) if b.role == "held"]
    return sorted(held, key=lambda h: -h.size)


class Measuring:
    """Measures plans of one program, which is compiled for that once."""

    def __init__(self, program: Program) -> None:
        self.rate = ticks_per_second() if flags.use_jit() else 0
        self.native = self.rate and compile_ir(timed_module(program, tick_counter(machine_name())),
                                               program.entry)

    def __call__(self, plan: Plan, arrays: Sequence[Array]) -> tuple[list[KernelFigures], float | None]:
        """The figures with times, and the seconds of a whole run; the variables are as before afterwards.

        Without native code (GRAPHFLOW_JIT=0) nothing is measured.
        """
        figures = kernel_figures(plan)
        if not self.native:
            return figures, None
        times, launches = _times(plan, self.native, arrays)
        seconds = times / self.rate
        found = [replace(f, seconds=float(s), launches=int(n))
                 for f, s, n in zip(figures, seconds.min(0), launches, strict=True)]
        return with_shares(found), float(seconds.sum(1).min())


def _times(plan: Plan, native: Compiled, arrays: Sequence[Array]) -> tuple[Array, Array]:
    """Ticks by run and launch; and how often each launch ran in a run."""
    program = plan.program
    timed = Plan(program, native, plan.values, plan.store, lambda: (0, 0, 0, 0), plan.threads,
                 plan.setup)
    slot, start = timed.new_slot(), time_slots(program.calls, program.steps, program.copies)
    assert len(slot.frame) == start, "the times come after all else in the frame"
    slot.frame = np.concatenate([slot.frame, np.zeros(2 * len(program.calls), np.int64)])
    timed.free.append(slot)
    found = np.zeros((RUNS, len(program.calls)))
    with plan.store.restored(program.writes):
        for run in range(-1, RUNS):  # before the first that counts, one that touches the memory
            slot.frame[start:] = 0
            timed.run(arrays)
            found[max(run, 0)] = slot.frame[start::2]
    return found, slot.frame[start + 1::2]


def with_shares(figures: Sequence[KernelFigures]) -> list[KernelFigures]:
    """With the share of each; limits that one exceeds were too low, and are measured again."""
    found = [_attained(f) for f in figures]
    exceeded = {f.threads for f in found if f.share is not None and f.share > 1}
    for threads in exceeded:
        measured_again(threads)
    return [_attained(f) for f in found] if exceeded else found


def _attained(f: KernelFigures) -> KernelFigures:
    if not f.seconds:
        return f
    most = limits(f.threads)
    size = f.bytes_read + f.bytes_written
    traffic_share = size * f.launches / f.seconds / most.bandwidth(size)
    return replace(f, share=max(traffic_share, f.operations * f.launches / f.seconds / most.flops))
