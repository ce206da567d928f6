"""Repeats: loads of which several lanes share an element, and the next lanes have one a few steps on."""

from __future__ import annotations

import math
from typing import TypeAlias

from graphflow.compiler.ir.dims import Atom, Dim, Monomial, Poly, atoms_of, coefficient, single_atom, terms_of
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import Stmt, loads
from graphflow.compiler.records import record

FARTHEST = 8  # steps: what lies farther apart may as well be gathered
Run: TypeAlias = "tuple[object, ...]"  # of elements: those that some loads have lanes share


@record
class Repeats:
    """A lane loads element `lane // each * step + first` of those from an offset `start` on.

    Loads of neighbours, as of the channels of a pixel one by one, have one start.
    """

    along: Atom
    each: int
    step: int
    first: int
    start: Dim

    def picks(self, lanes: int) -> list[int]:
        return [lane // self.each * self.step + self.first for lane in range(lanes)]

    def first_lane(self, element: int, lanes: int) -> int:
        """The first of the lanes that load an element; their number where none does."""
        number, rest = divmod(element - self.first, self.step)
        return min(number * self.each, lanes) if rest == 0 and number >= 0 else lanes

    def run(self, load: Expr) -> Run:
        """What neighbours' loads have in common."""
        return load.attr[0], load.args, self.each, self.step, self.start


def repeats_of(offset: Dim, along: Atom, lanes: int) -> Repeats | None:
    """How an offset moves with the lanes of a vector that begins at a multiple of their number.

    Example:  8*i+4*(j//2)+3 along j  -->  each 2, step 4, first 3, start 8*i+4*(j//2)
    """
    moving = [(mono, step) for mono, step in terms_of(offset) if along in atoms_of(Poly({mono: 1}))]
    if len(moving) != 1:
        return None
    (mono, step), = moving
    sharing = _positions_each(mono, along)
    each = math.gcd(sharing, lanes)
    if each not in (sharing, lanes) or not (sharing and 0 < step <= FARTHEST):
        return None
    aligned = all(coef % step == 0 for other, coef in terms_of(offset) if other)
    first = dict(terms_of(offset)).get((), 0) % step if aligned else 0
    return Repeats(along, each, step, first, offset - first)


def _positions_each(mono: Monomial, along: Atom) -> int:
    """How many positions in a row share a value of `along` or `along // n`; 0 for other terms."""
    (a, *others) = mono
    if others or a == along:
        return int(not others)
    position, divisor = a.payload if a.kind == "floordiv" else (0, 0)
    return divisor if single_atom(position) == along and isinstance(divisor, int) else 0


def reaches(body: tuple[Stmt, ...], along: Atom, lanes: int) -> dict[Run, int]:
    """The last element of each run that the loads of a vector loop's body have any lane load."""
    found: dict[Run, int] = {}
    for n in loads(body):
        r = repeats_of(n.attr[1], along, lanes) if coefficient(n.attr[1], along) not in (0, 1) else None
        if r is not None:
            found[r.run(n)] = max(found.get(r.run(n), 0), r.picks(lanes)[-1])
    return found
