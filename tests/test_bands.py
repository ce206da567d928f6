"""Chains of kernels over the same rows, run band by band: the bits of one after another, in less memory."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

import graphflow as tf
from graphflow.compiler.ir.text import parse_graph
from graphflow.compiler.passes import band as bands
from graphflow.compiler.passes import joined
from graphflow.compiler.passes.block import block
from graphflow.compiler.passes.fuse import fuse
from graphflow.compiler.passes.lower import lower
from graphflow.compiler.target import Target
from graphflow.runtime import cpu

SMALL = replace(Target(512), l2=1 << 13)


@pytest.fixture
def small_cache(monkeypatch):
    """A machine of which a core's own cache does not hold what the tests compute."""
    host = replace(cpu.host_target(), l2=SMALL.l2, l3=1 << 22)
    monkeypatch.setattr(cpu, "host_target", lambda: host)
    monkeypatch.setattr(bands, "FEWEST", 2)
    monkeypatch.setattr(bands, "LONG", 24)
    monkeypatch.setattr(joined, "NEAR", 1e9)
    monkeypatch.setenv("GRAPHFLOW_CACHE", "0")


def _run(monkeypatch, build, arrays, switch, open_dims=(), threads=0):
    """What a graph gives with bands, or without; its explanation."""
    monkeypatch.setenv("GRAPHFLOW_BANDS", switch)
    with tf.Graph().as_default():
        feeds = [tf.placeholder(a.dtype, [None if k in open_dims else d for k, d in enumerate(a.shape)])
                 for a in arrays]
        fetches = build(*feeds)
        with tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=threads)) as session:
            session.run(tf.global_variables_initializer())
            values = dict(zip(feeds, arrays, strict=True))
            return session.run(fetches, values), tf.explain(fetches, values, session=session)


def _is_banded(explanation):
    return any(k.kind == "banded" for k in explanation.kernels)


def _random(*shapes, dtype=np.float32):
    rng = np.random.default_rng(sum(map(len, shapes)))
    return [rng.standard_normal(s).astype(dtype) for s in shapes]


def _attention(q, k, v):
    return tf.matmul(tf.nn.softmax(tf.matmul(q, k, transpose_b=True) * 0.125), v)


def _attention_numpy(q, k, v):
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    scores = q @ np.swapaxes(k, -1, -2) * 0.125
    weights = np.exp(scores - scores.max(-1, keepdims=True, initial=-1e300))
    return weights / weights.sum(-1, keepdims=True) @ v


def test_a_softmax_before_a_product():
    graph = parse_graph("""graph(x: f32[3,40,64], v: f32[3,64,8]) -> %5
  %0 = reduce_max(x, axis=(2,), keepdims=True) : f32[3,40,1]
  %1 = sub(x, %0) : f32[3,40,64]
  %2 = exp(%1) : f32[3,40,64]
  %3 = reduce_sum(%2, axis=(2,), keepdims=True) : f32[3,40,1]
  %4 = truediv(%2, %3) : f32[3,40,64]
  %5 = matmul(%4, v, transpose_a=False, transpose_b=False) : f32[3,40,8]""")
    grouping = fuse(graph)
    launch, = bands.band(lower(grouping, SMALL), grouping, SMALL)
    assert str(launch.nest) == """kernel(p0: out f32, p1: f32, p2: out f32, p3: f32, p4: out f32)
  for b < 9:
    for r < 14:
      for i2 < 64, r1_1.0 max= p1[i2+64*r+2560*(b // 3)+64*min(14*(b % 3), 26)]:
      for i2 < 64, r4_1.0 add= t3.0:
        t2.0 = sub(p1[i2+64*r+2560*(b // 3)+64*min(14*(b % 3), 26)], r1_1.0)
        t3.0 = exp(t2.0)
        p2[i2+64*part] = t3.0
      for i2 < 64:
        t5.0 = div(p2[i2+64*part], r4_1.0)
        p0[i2+64*r] = t5.0
    p4[320*(b // 3)+8*min(14*(b % 3), 26):][14, 8] = p0[0:] @ p3[512*(b // 3):]  (k = 64)"""


