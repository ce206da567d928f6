"""fuse: which operations are computed together in one kernel.

The walk goes from results to inputs. A producer joins the kernel of its consumers when they all ask for the
same element of it at each iteration; its value is then a scalar, and memory is written only for other kernels
that need it. Kernels carry a rank: one that feeds another has a strictly higher rank, so no cycle can arise,
and the check costs nothing however large the graph is.
"""

from __future__ import annotations

import itertools

from graphflow.compiler.ir.dims import Atom, Dim, atoms_of, extent_of
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.rewrite import connect
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.expr import Expr, Index, temp
from graphflow.compiler.loops.forms import (
    BlockSum,
    Contraction,
    Form,
    Join,
    Part,
    Pointwise,
    Reduction,
    Row,
    Scatter,
    Serial,
)
from graphflow.compiler.ops.core import constant, identity, program_input
from graphflow.compiler.ops.rows import blank
from graphflow.compiler.passes.group import (
    MOST_REPEATED,
    MOST_SIBLINGS,
    Group,
    Grouping,
    Request,
    Source,
    common_axes,
    covers,
    current,
    merge,
)

GIVEN = (program_input, constant, blank)  # what no kernel makes
MOST_AGAIN = 8  # additions that cost less than an access to memory
LARGE = 1 << 16  # elements: more than stay in the nearest cache
_ALONE = {Scatter: "scatter", Row: "row", Serial: "serial"}


def fuse(graph: Graph) -> Grouping:
    """Group operations into kernels.

    Example:  %1 = mul(x, 2.0) ; %2 = add(%1, 1.0) ; %3 = reduce_sum(%2)
    -->       one kernel over the elements of x, which writes %3 only
    """
    graph = separate_results(graph)
    found = _Fuser(graph, set()).run()
    repeated = cheaper_again(found)
    return _Fuser(graph, repeated).run() if repeated else found


def cheaper_again(grouping: Grouping) -> set[Tensor]:
    """Tensors to compute again where they are read, from one of their size that is in memory anyway.

    As many elements are read then, and none written.
    """
    work: dict[Tensor, int] = {}
    read = {t for op in grouping.graph.operations for t in op.operands}
    for op in grouping.graph.operations:
        form = op.opdef.lower
        if not isinstance(form, Pointwise) or op.out not in grouping.stored or op.out not in read:
            continue
        large = {t for t in op.operands if t.type.dims == op.out.type.dims}
        for t in large if len(large) == 1 else ():
            total = form.work(op) + work.get(t, 0)
            held = grouping.memory_of(t)
            if total <= MOST_AGAIN and t.dtype.size <= op.out.dtype.size and (
                    held in grouping.stored or held.op.opdef in GIVEN):
                work[op.out] = total
    return set(work)


def separate_results(graph: Graph) -> Graph:
    """Give each result memory of its own: copy what is an input, a constant, a view or a result twice."""
    new = Graph(graph.rules)
    mapping: dict[Tensor, Tensor] = {}
    for op in graph.operations:
        operands, types = tuple(mapping[t] for t in op.operands), tuple(t.type for t in op.outputs)
        if isinstance(op.opdef.lower, Join):
            operands = _separate_parts(new, op, operands)
        copy = new.append_copy(op, operands, types=types)
        mapping.update(zip(op.outputs, copy.outputs, strict=True))
    connect(new, graph, mapping)
    taken: set[Tensor] = set()

    def own(t: Tensor) -> Tensor:
        form = t.op.opdef.lower
        if t in taken or t.op.opdef in GIVEN or (form is not None and form.alias):
            new.origin = t.op
            result: Tensor = identity(t, name=f"{t.op.name}/copy")
            t = result
        taken.add(t)
        return t

    with new.as_default():
        new.updates = {v: own(identity(t) if t.op.opdef.regions else t) for v, t in new.updates.items()}
        new.outputs = [own(t) for t in new.outputs]
    return new


