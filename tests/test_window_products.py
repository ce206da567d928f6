"""Convolutions as products with windows that lie in memory: any geometry, any neighbour to fuse with.

Run by hand with more graphs: GRAPHFLOW_RANDOM_GRAPHS=2000 python -m pytest tests/test_window_products.py
"""

from __future__ import annotations

import os

import numpy as np
import pytest

import graphflow as tf
from graphflow.compiler import oracle
from graphflow.compiler.ops.convolution import convolution

COUNT = int(os.environ.get("GRAPHFLOW_RANDOM_GRAPHS", "60"))


class Drawn:
    """A random convolution; what follows it, and what its gradients go through."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.RandomState(seed)
        self.rank = self.pick((1, 2, 2, 2, 2, 3))
        self.size = tuple(self.pick((1, 1, 2, 3, 3, 5)) for _ in range(self.rank))
        self.strides = self.each((1, 1, 1, 2, 3))
        self.dilations = tuple(1 if s > 1 else self.pick((1, 1, 2)) for s in self.strides)
        reach = [(s - 1) * d + 1 for s, d in zip(self.size, self.dilations, strict=True)]
        spatial = tuple(r + self.pick((0, 1, 4, 9, 14)) for r in reach)
        self.padding = self.pick(("SAME", "VALID", tuple((self.rng.randint(r), self.rng.randint(r + 1))
                                                         for r in reach)))
        channels = self.pick((1, 2, 3, 8, 16, 33))
        self.x = self.draw(self.pick((1, 2, 5)), *spatial, channels)
        self.filters = self.draw(*self.size, channels, self.pick((8, 9, 16, 31, 48)))

    def pick(self, sequence):
        return sequence[self.rng.randint(len(sequence))]

    def each(self, sequence):
        return tuple(self.pick(sequence) for _ in range(self.rank))

    def draw(self, *shape):
        return self.rng.uniform(-1, 1, shape).astype(np.float32)

    def follow(self, y: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
        bias = tf.constant(self.draw(shape[-1]))
        other = tf.constant(self.draw(*shape))
        return self.pick((
            lambda: y, lambda: tf.nn.relu(y + bias), lambda: tf.nn.relu(y + bias + other), lambda: y * other,
            lambda: tf.pad(tf.tanh(y), [[0, 0], *[[1, 2]] * self.rank, [0, 0]]),
            lambda: tf.reshape(y * bias, [-1, shape[-1]]),
            lambda: tf.transpose(y + bias, [len(shape) - 1, *range(len(shape) - 1)]),
            lambda: tf.concat([y, other], -1), lambda: tf.reduce_max(y, axis=self.rank),
            lambda: tf.reverse(tf.sigmoid(y), [1]), lambda: y[:, :1] + tf.constant(self.draw(*shape[1:]))))()


@pytest.mark.parametrize("seed", range(COUNT))
def test_as_eager(seed):
    d = Drawn(seed)
    with tf.Graph().as_default():
        batch = None if d.rng.rand() < 0.4 else len(d.x)
        x, w = tf.placeholder(tf.float32, (batch, *d.x.shape[1:])), tf.Variable(d.filters)
        y = convolution(x, w, strides=d.strides, padding=d.padding, dilations=d.dilations)
        shape = oracle.run([y], {x: d.x, w.value(): d.filters})[0].shape
        z = d.follow(y, shape)
        gx, gw = tf.gradients(tf.square(z), [x, w])
        with tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=d.pick((1, 2)))) as session:
            session.run(w.initializer)
            found = tf.compare([z, gx, w.assign_sub(0.1 * gw), y], {x: d.x}, session)
            for difference in found.differences:
                assert difference.max_relative < 1e-5 or difference.max_absolute < 2e-3, found


def test_any_number_of_threads_gives_the_same_bits():
    rng = np.random.default_rng(3)
    images = rng.normal(size=(6, 30, 29, 24)).astype(np.float32)
    filters = rng.normal(size=(3, 3, 24, 40)).astype(np.float32)
    found = []
    for threads in (1, 2, 3, 8):
        with tf.Graph().as_default():
            x, w = tf.placeholder(tf.float32, images.shape), tf.constant(filters)
            y = tf.nn.relu(tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME"))
            config = tf.ConfigProto(intra_op_parallelism_threads=threads)
            found.append(tf.Session(config=config).run([y, *tf.gradients(tf.square(y), [x, w])], {x: images}))
    assert all(np.array_equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_windows_are_not_copied():
    """A network's step needs no memory for patches, and none of its kernels makes them."""
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [8, 28, 28, 8])
        w = tf.get_variable("w", [5, 5, 8, 32])
        y = tf.nn.relu(tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME"))
        step = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_mean(tf.square(y)))
        session = tf.Session()
        session.run(w.initializer)
        session.run(step, {x: np.ones(x.shape, np.float32)})
        text = str(tf.explain(step, {x: np.ones(x.shape, np.float32)}, session=session))
    assert "valid_convolution" in text and "valid_filter_grad" in text and "windows" not in text
