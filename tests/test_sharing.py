"""Promises of kernels that differ only in where they start, how far they go, and in numbers: they are one."""

from __future__ import annotations

import numpy as np
import pytest
from fresh import graph, session  # noqa: F401

import graphflow as tf
from graphflow.compiler.ir.text import parse_graph
from graphflow.compiler.loops.interpret_nest import run_nest
from graphflow.compiler.passes.fuse import fuse
from graphflow.compiler.passes.lower import lower
from graphflow.compiler.passes.schedule import schedule
from graphflow.compiler.passes.share import share
from graphflow.compiler.target import Target

SHAPES = [(3, 5), (64,), (7, 3, 2), (33,), (1000,)]


def launched(text):
    """The launches of a graph before and after sharing, and the latter's kernels as scheduled."""
    launches = lower(fuse(parse_graph(text)), Target(512))
    shared = share(launches)
    return launches, shared, list(dict.fromkeys(str(schedule(x.nest, 512)) for x in shared))


def functions(sess, target):
    """The functions that an operation's program calls, compiled already."""
    return {c.function for p in sess.engine.prepare([], [target], ()).programs for c in p.calls}


def test_flat_loops_of_different_extents_and_numbers_are_one():
    before, after, scheduled = launched("""graph(x: f32[4,8], y: f32[50]) -> %1, %3
  %0 = constant(value=2.0) : f32[]
  %1 = add(x, %0) : f32[4,8]
  %2 = constant(value=-0.0) : f32[]
  %3 = add(y, %2) : f32[50]""")
    assert scheduled == ["""parallel kernel(p0: f32, p1: out f32, extent 000, number 003)
  vector for i0 < extent 000:
    t1 = add(p0[i0], bitcast.f32(cast.i32(number 003)))
    p1[i0] = t1"""]
    for old, new in zip(before, after, strict=True):
        x = np.linspace(-1, 1, 50, dtype=np.float32)
        results = []
        for launch in (old, new):
            result = np.zeros(50, np.float32)
            run_nest(launch.nest, [x, result], dict(zip(launch.nest.symbols, launch.symbols, strict=True)))
            results.append(result)
        np.testing.assert_array_equal(*results)
        assert results[0].any()


def test_a_number_stays_known_where_that_makes_a_kernel_faster():
    _, after, scheduled = launched("""graph(x: i32[8], y: i32[8]) -> %1, %3
  %0 = constant(value=10) : i32[]
  %1 = floordiv(x, %0) : i32[8]
  %2 = constant(value=7) : i32[]
  %3 = floordiv(y, %2) : i32[8]""")
    assert not any(launch.symbols for launch in after) and "number" not in "".join(scheduled)


def test_what_is_equal_stays_known():
    _, after, _ = launched("""graph(x: f32[8], y: f32[9]) -> %1, %2
  %0 = constant(value=2.0) : f32[]
  %1 = mul(x, %0) : f32[8]
  %2 = mul(y, %0) : f32[9]""")
    assert [launch.symbols for launch in after] == [(8,), (9,)]


@pytest.mark.parametrize("initializer", [tf.glorot_uniform_initializer(), tf.random_normal_initializer(),
                                         tf.constant_initializer(-1.5)])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_initial_values_compile_one_kernel(initializer, dtype):
    made = [tf.get_variable(f"v{k}", shape, dtype, initializer) for k, shape in enumerate(SHAPES)]
    init, sess = tf.global_variables_initializer(), tf.Session()
    sess.run(init)
    assert len(functions(sess, init)) == 1
    for v in sess.run(made):
        assert np.isfinite(v).all() and v.any()


def test_updates_of_variables_of_many_shapes_compile_one_kernel():
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(shape).astype(np.float32) for shape in SHAPES]
    made = [tf.Variable(v) for v in start]
    optimizer = tf.train.GradientDescentOptimizer(0.5)
    train = optimizer.apply_gradients([(tf.convert_to_tensor(v), v) for v in made])
    sess = session()
    sess.run(train)
    assert len(functions(sess, train)) == 1
    for found, v in zip(sess.run(made), start, strict=True):
        np.testing.assert_array_equal(found, v - np.float32(0.5) * v)


@pytest.mark.parametrize("number", [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -1e300])
def test_numbers_keep_their_bits(number):
    made = [tf.Variable(tf.fill([k], tf.constant(x, tf.float64)), dtype=tf.float64)
            for k, x in ((70, number), (90, 1.0), (5, 2.0))]
    for v, x in zip(session().run(made), (number, 1.0, 2.0), strict=True):
        assert v.tobytes() == np.full(v.shape, x).tobytes()


def test_explain_tells_the_extent_of_each_launch():
    xs = [tf.ones([n]) * tf.placeholder_with_default(np.float32(2), []) for n in (40, 1000)]
    found = tf.explain(xs, session=session(), run=False)
    assert sorted((k.extents, k.bytes_written) for k in found.kernels) == [((40,), 160), ((1000,), 4000)]
