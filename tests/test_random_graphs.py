"""Random graphs: the compiled program agrees with the oracle, whatever is fused with whatever.

Run by hand with more graphs: GRAPHFLOW_RANDOM_GRAPHS=2000 python -m pytest tests/test_random_graphs.py
"""

from __future__ import annotations

import os

import numpy as np
import pytest

import graphflow as tf
from graphflow.compiler import oracle

COUNT = int(os.environ.get("GRAPHFLOW_RANDOM_GRAPHS", "60"))
UNARY = (tf.tanh, tf.sigmoid, tf.nn.relu, tf.abs, tf.neg, tf.square, lambda t: tf.exp(-tf.abs(t)),
         lambda t: tf.log(1.0 + tf.square(t)), lambda t: tf.stop_gradient(t) * t, tf.identity,
         lambda t: tf.where(t > 0, t, 0.5 * t))
BINARY = (tf.add, tf.sub, tf.mul, tf.maximum, tf.minimum, lambda a, b: a / (1.0 + tf.square(b)))
REDUCE = (tf.reduce_sum, tf.reduce_mean, tf.reduce_max, tf.reduce_min, tf.reduce_logsumexp)


class Builder:
    """Grows a pool of float tensors by random steps; `shapes` knows the shapes of the run."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.RandomState(seed)
        self.pool: list[tf.Tensor] = []
        self.feeds: dict[tf.Tensor, np.ndarray] = {}

    def pick(self, sequence):
        return sequence[self.rng.randint(len(sequence))]

    def shape(self, t: tf.Tensor) -> tuple[int, ...]:
        return oracle.run([t], self.feeds)[0].shape

    def add_input(self) -> None:
        shape = [self.pick((1, 2, 3, 4, 5, 17)) for _ in range(self.pick((0, 1, 2, 2, 3)))]
        declared = [None if self.rng.rand() < 0.5 else d for d in shape]
        x = tf.placeholder(tf.float32, declared)
        self.feeds[x] = self.rng.uniform(-2, 2, shape).astype(np.float32)
        self.pool.append(x)

    def step(self) -> None:
        move = self.pick((self.unary, self.binary, self.binary, self.reduce, self.view, self.matmul,
                          self.join, self.softmax, self.gather))
        t = move(self.pick(self.pool))
        if t is not None and oracle.run([t], self.feeds)[0].size <= 5000:
            self.pool.append(t)

    def unary(self, t):
        return self.pick(UNARY)(t)

    def binary(self, t):
        fits = [u for u in self.pool if _broadcasts(self.shape(t), self.shape(u))]
        return self.pick(BINARY)(t, self.pick(fits))

    def reduce(self, t):
        rank = len(self.shape(t))
        axis = None if rank == 0 or self.rng.rand() < 0.2 else int(self.rng.randint(-rank, rank))
        return self.pick(REDUCE)(t, axis, keepdims=bool(self.rng.rand() < 0.4))

    def view(self, t):
        shape, rank = self.shape(t), len(self.shape(t))
        if rank == 0:
            return tf.reshape(t, [1])
        moves = (lambda: tf.transpose(t, list(self.rng.permutation(rank))), lambda: tf.reshape(t, [-1]),
                 lambda: tf.expand_dims(t, int(self.rng.randint(0, rank + 1))), lambda: tf.reverse(t, [0]),
                 lambda: t[..., :max(1, shape[-1] - 1)], lambda: tf.pad(t, [[1, 0]] * rank),
                 lambda: tf.reshape(t, [tf.shape(t)[0], -1]), lambda: tf.tile(t, [2] + [1] * (rank - 1)))
        return self.pick(moves)()

    def matmul(self, t):
        if len(self.shape(t)) < 2:
            return None
        outer = bool(self.rng.rand() < 0.5)
        return tf.matmul(t, t, transpose_a=not outer, transpose_b=outer)

    def join(self, t):
        same = [u for u in self.pool if self.shape(u) == self.shape(t)]
        return tf.concat([t, self.pick(same)], -1) if self.shape(t) else tf.stack([t, self.pick(same)])

    def softmax(self, t):
        return tf.nn.softmax(t) if self.shape(t) else None

    def gather(self, t):
        return tf.gather(t, self.rng.randint(0, self.shape(t)[0], 3)) if self.shape(t) else None


def _broadcasts(a, b):
    try:
        np.broadcast_shapes(a, b)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("seed", range(COUNT))
def test_compiled_as_eager(seed):
    with tf.Graph().as_default():
        b = Builder(seed)
        for _ in range(3):
            b.add_input()
        for _ in range(14):
            b.step()
        outputs = b.pool[-4:]
        loss = tf.add_n([tf.reduce_sum(t) for t in outputs])
        slopes = [g for g in tf.gradients(loss, list(b.feeds)) if g is not None]
        fetches = [*outputs, *slopes]
        expected = oracle.run(fetches, b.feeds)
        for fetched in (fetches, fetches[::2]):
            found = tf.Session().run(fetched, b.feeds)
            for value, t in zip(found, fetched, strict=True):
                want = expected[fetches.index(t)]
                assert value.shape == want.shape
                scale = max(1.0, float(np.abs(want).max(initial=0)))
                np.testing.assert_allclose(value, want, rtol=2e-3, atol=2e-4 * scale, err_msg=str(t.op.graph))


@pytest.mark.parametrize("seed", range(COUNT // 2))
def test_updates_as_eager(seed):
    """A variable that takes a random tensor, and is read before, after and by something wider."""
    with tf.Graph().as_default():
        b = Builder(10_000 + seed)
        for _ in range(2):
            b.add_input()
        for _ in range(8):
            b.step()
        t = b.pick(b.pool)
        v = tf.Variable(np.full(b.shape(t), 2.0, np.float32))
        step = v.assign(0.5 * v + t)
        wider = [step * u for u in b.pool if _broadcasts(b.shape(t), b.shape(u))]
        fetches = [v + 1.0, step, b.pick(wider), tf.reduce_sum(step, -1) if b.shape(t) else step]
        sess = tf.Session()
        sess.run(v.initializer)
        found = tf.compare(fetches, b.feeds, sess)
        for d in found.differences:
            assert d.max_relative < 1e-4 or d.max_absolute < 2e-4, f"{found}\n{v.graph}"
        before, after = sess.run([v, step], b.feeds)
        assert np.all(before == 2) and np.array_equal(sess.run(v), after)
