"""plan_memory: which buffer each tensor lives in, and during which launches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from graphflow.compiler.ir.dims import Dim, product
from graphflow.compiler.ir.explain import location
from graphflow.compiler.ir.graph import Graph
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.nest import Stmt
from graphflow.compiler.ops.control import while_loop
from graphflow.compiler.ops.core import constant, program_input
from graphflow.compiler.ops.rows import blank
from graphflow.compiler.passes.fuse import GIVEN
from graphflow.compiler.passes.launch import Launch, Panels, Place, Region, Scratch, Step
from graphflow.compiler.passes.timeline import Timeline, copied
from graphflow.compiler.program import Action, Branch, Buffer, Move, Repeat, Run


@dataclass
class MemoryPlan:
    """What lives where, and what the program does, step by step.

    arguments  the buffers of each launch's parameters
    copies     (arena, state) pairs to copy at the end
    held       what is made once and held between runs, by the index of its buffer
    """

    buffers: list[Buffer]
    arguments: list[tuple[int, ...]]
    copies: list[tuple[int, int]]
    constants: list[Tensor]
    held: list[Tensor | Panels] = field(default_factory=list)
    launches: list[Launch] = field(default_factory=list)
    steps: tuple[Action, ...] = ()


def plan_memory(graph: Graph, steps: Sequence[Step]) -> MemoryPlan:
    """Give every tensor in memory a buffer; arena buffers know the first and last moment of their use.

    A variable's new value is written straight to its memory when nothing reads the old value afterwards; else
    to the arena, and copied once all kernels are done. So it is with the variables of a loop, from iteration
    to iteration.

    Example:  launch 0 writes a; launch 1 reads a, writes output 0
    -->       a: arena [0, 1]; output 0: the caller's array
    """
    plan = _Planner(graph, Timeline(steps, [*graph.outputs, *graph.updates.values()]))
    return plan.run(steps)


class _Planner:
    def __init__(self, graph: Graph, timeline: Timeline) -> None:
        self.graph = graph
        self.time = timeline
        self.moments = iter(range(timeline.end))
        self.plan = MemoryPlan([], [], [], [])
        self.where: dict[Place, int] = {}
        self.outputs = {t: k for k, t in enumerate(graph.outputs)}
        self.updates = {t: v for v, t in graph.updates.items()}
        self.states = {i.op.attrs["variable"]: i for i in graph.inputs if i.op.kind == "state"}
        self.in_place = {t for t in self.updates if self._may_overwrite(t)}
        self.touched: list[set[int]] = [set()]  # per loop around the present step: the buffers it uses

    def run(self, steps: Sequence[Step]) -> MemoryPlan:
        for k, t in enumerate(self.graph.inputs):
            if t.op.kind != "held":
                self.where[t] = self._add(self._input_buffer(k, t))
        self.plan.steps = self._run(steps)
        for t in self.updates:
            if t not in self.in_place:
                self._copy_at_end(t)
        self.plan.buffers = [replace(b, first=self.time.launch(b.first, -1), last=self.time.launch(b.last, 0))
                             for b in self.plan.buffers]
        return self.plan

    # Steps

    def _run(self, steps: Sequence[Step]) -> tuple[Action, ...]:
        return tuple(a for step in steps
                     for a in (self._launch(step) if isinstance(step, Launch) else self._region(step)))

    def _launch(self, launch: Launch) -> list[Action]:
        now = next(self.moments)
        actions: list[Action] = []
        for old, new in launch.starts:
            if new not in self.where and new not in self.outputs and self._may_take(launch, old, now):
                self.where[new] = self._touch(old, now)
            actions += self._move(old, new, now)
        self.plan.arguments.append(tuple(self._touch(a, now, launch) for a in launch.arguments))
        self.plan.launches.append(launch)
        return [*actions, Run(len(self.plan.launches) - 1)]

    def _may_take(self, launch: Launch, old: Tensor, now: int) -> bool:
        """Whether a launch may write to the memory of a tensor that it starts from."""
        if old.op.opdef in GIVEN or not self.time.ends_at(old, now) or old in launch.arguments:
            return False
        alone = sum(t is old for t, _ in launch.starts) == 1
        return alone and self.plan.buffers[self._touch(old, now)].role == "arena"

    def _move(self, old: Tensor, new: Tensor, now: int) -> list[Action]:
        """What gives the memory of `new` the elements of `old`."""
        if old.op.opdef is blank:
            self._touch(new, now)
            return []
        source, target = self._touch(old, now), self._touch(new, now)
        return [] if source == target else [Move(source, target)]

    def _region(self, region: Region) -> list[Action]:
        start = next(self.moments)
        return self._loop(region, start) if region.op.opdef is while_loop else self._choice(region, start)

    def _loop(self, region: Region, start: int) -> list[Action]:
        """Initial values go to the loop's memory; the body's results go there too, at once or by a move."""
        count, (test, body) = region.op.count, region.blocks
        results = region.op.outputs
        actions = [a for old, new in zip(region.operands, results, strict=False)
                   for a in self._move(old, new, start)]
        self.touched.append(set())
        homes = [self._touch(t, start) for t in (*results, *region.operands[count:])]
        for block in (test, body):
            self.where.update(zip(block.inputs, homes, strict=True))
        for k in range(count):
            for t in self.time.written_in_place(body.outputs[k], body.inputs[k]):
                self.where[t] = homes[k]
        test_actions = self._run(test.steps)
        flag = self._touch(test.outputs[0], next(self.moments))
        body_actions = list(self._run(body.steps))
        now = next(self.moments)
        for t, result in zip(body.outputs, results, strict=True):
            body_actions += self._move(t, result, now)
        end = next(self.moments)
        self._keep_through(start, end)
        for t in results:
            self._touch(t, end)
        return [*actions, Repeat(test_actions, flag, tuple(body_actions))]

    def _keep_through(self, start: int, end: int) -> None:
        """What was there before a loop, and is used in it, stays until its end."""
        touched = self.touched.pop()
        self.touched[-1] |= touched
        for k in touched:
            b = self.plan.buffers[k]
            if b.first <= start:
                self.plan.buffers[k] = replace(b, last=max(b.last, end))

    def _choice(self, region: Region, start: int) -> list[Action]:
        """Each branch writes its results straight to those of the whole."""
        results = region.op.outputs
        flag = self._touch(region.operands[0], start)
        homes = [self._touch(t, start) for t in results]
        captured = [self._touch(t, start) for t in region.operands[1:]]
        branches = []
        for block in region.blocks:
            self.where.update(zip(block.inputs, captured, strict=True))
            self.where.update(zip(block.outputs, homes, strict=True))
            branches.append(self._run(block.steps))
            next(self.moments)
        end = next(self.moments)
        for t in (*region.operands, *results):
            self._touch(t, end)
        return [Branch(flag, branches[0], branches[1])]

    # Buffers

    def _touch(self, a: Place, now: int, launch: Launch | None = None) -> int:
        """The buffer of a tensor, made now if need be, which is in use at this moment."""
        if a not in self.where:
            home = self.time.shares.get(a) if isinstance(a, Tensor) else None
            self.where[a] = self._touch(home, now) if home is not None else self._add(
                _named(self._buffer(a, now), a, launch))
        number = self.where[a]
        b = self.plan.buffers[number]
        self.plan.buffers[number] = replace(b, last=max(now, b.last))
        self.touched[-1].add(number)
        return number

    def _add(self, buffer: Buffer) -> int:
        self.plan.buffers.append(buffer)
        return len(self.plan.buffers) - 1

    def _input_buffer(self, k: int, t: Tensor) -> Buffer:
        op = t.op
        role = {"feed": "feed", "state": "state", "rng": "key"}[op.kind]
        return Buffer(role, t.dtype, t.type.size, k, op.attrs["variable"])

    def _buffer(self, t: Place, now: int) -> Buffer:
        if isinstance(t, Scratch):
            return Buffer("arena", t.dtype, t.size, first=now)
        size: Dim = t.size if isinstance(t, Panels) else product(t.type.known_dims)
        if isinstance(t, Panels) or (t.op.opdef is program_input and t.op.kind == "held"):
            self.plan.held.append(t)
            return Buffer("held", t.dtype, size, len(self.plan.held) - 1)
        if t in self.outputs:
            return Buffer("output", t.dtype, size, self.outputs[t])
        if t.op.opdef is constant:
            self.plan.constants.append(t)
            return Buffer("constant", t.dtype, size, len(self.plan.constants) - 1)
        if t in self.in_place:
            return Buffer("state", t.dtype, size, variable=self.updates[t])
        return Buffer("arena", t.dtype, size, first=now)

    def _copy_at_end(self, t: Tensor) -> None:
        source = self.where[t]
        self.plan.buffers[source] = replace(self.plan.buffers[source], last=self.time.end)
        target = self._add(Buffer("state", t.dtype, t.type.size, variable=self.updates[t]))
        self.plan.copies.append((source, target))

    def _may_overwrite(self, t: Tensor) -> bool:
        """Whether the kernel that makes `t` reads the variable last, each element before it is written."""
        writer = self.time.uses[t][0]
        if writer <= self.time.last_check:
            return False  # a run that fails leaves the variables as they were
        old = self.states.get(self.updates[t])
        return old is None or self.time.may_replace(old, t)


def without_self_copies(plan: MemoryPlan) -> None:
    """Drop the loops that copy a variable's old value to the new one, where both have the same memory."""
    for k, (launch, numbers) in enumerate(zip(plan.launches, plan.arguments, strict=True)):
        where = {p.name: plan.buffers[b].variable or b
                 for p, b in zip(launch.nest.params, numbers, strict=True)}
        kept = tuple(s for s in launch.nest.body if not _copies_itself(s, where))
        if len(kept) < len(launch.nest.body):
            plan.launches[k] = replace(launch, nest=replace(launch.nest, body=kept))


def _copies_itself(s: Stmt, where: Mapping[str, object]) -> bool:
    pair = copied(s)
    return pair is not None and where[pair[0]] is where[pair[1]]


def _named(buffer: Buffer, of: Place, launch: Launch | None) -> Buffer:
    t = of.matrix if isinstance(of, Panels) else of
    if isinstance(t, Tensor):
        return replace(buffer, name=t.op.name, source=location(t))
    assert launch is not None
    last = launch.members[-1]
    return replace(buffer, name=f"scratch of {last.op.name}", source=location(last))
