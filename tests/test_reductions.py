"""Large reductions: split into steps and blocks, and sharing one pass over memory with their neighbours."""

import numpy as np
import pytest

import graphflow as tf
from graphflow.compiler.ir.text import parse_graph, print_graph
from graphflow.compiler.passes.cse import cse
from graphflow.compiler.passes.fuse import fuse
from graphflow.compiler.passes.lower import lower
from graphflow.compiler.passes.schedule import schedule
from graphflow.compiler.passes.split_reductions import split_reductions
from graphflow.runtime import cpu

SPLITS = [
    ("rows are added in blocks", "graph(x: f32[4096,1000]) -> %0\n"
     "  %0 = reduce_sum(x, axis=0) : f32[1000]",
     ["block_sum(x, leading=1, length=256) : f32[16,1000]", "axis=0"]),
    ("few rows in one block", "graph(x: f32[64,128]) -> %0\n"
     "  %0 = reduce_sum(x, axis=0) : f32[128]",
     ["block_sum(x, leading=1, length=64) : f32[1,128]", "reshape("]),
    ("last axis first", "graph(x: f32[n0,512]) -> %0\n"
     "  %0 = reduce_max(x) : f32[]",
     ["reduce_max(x, axis=(1,), keepdims=False) : f32[n0]", "axis=(0,)"]),
    ("all at once where there is little", "graph(x: f32[10,10]) -> %0\n"
     "  %0 = reduce_sum(x) : f32[]",
     ["reduce_sum(x, axis=(0, 1), keepdims=False) : f32[]"]),
]


@pytest.mark.parametrize("text, expected", [s[1:] for s in SPLITS], ids=[s[0] for s in SPLITS])
def test_split(text, expected):
    printed = print_graph(split_reductions(parse_graph(text)))
    assert all(e in printed for e in expected), printed


def test_sums_over_rows_columns_and_all_are_one_pass():
    graph = parse_graph("""graph(x: f32[512,300]) -> %1, %2, %3, %4
  %0 = constant(value=2.0) : f32[]
  %1 = mul(x, %0) : f32[512,300]
  %2 = reduce_sum(%1, axis=0) : f32[300]
  %3 = reduce_sum(%1, axis=1) : f32[512]
  %4 = reduce_sum(%1) : f32[]""")
    first = schedule(lower(fuse(cse(split_reductions(graph))))[0].nest, 512)
    assert str(first) == """parallel kernel(p0: f32, p1: out f32, p2: out f32, p3: out f32)
  for b < 16:
    vector for z < 300:
      p2[300*b+z] = 0.0
    for i0j < 8:
      vector for i1 < 300, r2_1_0 add= t1_0, r2_1_1 add= t1_1, r2_1_2 add= t1_2, r2_1_3 add= t1_3:
        t1_0 = mul(p0[9600*b+1200*i0j+i1], 2.0)
        p1[9600*b+1200*i0j+i1] = t1_0
        t1_1 = mul(p0[9600*b+1200*i0j+i1+300], 2.0)
        p1[9600*b+1200*i0j+i1+300] = t1_1
        t1_2 = mul(p0[9600*b+1200*i0j+i1+600], 2.0)
        p1[9600*b+1200*i0j+i1+600] = t1_2
        t1_3 = mul(p0[9600*b+1200*i0j+i1+900], 2.0)
        p1[9600*b+1200*i0j+i1+900] = t1_3
        p2[300*b+i1] += add(add(add(t1_0, t1_1), t1_2), t1_3)
      p3[32*b+4*i0j] = r2_1_0
      p3[32*b+4*i0j+1] = r2_1_1
      p3[32*b+4*i0j+2] = r2_1_2
      p3[32*b+4*i0j+3] = r2_1_3"""


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("shape", [(512, 300), (1000, 64), (37, 129), (3, 700, 65), (300, 5, 128), (70000,)])
def test_values(shape, known):
    values = np.random.RandomState(0).standard_normal(shape).astype(np.float32)
    axes = [None, 0, len(shape) - 1, tuple(range(len(shape) - 1)) or None, (0, len(shape) - 1)]
    with tf.Graph().as_default(), tf.Session() as sess:
        x = tf.placeholder(tf.float32, shape if known else (None, *shape[1:]))
        y = tf.tanh(x)
        sums = [tf.reduce_sum(y, a) for a in axes if a != (0, 0)]
        fetches = [y, *sums, tf.reduce_max(y, 0), tf.reduce_min(y)]
        got = sess.run(fetches, {x: values})
    exact = np.tanh(values.astype(np.float64))
    wanted = [exact, *(exact.sum(a) for a in axes if a != (0, 0)), exact.max(0), exact.min()]
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_allclose(g, w, rtol=2e-5, atol=2e-4)


