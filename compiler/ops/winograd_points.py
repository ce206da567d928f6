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

    runs          the first of each run's taps, and how many there are: threes and twos, but for a size of 1
    points        at which the runs have values
    inputs, taps  to the values at points of runs: of size + 1 neighbouring inputs, and of the taps
    sums          from the points to the two outputs
    spread, back  the transposed ones: from the two outputs to the points, from points of runs to the taps
    """

    size: int
    runs: tuple[tuple[int, int], ...]
    points: tuple[int, ...]
    inputs: Map
    taps: Map
    sums: Map
    spread: Map
    back: Map

    def runs_at(self, point: int) -> list[int]:
        """The numbers of the runs that have a value at the point."""
        return _runs_at(self.runs, point)


def _line(size: int) -> Line:
    twos = min(-size % 3, size // 2)
    lengths = [3] * ((size - 2 * twos) // 3) + [2] * twos or [1]
    runs = tuple((sum(lengths[:k]), length) for k, length in enumerate(lengths))
    points = tuple(p for p in (ZERO, ONE, MINUS, FAR) if _runs_at(runs, p))
    values = [(p, k, *runs[k]) for p in points for k in _runs_at(runs, p)]
    inputs, taps = ({(p, k): functools.partial(_moved, maps[length][p], first)
                     for p, k, first, length in values} for maps in (_INPUTS, _TAPS))
    sums = {place: functools.partial(_signed, [t for t in terms if t[0] in points])
            for place, terms in enumerate(_SUMS)}
    back = {first + k: functools.partial(_of_run, tap, number) for number, (first, length) in enumerate(runs)
            for k, tap in enumerate(_BACK[length])}
    return Line(size, runs, points, inputs, taps, sums, {p: _SPREAD[p] for p in points}, back)


def _runs_at(runs: Iterable[tuple[int, int]], point: int) -> list[int]:
    return [k for k, (_, length) in enumerate(runs) if point in _INPUTS[length]]


@record
class Points:
    """The points of all axes together, those with equally many values side by side.

    A point has a value for each choice of runs: of its values along an axis there is one for each run.

    runs     of each point, in order
    starts   the number of each point's first value
    values   the keys of all values, those of each point in turn
    classes  how many points there are, and how many values each of them has, by number
    """

    lines: tuple[Line, ...]
    runs: Mapping[Key, Sequence[Key]]
    starts: Mapping[Key, int]
    values: Sequence[Key]
    classes: Sequence[tuple[int, int]]

    @property
    def sides(self) -> list[int]:
        """Inputs of a patch along each axis."""
        return [line.size + 1 for line in self.lines]


@functools.lru_cache(maxsize=64)
def points_of(size: tuple[int, ...]) -> Points:
    """The points for filters of so many taps along each axis."""
    lines = tuple(_line(s) for s in size)
    every = {point: list(itertools.product(*(line.runs_at(p) for line, p in zip(lines, point, strict=True))))
             for point in itertools.product(*(line.points for line in lines))}
    runs = dict(sorted(every.items(), key=lambda of: -len(of[1])))
    counts = [len(r) for r in runs.values()]
    starts = dict(zip(runs, itertools.accumulate(counts, initial=0), strict=False))
    values = [tuple(zip(point, run, strict=True)) for point in runs for run in runs[point]]
    classes = [(len(list(same)), count) for count, same in itertools.groupby(counts)]
    return Points(lines, runs, starts, values, classes)


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
        values = {(*before, new, *after): name(fn(_along(values, before, after)))
                  for before, after in rest for new, fn in one.items()}
    return dict(values)


def _along(values: Mapping[Any, Any], before: Any, after: Any) -> Get:
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
