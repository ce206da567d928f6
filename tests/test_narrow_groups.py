"""Convolutions in groups of few channels, where each lane sees its own group: any geometry, as in float64."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow.compiler.ir.dims import axis, single_atom
from graphflow.compiler.ir.dtypes import float32
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.interpret_nest import run_nest
from graphflow.compiler.loops.nest import Accumulator, Let, Loop, LoopNest, Param, Store
from graphflow.compiler.loops.repeats import reaches, repeats_of
from graphflow.compiler.ops.convolution import convolution, convolution_filter_grad, convolution_input_grad
from graphflow.compiler.ops.convolution_numpy import convolution_numpy, filter_grad_numpy, input_grad_numpy
from graphflow.compiler.passes.tests_left_out import of_terms_there

CASES = [  # spatial, size, groups, channels and outputs of each, stride, padding, dilation
    ((14, 9), (3, 3), 32, 4, 4, 1, "SAME", 1), ((13, 16), (3, 3), 16, 8, 8, 1, "SAME", 1),
    ((9, 21), (3, 3), 64, 2, 2, 1, "VALID", 1), ((15, 14), (3, 3), 12, 4, 4, 2, "SAME", 1),
    ((11, 8), (5, 2), 10, 3, 4, 1, "SAME", 1), ((12, 13), (3, 3), 8, 4, 8, 1, "SAME", 2),
    ((10, 9), (1, 1), 24, 6, 4, 1, "SAME", 1), ((17, 5), (3, 3), 7, 8, 2, 2, ((2, 0), (1, 3)), 1),
    ((9, 9), (3, 3), 48, 1, 2, 1, "SAME", 1), ((7, 9), (3, 3), 5, 1, 16, 1, "SAME", 1),
    ((7, 9), (3, 2), 3, 1, 32, 2, "SAME", 1), ((7, 5), (3, 3), 7, 1, 12, 1, "VALID", 1),
    ((9, 9), (3, 3), 20, 5, 1, 1, "SAME", 1),
    ((30,), (3,), 33, 4, 4, 1, "SAME", 4), ((5, 6, 9), (3, 2, 3), 16, 4, 2, 1, "SAME", 1),
    ((4, 5), (3, 3), 16, 4, 4, 1, ((6, 6), (0, 7)), 1), ((8, 9), (3, 3), 6, 5, 3, 1, "SAME", 1)]


def three(case: Any, dtype: Any) -> tuple[Any, list[Any], Any, tuple[Any, Any]]:
    """Operands, what a convolution and its two gradients give in float64, its attributes, and two shapes."""
    spatial, size, groups, narrow, each, stride, padding, dilation = case
    rng, rank = np.random.default_rng(narrow), len(spatial)
    x, w = rng.normal(size=(2, *spatial, groups * narrow)), rng.normal(size=(*size, narrow, groups * each))
    attrs = {"strides": (stride,) * rank, "dilations": (dilation,) * rank, "padding": padding,
             "groups": groups}
    g = rng.normal(size=convolution_numpy(x, w, **attrs).shape)
    x, w, g = (a.astype(dtype) for a in (x, w, g))
    wide = [a.astype(np.float64) for a in (x, w, g)]
    expected = [convolution_numpy(*wide[:2], **attrs),
                input_grad_numpy(wide[2], wide[1], spatial, called="", **attrs),
                filter_grad_numpy(wide[0], wide[2], size, called="", **attrs)]
    return (x, w, g), expected, attrs, (spatial, size)


def compiled(arrays: Any, attrs: Any, shapes: Any, batch: int | None, threads: int) -> list[Any]:
    config = tf.ConfigProto(intra_op_parallelism_threads=threads)
    with tf.Graph().as_default(), tf.Session(config=config) as session:
        x, w, g = (tf.placeholder(a.dtype, a.shape) for a in arrays)
        if batch is None:
            x, g = (tf.placeholder(a.dtype, (None, *a.shape[1:])) for a in (arrays[0], arrays[2]))
        fetches = [convolution(x, w, **attrs), convolution_input_grad(g, w, shape=shapes[0], **attrs),
                   convolution_filter_grad(x, g, shape=shapes[1], **attrs)]
        found: list[Any] = session.run(fetches, dict(zip((x, w, g), arrays, strict=True)))
        return found


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-14),
                                                  (tf.bfloat16.as_numpy_dtype, 2.0 ** -8)])
def test_as_in_float64(case, dtype, tolerance):
    arrays, expected, attrs, shapes = three(case, dtype)
    found = compiled(arrays, attrs, shapes, len(arrays[0]), 1)
    for value, wanted in zip(found, expected, strict=True):
        assert value.dtype == dtype
        np.testing.assert_allclose(value.astype(np.float64), wanted, rtol=tolerance,
                                   atol=tolerance * 4 * abs(wanted).max())
    for batch, threads in ((len(arrays[0]), 3), (None, 2)):
        others = compiled(arrays, attrs, shapes, batch, threads)
        if batch:
            assert all(a.tobytes() == b.tobytes() for a, b in zip(found, others, strict=True))
        for value, wanted in zip(others, expected, strict=True):
            np.testing.assert_allclose(value.astype(np.float64), wanted, rtol=tolerance,
                                       atol=tolerance * 4 * abs(wanted).max())


def test_unknown_spatial_dims():
    arrays, expected, attrs, _ = three(CASES[0], np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        x, w = tf.placeholder(tf.float32, [None, None, None, arrays[0].shape[-1]]), tf.constant(arrays[1])
        y = convolution(x, w, **attrs)
        found = session.run([y, *tf.gradients(y, x, tf.constant(arrays[2]))], {x: arrays[0]})
    for value, wanted in zip(found, expected[:2], strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-4)


def test_what_follows_is_computed_with_the_sums():
    arrays, expected, attrs, _ = three(CASES[0], np.float32)
    bias = np.linspace(-1, 1, 128, dtype=np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, arrays[0].shape)
        y = tf.nn.relu(convolution(x, tf.constant(arrays[1]), **attrs) + bias)
        text = str(tf.explain(y, {x: arrays[0]}, session=session))
        found = session.run(y, {x: arrays[0]})
    np.testing.assert_allclose(found, np.maximum(expected[0] + bias, 0), rtol=1e-5, atol=1e-5)
    assert "1 kernels" in text


BESIDE = """
import gemm_guards, numpy as np, test_narrow_groups as t
for case in t.CASES:
    for at_end in (False, True):
        arrays, expected, attrs, shapes = t.three(case, np.float32)
        held = [gemm_guards.guarded(a.shape, a.dtype, at_end) for a in arrays]
        for to, a in zip(held, arrays):
            to[...] = a
        for found, wanted in zip(t.compiled(held, attrs, shapes, len(held[0]), 1), expected):
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)
"""


def test_no_memory_beside_the_operands_is_touched():
    done = subprocess.run([sys.executable, "-c", BESIDE], cwd=Path(__file__).parent, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr


# Loads

def test_lanes_share_elements():
    i, j = axis("i", 9), axis("j", 64)
    along = single_atom(j)
    found = repeats_of(256 * i + 4 * (j // 4) + 7, along, 16)
    assert found is not None
    assert (found.each, found.step, found.first, found.start) == (4, 4, 3, 256 * i + 4 * (j // 4) + 4)
    assert found.picks(16) == [3] * 4 + [7] * 4 + [11] * 4 + [15] * 4
    assert [found.first_lane(k, 16) for k in (0, 3, 4, 7, 15, 19)] == [16, 0, 16, 4, 12, 16]


@pytest.mark.parametrize("offset", [
    lambda i, j: 3 * i, lambda i, j: 9 * j, lambda i, j: -j, lambda i, j: i * j, lambda i, j: j // 3,
    lambda i, j: j // 4 + j, lambda i, j: (i + j) // 4])
def test_other_lanes_are_gathered(offset):
    i, j = axis("i", 9), axis("j", 64)
    assert repeats_of(offset(i, j), single_atom(j), 16) is None


def test_neighbours_reach_as_far_as_the_last_of_them():
    j = axis("j", 64)
    values = [E.load("x", 4 * (j // 4) + c, float32) for c in (0, 2, 9)]
    body = tuple(Store("y", j, v) for v in values)
    found = reaches(body, single_atom(j), 16)
    assert sorted(found.values()) == [13, 14]


@pytest.mark.parametrize("step", range(1, 10))
@pytest.mark.parametrize("columns", [5, 16, 33])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.bool_])
def test_every_so_many(step, columns, dtype):
    table = (np.random.default_rng(step).normal(size=(3, step * columns)) * 9).astype(dtype)
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(table.dtype, table.shape)
        parts = [tf.identity(x[:, k::step]) for k in range(step)]
        found = session.run(parts, {x: table})
    assert all(np.array_equal(part, table[:, k::step]) for k, part in enumerate(found))


# Sums of the terms that are there

def window(dilation: int) -> Loop:
    """for i < 9: for u < 3, r add= a window's element times w[u]"""
    i, u = axis("i", 9), axis("u", 3)
    at = i + dilation * (u - 1)
    inside = (E.index(at) >= 0) & (E.index(at) < E.index(9))
    term = E.fma(E.load("x", at, float32, inside), E.load("w", u, float32), E.const(0, float32))
    inner = Loop(single_atom(u), 3, (Let("t", term),), (Accumulator("r", "add", E.temp("t", float32)),))
    return Loop(single_atom(i), 9, (inner, Store("y", i, E.temp("r", float32))))


