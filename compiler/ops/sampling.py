"""Classes drawn at random, with or without repetition: what sampled losses are computed on.

A draw is a function of the key and its number, so that one stream of draws serves every formulation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.compiler.ir.dims import axis
from graphflow.compiler.ir.dtypes import bool_, float64, int32, int64
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import Indexed, Let, Load, Serial, Workspace
from graphflow.compiler.loops.nest import Let as Name
from graphflow.compiler.loops.nest import Stmt, Store, loop_over
from graphflow.compiler.ops.random import SAMPLE_KEY, philox_element, philox_numpy
from graphflow.compiler.ops.samples import Sample

_ATTRS: dict[str, Any] = {"num_sampled": REQUIRED, "range_max": REQUIRED, "how": "uniform", "seed": None,
                          "stream": 0}
_ROUNDS = 60  # round r repeats up to 2^r times: more draws than any run lives to see


def _candidates_type(op: Operation) -> TensorType:
    return TensorType(int64, (op.num_sampled + 1,))


# One draw, as an expression and in numpy. u is uniform in [0, 1).

def _draw(op: Operation, number: E.Expr, load: Callable[[int, E.Index], E.Expr], let: Let) -> E.Expr:
    words = philox_element(op, number, [load(0, (k,)) for k in range(4)])
    high, low = (E.cast(w >> 6, float64) for w in words[:2])
    u = (high * 2.0**26 + low) * 2.0**-52
    last = op.range_max - 1
    if op.how == "table":
        return _bisect(op, u, load, let)
    if op.how == "log_uniform":  # P(c) = log((c + 2) / (c + 1)) / log(range_max + 1)
        u = E.call("exp", u * float(np.log(op.range_max + 1.0))) - 1.0
    else:
        u = u * float(op.range_max)
    return E.minimum(E.cast(u, int64), last)


def _bisect(op: Operation, u: E.Expr, load: Callable[[int, E.Index], E.Expr], let: Let) -> E.Expr:
    """How many of the ascending sums in operand 1 are not above u."""
    size, place = op.range_max, E.const(0, int64)
    u = let(u)
    for bit in reversed(range(size.bit_length())):
        candidate = let(place + (1 << bit))
        inside = candidate <= size
        before = load(1, (E.as_offset(let(E.select(inside, candidate - 1, 0))),))
        place = let(E.select(inside & (before <= u), candidate, place))
    return E.minimum(place, size - 1)


def _draws_numpy(numbers: Any, inputs: Any, range_max: int, how: str, seed: Any, stream: int) -> Any:
    high, low = ((w >> np.uint32(6)).astype(np.float64) for w in philox_numpy(inputs[0], numbers, seed,
                                                                              stream)[:2])
    u = (high * 2.0**26 + low) * 2.0**-52
    if how == "table":
        drawn = np.searchsorted(inputs[1], u, side="right")
    elif how == "log_uniform":
        drawn = np.exp(u * float(np.log(range_max + 1.0))) - 1.0
    else:
        drawn = u * float(range_max)
    return np.minimum(drawn.astype(np.int64), range_max - 1)


# With repetition

def _drawn_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    number, count = E.index(at[0]), op.num_sampled
    return E.select(number < count, _draw(op, number, load, let), count)


def _drawn_numpy(*inputs: Any, num_sampled: int, **options: Any) -> Any:
    draws = _draws_numpy(np.arange(num_sampled), inputs, **options)
    return np.concatenate([draws, [num_sampled]])


_KEY = (SAMPLE_KEY,)
_TABLE = np.array([0.1, 0.1, 0.5, 0.9, 1.0])
drawn_candidates = OpDef(
    "drawn_candidates", "*inputs", infer=_candidates_type, attrs=_ATTRS, lower=Indexed(_drawn_element),
    numpy=_drawn_numpy, mixed=True,
    doc="Classes drawn independently, and behind them the number of draws. Inputs: key, sums for a table.",
    samples=(Sample(_KEY, {"num_sampled": 40, "range_max": 7}),
             Sample(_KEY, {"num_sampled": 9, "range_max": 50000, "how": "log_uniform", "seed": (1, 2)}),
             Sample((SAMPLE_KEY, _TABLE), {"num_sampled": 30, "range_max": 5, "how": "table"})))


# Without repetition: draws until there are enough different classes

def _unique_steps(op: Operation, work: Workspace) -> list[Stmt]:
    """Rounds of draws until enough classes are found; afterwards the loops have no iterations."""
    count: int = op.num_sampled
    found, tries = _Cells(work.scratch(int64, 2), 0), _Cells(work.scratch(int64, 2), 1)
    missing = E.select(found.value < count, 1, E.const(0, int64))
    again, doubled = E.temp("again", int64), E.temp("doubled", int64)
    one_round = loop_over(axis("one", E.as_offset(again)), _one_round(op, work, found, tries))
    repeats = loop_over(axis("repeat", E.as_offset(doubled)), [Name("again", missing), one_round])
    q = axis("q", _ROUNDS)
    return [found.store(E.const(0, int64)), tries.store(E.const(0, int64)),
            loop_over(q, [Name("doubled", E.call("shl", missing, E.index(q))), repeats]),
            work.store((count,), tries.value)]


class _Cells:
    """A number in memory that later iterations change."""

    def __init__(self, buffer: str, place: int) -> None:
        self.buffer = buffer
        self.place = place

    @property
    def value(self) -> E.Expr:
        return E.load(self.buffer, self.place, int64)

    def store(self, value: E.Expr) -> Stmt:
        return Store(self.buffer, self.place, value)


def _one_round(op: Operation, work: Workspace, found: _Cells, tries: _Cells) -> list[Stmt]:
    """Some draws at once, in vectors; then each is taken or rejected."""
    most = op.num_sampled + op.num_sampled // 4 + 8
    drawn, i, j = work.scratch(int64, most), axis("i", most), axis("j", most)
    body: list[Stmt] = []

    def let(value: E.Expr) -> E.Expr:
        body.append(Name(f"d{len(body)}", value))
        return E.temp(f"d{len(body) - 1}", value.dtype)

    draw = _draw(op, E.temp("first", int64) + E.index(i), work.load, let)
    fill = loop_over(i, [*body, Store(drawn, i, draw)], ordered=False)
    take = _take(op, work, E.load(drawn, j, int64), found, tries)
    return [Name("first", tries.value), fill, loop_over(j, take)]


def _take(op: Operation, work: Workspace, drawn: E.Expr, found: _Cells, tries: _Cells) -> list[Stmt]:
    """place[c] is where class c stands among those found, if it does.

    What was never written there gives itself away: the class at that place is another one (Briggs and
    Torczon 1993). So the table need not be cleared, and no more of it is touched than there are draws.
    """
    place, count = work.scratch(int32, op.range_max), E.const(op.num_sampled, int64)
    c, n, at, known = (E.temp(name, int64) for name in ("class", "n", "at", "known"))
    fresh, to = E.temp("fresh", bool_), E.temp("to", int64)
    inside = (at >= 0) & (at < n)
    missing = n < count
    return [Name("class", drawn), Name("n", found.value),
            Name("at", E.cast(E.load(place, E.as_offset(c), int32), int64)),
            Name("known", E.select(inside, at, 0)),
            Name("fresh", missing & ~(inside & E.eq(work.result((E.as_offset(known),)), c))),
            Name("to", E.select(fresh, n, count)),
            work.store((E.as_offset(to),), c),
            Store(place, E.as_offset(c), E.cast(E.select(fresh, n, at), int32)),
            found.store(n + E.cast(fresh, int64)), tries.store(tries.value + E.cast(missing, int64))]


def _unique_numpy(*inputs: Any, num_sampled: int, **options: Any) -> Any:
    found: dict[int, None] = {}
    tries = 0
    while len(found) < num_sampled:
        for c in _draws_numpy(np.arange(tries, tries + num_sampled), inputs, **options):
            if len(found) < num_sampled:
                found[int(c)] = None
                tries += 1
    return np.array([*found, tries])


unique_candidates = OpDef(
    "unique_candidates", "*inputs", infer=_candidates_type, attrs=_ATTRS, lower=Serial(_unique_steps),
    numpy=_unique_numpy, mixed=True,
    doc="Different classes in the order in which they were first drawn, and behind them the number of draws.",
    samples=(Sample(_KEY, {"num_sampled": 7, "range_max": 7}),
             Sample(_KEY, {"num_sampled": 1, "range_max": 1, "how": "log_uniform"}),
             Sample(_KEY, {"num_sampled": 64, "range_max": 50000, "how": "log_uniform", "seed": (1, 2)}),
             Sample((SAMPLE_KEY, _TABLE), {"num_sampled": 4, "range_max": 5, "how": "table"})))


# What the user's graph holds

def _candidates(op: Operation, key: Tensor) -> Tensor:
    record = unique_candidates if op.unique else drawn_candidates
    result: Tensor = record(key, *op.operands[1:], **{k: op.attrs[k] for k in _ATTRS})
    return result


candidate_sampler = OpDef(
    "candidate_sampler", "*inputs", infer=_candidates_type, attrs={**_ATTRS, "unique": True},
    expand=_candidates, effect="random", mixed=True, tf_name="CandidateSampler")
