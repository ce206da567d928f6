"""Reductions that pick one element of a row: the kernels, and equal values whatever the position."""

from __future__ import annotations

import numpy as np
import pytest
from fresh import graph, session  # noqa: F401

import graphflow as tf
from graphflow.compiler.ir.dims import Dim, atoms_of, axis, single_atom, sym
from graphflow.compiler.ir.dtypes import DType, float32, int32, int64, uint8
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.interpret_nest import run_nest
from graphflow.compiler.loops.nest import Accumulator, Let, Loop, LoopNest, Param, Stmt, Store
from graphflow.compiler.passes.lone_terms import lone_terms

DRAW = np.random.RandomState(0)
INDEX = E.load("a", 0, int32)
CHECKED = E.checked_index(INDEX, 9, "label")


def picking(number: Expr, extent: Dim = 9, dtype: DType = int32, combine: str = "add",
            others: float = 0.0, stored: str = "y") -> LoopNest:
    """r = the sum over i of x[i] where number == i, else of `others`; y[i] = x[i] + 1"""
    i = axis("i", extent)
    hit = E.eq(E.cast(E.temp("t", number.dtype), dtype), E.index(i, dtype))
    x = E.load("x", i, float32)
    loop = Loop(single_atom(i), extent, (
        Let("hit", hit), Let("term", E.select(E.temp("hit", hit.dtype), x, others)),
        Store(stored, i, x + 1.0)), (Accumulator("r", combine, E.temp("term", float32)),))
    body: tuple[Stmt, ...] = (Let("t", number), loop, Store("out", 0, E.temp("r", float32)))
    params = (Param("a", int32, False), Param("x", float32, stored == "x"), Param("y", float32, True),
              Param("out", float32, True))
    return LoopNest(params, tuple(atoms_of(extent)), body, ("label",))


def ran(nest: LoopNest, number: int, x: np.ndarray) -> list[np.ndarray]:
    buffers = [np.array([number], np.int32), x.copy(), np.zeros_like(x), np.zeros(1, np.float32)]
    run_nest(nest, buffers, dict.fromkeys(nest.symbols, len(x)))
    return buffers[1:]


def test_a_checked_index_is_read_at_once():
    assert str(lone_terms(picking(CHECKED))).splitlines()[1:] == [
        "  t = checked(cast.i64(a[0]) < 9)", "  r.i = cast.i64(cast.i32(t))", "  r = add(0.0, x[r.i])",
        "  for i < 9:", "    y[i] = add(x[i], 1.0)", "  out[0] = r"]


def test_any_other_number_is_tested():
    assert str(lone_terms(picking(INDEX))).splitlines()[1:4] == [
        "  t = a[0]", "  r.i = cast.i64(t)",
        "  r = add(0.0, select(and(ge(r.i, 0), lt(r.i, 9)), x[r.i if and(ge(r.i, 0), lt(r.i, 9))], 0.0))"]


def test_a_loop_that_only_picked_is_gone():
    nest = picking(CHECKED)
    loop = nest.body[1]
    alone = Loop(loop.axis, loop.extent, loop.body[:2], loop.accumulators)
    lone = lone_terms(LoopNest(nest.params, (), (nest.body[0], alone, nest.body[2])))
    assert not any(isinstance(s, Loop) for s in lone.body)