def test_layer_normalisation_and_its_gradients_take_few_kernels():
    """One forward; one for all gradients, and one to add up the blocks of those of scale and offset."""
    rows, columns = 600, 256
    with tf.Graph().as_default(), tf.Session() as sess:
        x, g = (tf.placeholder(tf.float32, (rows, columns)) for _ in range(2))
        scale, offset = (tf.placeholder(tf.float32, (columns,)) for _ in range(2))
        mean, variance = tf.nn.moments(x, [1], keep_dims=True)
        y = (x - mean) * tf.rsqrt(variance + 1e-5) * scale + offset
        grads = tf.gradients(y, [x, scale, offset], grad_ys=g)
        draw = np.random.RandomState(1)
        feeds = {x: draw.standard_normal((rows, columns)), g: draw.standard_normal((rows, columns)),
                 scale: draw.standard_normal(columns), offset: draw.standard_normal(columns)}
        got = sess.run([y, *grads], feeds)
        (program,) = next(iter(sess._engine._executables.values())).programs
        assert len(program.calls) <= 4
    a, dy, s = (feeds[t] for t in (x, g, scale))
    inverse = 1 / np.sqrt(a.var(1, keepdims=True) + 1e-5)
    normal = (a - a.mean(1, keepdims=True)) * inverse
    ds = dy * s
    dx = inverse * (ds - ds.mean(1, keepdims=True) - normal * (ds * normal).mean(1, keepdims=True))
    for found, wanted in zip(got[1:], [dx, (dy * normal).sum(0), dy.sum(0)], strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-4)


@pytest.mark.skipif(cpu.vector_bits() == 128, reason="this CPU may round products before it adds them")
def test_sums_take_products_unrounded():
    x, y = np.zeros((2, 3, 512), np.float32)
    x[:, 0], y[:, 0] = -1 - 2.0**-11, 1
    x[:, 256] = y[:, 256] = 1 + 2.0**-12  # a square of 25 bits
    with tf.Graph().as_default(), tf.Session() as session:
        a, b = (tf.placeholder(tf.float32, v.shape) for v in (x, y))
        np.testing.assert_array_equal(session.run(tf.reduce_sum(a * b, 1), {a: x, b: y}), 2.0**-24)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 15, 64, 131])
def test_extremes_of_rows_with_a_nan_are_nan(count, dtype):
    """Wherever it is, of either sign; of rows without one, they are numpy's."""
    x = np.random.RandomState(count).standard_normal((2 * count + 4, count)).astype(dtype)
    x[np.arange(2 * count), np.arange(2 * count) // 2] = np.tile([np.nan, -np.nan], count)
    x[-1], x[-2], x[-3] = np.inf, -np.inf, np.where(np.arange(count) % 2, np.inf, -np.inf)
    with tf.Graph().as_default(), tf.Session() as session:
        fed = tf.placeholder(dtype, x.shape)
        found = session.run([tf.reduce_max(fed, 1), tf.reduce_min(fed, 1), tf.reduce_max(fed, 0)], {fed: x})
    for value, wanted in zip(found, [x.max(1), x.min(1), x.max(0)], strict=True):
        np.testing.assert_array_equal(value, wanted)
