"""Groups of operations that share a kernel, while `fuse` forms them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from graphflow.compiler import flags
from graphflow.compiler.ir.dims import Atom, Dim, atoms_of, axis, single_atom, substitute
from graphflow.compiler.ir.dtypes import float32, float64
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.expr import Index
from graphflow.compiler.loops.forms import Part, Reduction
from graphflow.compiler.records import record

MOST_WORK = 400       # scalar operations in one kernel; larger ones spill registers and compile slowly
MOST_MEMBERS = 200
MOST_REPEATED = 12    # scalar operations repeated in iterations of an axis they do not depend on
MOST_SIBLINGS = 24    # tensors written by one kernel


@dataclass(eq=False)
class Group:
    """Operations that share one kernel.

    axes     loop indices, the one whose neighbours are neighbours in memory last
    home     the axes over the elements of the tensor that the group was made for
    inner    the axes that reductions in the group run over, once there is one
    members  tensor -> the index, in terms of axes, at which an iteration computes it
    needs    member -> the members that its expression uses
    reads    tensors that must be in memory for it
    sources  what it reads of other kernels, as far as those are known
    blocks   the axis that is cut into blocks, and their length, where there are block sums
    merged   the group it has become part of, with that group's indices for its own axes
    """

    rank: int
    axes: list[Dim] = field(default_factory=list)
    home: list[Dim] = field(default_factory=list)
    inner: list[Dim] | None = None
    members: dict[Tensor, Index] = field(default_factory=dict)
    needs: dict[Tensor, list[Tensor]] = field(default_factory=dict)
    work: int = 0
    repeated: int = 0
    kind: str = "loop"
    reads: list[Tensor] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    blocks: tuple[Dim, int] | None = None
    merged: tuple[Group, dict[Atom, Dim]] | None = None

    @property
    def outer(self) -> list[Dim]:
        inner = self.inner or []
        return [a for a in self.axes if a not in inner]

    def reduced_indices(self, form: Reduction, op: Operation) -> list[Dim]:
        """The inner axes as indices of a reduction's reduced axes; 0 for those of extent 1."""
        left = iter(self.inner or [])
        dims = op.operands[0].type.known_dims
        return [0 if dims[k] == 1 else next(left) for k in form.axes(op)]

    def new_axis(self, extent: Dim) -> Dim:
        return 0 if extent == 1 else axis(f"i{len(self.axes)}", extent)

    def leaves_out(self, at: Index) -> list[Dim]:
        """The axes, but for those of reductions, over which the value at an index does not change."""
        return [a for a in self.outer if a not in at]

    def repeats(self, at: Index) -> bool:
        """Whether loops compute a value again: an axis that its index leaves out is outside of one it has."""
        order = [*self.outer, *(self.inner or [])]
        used = {single_atom(d) for d in order} & {a for d in at for a in atoms_of(d)}
        inside = max((k for k, d in enumerate(order) if single_atom(d) in used), default=-1)
        return any(single_atom(d) not in used for d in order[:inside])

    def takes_product(self, at: Index, op: Operation) -> bool:
        """Whether a matrix product may run these loops: all, over all its elements, in their order."""
        return (covers(at, op.out) and op.out.dtype in (float32, float64) and not flags.use_blas()
                and self.kind == "loop" and self.inner is None and self.blocks is None
                and 0 not in op.out.type.known_dims
                and [a for a in at if a != 0] == self.axes)

    def spans(self, at: Index) -> bool:
        """Whether an index uses every axis."""
        return all(a in at for a in self.axes)

    def has_room(self, work: int) -> bool:
        return self.work + work <= MOST_WORK and len(self.members) < MOST_MEMBERS


@record
class Request:
    """A group that wants a tensor at an index, for one of its members."""

    group: Group
    at: Index
    in_memory: bool
    consumer: Tensor

    def resolved(self) -> Request:
        """The same request, by the group that this one's has become part of."""
        found = self
        while found.group.merged is not None:
            group, axes = found.group.merged
            found = replace(found, group=group, at=tuple(substitute(d, axes) for d in found.at))
        return found


@record
class Source:
    """A tensor made in another group, and the request for it; None where it must be in memory."""

    tensor: Tensor
    group: Group
    request: Request | None


