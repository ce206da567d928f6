"""Integer arithmetic with unknowns: one form for tensor dims, buffer sizes and loop indices.

A `Dim` is an int, or a `Poly`: a polynomial with integer coefficients over atoms. Polynomials have one normal
form, so equal values compare equal, and `i*28 + j` can be asked for its stride along `j`. What does not fit a
polynomial (division, remainder, min, max) is an atom of its own, kept only when it cannot be simplified away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

Dim: TypeAlias = "int | Poly"


class Atom:
    """One unknown. Equal when kind, name and payload are equal.

    kind:  "sym" a run-time dim; "int" a fed integer, of any sign; "axis" a loop index, payload (extent,);
           "value" an integer computed in a kernel;
           "dim" payload (tensor, axis) and "elem" payload (tensor, k), resolved when a graph is compiled;
           "floordiv", "mod", "min", "max" payload (a, b)
    """

    __slots__ = ("kind", "name", "payload", "_hash")

    def __init__(self, kind: str, name: str, payload: tuple[Any, ...] = ()) -> None:
        self.kind = kind
        self.name = name
        self.payload = payload
        self._hash = hash((kind, name))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (isinstance(other, Atom) and self.name == other.name and self.kind == other.kind
                and self.payload == other.payload)

    def __lt__(self, other: Atom) -> bool:
        return (self.kind, self.name) < (other.kind, other.name)

    def __repr__(self) -> str:
        return self.name


Monomial = tuple[Atom, ...]


class Poly:
    """A sum of integer multiples of products of atoms; never a plain number (`poly` returns an int then)."""

    __slots__ = ("terms", "_hash", "_atoms")

    def __init__(self, terms: dict[Monomial, int]) -> None:
        self.terms = terms
        self._hash: int | None = None  # this and what `atoms_of` gives, once they were asked for
        self._atoms: frozenset[Atom] | None = None

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self.terms.items()))
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Poly) and self.terms == other.terms)

    def __add__(self, other: Dim) -> Dim:
        if isinstance(other, int) and other == 0:
            return self
        terms = dict(self.terms)
        for mono, coef in terms_of(other):
            terms[mono] = terms.get(mono, 0) + coef
        return poly(terms)

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return Poly({m: -c for m, c in self.terms.items()})

    def __sub__(self, other: Dim) -> Dim:
        return self + (-other)

    def __rsub__(self, other: Dim) -> Dim:
        return (-self) + other

    def __mul__(self, other: Dim) -> Dim:
        if isinstance(other, int) and other == 1:
            return self
        terms: dict[Monomial, int] = {}
        for m1, c1 in self.terms.items():
            for m2, c2 in terms_of(other):
                mono = tuple(sorted(m1 + m2)) if m1 and m2 else m1 or m2
                terms[mono] = terms.get(mono, 0) + c1 * c2
        return poly(terms)

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return divide(self, other)[0]

    def __rfloordiv__(self, other: Dim) -> Dim:
        return divide(other, self)[0]

    def __mod__(self, other: Dim) -> Dim:
        return divide(self, other)[1]

    def __rmod__(self, other: Dim) -> Dim:
        return divide(other, self)[1]

    def __str__(self) -> str:
        return _text(self)

    __repr__ = __str__


def poly(terms: dict[Monomial, int]) -> Dim:
    """The normal form: no zero terms, and an int when no atom is left."""
    if 0 in terms.values():
        terms = {m: c for m, c in terms.items() if c}
    if not terms:
        return 0
    if len(terms) == 1 and () in terms:
        return terms[()]
    return Poly(terms)


def terms_of(dim: Dim) -> Iterable[tuple[Monomial, int]]:
    return (((), int(dim)),) if not isinstance(dim, Poly) else dim.terms.items()


def atom(kind: str, name: str, *payload: Any) -> Poly:
    return Poly({(Atom(kind, name, payload),): 1})


def sym(name: str) -> Poly:
    """A dim known only at run time."""
    return atom("sym", name)


def integer(name: str) -> Poly:
    """A fed integer on which a shape depends: unlike a dim it may be negative."""
    return atom("int", name)


RUN_TIME = ("sym", "int")  # the kinds of atoms whose values a program is given


def axis(name: str, extent: Dim) -> Poly:
    """A loop index that runs over 0 <= i < extent."""
    return atom("axis", name, extent)


def single_atom(dim: Dim) -> Atom | None:
    """The atom when the dim is exactly one atom, else None."""
    if isinstance(dim, Poly) and len(dim.terms) == 1:
        (mono, coef), = dim.terms.items()
        if coef == 1 and len(mono) == 1:
            return mono[0]
    return None


def only_atom(dim: Dim) -> Atom:
    """The atom that a dim is known to be."""
    found = single_atom(dim)
    assert found is not None, f"{dim} is not one atom"
    return found


def extent_of(index: Dim) -> Dim:
    """The extent of the axis that an index is."""
    found = single_atom(index)
    assert found is not None and found.kind == "axis", f"{index} is not one axis"
    extent: Dim = found.payload[0]
    return extent


def divide(a: Dim, b: Dim) -> tuple[Dim, Dim]:
    """Floor quotient and remainder, with a == q*b + r; what cannot be simplified becomes an atom."""
    if isinstance(a, int) and isinstance(b, int):
        return divmod(a, b)
    if b == 1:
        return a, 0
    if a == b:
        return 1, 0
    quotient, rest = _split_multiples(a, b)
    if rest == 0 or _is_below(rest, b):
        return quotient, rest
    if isinstance(rest, int) and isinstance(b, int):
        q, r = divmod(rest, b)
        return quotient + q, r
    name = f"({_text(rest)} // {_text(b)})"
    left = atom("floordiv", name, rest, b)
    return quotient + left, atom("mod", f"({_text(rest)} % {_text(b)})", rest, b)


def _split_multiples(a: Dim, b: Dim) -> tuple[Dim, Dim]:
    """a == q*b + r, moving into q each term that a one-term b divides exactly."""
    b_terms = list(terms_of(b))
    if len(b_terms) != 1:
        return 0, a
    b_mono, b_coef = b_terms[0]
    quotient: dict[Monomial, int] = {}
    rest: dict[Monomial, int] = {}
    for mono, coef in terms_of(a):
        left = _remove(mono, b_mono)
        if left is None:
            rest[mono] = coef
            continue
        q, r = divmod(coef, b_coef)
        if q:
            quotient[left] = quotient.get(left, 0) + q
        if r:
            rest[mono] = r
    return poly(quotient), poly(rest)


def _remove(mono: Monomial, part: Monomial) -> Monomial | None:
    left = list(mono)
    for a in part:
        if a not in left:
            return None
        left.remove(a)
    return tuple(left)


def upper_bound(dim: Dim) -> Dim | None:
    """The largest value over all loop indices, or None when a sign is unknown."""
    total: Dim = 0
    for mono, coef in terms_of(dim):
        if coef < 0:
            return None
        product: Dim = coef
        for a in mono:
            if a.kind == "axis":
                product = product * (a.payload[0] - 1)
            elif a.kind == "sym":
                product = product * Poly({(a,): 1})
            elif a.kind == "mod" and isinstance(a.payload[1], int):
                product = product * (a.payload[1] - 1)
            else:
                return None
        total = total + product
    return total


def _is_below(a: Dim, b: Dim) -> bool:
    """Proves 0 <= a < b for all values of the loop indices."""
    top = upper_bound(a)
    return top is not None and is_nonnegative(b - top - 1)


def is_nonnegative(dim: Dim) -> bool:
    """Proves dim >= 0 for run-time dims that may be 0; False means unknown."""
    return all(coef >= 0 and all(map(_atom_is_nonnegative, mono)) for mono, coef in terms_of(dim))


def _atom_is_nonnegative(a: Atom) -> bool:
    if a.kind in ("floordiv", "mod", "min"):
        return all(map(is_nonnegative, a.payload))
    return a.kind in ("sym", "axis", "part") or (a.kind == "max" and any(map(is_nonnegative, a.payload)))


def _extremum(kind: str, a: Dim, b: Dim, pick: Callable[[int, int], int]) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return pick(a, b)
    if a == b:
        return a
    if is_nonnegative(a - b):
        return a if kind == "max" else b
    if is_nonnegative(b - a):
        return b if kind == "max" else a
    return atom(kind, f"{kind}({_text(a)}, {_text(b)})", a, b)


def minimum(a: Dim, b: Dim) -> Dim:
    return _extremum("min", a, b, min)


def maximum(a: Dim, b: Dim) -> Dim:
    return _extremum("max", a, b, max)


def product(dims: Iterable[Dim]) -> Dim:
    total: Dim = 1
    for d in dims:
        total = d * total
    return total


def atoms_of(dim: Dim) -> frozenset[Atom]:
    """All atoms of a dim, those inside divisions included."""
    if not isinstance(dim, Poly):
        return frozenset()
    if dim._atoms is None:
        found = {a for mono in dim.terms for a in mono}
        inside = [atoms_of(p) for a in found if a.payload and a.kind != "axis" for p in a.payload]
        dim._atoms = frozenset(found.union(*inside))
    return dim._atoms


_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "min": minimum, "max": maximum}


def substitute(dim: Dim, values: Mapping[Atom, Dim]) -> Dim:
    """The dim with some atoms replaced, in normal form again."""
    if not isinstance(dim, Poly) or values.keys().isdisjoint(atoms_of(dim)):
        return dim
    total: Dim = 0
    kept: dict[Monomial, int] = {}
    for mono, coef in dim.terms.items():
        if not any(a in values or _has_inside(a, values) for a in mono):
            kept[mono] = coef
            continue
        product: Dim = coef
        for a in mono:
            product = product * _substitute_atom(a, values)
        total = total + product
    return poly(kept) + total


def _has_inside(a: Atom, values: Mapping[Atom, Dim]) -> bool:
    """Whether an operation is one on some of these atoms."""
    return a.kind in _OPERATIONS and not all(values.keys().isdisjoint(atoms_of(p)) for p in a.payload)


def _substitute_atom(a: Atom, values: Mapping[Atom, Dim]) -> Dim:
    found = values.get(a)
    if found is not None:
        return found
    if not _has_inside(a, values):
        return Poly({(a,): 1})
    operation = _OPERATIONS[a.kind]
    x, y = (substitute(p, values) for p in a.payload)
    if isinstance(y, int) and y == 0 and a.kind in ("floordiv", "mod"):
        return 0
    result: Dim = operation(x, y)
    return result


def evaluate(dim: Dim, values: Mapping[Atom, int]) -> int:
    """The number, once every atom has one; KeyError names an atom that has none."""
    if not isinstance(dim, Poly):
        return dim
    total = 0
    for mono, coef in dim.terms.items():
        product = coef
        for a in mono:
            product *= _number(a, values)
        total += product
    return total


def _number(a: Atom, values: Mapping[Atom, int]) -> int:
    found = values.get(a)
    if found is not None:
        return found
    if a.kind not in _OPERATIONS:
        raise KeyError(f"{a.name} has no value yet")
    x, y = (evaluate(p, values) for p in a.payload)
    if y == 0 and a.kind in ("floordiv", "mod"):
        return 0
    result: int = _OPERATIONS[a.kind](x, y)
    return result


def coefficient(dim: Dim, of: Atom) -> Dim | None:
    """The stride of `dim` along a loop index; None when the index occurs in another than a linear way."""
    if of not in atoms_of(dim):
        return 0
    terms: dict[Monomial, int] = {}
    for mono, coef in terms_of(dim):
        if of in mono:
            rest = _remove(mono, (of,)) or ()
            if of in rest:
                return None
            terms[rest] = coef
        elif any(a.payload and a.kind != "axis" and _mentions(a, of) for a in mono):
            return None
    total = poly(terms)
    return None if isinstance(total, Poly) and of in atoms_of(total) else total


def _mentions(a: Atom, other: Atom) -> bool:
    return any(isinstance(p, Poly) and other in atoms_of(p) for p in a.payload)


def _text(dim: Dim) -> str:
    if not isinstance(dim, Poly):
        return str(dim)
    parts = []
    for mono, coef in sorted(dim.terms.items(), key=lambda t: (not t[0], t[0])):
        names = "*".join(a.name for a in mono)
        if not mono:
            parts.append(str(coef))
        elif coef == 1:
            parts.append(names)
        elif coef == -1:
            parts.append(f"-{names}")
        else:
            parts.append(f"{coef}*{names}")
    return "+".join(parts).replace("+-", "-")
