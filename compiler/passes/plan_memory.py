"""plan_memory: which buffer each tensor lives in, and during which launches."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphflow.compiler.ir.dims import Dim, atoms_of, product
from graphflow.compiler.ir.explain import location
from graphflow.compiler.ir.graph import Graph
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.variable import VariableHandle
from graphflow.compiler.loops.nest import Loop, LoopNest, Product, Stmt, Store, loads, statements
from graphflow.compiler.ops.core import constant
from graphflow.compiler.passes.launch import Launch, Scratch
from graphflow.compiler.program import Buffer


@dataclass
class MemoryPlan:
    """buffers; the buffers of each launch's parameters; and (arena, state) pairs to copy at the end."""

    buffers: list[Buffer]
    arguments: list[tuple[int, ...]]
    copies: list[tuple[int, int]]
    constants: list[Tensor]


def plan_memory(graph: Graph, launches: Sequence[Launch]) -> MemoryPlan:
    """Give every tensor in memory a buffer; arena buffers know the first and last launch that touch them.

    A variable's new value is written straight to its memory when nothing reads the old value afterwards; else
    to the arena, and copied once all kernels are done.

    Example:  launch 0 writes a; launch 1 reads a, writes output 0
    -->       a: arena [0, 1]; output 0: the caller's array
    """
    plan = _Planner(graph, launches)
    return plan.run()


class _Planner:
    def __init__(self, graph: Graph, launches: Sequence[Launch]) -> None:
        self.graph = graph
        self.launches = launches
        self.plan = MemoryPlan([], [], [], [])
        self.where: dict[Tensor | Scratch, int] = {}
        self.outputs = {t: k for k, t in enumerate(graph.outputs)}
        self.updates = {t: v for v, t in graph.updates.items()}
        checked = [k for k, launch in enumerate(launches) if launch.nest.checks]
        self.last_check = max(checked, default=-1)
        self.states = {i.op.attrs["variable"]: i for i in graph.inputs if i.op.kind == "state"}
        self.users: dict[Tensor | Scratch, list[int]] = {}
        for k, launch in enumerate(launches):
            for a in launch.arguments:
                self.users.setdefault(a, []).append(k)

    def run(self) -> MemoryPlan:
        for k, t in enumerate(self.graph.inputs):
            self.where[t] = self._add(self._input_buffer(k, t))
        in_place = {t for t in self.updates if self._may_overwrite(t)}
        for k, launch in enumerate(self.launches):
            numbers = []
            for a in launch.arguments:
                if a not in self.where:
                    self.where[a] = self._add(_named(self._buffer(a, k, in_place), a, launch))
                number = self.where[a]
                self.plan.buffers[number] = replace(self.plan.buffers[number], last=k)
                numbers.append(number)
            self.plan.arguments.append(tuple(numbers))
        for t, v in self.updates.items():
            if t not in in_place:
                self._copy_at_end(t, v)
        return self.plan

    def _add(self, buffer: Buffer) -> int:
        self.plan.buffers.append(buffer)
        return len(self.plan.buffers) - 1

    def _input_buffer(self, k: int, t: Tensor) -> Buffer:
        op = t.op
        role = {"feed": "feed", "state": "state", "rng": "key"}[op.kind]
        return Buffer(role, t.dtype, t.type.size, k, op.attrs["variable"])

    def _buffer(self, t: Tensor | Scratch, launch: int, in_place: set[Tensor]) -> Buffer:
        if isinstance(t, Scratch):
            return Buffer("arena", t.dtype, t.size, first=launch)
        size: Dim = product(t.type.known_dims)
        if t in self.outputs:
            return Buffer("output", t.dtype, size, self.outputs[t])
        if t.op.opdef is constant:
            self.plan.constants.append(t)
            return Buffer("constant", t.dtype, size, len(self.plan.constants) - 1)
        if t in in_place:
            return Buffer("state", t.dtype, size, variable=self.updates[t])
        return Buffer("arena", t.dtype, size, first=launch)

    def _copy_at_end(self, t: Tensor, v: object) -> None:
        source = self.where[t]
        self.plan.buffers[source] = replace(self.plan.buffers[source], last=len(self.launches))
        target = self._add(Buffer("state", t.dtype, t.type.size, variable=self.updates[t]))
        self.plan.copies.append((source, target))

    def _may_overwrite(self, t: Tensor) -> bool:
        """Whether the kernel that makes `t` reads the variable last, each element before it is written."""
        old = self.states.get(self.updates[t])
        if old is None:
            return self.users[t][0] > self.last_check
        writer, readers = self.users[t][0], self.users.get(old, [])
        if writer <= self.last_check:
            return False  # a run that fails leaves the variables as they were
        if any(k > writer for k in readers):
            return False
        return writer not in readers or self._reads_before_writing(self.launches[writer], old, t)

    def _reads_before_writing(self, launch: Launch, old: Tensor, new: Tensor) -> bool:
        if launch.kind not in ("map", "reduce", "product", "scatter"):
            return False
        names = {a: p.name for a, p in zip(launch.arguments, launch.nest.params, strict=True)}
        safely = only_copied if launch.kind == "scatter" else overwrites_safely
        return safely(launch.nest, names[old], names[new])


