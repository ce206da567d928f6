"""order: run the launches in the order that needs the least memory at once."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable, Sequence

from graphflow.compiler.ir.dims import Atom, Dim, atoms_of, evaluate
from graphflow.compiler.passes.launch import Launch
from graphflow.compiler.passes.plan_memory import MemoryPlan
from graphflow.compiler.program import Buffer
from graphflow.compiler.records import record

_TRIAL_DIMS = (8, 512)  # what an unknown dim may be


def order(launches: Sequence[Launch], plan: MemoryPlan) -> list[int]:
    """The numbers of the launches, those that free more memory than they take as early as they may run.

    The given order stays unless a new one needs less memory at once, or as much and less on the
    whole, with unknown dims small or large.
    What reads a variable stays before what writes it, and the checks of indices in their order.

    Example:  0: a = f(x) ; 1: b = g(x) ; 2: c = sum(a) ; 3: d = sum(b)
    -->       0 2 1 3
    """
    given = list(range(len(launches)))
    trials = [_bytes_in_arena(plan.buffers, n) for n in _TRIAL_DIMS]
    if not any(any(sizes) for sizes in trials):
        return given
    work = _Work(launches, plan)

    def needs_of(sequence: Sequence[int]) -> _Needs:
        return _Needs(*zip(*(work.needs(sequence, sizes) for sizes in trials), strict=True))

    tried, best, least = [given], given, needs_of(given)
    for greedy, sizes in itertools.product((True, False), trials):
        candidate = work.sequence(sizes, greedy)
        if candidate not in tried:
            tried.append(candidate)
            needs = needs_of(candidate)
            if needs.are_less_than(least):
                best, least = candidate, needs
    return best


@record
class _Needs:
    """For each trial, the most bytes alive in one launch, and the sum over all launches."""

    peaks: tuple[int, ...]
    totals: tuple[int, ...]

    def are_less_than(self, other: _Needs) -> bool:
        """For no trial more, and for some less."""
        mine, others = self.peaks, other.peaks
        if mine == others:
            mine, others = self.totals, other.totals
        return mine != others and all(a <= b for a, b in zip(mine, others, strict=True))


def _bytes_in_arena(buffers: Sequence[Buffer], trial: int) -> list[int]:
    """Bytes of each buffer with unknown dims set to a number; 0 outside the arena."""
    known: dict[Dim, int] = {}
    for b in buffers:
        if b.role == "arena" and b.size not in known:
            values: dict[Atom, int] = dict.fromkeys(atoms_of(b.size), trial)
            known[b.size] = max(evaluate(b.size, values), 0)
    return [known[b.size] * b.dtype.size if b.role == "arena" else 0 for b in buffers]


class _Work:
    """What the launches take from each other, by numbers of launches and buffers."""

    def __init__(self, launches: Sequence[Launch], plan: MemoryPlan) -> None:
        self.used = [tuple(dict.fromkeys(numbers)) for numbers in plan.arguments]
        self.users: list[list[int]] = [[] for _ in plan.buffers]
        self.made: list[list[int]] = [[] for _ in launches]
        for k, numbers in enumerate(self.used):
            for b in numbers:
                if not self.users[b]:
                    self.made[k].append(b)
                self.users[b].append(k)
        self.kept = {source for source, _ in plan.copies}  # alive until the end
        self.before = _dependences(launches, plan)
        self.after: list[list[int]] = [[] for _ in launches]
        for k, needed in enumerate(self.before):
            for n in needed:
                self.after[n].append(k)

    def _uses(self) -> list[int]:
        return [len(users) + (b in self.kept) for b, users in enumerate(self.users)]

    def needs(self, sequence: Sequence[int], sizes: Sequence[int]) -> tuple[int, int]:
        """The most bytes alive in one launch, and the sum over all launches."""
        left = self._uses()
        alive = peak = total = 0
        for k in sequence:
            for b in self.made[k]:
                alive += sizes[b]
            peak, total = max(peak, alive), total + alive
            for b in self.used[k]:
                left[b] -= 1
                if not left[b]:
                    alive -= sizes[b]
        return peak, total

    def sequence(self, sizes: Sequence[int], greedy: bool) -> list[int]:
        """Of the launches that may run, the one that frees most; where each adds, the first of them, or of
        greed the one that adds least.
        """
        left, waiting = self._uses(), [len(b) for b in self.before]
        added = [sum(sizes[b] for b in made) for made in self.made]
        for b, users in enumerate(self.users):
            if left[b] == 1:
                added[users[0]] -= sizes[b]

        def entry(k: int) -> tuple[bool, int, int]:
            waits = added[k] > 0 and not greedy
            return waits, 0 if waits else added[k], k

        ready = [entry(k) for k, count in enumerate(waiting) if not count]
        heapq.heapify(ready)
        found: list[int] = []
        ran = [False] * len(waiting)
        while ready:
            next_one = heapq.heappop(ready)
            k = next_one[-1]
            if ran[k] or next_one != entry(k):
                continue  # an entry from before the other users of some buffer ran
            ran[k] = True
            found.append(k)
            for n in self.after[k]:
                waiting[n] -= 1
                if not waiting[n]:
                    heapq.heappush(ready, entry(n))
            for b in self.used[k]:
                left[b] -= 1
                last = next((u for u in self.users[b] if not ran[u]), None) if left[b] == 1 else None
                if last is not None:
                    added[last] -= sizes[b]
                    if not waiting[last]:
                        heapq.heappush(ready, entry(last))
        return found


def _dependences(launches: Sequence[Launch], plan: MemoryPlan) -> list[set[int]]:
    """For each launch those that must run before it."""
    objects: list[Hashable] = [b.variable if b.role == "state" else k for k, b in enumerate(plan.buffers)]
    before: list[set[int]] = [set() for _ in launches]
    writers: dict[Hashable, int] = {}
    readers: dict[Hashable, list[int]] = {}
    for k, (launch, numbers) in enumerate(zip(launches, plan.arguments, strict=True)):
        written = {objects[b] for b, p in zip(numbers, launch.nest.params, strict=True) if p.written}
        for o in {objects[b] for b in numbers}:
            if o in writers:
                before[k].add(writers[o])
            if o in written:
                before[k].update(readers.get(o, ()))
                writers[o] = k
            readers.setdefault(o, []).append(k)
    _keep_checks(launches, plan, writers, before)
    return before


def _keep_checks(launches: Sequence[Launch], plan: MemoryPlan, writers: dict[Hashable, int],
                 before: list[set[int]]) -> None:
    """The first index out of range is reported; a variable is written in place only after all checks."""
    checks = [k for k, launch in enumerate(launches) if launch.nest.may_stop]
    for a, b in itertools.pairwise(checks):
        before[b].add(a)
    for buffer in plan.buffers:
        writer = writers.get(buffer.variable, -1) if buffer.role == "state" else -1
        if checks and writer > checks[-1]:
            before[writer].add(checks[-1])
