"""What infer rules ask about dims. While building, unknowns stay open; while compiling they are decided."""

from __future__ import annotations

from typing import TypeAlias

from graphflow.compiler.ir.dims import RUN_TIME, Atom, Dim, Poly, atoms_of, single_atom, substitute, terms_of

Dims: TypeAlias = "tuple[Dim | None, ...] | None"


class DimRules:
    """Building: an unknown dim (None) may turn out to be anything, so only known dims can clash."""

    def equal(self, a: Dim | None, b: Dim | None) -> Dim | None:
        """The common value of two dims that must be equal; raises ValueError when they cannot be."""
        if isinstance(a, int) and isinstance(b, int) and a != b:
            raise ValueError
        return a if isinstance(a, int) or b is None else b

    def common(self, a: Dims, b: Dims) -> Dims:
        """The dims of a result that is one of two; unknown where they differ."""
        if a is None or b is None or len(a) != len(b):
            return None
        return tuple(p if p == q else None for p, q in zip(a, b, strict=True))

    def broadcast(self, a: Dim | None, b: Dim | None) -> Dim | None:
        """The dim of an elementwise result under numpy's rule; raises ValueError when the two clash."""
        if a == b or b == 1:
            return a
        if a == 1:
            return b
        if isinstance(a, int) and isinstance(b, int):
            raise ValueError
        if isinstance(a, int) or isinstance(b, int):
            return a if isinstance(a, int) else b
        return None

    def require(self, a: Dim | None, b: Dim | None) -> None:
        """Two totals must be equal at each run; ValueError when they cannot be. Nothing is inferred."""
        if isinstance(a, int) and isinstance(b, int) and a != b:
            raise ValueError

    def decide(self, dim: Dim | None) -> None:
        """The number itself is needed: a dim known only at run time becomes a constant of the program."""


class CompileRules(DimRules):
    """Compiling: dims are ints or Polys. Two that must fit but look different are assumed equal, and noted.

    `assumed` maps an atom to the dim it is taken for; the program checks it at each call. A dim of 1 at run
    time breaks the assumption only where the other is not 1 as well; then the engine compiles for that case.
    """

    def __init__(self) -> None:
        self.assumed: dict[Atom, Dim] = {}
        self.undecided: list[tuple[Dim, Dim]] = []
        self.required: dict[tuple[Dim, Dim], str] = {}
        self.where = ""  # the operation whose rule is asking, for the run's error text

    def equal(self, a: Dim | None, b: Dim | None) -> Dim | None:
        assert a is not None and b is not None
        if a == b:
            return a
        if isinstance(a, int) and isinstance(b, int):
            raise ValueError
        return self._assume(a, b)

    def common(self, a: Dims, b: Dims) -> Dims:
        """ValueError where the two cannot be of one shape."""
        assert a is not None and b is not None
        return tuple(self.equal(p, q) for p, q in zip(a, b, strict=True))

    def broadcast(self, a: Dim | None, b: Dim | None) -> Dim | None:
        if a == 1 or b == 1:
            return b if a == 1 else a
        return self.equal(a, b)

    def require(self, a: Dim | None, b: Dim | None) -> None:
        super().require(a, b)
        if a != b and a is not None and b is not None:
            self.required.setdefault((a, b), self.where)

    def decide(self, dim: Dim | None) -> None:
        if isinstance(dim, Poly):
            self.undecided.append((dim, dim))

    def _assume(self, a: Dim, b: Dim) -> Dim:
        given = a, b
        a, b = substitute(a, self.assumed), substitute(b, self.assumed)
        if a == b:
            return a
        new = _equation(a, b)
        if new is None:  # two assumptions that clash among them: a dim of 1 may be behind it
            self.undecided.append(given)
            return a
        self.assumed = {k: substitute(d, new) for k, d in self.assumed.items()} | new
        return substitute(a, new)


def _equation(a: Dim, b: Dim) -> dict[Atom, Dim] | None:
    """What a run-time integer is where two dims are equal: n where n = m * k, or where n + 1 = m + 1."""
    for one, other in ((b, a), (a, b)):
        found = single_atom(one)
        if found is not None and found.kind in RUN_TIME and found not in atoms_of(other):
            return {found: other}
    for more in (a - b, b - a):
        for x in sorted(atoms_of(more)):
            rest = Poly({(x,): 1}) - more
            if x.kind in RUN_TIME and isinstance(rest, Poly) and x not in atoms_of(rest) and all(
                    c > 0 for _, c in terms_of(rest)):
                return {x: rest}
    return None
