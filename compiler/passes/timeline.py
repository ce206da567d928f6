"""Timeline: at which moments of a program each tensor in memory is used, and which may share memory."""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Sequence

from graphflow.compiler.ir.dims import atoms_of
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.nest import Loop, LoopNest, Product, Stmt, Store, loads, statements
from graphflow.compiler.ops.control import while_loop
from graphflow.compiler.passes.fuse import GIVEN
from graphflow.compiler.passes.launch import Launch, Place, Region, Step


class Timeline:
    """Steps numbered as they run: a moment for a launch, and in a loop or conditional one for its start, one
    at the end of each block, and one for its end.

    uses        tensor -> moments, ascending; the first is when it is written, or begins to be
    shares      an initial value that nothing else uses -> the loop's result, whose memory it is made in
    last_check  the last moment at which a run may fail, or be interrupted in a loop
    """

    def __init__(self, steps: Sequence[Step], results: Sequence[Tensor]) -> None:
        self.uses: dict[Place, list[int]] = {}
        self.shares: dict[Tensor, Tensor] = {}
        self.launches: dict[int, Launch] = {}
        self.regions: dict[int, Region] = {}
        self.last_check = -1
        self.end = 0
        self._number(steps, results)
        self._launched = list(self.launches)
        for start, region in self.regions.items():
            if region.op.opdef is while_loop:
                self._share_initial_values(region, start)

    def _moment(self, *used: Place) -> int:
        now, self.end = self.end, self.end + 1
        for a in used:
            self.uses.setdefault(a, []).append(now)
        return now

    def _number(self, steps: Sequence[Step], results: Sequence[Tensor]) -> None:
        for step in steps:
            if isinstance(step, Launch):
                starts = (t for pair in step.starts for t in pair)
                now = self._moment(*dict.fromkeys((*step.arguments, *starts)))
                self.launches[now] = step
                self.last_check = now if step.nest.may_stop else self.last_check
            else:
                self._number_region(step)
        self._moment(*dict.fromkeys(results))

    def _number_region(self, region: Region) -> None:
        carried = region.op.count if region.op.opdef is while_loop else 0
        start = self._moment(*dict.fromkeys((*region.operands, *region.op.outputs)))
        self.regions[start] = region
        for block in region.blocks:
            self._number(block.steps, block.outputs)
        end = self._moment(*dict.fromkeys((*region.operands[carried:], *region.op.outputs)))
        self.last_check = end if region.op.opdef is while_loop else self.last_check

    def _share_initial_values(self, region: Region, start: int) -> None:
        for t, result in zip(region.operands[:region.op.count], region.op.outputs, strict=True):
            own = t.op.opdef not in GIVEN and t not in self.shares
            if own and self.uses[t][-1] == start and region.operands.count(t) == 1 and len(self.uses[t]) == 2:
                self.shares[t] = result
                self.uses[result] = sorted({*self.uses[t], *self.uses[result]})

    def launch(self, moment: int, between: int) -> int:
        """The number of the launch at a moment; between two, of the one before (between=-1) or after (0)."""
        at = bisect_left(self._launched, moment)
        exact = at < len(self._launched) and self._launched[at] == moment
        return max(at if exact else at + between, 0)

    # Sharing

    def ends_at(self, t: Tensor, moment: int) -> bool:
        return self.uses[t][-1] == moment

    def written_in_place(self, new: Tensor, old: Tensor) -> list[Tensor]:
        """The tensors on the way from a loop variable `old` to its next value that can all use its memory."""
        found: list[Tensor] = []
        while new is not old and self.may_replace(old, new):
            found.append(new)
            launch = self.launches.get(self.uses[new][0])
            before = [a for a, b in (launch.starts if launch else ()) if b is new]
            if not before or len(self.uses[before[0]]) != 2 or before[0] is old or \
                    before[0].op.opdef in GIVEN:
                break
            new = before[0]
        return found

    def may_replace(self, old: Tensor, new: Tensor) -> bool:
        """Whether `new` can be written to the memory of `old`: each element is read before it is written."""
        writer, reads = self.uses[new][0], self.uses.get(old, [])
        if any(k > writer for k in reads) or new.op.opdef in GIVEN:
            return False
        if writer not in reads:
            return True
        if writer in self.regions:
            region = self.regions[writer]
            return region.op.opdef is while_loop and \
                region.operands[region.op.outputs.index(new)] is old and region.operands.count(old) == 1
        launch = self.launches[writer]
        if launch.kind == "row":
            return old not in launch.arguments
        if launch.kind not in ("map", "reduce", "product", "scatter"):
            return False
        names = {a: p.name for a, p in zip(launch.arguments, launch.nest.params, strict=True)}
        if new not in names or old not in names:
            return False  # the launch makes an initial value that shares the memory of `new`
        safely = only_copied if launch.kind == "scatter" else overwrites_safely
        return safely(launch.nest, names[old], names[new])


def copied(s: Stmt) -> tuple[str, str] | None:
    """From which buffer to which a loop copies, if that is all it does."""
    if not isinstance(s, Loop) or len(s.body) != 1 or not isinstance(s.body[0], Store):
        return None
    store = s.body[0]
    plain = store.value.op == "load" and not store.value.args and not store.add
    return (store.value.attr[0], store.buffer) if plain and store.value.attr[1] == store.offset else None


def only_copied(nest: LoopNest, old: str, new: str) -> bool:
    """Whether a kernel reads `old` for nothing but to copy it to `new` first."""
    return bool(nest.body) and copied(nest.body[0]) == (old, new) and _count_loads(nest.body, old) == 1


@functools.lru_cache(maxsize=1024)  # updates of many variables are one nest
def overwrites_safely(nest: LoopNest, old: str, new: str) -> bool:
    """Whether a kernel may be given the same memory for `old` and `new`.

    It may if each element is read only where and before it is written, in the same loop body.
    """
    inside = statements(nest.body)
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
