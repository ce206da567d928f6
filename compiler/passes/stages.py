"""Stages: in a kernel with reductions, which values belong to which pass over the reduced axes.

softmax has three: the maximum of a row, the sum of exp(x - maximum), and the quotient. A value needed in a
later stage is computed again there when that is cheap, and kept in scratch memory otherwise. (Recomputing is
exact: no contraction to fma happens that is not written as one, so x - maximum is the same number each time.)
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from graphflow.compiler.ir.dims import atoms_of, single_atom
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.forms import Reduction
from graphflow.compiler.passes.group import Group, Grouping

RECOMPUTE_BELOW = 7  # additions


@dataclass
class StagePlan:
    """What one pass over the inner axes computes, stores, keeps in scratch memory, and reduces."""

    computed: list[Tensor]
    stored: list[Tensor]
    spilled: list[Tensor]
    reduced: list[Tensor]


class Stages:
    """The stage of each member of a group.

    A "full" member has a value per iteration of the inner axes; the others, reductions among them, have one
    per row and are known once the loop of their stage is done.
    """

    def __init__(self, grouping: Grouping, group: Group) -> None:
        self.grouping = grouping
        self.group = group
        self.order = sorted(group.members, key=lambda t: t.op.id)
        inner = {single_atom(a) for a in group.inner or []}
        self.full = {t: any(a in inner for d in at for a in atoms_of(d)) for t, at in group.members.items()}
        self.reduces = {t: isinstance(t.op.opdef.lower, Reduction) for t in self.order}
        self.stage: dict[Tensor, int] = {}
        for t in self.order:
            needs = group.needs[t]
            if self.full[t] or self.reduces[t]:
                self.stage[t] = max((self.stage[d] + (not self.full[d]) for d in needs), default=0)
            else:
                self.stage[t] = max((self.stage[d] for d in needs), default=-1)
        self.count = 1 + max((s for t, s in self.stage.items() if self.full[t] or self.reduces[t]),
                             default=-1)

    def is_row(self, t: Tensor, stage: int) -> bool:
        return not self.full[t] and not self.reduces[t] and self.stage[t] == stage

    def is_reduced(self, t: Tensor, stage: int) -> bool:
        return self.reduces[t] and self.stage[t] == stage

    def plan(self, stage: int, scratch: Container[Tensor]) -> StagePlan:
        """Only what this stage must give, and what that needs."""
        at_hand = [t for t in self.order if self.stage[t] == stage]
        reduced = [t for t in at_hand if self.reduces[t]]
        stored = [t for t in at_hand if self.full[t] and t in self.grouping.stored]
        spilled = [t for t in at_hand if self.full[t] and self._used_later(t) and self._is_costly(t)]
        computed = self._closure([*reduced, *stored, *spilled], stage, scratch)
        return StagePlan(computed, stored, spilled, reduced)

    def _used_later(self, t: Tensor) -> bool:
        return any(self.stage[u] > self.stage[t] for u in self.order
                   if t in self.group.needs[u] and (self.full[u] or self.reduces[u]))

    def _is_costly(self, t: Tensor) -> bool:
        total, stack, seen = 0, [t], {t}
        while stack and total < RECOMPUTE_BELOW:
            d = stack.pop()
            total += d.op.opdef.lower.work(d.op)
            new = [n for n in self.group.needs[d] if self.full[n] and n not in seen]
            seen.update(new)
            stack += new
        return total >= RECOMPUTE_BELOW

    def _closure(self, roots: list[Tensor], stage: int, scratch: Container[Tensor]) -> list[Tensor]:
        found: set[Tensor] = set()
        stack = list(roots)
        while stack:
            t = stack.pop()
            if t not in found and not (t in scratch and self.stage[t] < stage):
                found.add(t)
                stack += [d for d in self.group.needs[t] if self.full[d]]
        return [t for t in self.order if t in found and self.full[t]]
