"""Repeats: loads of which several lanes share an element, and the next lanes have one a few steps on."""

from __future__ import annotations

from graphflow.compiler.ir.dims import Atom, Dim, Monomial, Poly, atoms_of, single_atom, terms_of
from graphflow.compiler.records import record

FARTHEST = 8  # steps: what lies farther apart may as well be gathered


@record
class Repeats:
    """A lane loads element `lane // each * step + first` of those from an offset `start` on.

    Loads of neighbours, as of the channels of a pixel one by one, have one start.
    """

    each: int
    step: int
    first: int
    start: Dim

    def picks(self, lanes: int) -> list[int]:
        return [lane // self.each * self.step + self.first for lane in range(lanes)]

    def first_lane(self, element: int) -> int | None:
        """The first of the lanes that load an element, if there are any."""
        found = (element - self.first) // self.step * self.each
        return None if (element - self.first) % self.step else found


def repeats_of(offset: Dim, along: Atom, lanes: int) -> Repeats | None:
    """How an offset moves with the lanes of a vector that begins at a multiple of their number.

    Example:  8*i+4*(j//2)+3 along j  -->  each 2, step 4, first 3, start 8*i+4*(j//2)
    """
    moving = [(mono, step) for mono, step in terms_of(offset) if along in atoms_of(Poly({mono: 1}))]
    if len(moving) != 1:
        return None
    (mono, step), = moving
    each = _lanes_each(mono, along)
    if not each or lanes % each or not 0 < step <= FARTHEST:
        return None
    aligned = all(coef % step == 0 for other, coef in terms_of(offset) if other)
    first = dict(terms_of(offset)).get((), 0) % step if aligned else 0
    return Repeats(each, step, first, offset - first)


def _lanes_each(mono: Monomial, along: Atom) -> int:
    """How many positions in a row share a value of `along` or `along // n`; 0 for other terms."""
    (a, *others) = mono
    if others or a == along:
        return int(not others)
    position, divisor = a.payload if a.kind == "floordiv" else (0, 0)
    return divisor if single_atom(position) == along and isinstance(divisor, int) else 0