@pytest.mark.parametrize("combine, others", [("add", 0.0), ("mul", 1.0), ("max", -np.inf), ("min", np.inf)])
@pytest.mark.parametrize("extent", [9, 1, sym("n")], ids=str)
@pytest.mark.parametrize("number", [0, 5, 8, 9, -1, -2 ** 31, 2 ** 31 - 1])
def test_values_are_those_of_the_whole_sum(number, extent, combine, others):
    x = np.array([-0.0, 1, 2, 3, 4, np.inf, np.nan, 7, -np.inf][:extent if extent == 1 else 9], np.float32)
    for dtype in (int32, int64):
        nest = picking(INDEX, extent, dtype, combine, others)
        lone = lone_terms(nest)
        assert (lone != nest) == (dtype is int64 or isinstance(extent, int))
        for found, wanted in zip(ran(lone, number, x), ran(nest, number, x), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_no_element_of_no_row_is_read():
    nest = picking(E.checked_index(INDEX, sym("n"), "label"), sym("n"), int64)
    assert lone_terms(nest) != nest
    assert ran(lone_terms(nest), 0, np.zeros(0, np.float32))[-1] == 0


@pytest.mark.parametrize("nest", [
    picking(INDEX, 300, uint8), picking(CHECKED, others=1.0), picking(CHECKED, others=-0.0),
    picking(CHECKED, combine="max"), picking(CHECKED, stored="x"),
    picking(E.load("x", 0, float32), dtype=float32)],
    ids=["numbers that wrap", "other terms", "negative zeros", "a maximum", "in place", "floats"])
def test_others_stay(nest):
    assert lone_terms(nest) == nest


# Whole programs

@pytest.mark.parametrize("logits", [tf.float32, tf.float64, tf.bfloat16, tf.float16], ids=str)
@pytest.mark.parametrize("labels", [tf.int32, tf.int64, tf.uint8], ids=str)
@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (33, 129), (2, 3, 20)], ids=str)
def test_cross_entropy_and_its_gradient(shape, labels, logits):
    x, y = tf.placeholder(logits, (None, *shape[1:])), tf.placeholder(labels, (None, *shape[1:-1]))
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=x)
    rows, classes = DRAW.normal(size=shape), DRAW.randint(0, shape[-1], shape[:-1])
    found, slope = session().run([loss, tf.gradients(loss, x)[0]], {x: rows, y: classes})
    rows = rows.astype(logits.as_numpy_dtype).astype(np.float64)
    e = np.exp(rows - rows.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)
    hit = np.arange(shape[-1]) == classes[..., None]
    error = {tf.float32: 1e-5, tf.float64: 1e-13, tf.bfloat16: 4e-2, tf.float16: 4e-3}[logits]
    np.testing.assert_allclose(found.astype(float), -np.log(p[hit]).reshape(found.shape), error, error)
    np.testing.assert_allclose(slope.astype(float), p - hit, error, error)


def test_weighted_losses_of_unknown_classes():
    x, y = tf.placeholder(tf.float32, [None, None]), tf.placeholder(tf.int64, [None])
    w = tf.placeholder(tf.float32, [None])
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=x)
    loss = tf.reduce_sum(each * w) / 4
    rows = DRAW.normal(size=(6, 11)).astype(np.float32)
    classes, weights = DRAW.randint(0, 11, 6), np.array([0, 1, 2, 0.5, 0, 1], np.float32)
    found = session().run([loss, tf.gradients(loss, x)[0]], {x: rows, y: classes, w: weights})
    p = np.exp(rows) / np.exp(rows).sum(-1, keepdims=True)
    exact = -np.log(p[np.arange(6), classes])
    np.testing.assert_allclose(found[0], (exact * weights).sum() / 4, rtol=1e-5)
    slope = (p - np.eye(11)[classes]) * weights[:, None] / 4
    np.testing.assert_allclose(found[1], slope, rtol=1e-4, atol=1e-7)


def test_a_label_out_of_range_fails_the_run():
    x, y = tf.placeholder(tf.float32, [2, 3]), tf.placeholder(tf.int32, [2])
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=x)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"index 3 is not in \[0, 3\)"):
        session().run(loss, {x: np.zeros((2, 3)), y: [0, 3]})


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("depth", [1, 6, 40])
def test_where_a_hot_one_is(depth, axis):
    """Positions beyond the row give 0, and what the others hold does not count."""
    x = DRAW.normal(size=(5, depth) if axis else (depth, 5)).astype(np.float32)
    at = np.array([0, depth - 1, depth, -1, depth // 2])
    x[(3, 0) if axis else (0, 3)] = np.nan
    q, a = tf.placeholder(tf.float32, x.shape), tf.placeholder(tf.int32, [5])
    hot = tf.one_hot(a, depth, True, False, axis=axis, dtype=tf.bool)
    picked = tf.reduce_sum(tf.where(hot, q, tf.zeros_like(q)), axis)
    scaled = tf.reduce_sum(q * tf.one_hot(a, depth, axis=axis), axis)
    found, product = session().run([picked, scaled], {q: x, a: at})
    rows = x if axis else x.T
    wanted = [rows[k, i] if 0 <= i < depth else 0 for k, i in enumerate(at)]
    np.testing.assert_array_equal(found, np.array(wanted, np.float32))
    assert np.isnan(product[3])
