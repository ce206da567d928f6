"""Loops whose iterations are computed in halves: the same bits, and what crosses from half to half."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow.compiler.codegen import halves
from graphflow.compiler.codegen.halves import in_halves
from graphflow.compiler.ir.dims import axis, single_atom
from graphflow.compiler.ir.dtypes import float32
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import Accumulator, Let, Loop, Store, expressions, loads

Array = np.ndarray[Any, Any]
SIZES = (1, 15, 16, 17, 31, 255, 256, 257, 1000, 70_003)


def prices(x: Any) -> Sequence[Any]:
    """Two results of which each has a long chain, and one that is known early."""
    d = (tf.log(x) + 0.1 * x) / tf.sqrt(x)
    return [x * tf.erf(d) - tf.exp(-x) * tf.erf(d - 0.2), tf.exp(-x) + 1.0, tf.nn.softplus(tf.tanh(d))]


def normed(x: Any) -> Sequence[Any]:
    """Rows, with numbers that all iterations share."""
    mean = tf.reduce_mean(x, 1, keepdims=True)
    y = (x - mean) * tf.rsqrt(tf.reduce_mean(tf.square(x - mean), 1, keepdims=True) + 1e-5)
    return [x + 0.5 * y * (1.0 + tf.erf(y)), y * tf.sin(tf.log(tf.abs(y) + 1.0))]


def waves(x: Any) -> Sequence[Any]:
    """Functions that have near paths."""
    return [tf.tan(x) + tf.sinh(0.1 * x), tf.pow(x, 2.5), tf.expm1(tf.sin(x))]


def run(build: Callable[[Any], Sequence[Any]], x: Array, known: bool) -> list[Array]:
    with tf.Graph().as_default(), tf.Session() as session:
        p = tf.placeholder(x.dtype, x.shape if known else [None] * x.ndim)
        return [np.asarray(v) for v in session.run(build(p), {p: x})]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_halves_change_no_bit(dtype: Any, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    inputs = [(prices, rng.uniform(0.1, 3, n).astype(dtype)) for n in (SIZES if known else SIZES[-2:])]
    inputs += [(normed, rng.normal(size=(7, n)).astype(dtype)) for n in (300, 1024)]
    mostly_near = rng.uniform(0.1, 3, 1000)
    mostly_near[[100, 101, 500, 998]] = 1e30, np.nan, -2.0, -np.inf
    inputs += [(waves, mostly_near.astype(dtype)), (waves, np.abs(mostly_near[:480]).astype(dtype))]
    taken = []
    monkeypatch.setattr("graphflow.compiler.codegen.kernel.in_halves",
                        lambda loop, rounds: taken.append(in_halves(loop, rounds)) or taken[-1])
    results = [run(build, x, known) for build, x in inputs]
    assert any(taken)
    monkeypatch.setattr(halves, "_LONG", 10**9)
    for (build, x), got in zip(inputs, results, strict=True):
        for a, b in zip(got, run(build, x, known), strict=True):
            np.testing.assert_array_equal(a, b)


def long_map(store: Callable[[Expr, Any], Sequence[Store]], extent: int = 4096) -> Loop:
    """A vector loop over a load and a chain of functions of it, named t."""
    i = axis("i", extent)
    x = E.load("x", i, float32)
    chain = Let("t", E.call("erf", E.call("tanh", E.call("exp", x) / 3.0)) + x)
    found = single_atom(i)
    assert found is not None
    return Loop(found, extent, (chain, *store(E.temp("t", float32), i)), vector=True)


def test_few_values_cross_and_plain_loads_are_repeated() -> None:
    cut = in_halves(long_map(lambda t, i: [Store("y", i, t)]), 256)
    assert cut is not None
    kept = cut.first.accumulators
    assert 1 <= len(kept) <= 2
    assert all(a.value.op != "load" for a in kept)
    assert [n.attr[0] for n in loads((cut.second,))] == ["x"]


def test_all_results_are_computed_before_one_is_stored() -> None:
    """One may be stored where another's operand is."""
    x = E.load("x", axis("i", 4096), float32)
    cut = in_halves(long_map(lambda t, i: [Store("x", i, t), Store("y", i, t + x)]), 256)
    assert cut is not None
    assert len(cut.second.accumulators) == 2 and not cut.second.body
    assert [s.value.op for s in cut.stores.body] == ["temp", "temp"]


def test_nothing_is_computed_twice() -> None:
    """What is stored, but known early, crosses too."""
    soon = E.call("exp", E.load("x", axis("i", 4096), float32))
    cut = in_halves(long_map(lambda t, i: [Store("y", i, t), Store("z", i, soon)]), 256)
    assert cut is not None
    early, late = ({n for root in expressions((half,)) for n in E.walk(root) if n.args}
                   for half in (cut.first, cut.second))
    assert early and late and not early & late


@pytest.mark.parametrize("why", ["few iterations", "short chain", "a sum", "adds to memory", "a check"])
def test_other_loops_stay_whole(why: str) -> None:
    loop = long_map(lambda t, i: [Store("y", i, t, add=why == "adds to memory")])
    x = E.load("x", axis("i", 4096), float32)
    rounds = 4 if why == "few iterations" else 256
    if why == "short chain":
        loop = Loop(loop.axis, 4096, (Store("y", axis("i", 4096), x + 1.0),), vector=True)
    elif why == "a sum":
        loop = Loop(loop.axis, 4096, loop.body, (Accumulator("s", "add", x),), vector=True)
    elif why == "a check":
        checked = Let("c", E.checked(x, x < 3.0, "too large"))
        loop = Loop(loop.axis, 4096, (checked, *loop.body), vector=True)
    assert in_halves(loop, rounds) is None
