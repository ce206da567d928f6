"""band: chains of kernels over the same rows become one, which goes band of rows by band of rows.

What goes from one to the next is then a scratch of a band's rows for each thread, and stays in the cache.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from graphflow.compiler import flags
from graphflow.compiler.ir.dims import (
    Dim,
    atoms_of,
    axis,
    evaluate,
    extent_of,
    maximum,
    minimum,
    only_atom,
    product,
    substitute,
    terms_of,
)
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.forms import Piece
from graphflow.compiler.loops.nest import Product, Stmt, loop_over
from graphflow.compiler.loops.substitute import relocated, under_own_names
from graphflow.compiler.passes.group import Grouping
from graphflow.compiler.passes.joined import STAGES, largest, rooms, traffic_saved, turns
from graphflow.compiler.passes.launch import Launch, Memory, Place, Step
from graphflow.compiler.passes.row_stages import Stage, rows_of, stage_of
from graphflow.compiler.records import record
from graphflow.compiler.target import Target

FEWEST, MOST = 16, 128  # rows of a band: with fewer, products wait for B; more gain nothing
OPEN = 32               # the same where the rows are not known
SHARES = 4              # so many bands at least, for threads to share
LONG, BATCH = 512, 8    # what the unknown sides of a matrix, and an unknown count of those, are taken for


def band(steps: Sequence[Step], grouping: Grouping, target: Target) -> list[Step]:
    """Join launches whose rows need only the same rows of what others make for them, and for them alone.

    It is done where that saves more traffic than reading the products' right sides for each band costs.

    Example:  for i < 256: p1[i, :] = softmax of p0[i, :] ; p3[256, 64] = p1[256, 512] @ p2
    -->       for b < 8:
                for r < 32: s[r, :] = softmax of p0[32*b+r, :]
                p3[32*b:][32, 64] = s[32, 512] @ p2
    """
    if not flags.use_bands() or flags.use_blas():  # the library takes whole matrices
        return list(steps)
    finder = _Finder(steps, grouping, target)
    left = set(range(len(steps)))
    found: dict[int, Launch] = {}
    for last in reversed(range(len(steps))):
        chain = finder.chain_to(last) if last in left else None
        if chain is not None:
            found[last] = _Builder(chain, grouping, target).launch()
            left -= chain.stages.keys()
    return [found.get(k, step) for k, step in enumerate(steps) if k in left or k in found]


@record
class Chain:
    """Launches by their numbers, last one first; what goes between them, with the elements of a row.

    cuts  rows that a step of each digit but the last goes past, ascending
    """

    stages: Mapping[int, Stage]
    between: Mapping[Tensor, Dim]
    total: Dim
    cuts: tuple[Dim, ...]

    @property
    def matrix(self) -> Dim:
        """Rows that follow one another in the memory of all: those of a batch's matrix, or all."""
        return self.cuts[0] if self.cuts else self.total

    @property
    def in_order(self) -> list[Stage]:
        return [self.stages[k] for k in sorted(self.stages)]

    def pieces(self) -> list[list[Tensor]]:
        """What goes between, by the memory that it takes turns in."""
        stages = self.in_order
        made = [[t for t in self.between if t in stage.launch.written] for stage in stages]
        last = {t: k for k, stage in enumerate(stages) for t in self.between if t in stage.launch.arguments}
        return turns(made, last, lambda k, old, new: (
            self.between[old] == self.between[new] and stages[k].writes_over(old, new)))

    def rows(self, target: Target) -> int:
        """Of a band: such that what goes between fills half a core's cache; 0 if there are too few."""
        each = sum(self.number(largest(p, self.between)) * p[0].dtype.size for p in self.pieces())
        most = min(MOST if isinstance(self.matrix, int) else OPEN, target.l2 // 2 // each)
        shares = max(SHARES, target.threads)
        if not isinstance(self.matrix, int):
            return most if most == OPEN and self.number(self.total // self.matrix, 1) >= shares else 0
        most = min(most, self.matrix, self.number(self.total, 1) // shares)
        return -(-self.matrix // -(-self.matrix // most)) if most >= min(FEWEST, self.matrix) else 0

    def gain(self, target: Target) -> float:
        """Bytes of memory traffic that it saves."""
        rows, total = self.rows(target), self.number(self.total)
        if not rows:
            return 0.0
        between = [self.number(n) * total * t.dtype.size for t, n in self.between.items()]
        products = (p for stage in self.stages.values() if (p := stage.product) is not None)
        right = [self.number(p.k * p.n) * p.dtype.size for p in products]
        return traffic_saved(between, right, total // rows, target)

    def number(self, d: Dim, batch: int = BATCH) -> int:
        """A dim, with unknown ones taken for what is likely."""
        long = frozenset().union(*map(atoms_of, (self.matrix, *self.between.values())))
        return evaluate(d, {a: LONG if a in long else batch for a in atoms_of(d)})


class _Finder:
    """Chains among the steps of a program or block."""

    def __init__(self, steps: Sequence[Step], grouping: Grouping, target: Target) -> None:
        self.steps = steps
        self.target = target
        self.users: dict[Place, list[int]] = {}
        self.makers: dict[Place, int] = {}
        self.kept = grouping.results
        for k, step in enumerate(steps):
            for place in _used(step):
                self.users.setdefault(place, []).append(k)
            if isinstance(step, Launch):
                self.makers.update((place, k) for place in step.written)

    def chain_to(self, last: int) -> Chain | None:
        """The chain that ends with a launch, if one is worth it."""
        step = self.steps[last]
        total = self.rows_before(step) if isinstance(step, Launch) else None
        stage = stage_of(step, total) if isinstance(step, Launch) and total is not None else None
        if stage is None or total is None or total == 0:
            return None
        best, least = None, 0.0
        chain: Chain | None = Chain({last: stage.merged()}, {}, total, ())
        while chain is not None and len(chain.stages) < STAGES:
            chain = self.longer(chain)
            gain = chain.gain(self.target) if chain is not None else 0.0
            if gain > least:
                best, least = chain, gain
        return best

    def rows_before(self, step: Launch) -> Dim | None:
        """The rows of a product, or of the one whose sums a kernel reads."""
        if step.kind == "product":
            return rows_of(step)
        makers = (self.steps[k] for t in step.arguments if (k := self.makers.get(t, -1)) >= 0)
        found = (rows_of(m) for m in makers if isinstance(m, Launch) and m.kind == "product")
        return next((rows for rows in found if rows is not None), None)

    def longer(self, chain: Chain) -> Chain | None:
        """With one launch more before the others: one that makes something for them alone, by rows."""
        reads = dict.fromkeys(t for stage in chain.stages.values() for t in stage.launch.arguments)
        for t in reads:
            k = self.makers.get(t, -1)
            if isinstance(t, Tensor) and k >= 0 and k not in chain.stages:
                found = self.with_maker(chain, t, k)
                if found is not None:
                    return found
        return None

    def with_maker(self, chain: Chain, t: Tensor, k: int) -> Chain | None:
        step = self.steps[k]
        assert isinstance(step, Launch)
        size = product(t.type.known_dims)
        alone = [p for p in step.written if isinstance(p, Tensor)] == [t] and t not in self.kept
        if not alone or not set(self.users[t]) <= {k, *chain.stages} or size == 0 or size % chain.total != 0:
            return None
        stage = stage_of(step, chain.total)
        if stage is None:
            return None
        each, stages = size // chain.total, {**chain.stages, k: stage.merged()}
        if not all(s.keeps_to_rows(t, each) for s in stages.values()):
            return None
        cuts = _common([c for s in stages.values() for c in s.cuts], chain.total)
        return None if cuts is None else Chain(stages, {**chain.between, t: each}, chain.total, cuts)


def _used(step: Step) -> Iterable[Place]:
    if not isinstance(step, Launch):
        return dict.fromkeys((*step.operands, *step.op.outputs))
    return dict.fromkeys((*step.arguments, *(t for pair in step.starts for t in pair)))


def _common(cuts: Sequence[Dim], total: Dim) -> tuple[Dim, ...] | None:
    """All cuts, ascending, if each divides the next; of open rows those are cut off whose number is known."""
    found = sorted(set(cuts), key=lambda c: evaluate(c, dict.fromkeys(atoms_of(c), LONG)))
    if any(above % below != 0 for below, above in itertools.pairwise([*found, total])):
        return None
    known = next((c for _, c in terms_of(found[0] if found else total)), 1)
    is_open = not isinstance(found[0] if found else total, int)
    return (known, *found) if is_open and known >= FEWEST else tuple(found)


class _Builder:
    """Builds the kernel of a chain.

    start  the first row of the band, of those of a matrix
    row    a row of the band
    """

    def __init__(self, chain: Chain, grouping: Grouping, target: Target) -> None:
        self.chain = chain
        self.memory = Memory(grouping, target)
        self.rows = chain.rows(target)
        self.bands = (chain.matrix + self.rows - 1) // self.rows
        self.band = axis("b", chain.total // chain.matrix * self.bands)
        self.row = axis("r", minimum(self.rows, chain.matrix))
        sizes = {t: self.rows * each for t, each in chain.between.items()}
        self.rooms = rooms(self.memory, chain.pieces(), sizes)

    def launch(self) -> Launch:
        stages = self.chain.in_order
        body = [s for k, stage in enumerate(stages) for s in self.steps(stage, f".{k}")]
        members = tuple(t for stage in stages for t in stage.launch.members)
        loop = loop_over(self.band, body, apart=True)
        return self.memory.launch([loop], members, "banded")

    def indices(self) -> list[Dim]:
        """Of a row of the band: an index for each digit, the last with the row."""
        outer, at = self.band // self.bands, self.band % self.bands
        start = at * self.rows
        if self.chain.matrix % self.rows != 0:  # the last overlaps the one before it
            start = minimum(start, maximum(self.chain.matrix - self.rows, 0))
        found = [start + self.row]
        for below, above in itertools.pairwise(self.chain.cuts):
            found.insert(0, outer % (above // below))
            outer = outer // (above // below)
        return [outer, *found] if self.chain.cuts else found

    def steps(self, stage: Stage, suffix: str) -> list[Stmt]:
        """What a stage does for a band."""
        row = only_atom(self.row)
        body = [relocated(s, lambda b, d: self.place(stage, b, d)) for s in stage.body]
        body = under_own_names(body, stage.cut_at(self.chain.cuts, self.indices()), suffix)
        if stage.product is None:
            return [loop_over(self.row, body, ordered=False)]
        (p,) = body
        assert isinstance(p, Product)
        a_offset, out_offset = (substitute(d, {row: 0}) for d in (p.a_offset, p.out_offset))
        return [replace(p, m=extent_of(self.row), a_offset=a_offset, out_offset=out_offset,
                        row=self.row if p.body else 0, whole=self.chain.matrix)]

    def place(self, stage: Stage, buffer: str, offset: Dim) -> Piece:
        """Where an element of a stage's buffer is: in the band's scratch, if it is of what goes between."""
        t = stage.launch.places[buffer]
        if isinstance(t, Tensor) and t in self.rooms:
            name, start = self.rooms[t]
            within = stage.within_row(offset, self.chain.between[t])
            assert within is not None
            return name, start + self.row * self.chain.between[t] + within
        written = any(p.written for p in stage.launch.nest.params if p.name == buffer)
        return self.memory.name(t, written), offset
