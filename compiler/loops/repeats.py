"""Repeats: loads of which several lanes share an element, and the next lanes have one a few steps on."""

from __future__ import annotations

from graphflow.compiler.ir.dims import Atom, Dim, Monomial, Poly, atoms_of, single_atom, terms_of
from graphflow.compiler.records import record

FARTHEST = 8  # steps: what lies farther apart may as well be gathered


@record
class Repeats:
    """A lane loads what is `lane // each * step` elements on from what the first lane does."""

    each: int
    step: int

    def picks(self, lanes: int) -> list[int]:
        return [lane // self.each * self.step for lane in range(lanes)]

    def first_lane(self, element: int) -> int | None:
        """The first of the lanes that load an element, if there are any."""
        return None if element % self.step else element // self.step * self.each


def repeats_of(offset: Dim, along: Atom, lanes: int) -> Repeats | None:
    """How an offset moves with the lanes of a vector that begins at a multiple of their number.

    Example:  4*(j//2)+c along j  -->  each 2, step 4
    """
    moving = [(mono, step) for mono, step in terms_of(offset) if along in atoms_of(Poly({mono: 1}))]
    if len(moving) != 1:
        return None
    (mono, step), = moving
    each = _lanes_each(mono, along)
    return Repeats(each, step) if each and lanes % each == 0 and 0 < step <= FARTHEST else None


def _lanes_each(mono: Monomial, along: Atom) -> int:
    """How many positions in a row share a value of `along` or `along // n`; 0 for other terms."""
    (a, *others) = mono
    if others or a == along:
        return int(not others)
    position, divisor = a.payload if a.kind == "floordiv" else (0, 0)
    return divisor if single_atom(position) == along and isinstance(divisor, int) else 0
