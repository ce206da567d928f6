"""F(2, size): two neighbouring sums of products along an axis, by fewer multiplications.

The filter's taps are cut into runs of three and two. A run of r taps gives its part of both sums by r + 1
multiplications in place of 2 r: it and the inputs below it are taken for polynomials, whose product is known
by its values at the points 0, 1, -1 and infinity (a run of two does without -1). As all runs share their
points, the products of each point are summed before anything is transformed back.

A map gives new values by sums of old ones, each by its key: an element's number, a point, or a point and run.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from graphflow.compiler.records import record

ZERO, ONE, MINUS, FAR = range(4)  # the points: 0, 1, -1, infinity

Key: TypeAlias = Any
Get: TypeAlias = "Callable[[Key], Any]"
Map: TypeAlias = "Mapping[Key, Callable[[Get], Any]]"

_INPUTS: dict[int, dict[int, Callable[[Get], Any]]] = {  # taps of a run -> point -> its value, of the inputs
    3: {ZERO: lambda d: d(0) - d(2), ONE: lambda d: d(1) + d(2), MINUS: lambda d: d(2) - d(1),
        FAR: lambda d: d(1) - d(3)},
    2: {ZERO: lambda d: d(0) - d(1), ONE: lambda d: d(1), FAR: lambda d: d(1) - d(2)},
    1: {ZERO: lambda d: d(0), FAR: lambda d: d(1)}}
_TAPS: dict[int, dict[int, Callable[[Get], Any]]] = {
    3: {ZERO: lambda w: w(0), ONE: lambda w: 0.5 * (w(0) + w(2)) + 0.5 * w(1),
        MINUS: lambda w: 0.5 * (w(0) + w(2)) - 0.5 * w(1), FAR: lambda w: w(2)},
    2: {ZERO: lambda w: w(0), ONE: lambda w: w(0) + w(1), FAR: lambda w: w(1)},
    1: {ZERO: lambda w: w(0), FAR: lambda w: -w(0)}}
_BACK: dict[int, list[Callable[[Get], Any]]] = {  # taps of a run -> each tap, of the values at the points
    3: [lambda u: u(ZERO) + 0.5 * (u(ONE) + u(MINUS)), lambda u: 0.5 * (u(ONE) - u(MINUS)),
        lambda u: 0.5 * (u(ONE) + u(MINUS)) + u(FAR)],
    2: [lambda u: u(ZERO) + u(ONE), lambda u: u(ONE) + u(FAR)],
    1: [lambda u: u(ZERO) - u(FAR)]}
_SPREAD: dict[int, Callable[[Get], Any]] = {
    ZERO: lambda g: g(0), ONE: lambda g: g(0) + g(1), MINUS: lambda g: g(0) - g(1), FAR: lambda g: -g(1)}
_SUMS: list[tuple[tuple[int, int], ...]] = [  # of both outputs: points, and their signs
    ((ZERO, 1), (ONE, 1), (MINUS, 1)), ((ONE, 1), (MINUS, -1), (FAR, -1))]


@record
class Line:
    """An axis: the maps that compute with filters of `size` taps along it.

    inputs, taps  to the values at points of runs: of size + 1 neighbouring inputs, and of the taps
    sums          from the points to the two outputs
    spread, back  the transposed ones: from the two outputs to the points, from points of runs to the taps
    """

    size: int

    @property
    def runs(self) -> list[tuple[int, int]]:
        """The first of each run's taps, and how many there are: threes and twos, but for a size of 1."""
        twos = min(-self.size % 3, self.size // 2)
        lengths = [3] * ((self.size - 2 * twos) // 3) + [2] * twos or [1]
        return [(sum(lengths[:k]), length) for k, length in enumerate(lengths)]

    def runs_at(self, point: int) -> list[int]:
        """The numbers of the runs that have a value at the point."""
        return [k for k, (_, length) in enumerate(self.runs) if point in _INPUTS[length]]

    @property
    def points(self) -> list[int]:
        return [p for p in (ZERO, ONE, MINUS, FAR) if self.runs_at(p)]

    @property
    def inputs(self) -> Map:
        return {key: functools.partial(_moved, _INPUTS[length][key[0]], first)
                for key, first, length in self._values()}

    @property
    def taps(self) -> Map:
        return {key: functools.partial(_moved, _TAPS[length][key[0]], first)
                for key, first, length in self._values()}

    @property
    def sums(self) -> Map:
        there = set(self.points)
        return {place: functools.partial(_signed, [t for t in terms if t[0] in there])
                for place, terms in enumerate(_SUMS)}

    @property
    def spread(self) -> Map:
        return {p: _SPREAD[p] for p in self.points}

    @property
    def back(self) -> Map:
        return {first + k: functools.partial(_of_run, tap, number) for number, (first, length) in
                enumerate(self.runs) for k, tap in enumerate(_BACK[length])}

    def _values(self) -> Iterable[tuple[tuple[int, int], int, int]]:
        return (((p, k), *self.runs[k]) for p in self.points for k in self.runs_at(p))


@record
class Points:
    """The points of all axes together, those with equally many values side by side.

    A point has a value for each choice of runs: of its values along an axis there is one for each run.
    """

    lines: tuple[Line, ...]

    @property
    def order(self) -> list[Key]:
        return sorted(itertools.product(*(line.points for line in self.lines)),
                      key=lambda point: -len(self.runs(point)))

    @property
    def values(self) -> list[Key]:
        """The keys of all values, those of each point in turn."""
        return [tuple(zip(point, run, strict=True)) for point in self.order for run in self.runs(point)]

    @property
    def starts(self) -> dict[Key, int]:
        """The number of each point's first value."""
        ends = itertools.accumulate((len(self.runs(point)) for point in self.order), initial=0)
        return dict(zip(self.order, ends, strict=False))

    @property
    def classes(self) -> list[tuple[int, int]]:
        """How many points there are, and how many values each of them has, by number."""
        return [(len(list(same)), count)
                for count, same in itertools.groupby(len(self.runs(point)) for point in self.order)]

    @property
    def sides(self) -> list[int]:
        """Inputs of a patch along each axis."""
        return [line.size + 1 for line in self.lines]

    def runs(self, point: Key) -> list[Key]:
        return list(itertools.product(*(line.runs_at(p) for line, p in zip(self.lines, point, strict=True))))


def points_of(size: Sequence[int]) -> Points:
    return Points(tuple(Line(s) for s in size))


def keys_of(extents: Sequence[int]) -> Iterator[Key]:
    """The places in a box."""
    return itertools.product(*(range(e) for e in extents))


def apply(maps: Iterable[Map], values: Mapping[Any, Any],
          name: Callable[[Any], Any] = lambda v: v) -> dict[Any, Any]:
    """A map along each axis of values whose keys are tuples with an entry for each.

    name  what to do with each value that is computed
    """
    for k, one in enumerate(maps):
        rest = {(key[:k], key[k + 1:]): None for key in values}
        values = {(*before, new, *after): name(fn(_line(values, before, after)))
                  for before, after in rest for new, fn in one.items()}
    return dict(values)


def _line(values: Mapping[Any, Any], before: Any, after: Any) -> Get:
    """The values along an axis, given the entries of their keys for the other axes."""
    return lambda key: values[before + (key,) + after]


def _moved(fn: Callable[[Get], Any], first: int, get: Get) -> Any:
    return fn(lambda k: get(first + k))


def _of_run(fn: Callable[[Get], Any], run: int, get: Get) -> Any:
    return fn(lambda point: get((point, run)))


def _signed(terms: list[tuple[int, int]], get: Get) -> Any:
    (first, positive), *rest = terms
    total = get(first) if positive > 0 else -get(first)
    for point, sign in rest:
        total = total + get(point) if sign > 0 else total - get(point)
    return total