def _separate_parts(new: Graph, op: Operation, operands: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A copy of each operand, for nothing but its place in the result."""
    new.origin = op
    with new.as_default():
        return tuple(identity(t, name=f"{op.name}/part") for t in operands)


class _Fuser:
    def __init__(self, graph: Graph, repeated: set[Tensor]) -> None:
        self.graph = graph
        self.repeated = repeated
        self.wants: dict[Tensor, list[Request]] = {}
        self.buffer_rank: dict[Tensor, int] = dict.fromkeys(
            (*graph.outputs, *graph.updates.values(), *graph.kept), -1)
        self.readers: dict[Tensor, list[Group]] = {}
        self.outside: dict[Tensor, list[Request]] = {}  # of each tensor, the requests of other groups
        self.groups: list[Group] = []
        self.siblings: dict[tuple[object, ...], Group] = {}
        self.stored: set[Tensor] = set()
        self.aliases: dict[Tensor, Tensor] = {}
        self.parts: dict[Tensor, Part] = {}

    def run(self) -> Grouping:
        for op in reversed(self.graph.operations):
            if op.opdef in GIVEN:
                continue
            asked = {t: [r.resolved() for r in self.wants.pop(t, [])] for t in op.outputs}
            if any(asked.values()) or any(t in self.buffer_rank for t in op.outputs):
                self._place(op, asked)
        updates = set(self.graph.updates.values())  # last among equals: they may overwrite what others read
        groups = sorted((g for g in reversed(self.groups) if g.merged is None),
                        key=lambda g: (-g.rank, not updates.isdisjoint(g.members)))
        return Grouping(self.graph, groups, self.stored, self.aliases, self.parts)

    def _place(self, op: Operation, asked: dict[Tensor, list[Request]]) -> None:
        form = op.opdef.lower
        if op.opdef.regions:
            self._place_alone(op, "region", asked)
            return
        requests = asked[op.out]
        assert isinstance(form, Form), f"op {op.opdef.name!r} has neither lower nor expand"
        if isinstance(form, Join):
            self._place_parts(op, form, requests)
            return
        if (form.cheap or op.out in self.repeated) and self._inline_or_alias(op, form, requests):
            return
        kind = next((name for kind, name in _ALONE.items() if isinstance(form, kind)), None)
        if isinstance(form, Contraction):
            self._place_product(op, form, requests)
        elif kind is not None:
            self._place_alone(op, kind, asked)
        else:
            self._place_loop(op, form, requests)

    # Views

    def _inline_or_alias(self, op: Operation, form: Form, requests: list[Request]) -> bool:
        """Each kernel that reads a view computes it again; one that needs memory shares its operand's."""
        t = op.out
        needs_memory = t in self.buffer_rank or any(r.in_memory for r in requests)
        if form.alias and (needs_memory or not self._has_simple_indices(op, form, requests)):
            self.aliases[t] = op.operands[0]
            readers = [*self._readers(t), *(r.group for r in requests)]
            self._need_memory(op.operands[0], readers, self.buffer_rank.get(t, -1))
            return True
        if needs_memory:
            return False
        for r in requests:
            for k, at, in_memory in requested_elements(op, form, r.at):
                self._want(op.operands[k], Request(r.group, at, in_memory, r.consumer))
        return True

    def _has_simple_indices(self, op: Operation, form: Form, requests: list[Request]) -> bool:
        return all(_is_simple(d) for r in requests
                   for _, at, _ in requested_elements(op, form, r.at) for d in at)

    # Kernels

    def _place_parts(self, op: Operation, form: Join, requests: list[Request]) -> None:
        """The kernels that compute the operands write the result, before any that reads it."""
        readers = [*self._readers(op.out), *(r.group for r in requests)]
        self.stored.add(op.out)
        self.parts.update(zip(op.operands, form.parts(op), strict=True))
        for t in op.operands:
            self._need_memory(t, readers, self.buffer_rank.get(op.out, -1))

    def _place_alone(self, op: Operation, kind: str, asked: dict[Tensor, list[Request]]) -> None:
        """What reads and writes memory by itself: a matrix product, a row's store, a loop and the like."""
        group = Group(max(self._rank_above(t, requests) for t, requests in asked.items()), kind=kind)
        group.members.update(dict.fromkeys(op.outputs, ()))
        self.groups.append(group)
        self.stored.update(op.outputs)
        for t, requests in asked.items():
            self._comes_from(group, t, requests)
        for operand in op.operands:
            self._need_memory(operand, [group])

    def _place_product(self, op: Operation, form: Form, requests: list[Request]) -> None:
        """A product is computed with what follows it on its elements, in their order; else alone."""
        requests = self._merge_consumers(op.out, requests)
        group = self._joinable(op, form, requests, form.work(op))
        if group is not None and group.takes_product(self._asked(group, requests), op):
            self._enter(group, op, form, self._asked(group, requests), requests)
        else:
            self._place_alone(op, "product", {op.out: requests})

    def _place_loop(self, op: Operation, form: Form, requests: list[Request]) -> None:
        requests = self._merge_consumers(op.out, requests)
        group = self._joinable(op, form, requests, form.work(op))
        if group is not None:
            self._enter(group, op, form, self._asked(group, requests), requests)
        else:
            group, at = self._new_group(op, form, requests)
            self._enter(group, op, form, at, requests)

    def _asked(self, group: Group, requests: list[Request]) -> Index:
        return next(r.at for r in requests if r.group is group)

    def _enter(self, group: Group, op: Operation, form: Form, at: Index, requests: list[Request]) -> None:
        outside = [r for r in requests if r.group is not group]
        if outside or op.out in self.buffer_rank:
            self.stored.add(op.out)
        self._comes_from(group, op.out, outside)
        self._join(group, op, form, at)
        for r in requests:
            if r.group is group:
                group.needs[r.consumer].append(op.out)

    def _comes_from(self, group: Group, t: Tensor, outside: list[Request]) -> None:
        """Tell the groups that read `t` from memory where it is made."""
        self.outside[t] = outside
        for reader in self._readers(t):
            reader.sources.append(Source(t, group, None))
        for r in outside:
            r.group.sources.append(Source(t, group, r))

    def _readers(self, t: Tensor) -> list[Group]:
        return [current(g) for g in self.readers.get(t, ())]

    def _merge_consumers(self, t: Tensor, requests: list[Request]) -> list[Request]:
        """Let the groups that want a tensor share their loops, where each visits it once and none waits
        for another: it is then computed once, and need not go through memory.
        """
        high = max(requests, key=lambda r: r.group.rank, default=None)
        if high is None or not self._merges(high, t, requests):
            return requests
        for r in requests:
            low = r.group
            if low is high.group or low.merged is not None or not self._merges(r, t, requests):
                continue
            axes = common_axes(low, high.group, r.at, high.at)
            if axes is not None and len(self._written(low) + self._written(high.group)) <= MOST_SIBLINGS:
                self._merge(low, high.group, axes)
        return [r.resolved() for r in requests]

    def _merge(self, low: Group, high: Group, axes: dict[Atom, Dim]) -> None:
        for t in merge(low, high, axes):
            if t not in self.buffer_rank and all(r.resolved().group is high for r in self.outside[t]):
                self.stored.discard(t)
        for t in low.reads:
            self.buffer_rank[t] = max(self.buffer_rank[t], high.rank)

    def _merges(self, r: Request, t: Tensor, requests: list[Request]) -> bool:
        asked = [q for q in requests if q.group is r.group]
        return all(q.at == r.at and not q.in_memory for q in asked) and covers(r.at, t)

    def _rank_above(self, t: Tensor, requests: list[Request]) -> int:
        return max(self.buffer_rank.get(t, -1), *(r.group.rank for r in requests), -1) + 1

    def _joinable(self, op: Operation, form: Form, requests: list[Request], work: int) -> Group | None:
        """The consumers' group, when the operation can be computed in its iterations."""
        if not requests:
            return None
        group = max((r.group for r in requests), key=lambda g: g.rank)
        asked = {r.at for r in requests if r.group is group}
        others = [r for r in requests if r.group is not group]
        if any(r.group.rank >= group.rank for r in others) or self.buffer_rank.get(op.out, -1) >= group.rank:
            return None
        if group.kind == "product" and isinstance(form, (Contraction, Reduction)):
            return None
        if isinstance(form, BlockSum) or len(asked) != 1 or not group.has_room(work):
            return None
        if any(r.in_memory for r in requests if r.group is group):
            return None
        (at,) = asked
        if (others or op.out in self.buffer_rank) and not (
                covers(at, op.out) and not group.leaves_out(at)):
            return None  # its store must happen once, in whatever loops there are
        if group.repeats(at) and group.repeated + work > MOST_REPEATED:
            return None
        if isinstance(form, Reduction) and not (
                covers(at, op.out) and _fits_reduction(group, form, op, at)):
            return None
        return group

    def _new_group(self, op: Operation, form: Form, requests: list[Request]) -> tuple[Group, Index]:
        """The group of equal rank over the operation's elements if there is one with room, else a new one."""
        rank = self._rank_above(op.out, requests)
        dims = (op.operands[0] if isinstance(form, BlockSum) else op.out).type.known_dims
        reduced = (op.operands[0].type.known_dims, form.axes(op)) if isinstance(form, Reduction) else ()
        part = self.parts.get(op.out)
        key = (rank, dims, reduced, part.piece if part else 0)
        group = self.siblings.get(key)
        if group is None or group.merged is not None or not self._takes(group, form, op):
            group = Group(rank)
            self._make_axes(group, dims, form, op)
            self.groups.append(group)
            self.siblings[key] = group
        left = iter(group.home)
        return group, tuple(0 if d == 1 else next(left) for d in dims)

    def _takes(self, group: Group, form: Form, op: Operation) -> bool:
        """Whether one more tensor may be written by a group."""
        if isinstance(form, BlockSum) and (group.kind == "product" or group.outer[:1] != group.home[:1] or
                                           group.blocks not in (None, (group.home[0], op.length))):
            return False
        if form.cheap and isinstance(op.out.type.size, int) and op.out.type.size >= LARGE:
            return False  # what is only moved gains nothing from others, but takes their room in the cache
        return group.has_room(form.work(op)) and len(self._written(group)) < MOST_SIBLINGS

    def _written(self, group: Group) -> list[Tensor]:
        return [t for t in group.members if t in self.stored]

    def _make_axes(self, group: Group, dims: tuple[Dim, ...], form: Form, op: Operation) -> None:
        if isinstance(form, Reduction):
            axes = form.axes(op)
            group.inner = []
            for k, d in enumerate(op.operands[0].type.known_dims):
                if d != 1:
                    group.axes.append(group.new_axis(d))
                    if k in axes:
                        group.inner.append(group.axes[-1])
        else:
            for d in dims:
                if d != 1:
                    group.axes.append(group.new_axis(d))
        group.home = group.outer

    def _join(self, group: Group, op: Operation, form: Form, at: Index) -> None:
        group.members[op.out] = at
        group.needs[op.out] = []
        if isinstance(form, BlockSum):
            group.blocks = at[0], op.length
        work = form.work(op)
        group.work += work
        group.repeated += work if group.repeats(at) else 0
        if isinstance(form, Contraction):
            group.kind = "product"
            for operand in op.operands:
                self._need_memory(operand, [group])
            return
        if isinstance(form, Reduction):
            source = form.source_index(op, at, _inner_indices(group, form, op, at))
            group.axes.sort(key=lambda a: source.index(a) if a in source else -1)
            assert group.inner is not None
            group.inner.sort(key=group.axes.index)
            self._want(op.operands[0], Request(group, source, False, op.out))
            return
        for k, index, in_memory in requested_elements(op, form, at):
            self._want(op.operands[k], Request(group, index, in_memory, op.out))

    def _want(self, t: Tensor, request: Request) -> None:
        self.wants.setdefault(t, []).append(request)

    def _need_memory(self, t: Tensor, readers: list[Group], rank: int = -1) -> None:
        self.buffer_rank[t] = max(self.buffer_rank.get(t, -1), rank, *(g.rank for g in readers))
        self.readers.setdefault(t, []).extend(readers)
        for g in readers:
            g.reads.append(t)


def requested_elements(op: Operation, form: Form, at: Index) -> list[tuple[int, Index, bool]]:
    """Which operand elements the expression at an index reads: (operand, index, whether in memory).

    It must be there where a mask may forbid the read, and where the index is itself computed.
    """
    found: list[tuple[int, Index, bool]] = []
    names = itertools.count()

    def load(k: int, index: Index, mask: Expr | None = None) -> Expr:
        found.append((k, index, mask is not None or _has_computed_part(index)))
        return temp(f"operand{k}", op.operands[k].dtype)

    form.value(op, at, load, lambda value: temp(f"let{next(names)}", value.dtype))
    return found


def _has_computed_part(index: Index) -> bool:
    return any(a.kind == "value" for d in index for a in atoms_of(d))


def _fits_reduction(group: Group, form: Reduction, op: Operation, at: Index) -> bool:
    """Whether the axes of the group that `at` leaves out are those that the reduction runs over."""
    left = [a for a in group.axes if a not in at]
    if group.blocks is not None and next((i for i in at if i != 0), None) != group.blocks[0]:
        return False  # blocks are of the outermost axis
    extents = _reduced_extents(form, op)
    if group.inner is None:
        return not left or [extent_of(a) for a in left] == extents
    return left == group.inner and [extent_of(a) for a in left] == extents


def _reduced_extents(form: Reduction, op: Operation) -> list[Dim]:
    dims = op.operands[0].type.known_dims
    return [dims[k] for k in form.axes(op) if dims[k] != 1]


def _inner_indices(group: Group, form: Reduction, op: Operation, at: Index) -> list[Dim]:
    """The indices of a reduction's reduced axes; the group's inner axes are made now if this is its first."""
    if group.inner is None:
        group.inner = [a for a in group.axes if a not in at]
        if not group.inner:
            for d in _reduced_extents(form, op):
                group.inner.append(group.new_axis(d))
                group.axes.append(group.inner[-1])
    return group.reduced_indices(form, op)


def _is_simple(d: Dim) -> bool:
    """An index without division, which vector code can follow."""
    return not any(a.kind in ("floordiv", "mod") for a in atoms_of(d))