def test_what_all_bands_multiply_by_is_packed_once():
    graph = parse_graph("""graph(x: f32[256,64], v: f32[32,64]) -> %2
  %0 = exp(x) : f32[256,64]
  %1 = matmul(%0, v, transpose_a=False, transpose_b=True) : f32[256,32]
  %2 = relu(%1) : f32[256,32]""")
    grouping = fuse(graph)
    packing, product = block(bands.band(lower(grouping, SMALL), grouping, SMALL), grouping, SMALL)
    assert str(packing.nest) == """kernel(p0: f32, p1: out f32)
  for i < 64:
    for c < 32:
      p1[c+32*i] = p0[64*c+i]"""
    assert packing.arguments[1] is product.arguments[3]
    assert str(product.nest) == """kernel(p0: f32, p1: out f32, p2: out f32, p3: f32)
  for b < 16:
    for r < 16:
      for i1 < 64:
        t1.0 = exp(p0[1024*b+i1+64*r])
        p1[i1+64*r] = t1.0
    for r < 16, i1 < 32: sum = p1[0:] @ p3[0:]  (k = 64)
      t1.1 = max(sum, 0.0)
      p2[512*b+i1+32*r] = t1.1"""


@pytest.mark.parametrize("open_dims", [(), (0,), (2,), (0, 2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("rows, columns", [(64, 64), (50, 70), (33, 129), (1, 40), (17, 1)])
def test_attention(monkeypatch, small_cache, rows, columns, open_dims):
    arrays = _random((2, 4, rows, 16), (2, 4, columns, 16), (2, 4, columns, 24))
    (old, _), (new, found) = (_run(monkeypatch, _attention, arrays, switch, open_dims) for switch in "01")
    assert _is_banded(found) or 1 in (rows, columns) or open_dims == (0, 1, 2)
    np.testing.assert_allclose(new, _attention_numpy(*arrays), rtol=2e-5, atol=2e-6)
    if not open_dims:
        assert np.array_equal(old, new)


@pytest.mark.parametrize("open_dims", [(), (0, 2)], ids=str)
@pytest.mark.parametrize("batch, rows", [(2, 0), (0, 9)])
def test_attention_over_nothing(monkeypatch, small_cache, batch, rows, open_dims):
    arrays = _random((batch, 4, rows, 16), (batch, 4, 9, 16), (batch, 4, 9, 24))
    assert _run(monkeypatch, _attention, arrays, "1", open_dims)[0].shape == (batch, 4, rows, 24)


def test_no_rows_by_a_matrix_that_is_made(monkeypatch, small_cache):
    x, w = _random((0, 64), (64, 512))
    assert _run(monkeypatch, lambda x, w: tf.matmul(x, tf.tanh(w)), [x, w], "1")[0].shape == (0, 512)


def _normal(x):
    mean, variance = tf.nn.moments(x, [-1], keep_dims=True)
    return (x - mean) * tf.rsqrt(variance + 1e-3)


def _weights(*shape, seed=0):
    return tf.Variable(np.random.default_rng(seed).standard_normal(shape).astype(np.float32) / 8)


def _dense(x, n, seed):
    return tf.matmul(x, _weights(int(x.shape[-1]), n, seed=seed)) + _weights(n, seed=seed + 1)


CHAINS = {  # of x [n, 64]
    "normalised rows": lambda x: _dense(_normal(x), 48, 0),
    "a mask": lambda x: tf.matmul(x * tf.cast(x[:, :1] > 0, tf.float32), _weights(64, 64)),
    "layers of one shape": lambda x: tf.nn.relu(_dense(tf.nn.relu(_dense(x, 64, 0)), 64, 2)),
    "layers": lambda x: _dense(tf.tanh(_dense(tf.nn.relu(_dense(x, 96, 0)), 40, 2)), 10, 4),
    "layers in turn": lambda x: functools.reduce(
        lambda h, n: tf.tanh(_dense(h, n, n)), (96, 40, 80, 80, 33), x),
    "a residual": lambda x: x + _dense(tf.nn.relu(_dense(_normal(x), 128, 0)), 64, 2),
    "after a product": lambda x: _normal(tf.nn.relu(_dense(x, 80, 0)) + 1.0),
    "one read twice": lambda x: (lambda h: _dense(h, 64, 2) * h)(tf.sigmoid(_dense(x, 64, 0))),
    "a long k": lambda x: _dense(tf.nn.relu(_dense(x, 400, 0)), 30, 2),
    "a product of the rows": lambda x: tf.matmul(tf.nn.softmax(tf.matmul(x, x, transpose_b=True)), x),
    "the middle fetched": lambda x: (lambda h: [h, _dense(h, 30, 2)])(tf.nn.relu(_dense(x, 64, 0))),
    "double": lambda x: tf.matmul(tf.nn.softmax(tf.to_double(x)), tf.to_double(_weights(64, 9))),
    "half": lambda x: tf.matmul(tf.tanh(tf.to_bfloat16(x)), tf.to_bfloat16(_weights(64, 32))),
}


@pytest.mark.parametrize("chain, jit", [*((c, j) for c in CHAINS for j in "10"),
                                        ("layers of one shape", "numba")])
def test_the_same_bits_as_one_kernel_after_another(monkeypatch, small_cache, chain, jit):
    monkeypatch.setenv("GRAPHFLOW_JIT", jit)
    monkeypatch.setenv("GRAPHFLOW_CHECK", "1")
    arrays = _random((203 if jit == "1" else 67, 64))
    (old, plain), (new, found) = (_run(monkeypatch, CHAINS[chain], arrays, switch) for switch in "01")
    assert not _is_banded(plain)
    assert _is_banded(found) or chain == "the middle fetched"
    for a, b in zip(old, new, strict=True):
        assert np.array_equal(a, b) if jit != "0" else np.allclose(a, b, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("chain", CHAINS)
def test_any_number_of_threads_gives_the_same_bits(monkeypatch, small_cache, chain):
    arrays = _random((1603, 64))
    first, *others = [_run(monkeypatch, CHAINS[chain], arrays, "1", threads=n)[0] for n in (1, 2, 3)]
    for other in others:
        assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_in_a_loop(monkeypatch, small_cache):
    def build(x):
        w, u = _weights(64, 64), _weights(64, 64, seed=1)
        return tf.while_loop(lambda k, h: k < 3, lambda k, h: (k + 1, tf.matmul(tf.nn.softmax(
            tf.matmul(h, w)), u)), [0, x])[1]
    (old, plain), (new, found) = (_run(monkeypatch, build, _random((96, 64)), switch) for switch in "01")
    assert np.array_equal(old, new) and _is_banded(found) and not _is_banded(plain)


def test_training_keeps_what_gradients_read(monkeypatch, small_cache):
    def build(x):
        y = tf.reduce_sum(CHAINS["layers"](x))
        return [y, *tf.gradients(y, tf.trainable_variables())]
    (old, _), (new, _) = (_run(monkeypatch, build, _random((96, 64)), switch) for switch in "01")
    assert all(np.allclose(a, b, rtol=1e-5) for a, b in zip(old, new, strict=True))


@pytest.mark.parametrize("length", [512, 1024])
def test_attention_takes_memory_in_proportion_to_its_length(monkeypatch, length):
    arrays = _random(*[(1, 4, length, 16)] * 3)
    (_, old), (_, new) = (_run(monkeypatch, _attention, arrays, switch) for switch in "01")
    if 4 * 4 * length ** 2 > cpu.host_target().l2:
        assert old.arena_bytes > 2 * 4 * 4 * length ** 2
        assert new.arena_bytes < (1 << 20) * (1 + cpu.host_target().threads)
        assert "scratch" in str(new)


def test_large_right_sides_are_not_read_for_each_band():
    """Each band would read 32 MiB of weights, to save 48 MiB."""
    graph = parse_graph("""graph(x: f32[1024,1024], w: f32[1024,4096], u: f32[4096,1024]) -> %2
  %0 = matmul(x, w, transpose_a=False, transpose_b=False) : f32[1024,4096]
  %1 = relu(%0) : f32[1024,4096]
  %2 = matmul(%1, u, transpose_a=False, transpose_b=False) : f32[1024,1024]""")
    grouping, target = fuse(graph), Target(512)
    steps = lower(grouping, target)
    assert bands.band(steps, grouping, target) == steps