@pytest.mark.parametrize("dilation", [1, 2, 5])
def test_windows_end_where_the_image_does(dilation):
    x, w, new = np.arange(1.0, 10).astype("f"), np.array([3, 5, 7], "f"), of_terms_there(window(dilation))
    params = (Param("x", float32, False), Param("w", float32, False), Param("y", float32, True))
    assert " if " in str(LoopNest(params, (), (window(dilation),), ()))
    assert " if " not in str(LoopNest(params, (), (new,), ()))
    results = []
    for loop in (window(dilation), new):
        y = np.zeros(9, "f")
        run_nest(LoopNest(params, (), (loop,), ()), [x, w, y], {})
        results.append(y)
    assert np.array_equal(*results)
    assert np.array_equal(results[0], [sum(w[u] * x[i + dilation * (u - 1)] for u in range(3)
                                           if 0 <= i + dilation * (u - 1) < 9) for i in range(9)])


@pytest.mark.parametrize("rest", [E.const(5, float32), E.temp("outer", float32)])
def test_terms_with_more_in_them_are_all_added(rest):
    loop = window(1)
    inner, store = loop.body
    (let,) = inner.body
    more = replace(let, value=E.fma(*let.value.args[:2], rest))
    outer = replace(loop, body=(replace(inner, body=(more,)), store))
    assert of_terms_there(outer) == outer


def test_sums_by_vectors_keep_their_tests():
    """Whole windows may lie beside the image: a vector loop takes no negative extent."""
    loop = window(5)
    inner, store = loop.body
    outer = replace(loop, body=(replace(inner, vector=True), store))
    assert of_terms_there(outer) == outer
