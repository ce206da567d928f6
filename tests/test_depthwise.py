"""Depthwise convolutions of many channels, whose filters stay in registers: any geometry, as in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import graphflow as tf
from graphflow.compiler import oracle
from graphflow.compiler.ir.dims import axis, single_atom
from graphflow.compiler.ir.dtypes import float32
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.nest import Loop, Store, statements
from graphflow.compiler.passes.columns import FEWEST, column_by_column
from graphflow.compiler.passes.jam import jam


def layer(x, w, bias, strides, padding, rates):
    return tf.nn.relu(tf.nn.depthwise_conv2d(x, w, [1, *strides, 1], padding, rates) + bias)


@pytest.mark.parametrize(("batch", "side", "channels", "size", "strides", "padding", "rates"), [
    (1, (9, 11), 256, (5, 5), (1, 1), "SAME", None), (1, (13, 8), 512, (5, 5), (2, 2), "SAME", None),
    (2, (7, 9), 128, (5, 5), (1, 1), "VALID", None), (1, (12, 10), 256, (5, 4), (2, 2), "VALID", None),
    (1, (14, 15), 256, (5, 5), (1, 1), "SAME", (2, 3)), (None, (9, 9), 256, (5, 5), (1, 1), "SAME", None),
    (3, (6, 7), 272, (4, 4), (1, 1), "SAME", None), (1, (9, 9), 250, (5, 5), (1, 1), "SAME", None),
    (1, (5, 1), 512, (5, 5), (1, 1), "SAME", None), (1, (8, 9), 640, (3, 3), (1, 1), "SAME", None),
    (1, (17, 14), 64, (3, 3), (1, 1), "SAME", None), (2, (16, 23), 40, (3, 3), (1, 1), "SAME", None),
    (1, (35, 33), 48, (3, 3), (2, 2), "SAME", None), (1, (21, 20), 32, (3, 3), (1, 1), "SAME", (2, 2)),
    (1, (7, 7), 1024, (3, 3), (1, 1), "SAME", None), (None, (19, 18), 16, (3, 3), (1, 1), "VALID", None)])
def test_as_in_float64(batch, side, channels, size, strides, padding, rates):
    rng = np.random.default_rng(channels)
    x = rng.normal(size=(batch or 2, *side, channels)).astype(np.float32)
    w, bias = rng.normal(size=(*size, channels, 1)).astype(np.float32), rng.normal(size=channels)
    found = []
    for threads in (1, 2):
        with tf.Graph().as_default():
            fed = tf.placeholder(tf.float32, (batch, *x.shape[1:]))
            y = layer(fed, tf.constant(w), tf.constant(bias, tf.float32), strides, padding, rates)
            config = tf.ConfigProto(intra_op_parallelism_threads=threads)
            found.append(tf.Session(config=config).run(y, {fed: x}))
    with tf.Graph().as_default():
        fed = tf.placeholder(tf.float64, x.shape)
        y = layer(fed, tf.constant(w, tf.float64), tf.constant(bias), strides, padding, rates)
        exact = oracle.run([y], {fed: x.astype(np.float64)})[0]
    np.testing.assert_allclose(found[0], exact, rtol=1e-5, atol=1e-4)
    assert np.array_equal(*found)


def windows(side: int) -> Loop:
    """for i < side: for j < side: vector for c < 64: y[i, j, c] = a window of 3 x 3 of x times w"""
    i, j, c = axis("i", side), axis("j", side), axis("c", 64)
    value = E.const(0, float32)
    for u, v in itertools.product(range(3), repeat=2):
        value = value + E.load("x", 64 * ((side + 2) * (i + u) + j + v) + c, float32) * E.load(
            "w", 64 * (3 * u + v) + c, float32)
    row, column, channel = (single_atom(d) for d in (i, j, c))
    inner = Loop(channel, 64, (Store("y", 64 * (side * i + j) + c, value),), vector=True)
    return Loop(row, side, (Loop(column, side, (inner,)),))


@pytest.mark.parametrize(("side", "stores"), [
    (28, [8]), (16, [8]), (14, [7]), (7, [7]), (15, [5]), (13, [4, 1]), (17, [8, 2, 4, 1]), (3, [9])])
def test_windows_in_tiles(side, stores):
    loops = [s for s in statements(tuple(jam(windows(side)))) if isinstance(s, Loop) and s.vector]
    assert [sum(isinstance(s, Store) for s in loop.body) for loop in loops] == stores


def rows_times(count: int, extent: int = 512) -> Loop:
    """for i < 9: vector for j < extent: y[i, j] = x[i, j] times so many rows of w, one after another"""
    i, j = axis("i", 9), axis("j", extent)
    value = E.load("x", extent * i + j, float32)
    for k in range(count):
        value = value * E.load("w", extent * k + j, float32)
    row, column = single_atom(i), single_atom(j)
    return Loop(row, 9, (Loop(column, extent, (Store("y", extent * i + j, value),), vector=True),))


def test_columns_go_outside():
    new = column_by_column(rows_times(FEWEST), 16)
    assert new.vector
    assert [s.name for s in new.body[:-1]] == [f"w{k}" for k in range(FEWEST)]
    (inner,) = [s for s in statements(new.body) if isinstance(s, Loop)]
    assert inner.extent == 9
    assert not inner.vector


@pytest.mark.parametrize("loop", [rows_times(3), rows_times(FEWEST, 500), rows_times(FEWEST, 1 << 14),
                                  rows_times(40)])
def test_rows_stay_outside_where_that_is_faster(loop):
    assert column_by_column(loop, 16) == loop