@dataclass
class Grouping:
    """The result: groups in the order in which they run.

    stored   tensors that need memory, because another kernel or the caller reads them
    aliases  tensor -> the tensor whose memory it shares, element for element
    parts    tensor -> the part of a joined tensor's memory that it is stored in
    settled  an input that is the same in every run -> the outermost graph's input that it is; None where
             nothing is held between runs
    """

    graph: Graph
    groups: list[Group]
    stored: set[Tensor]
    aliases: dict[Tensor, Tensor]
    parts: dict[Tensor, Part]
    settled: dict[Tensor, Tensor] | None = None

    @property
    def results(self) -> set[Tensor]:
        """The memory that is read when all kernels are done."""
        graph = self.graph
        return {self.memory_of(t) for t in (*graph.outputs, *graph.updates.values(), *graph.kept)}

    def memory_of(self, t: Tensor) -> Tensor:
        """The tensor whose memory holds the elements of t."""
        while t in self.aliases:
            t = self.aliases[t]
        return t


def current(group: Group) -> Group:
    """The group that a group has become part of."""
    while group.merged is not None:
        group = group.merged[0]
    return group


def merge(low: Group, high: Group, axes: dict[Atom, Dim]) -> list[Tensor]:
    """Make the members of one group part of another, `axes` being the other's indices for its own.

    Gives the tensors that went from one to the other through memory.
    """
    inside = [s for s in low.sources if current(s.group) is high]
    for t, at in low.members.items():
        high.members[t] = tuple(substitute(d, axes) for d in at)
    high.needs.update(low.needs)
    high.blocks = high.blocks or _moved(low.blocks, axes)
    high.work += low.work
    high.repeated += low.repeated
    for s in inside:
        assert s.request is not None
        high.needs[s.request.consumer].append(s.tensor)
    high.sources += [s for s in low.sources if s not in inside]
    high.reads += low.reads
    if high.inner is None and low.inner is not None:
        high.inner = [substitute(a, axes) for a in low.inner]
    low.merged = high, axes
    return [s.tensor for s in inside]


def common_axes(low: Group, high: Group, low_at: Index, high_at: Index) -> dict[Atom, Dim] | None:
    """The indices of `high` for the axes of `low`, when the two can share their loops; else None.

    Each must visit every element of a tensor once, by all of its axes, at the given indices of it.
    """
    if low.kind != "loop" or high.kind != "loop":
        return None
    if not (low.spans(low_at) and high.spans(high_at)):
        return None
    if not high.has_room(low.work) or len(low.members) + len(high.members) > MOST_MEMBERS:
        return None
    axes = {a: h for d, h in zip(low_at, high_at, strict=True) if (a := single_atom(d)) is not None}
    if low.inner is not None:
        inner = [substitute(a, axes) for a in low.inner]
        if high.inner is not None and inner != high.inner:
            return None
    return axes if _blocks_fit(low, high, axes) and _is_ready(low, high, axes) else None


def _is_ready(low: Group, high: Group, axes: dict[Atom, Dim]) -> bool:
    """Whether all that `low` reads is made before `high` runs, or by `high` in the same iteration.

    No cycle can arise then.
    """
    for s in low.sources:
        group = current(s.group)
        if group is high:
            if s.request is None or s.request.in_memory:
                return False
            at = tuple(substitute(d, axes) for d in s.request.resolved().at)
            if at != high.members[s.tensor]:
                return False
        elif group.rank <= high.rank:
            return False
    return True


def _moved(blocks: tuple[Dim, int] | None, axes: dict[Atom, Dim]) -> tuple[Dim, int] | None:
    """Blocks of one group in terms of another's axes."""
    return blocks and (substitute(blocks[0], axes), blocks[1])


def _blocks_fit(low: Group, high: Group, axes: dict[Atom, Dim]) -> bool:
    """Whether the axis of block sums, if there are any, stays the outermost, and for all the same."""
    cut = {b for b in (high.blocks, _moved(low.blocks, axes)) if b is not None}
    if not cut:
        return True
    inner = [substitute(a, axes) for a in low.inner or []] + (high.inner or [])
    outer = [a for a in high.axes if a not in inner]
    return len(cut) == 1 and outer[:1] == [next(iter(cut))[0]]


def covers(at: Index, t: Tensor) -> bool:
    """Whether an index, over the axes that it has, visits every element of a tensor exactly once."""
    seen: set[Atom] = set()
    for d, i in zip(t.type.known_dims, at, strict=True):
        a = single_atom(i)
        if d == 1 and i == 0:
            continue
        if a is None or a.kind != "axis" or a in seen or a.payload[0] != d:
            return False
        seen.add(a)
    return True
