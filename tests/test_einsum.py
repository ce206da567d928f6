"""tf.einsum against numpy's, with gradients, and what it refuses."""

from __future__ import annotations

import re

import numpy as np
import pytest
from fresh import graph  # noqa: F401

import graphflow as tf

_DIMS = dict(zip("abijkmn", (2, 3, 4, 5, 6, 2, 3), strict=True))
EQUATIONS = [
    "ij,jk->ik", "ij,jk", "ij,jk->ki", "ij->ji", "ij->", "ij->j", "i,i->", "i,j->ij", "ij,ij->ij", "ij,ij->i",
    "aij,ajk->aik", "abij,abjk->abik", "aibj,bkaj->abik", "ij,jk,km->im", "ij,k->ikj", "ijk,k->ij", "ii->",
    "ii->i", "iij->j", "iji->ij", "ij,kj->", "a,ij->", "ijk,jk,k->i", " i j , j k -> i k ", "abi,ij,bk->akj",
    "ji,ij", "iii->i", "ai,bi->ab", "a,a,a->a", "ij,i->j"]


def _operands(equation):
    rng = np.random.default_rng(0)
    sides = equation.replace(" ", "").split("->")[0].split(",")
    return [rng.standard_normal([_DIMS[c] for c in s]) for s in sides]


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("equation", EQUATIONS)
def test_values_and_gradients(equation, known):
    arrays = _operands(equation)
    xs = [tf.placeholder(tf.float64, a.shape if known else [None] * a.ndim) for a in arrays]
    y = tf.einsum(equation, *xs)
    grads = tf.gradients(tf.reduce_sum(tf.sin(y)), xs)
    feeds = dict(zip(xs, arrays, strict=True))
    found, *slopes = tf.Session().run([y, *grads], feeds)
    want = np.einsum(equation.replace(" ", ""), *arrays)
    np.testing.assert_allclose(found, want, rtol=1e-10, atol=1e-12)
    if known:
        assert y.shape.as_list() == list(want.shape)
    rng = np.random.default_rng(1)
    for k, slope in enumerate(slopes):
        step = rng.standard_normal(arrays[k].shape) * 1e-6
        low, high = (np.sum(np.sin(np.einsum(equation.replace(" ", ""), *[
            a + s * step if j == k else a for j, a in enumerate(arrays)]))) for s in (-1, 1))
        assert np.sum(slope * step) == pytest.approx((high - low) / 2, rel=1e-5, abs=1e-11)


@pytest.mark.parametrize(("equation", "shapes"), [
    ("...ij,...jk->...ik", [(2, 3, 4), (2, 4, 5)]), ("...ij,jk->...ik", [(2, 3, 4), (4, 5)]),
    ("...ij,...jk", [(2, 1, 3, 4), (3, 4, 5)]), ("i...->...", [(3, 2, 4)]), ("...i->i...", [(3, 2, 4)]),
    ("...,...->...", [(2, 1), (3,)]), ("...ii->...i", [(2, 3, 3)])])
def test_dots_are_axes_that_broadcast(equation, shapes):
    arrays = [np.random.default_rng(k).standard_normal(s) for k, s in enumerate(shapes)]
    found = tf.Session().run(tf.einsum(equation, *map(tf.constant, arrays)))
    np.testing.assert_allclose(found, np.einsum(equation, *arrays), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("equation", "shapes", "text"), [
    ("ij,jk->ik", [(2, 3), (4, 5)], "j is 3 in operand 0.*but 4 in operand 1"),
    ("ij,jk->ik", [(2, 3)], "of 1 operands"), ("ij->il", [(2, 3)], "different ones of the operands"),
    ("...i,...i->i", [(2, 3), (2, 3)], "if these have it"), ("ij->ii", [(2, 3)], "different ones"),
    ("ijk->i", [(2, 3)], "does not name the axes of operand 0"),
    ("i1->i", [(2, 3)], "letters for the axes"), ("..ij->i", [(2, 3)], "letters for the axes")])
def test_what_does_not_fit_is_refused(equation, shapes, text):
    with pytest.raises(ValueError, match=text):
        tf.einsum(equation, *(tf.zeros(s) for s in shapes))


def test_products_of_matrices_are_products():
    x, w = tf.placeholder(tf.float32, [None, 7, 8]), tf.placeholder(tf.float32, [8, 3, 4])
    run = tf.Session().engine.prepare([tf.einsum("bsh,hnd->bsnd", x, w)], [], [x, w])
    run(np.zeros((2, 7, 8), np.float32), np.zeros((8, 3, 4), np.float32))
    calls = run.programs[0].calls
    assert calls[0].kind == "product" and not any("transpose" in c.fused for c in calls)


@pytest.mark.parametrize("shape", [(46_400, 46_400), (None, None)])
def test_places_on_a_diagonal_may_pass_32_bits(shape):
    x = tf.placeholder(tf.uint8, shape)
    places = tf.matrix_diag_part(x).op.inputs[1]
    assert places.dtype is tf.int64
    if None not in shape:
        assert tf.Session().run(places)[-1] == 46_399 * 46_401


@pytest.mark.parametrize("equation", ["ij,jk->ik", "...ij,...jk->...ik"])
def test_fed_dims_that_do_not_fit(equation):
    x, y = tf.placeholder(tf.float32, [None, None]), tf.placeholder(tf.float32, [None, None])
    out, sess = tf.einsum(equation, x, y), tf.Session()
    text = re.escape(f"einsum {equation!r}: j is 4 in operand 0, ") + "(?s:.*but 5 in operand 1.*)einsum.py"
    with pytest.raises(tf.errors.InvalidArgumentError, match=text):
        sess.run(out, {x: np.ones((3, 4)), y: np.ones((5, 2))})
    assert sess.run(out, {x: np.ones((3, 4)), y: np.ones((4, 2))}).tolist() == [[4.0] * 2] * 3
