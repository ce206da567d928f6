"""images: kernels over the same images become one, which takes an image through all of them.

What goes from one to the next is then of one image for each thread, and stays in the cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from graphflow.compiler.ir.dims import Atom, Dim, axis, only_atom, product
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.expr import Index
from graphflow.compiler.loops.forms import Contraction, Piece
from graphflow.compiler.loops.nest import Loop, Stmt, loop_over
from graphflow.compiler.loops.substitute import renamed, under_own_names
from graphflow.compiler.passes.group import Group, Grouping, current
from graphflow.compiler.passes.joined import STAGES, rooms, traffic_saved, turns
from graphflow.compiler.passes.launch import Launch, Memory, Place
from graphflow.compiler.passes.lower_product import placed, stored, view_product
from graphflow.compiler.records import record
from graphflow.compiler.target import Target

LEAST_ROWS = 32  # of an image in a product: with fewer, each waits for the right side
ROUNDS = 4       # images for each thread from which on it hardly matters that some have one more


@record
class Run:
    """Groups that follow one another, over so many images; and what goes between them alone."""

    groups: tuple[Group, ...]
    images: int
    between: tuple[Tensor, ...]

    def pieces(self) -> list[list[Tensor]]:
        """What goes between, by the memory that it takes turns in."""
        made = [[t for t in g.members if t in self.between] for g in self.groups]
        last = {t: k for k, g in enumerate(self.groups) for t in (*g.members, *(s.tensor for s in g.sources))}
        return turns(made, last, lambda k, old, new: False)


def runs_of(grouping: Grouping, target: Target) -> list[Run]:
    """What to take image by image: where tensors that no cache holds go from group to group.

    Example:  for i < 8, h < 112: p1[i, h, :] = window sums of p0[i] ; p3[8*12544, 64] = p1[8*12544, 32] @ p2
    -->       for b < 8: (for h < 112: s[h, :] = window sums of p0[b] ; p3[b][12544, 64] = s[12544, 32] @ p2)
    """
    runs: list[Run] = []
    for groups, images in _alike(grouping):
        if images % target.threads == 0 or images >= ROUNDS * target.threads:
            runs += _worth_it(grouping, groups, images, target)
    return runs


def _alike(grouping: Grouping) -> Iterable[tuple[list[Group], int]]:
    """Groups that follow one another and go over the same images."""
    found: list[Group] = []
    images = 0
    for group in grouping.groups:
        count = _images_of(grouping, group)
        if found and (count != images or not _keeps_to_images(group, found) or len(found) == STAGES):
            yield found, images
            found = []
        if count:
            found.append(group)
            images = count
    yield found, images


def _worth_it(grouping: Grouping, groups: list[Group], images: int, target: Target) -> list[Run]:
    """The run of these groups, if it saves more traffic than reading right sides for each image costs."""
    inside = {id(g) for g in groups}
    outside = grouping.results
    for group in grouping.groups:
        if id(group) not in inside:
            outside.update(grouping.memory_of(t) for t in group.reads)
            outside.update(s.tensor for s in group.sources)
    made = [t for g in groups for t in g.members if t in grouping.stored]
    between = tuple(t for t in made if t not in outside and t not in grouping.parts)
    sizes = [size * t.dtype.size for t in between if isinstance(size := t.type.size, int)]
    right = [_bytes_of_right(t) for g in groups if (t := _product_of(g)) is not None]
    pays = bool(right) and traffic_saved(sizes, right, images, target) > 0
    return [Run(tuple(groups), images, between)] if pays else []


def _bytes_of_right(t: Tensor) -> int:
    size = t.op.operands[1].type.size
    assert isinstance(size, int)
    return size * t.dtype.size


def _images_of(grouping: Grouping, group: Group) -> int:
    """Over how many images a group goes, each apart from the others; 0 if it is not so."""
    stored = [t for t in group.members if t in grouping.stored]
    count = stored[0].type.known_dims[0] if stored and stored[0].type.rank else 0
    if not isinstance(count, int) or count < 2 or any(t in grouping.parts for t in stored):
        return 0
    if group.kind == "product" and not _has_rows_of_images(group, count):
        return 0
    if group.kind == "product" and not group.outer:
        return count
    first = group.outer[0] if group.kind in ("loop", "product") and not group.blocks and group.outer else 0
    alone = any(set(at) - {0} == {first} for at in group.members.values())
    return count if first != 0 and not alone and all(group.members[t][0] == first for t in stored) else 0


def _has_rows_of_images(group: Group, count: int) -> bool:
    """Whether a product's rows are those of one image after another, and many."""
    t = _product_of(group)
    assert t is not None
    op, form = t.op, t.op.opdef.lower
    if form.sides is None or form.groups(op) > 1:
        return False
    rows, _ = form.sides(op)
    each = product(op.operands[0].type.known_dims[1:])
    least = product(e for e, _ in rows[1:])
    return rows[0] == (count, each) and isinstance(least, int) and least >= LEAST_ROWS