def without_self_copies(launches: Sequence[Launch], plan: MemoryPlan) -> list[Launch]:
    """Drop the loops that copy a variable's old value to the new one, where both have the same memory."""
    result = []
    for launch, numbers in zip(launches, plan.arguments, strict=True):
        where = {p.name: plan.buffers[b].variable for p, b in zip(launch.nest.params, numbers, strict=True)}
        kept = tuple(s for s in launch.nest.body if not _copies_itself(s, where))
        result.append(launch if len(kept) == len(launch.nest.body)
                      else replace(launch, nest=replace(launch.nest, body=kept)))
    return result


def _copies_itself(s: Stmt, where: dict[str, VariableHandle | None]) -> bool:
    pair = _copied(s)
    return pair is not None and where[pair[0]] is not None and where[pair[0]] is where[pair[1]]


def _copied(s: Stmt) -> tuple[str, str] | None:
    """From which buffer to which a loop copies, if that is all it does."""
    if not isinstance(s, Loop) or len(s.body) != 1 or not isinstance(s.body[0], Store):
        return None
    store = s.body[0]
    plain = store.value.op == "load" and not store.value.args and not store.add
    return (store.value.attr[0], store.buffer) if plain and store.value.attr[1] == store.offset else None


def only_copied(nest: LoopNest, old: str, new: str) -> bool:
    """Whether a kernel reads `old` for nothing but to copy it to `new` first."""
    return bool(nest.body) and _copied(nest.body[0]) == (old, new) and _count_loads(nest.body, old) == 1


def _named(buffer: Buffer, of: Tensor | Scratch, launch: Launch) -> Buffer:
    if isinstance(of, Tensor):
        return replace(buffer, name=of.op.name, source=location(of))
    last = launch.members[-1]
    return replace(buffer, name=f"scratch of {last.op.name}", source=location(last))


@functools.lru_cache(maxsize=1024)  # updates of many variables are one nest
def overwrites_safely(nest: LoopNest, old: str, new: str) -> bool:
    """Whether a kernel may be given the same memory for `old` and `new`.

    It may if each element is read only where and before it is written, in the same loop body.
    """
    inside = list(statements(nest.body))
    if any(isinstance(s, Product) and (old in (s.a, s.b) or new == s.out) for s in inside):
        return False
    stores = [s for s in inside if isinstance(s, Store) and s.buffer == new]
    offsets = {s.offset for s in stores}
    if len(stores) != 1 or any(n.attr[1] not in offsets for n in loads(nest.body) if n.attr[0] == old):
        return False
    if not _stored_once(nest.body, stores[0]):
        return False
    bodies = [nest.body, *(s.body for s in inside if isinstance(s, (Loop, Product)))]
    body = next(b for b in bodies if stores[0] in b)
    return _count_loads(body[:body.index(stores[0])], old) == _count_loads(nest.body, old)


def _stored_once(body: tuple[Stmt, ...], store: Store) -> bool:
    """Whether each loop around a store moves it: else elements are written, and read, again and again."""
    return all(store not in statements(loop.body) or loop.axis in atoms_of(store.offset)
               for loop in statements(body) if isinstance(loop, Loop))


def _count_loads(body: tuple[Stmt, ...], buffer: str) -> int:
    return sum(n.attr[0] == buffer for n in loads(body))
