"""Layers that take an image at a time: the same values as layer by layer, in less memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import graphflow as tf
from graphflow.compiler import oracle
from graphflow.runtime import cpu


@pytest.fixture
def small_cache(monkeypatch):
    """Such that what a few images go through does not fit."""
    small = replace(cpu.host_target(), l2=1 << 15, threads=2)
    monkeypatch.setattr(cpu, "host_target", lambda: small)


def draw(rng, *shape):
    """Numbers such that sums of products are about 1."""
    return rng.normal(size=shape).astype(np.float32) / np.float32(np.sqrt(max(1, np.prod(shape[:-1]))))


class Net:
    """A stem, depthwise and pointwise convolutions, a residual, and pooling."""

    def __init__(self, rng: np.random.Generator, padding: str, dilation: int) -> None:
        self.padding, self.dilation = padding, dilation
        self.stem = draw(rng, 3, 3, 3, 24)
        self.up, self.down = draw(rng, 1, 1, 24, 40), draw(rng, 1, 1, 40, 24)
        self.each = [draw(rng, size, size, channels, 1) for size, channels in ((3, 24), (5, 40), (3, 24))]
        self.bias = draw(rng, 24)

    def __call__(self, x: tf.Tensor, dtype: tf.DType = tf.float32) -> list[tf.Tensor]:
        def given(a):
            return tf.constant(a, dtype)

        def depthwise(y, k, stride):
            rate = [self.dilation] * 2 if stride == 1 else None
            return tf.nn.depthwise_conv2d(y, given(self.each[k]), [1, stride, stride, 1], self.padding, rate)

        def pointwise(y, w):
            return tf.nn.conv2d(y, given(w), [1, 1, 1, 1], "SAME")

        first = tf.nn.relu(tf.nn.conv2d(x, given(self.stem), [1, 2, 2, 1], self.padding) + given(self.bias))
        y = tf.nn.relu6(pointwise(tf.nn.relu(depthwise(first, 0, 1)), self.up))
        y = pointwise(tf.nn.relu(depthwise(y, 1, 2)), self.down)
        z = y + pointwise(tf.tanh(pointwise(y, self.up)), self.down)
        z = tf.nn.relu(depthwise(z, 2, 1))
        return [z, tf.reduce_mean(z, [1, 2]), tf.nn.max_pool(first, [1, 2, 2, 1], [1, 2, 2, 1], "VALID")]


def run(net: Net, x: np.ndarray, threads: int, batch: int | None = None) -> tuple[list[np.ndarray], str]:
    """The results, and what the program is."""
    with tf.Graph().as_default():
        fed = tf.placeholder(tf.float32, (batch, *x.shape[1:]))
        session = tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=threads))
        results = net(fed)
        return session.run(results, {fed: x}), str(tf.explain(results, {fed: x}, session=session))


def exact(net: Net, x: np.ndarray) -> list[np.ndarray]:
    with tf.Graph().as_default():
        fed = tf.placeholder(tf.float64, x.shape)
        return oracle.run(net(fed, tf.float64), {fed: x.astype(np.float64)})


@pytest.mark.parametrize(("padding", "dilation", "count", "side"), [
    ("SAME", 1, 2, (37, 45)), ("VALID", 1, 4, (45, 38)), ("SAME", 2, 8, (33, 33)), ("VALID", 2, 9, (47, 46))])
def test_each_image_goes_through_all_layers(padding, dilation, count, side, small_cache, monkeypatch):
    rng = np.random.default_rng(count)
    net = Net(rng, padding, dilation)
    x = rng.normal(size=(count, *side, 3)).astype(np.float32)
    found, text = run(net, x, 2, count)
    assert " in 1 kernels" in text
    for a, b in zip(found, exact(net, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for threads in (1, 3):
        for a, b in zip(run(net, x, threads, count)[0], found, strict=True):
            assert np.array_equal(a, b)
    for a, b in zip(run(net, x, 2, None)[0], found, strict=True):  # layer by layer
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_what_others_read_is_whole_in_memory(small_cache):
    """Results, what a later kernel needs, and sums over the batch, are of all images."""
    rng = np.random.default_rng(5)
    net, x = Net(rng, "SAME", 1), rng.normal(size=(4, 40, 41, 3)).astype(np.float32)

    def mixed(fed, dtype=tf.float32):
        z, mean, pooled = net(fed, dtype)
        across = tf.nn.relu(z - tf.reduce_mean(z, 0))  # of all images
        w = tf.constant(draw(np.random.default_rng(6), 1, 1, 24, 16), dtype)
        return [across, tf.nn.conv2d(across, w, [1, 1, 1, 1], "SAME"), mean, tf.concat([pooled, -pooled], 3)]

    for a, b in zip(run(mixed, x, 2, 4)[0], exact(mixed, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_gradients_keep_what_they_need(small_cache):
    rng = np.random.default_rng(7)
    net, x = Net(rng, "SAME", 1), rng.normal(size=(4, 40, 41, 3)).astype(np.float32)

    def slope(fed, dtype=tf.float32):
        return tf.gradients(tf.reduce_sum(tf.square(net(fed, dtype)[0])), [fed])

    for a, b in zip(run(slope, x, 2, 4)[0], exact(slope, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-3)