def _product_of(group: Group) -> Tensor | None:
    return next((t for t in group.members if isinstance(t.op.opdef.lower, Contraction)), None)


def _keeps_to_images(group: Group, before: Sequence[Group]) -> bool:
    """Whether all that a group reads of others is of its own image."""
    makers = {id(g) for g in before}
    t = _product_of(group)
    for s in group.sources:
        if id(current(s.group)) in makers:
            if s.request is None:
                if t is None or s.tensor is not t.op.operands[0]:
                    return False
            elif s.request.resolved().at[0] != group.outer[0]:
                return False
    return True


class Images:
    """Builds the kernel of a run, group by group."""

    def __init__(self, grouping: Grouping, run: Run, target: Target) -> None:
        self.image = axis("b", run.images)
        self.memory = _Memory(grouping, target, run)
        self.body: list[Stmt] = []
        self.members: list[Tensor] = []

    def add_loops(self, group: Group, stmts: Sequence[Stmt]) -> None:
        """What a group does for all images, as what it does for one."""
        *before, loop = stmts
        assert isinstance(loop, Loop) and loop.axis == only_atom(group.outer[0])
        self._add(group, [*before, *loop.body], loop.axis)

    def add_alone(self, group: Group) -> None:
        """A product that nothing follows."""
        (t,) = group.members
        self.add_product(group, t, *stored(self.memory, t))

    def add_product(self, group: Group, t: Tensor, at: Index, body: tuple[Stmt, ...]) -> None:
        """A product of an image's rows, whose sums go through `body`; in it `at` is the index of the sum."""
        first = only_atom(at[0])
        rows, along = t.op.opdef.lower.sides(t.op)
        one = tuple(renamed(s, {first: self.image}, {}) for s in body)
        p = view_product(t, (rows[1:], along), at[1:], one)
        start = self.memory.offset(t.op.operands[0], (self.image, *(0,) * len(rows)))
        self._add(group, [placed(self.memory, t, replace(p, a_offset=start))], first)

    def launch(self) -> Launch:
        loop = loop_over(self.image, self.body, apart=True)
        return self.memory.launch([loop], tuple(self.members), "images")

    def _add(self, group: Group, body: Sequence[Stmt], first: Atom) -> None:
        """Statements in which `first` is the image, under names of their own."""
        self.body += under_own_names(body, {first: self.image}, f".{len(self.members)}")
        self.members += group.members


class _Memory(Memory):
    """Memory in which what goes between the groups of a run is of one image, for each thread."""

    def __init__(self, grouping: Grouping, target: Target, run: Run) -> None:
        super().__init__(grouping, target)
        sizes = {t: product(t.type.known_dims[1:]) for t in run.between}
        self.between = rooms(self, run.pieces(), sizes)

    def name(self, t: Place, write: bool = False) -> str:
        room = self.room_of(t)
        return room[0] if room else super().name(t, write)

    def offset(self, t: Tensor, at: Index) -> Dim:
        room = self.room_of(t)
        return room[1] + super().offset(t, (0, *at[1:])) if room else super().offset(t, at)

    def room_of(self, t: Place) -> Piece | None:
        return self.between.get(self.grouping.memory_of(t)) if isinstance(t, Tensor) else None
