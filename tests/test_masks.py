"""Vectors of which not all lanes are loaded: their tests, and what lies beside a buffer."""

from __future__ import annotations

import re

import numpy as np
import pytest

import graphflow as tf
from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.kernel import emit_kernel
from graphflow.compiler.ir.dims import axis, single_atom
from graphflow.compiler.ir.dtypes import float32
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.nest import Loop, LoopNest, Param, Store
from graphflow.compiler.passes.schedule import schedule


def padded(columns: int) -> LoopNest:
    """for i < 8: for j < 9: for c < columns: y[i, j, c] = x[i-1, j-2, c], if there is one"""
    i, j, c = axis("i", 8), axis("j", 9), axis("c", columns)
    inside = (E.index(i - 1) >= 0) & (E.index(j - 2) >= 0) & (E.index(j - 2) < 6)
    value = E.load("x", columns * (6 * (i - 1) + j - 2) + c, float32, inside)
    body: Loop | Store = Store("y", columns * (9 * i + j) + c, value)
    for d, extent in ((c, columns), (j, 9), (i, 8)):
        body = Loop(single_atom(d), extent, (body,))
    return LoopNest((Param("x", float32, False), Param("y", float32, True)), (), (body,), ())


def test_tests_of_narrow_loops_go_with_what_becomes_one():
    assert str(schedule(padded(3), 512)).splitlines()[1:] == [
        "  for i < 8:",
        "    vector for j < 27:",
        "      y[27*i+j] = x[18*i+j-24 if and(and(ge(i-1, 0), ge(j-6, 0)), lt(j-6, 18))]"]


def test_tests_of_wide_loops_stay_the_same_for_all_lanes():
    assert "vector for c < 16:" in str(schedule(padded(16), 512))


@pytest.mark.parametrize("columns", [3, 16])
def test_no_vector_is_looked_for_beside_its_buffer(columns):
    text = emit_kernel(schedule(padded(columns), 512), "k", Module(512))
    read = set(re.findall(r"masked\.load\S+\(ptr (%\S+),", text))
    chosen = set(re.findall(r"(%\S+) = select i1 %\S+, ptr %\S+, ptr %x\n", text))
    assert read
    assert read <= chosen


@pytest.mark.parametrize("channels", range(1, 18))
@pytest.mark.parametrize("around", [((0, 1), (1, 0)), ((2, 3), (4, 1)), ((0, 0), (20, 0))])
def test_pads_are_exact(channels, around):
    x = np.random.default_rng(channels).normal(size=(2, 5, 6, channels)).astype(np.float32)
    pairs = [(0, 0), *around, (0, 0)]
    with tf.Graph().as_default(), tf.Session() as session:
        fed = tf.placeholder(tf.float32, (None, *x.shape[1:]))
        found = session.run(tf.pad(fed, pairs, constant_values=1.5), {fed: x})
    assert np.array_equal(found, np.pad(x, pairs, constant_values=np.float32(1.5)))
