"""Random loops and conditionals: the compiled program agrees with the oracle, and with the loop unrolled.

Run by hand with more of them: GRAPHFLOW_RANDOM_LOOPS=500 python -m pytest tests/test_random_loops.py
"""

from __future__ import annotations

import os

import numpy as np
import pytest

import graphflow as tf
from graphflow.compiler import oracle

COUNT = int(os.environ.get("GRAPHFLOW_RANDOM_LOOPS", "25"))
SHAPES = ((), (3,), (4, 3), (3, 3), (17,))
UNARY = (tf.tanh, tf.sigmoid, tf.identity, tf.neg, tf.sin, lambda t: tf.abs(t) * 0.5,
         lambda t: tf.where(t > 0.0, t, 0.5 * t))


class Builder:
    """Makes tensors of given shapes from others by random steps; the same steps again for the same seed."""

    def __init__(self, seed: int, scalar: bool) -> None:
        self.seed = seed
        self.shapes = SHAPES[:1] if scalar else SHAPES

    def body(self, seed: int, given: list[tf.Tensor], depth: int,
             wanted: list[tuple[int, ...]]) -> list[tf.Tensor]:
        """Tensors of the wanted shapes from `given`."""
        rng = np.random.RandomState([self.seed, seed])
        pool = list(given)
        for k in range(rng.randint(1, 6)):
            pool.append(self.step(rng, pool, depth, 100 * seed + k))
        return [self.like(rng, pool, shape) for shape in wanted]

    def step(self, rng, pool, depth, seed):
        t, u = pool[rng.randint(len(pool))], pool[rng.randint(len(pool))]
        kind = rng.randint(12)
        if kind < 4:
            return UNARY[rng.randint(len(UNARY))](t)
        if kind == 4 and t.shape.as_list() and u.shape == t.shape:
            return tf.concat([t[1:], u[:1]], 0)
        if kind == 5 and t.shape.ndims == 2 and t.shape.as_list()[1] == 3:
            m = next((v for v in pool if v.shape.as_list() == [3, 3]), None)
            return tf.tanh(tf.matmul(t, m)) if m is not None else tf.reverse(t, [0])
        if kind == 6 and t.shape.as_list():
            return tf.nn.softmax(t) + 0.0 * t
        if kind == 7 and depth:
            return self.choose(pool, t, depth, seed)
        if kind == 8 and depth:
            return self.repeat(rng, pool, t, depth, seed)
        if kind == 9:
            return tf.reduce_sum(t) * 0.1 + u
        same = [v for v in pool if v.shape == t.shape]
        return t * same[rng.randint(len(same))] * 0.5 + same[rng.randint(len(same))] * 0.25

    def choose(self, pool, t, depth, seed):
        shape = tuple(t.shape.as_list())
        return tf.cond(tf.reduce_sum(t) > 0.1, lambda: self.body(seed + 1, [*pool, t], depth - 1, [shape])[0],
                       lambda: self.body(seed + 2, [t], depth - 1, [shape])[0])

    def repeat(self, rng, pool, t, depth, seed):
        state = [t, pool[rng.randint(len(pool))]]
        shapes = [tuple(s.shape.as_list()) for s in state]
        found = tf.while_loop(lambda i, *_: i < 2,
                              lambda i, *s: [i + 1, *self.body(seed + 3, [*pool, *s], depth - 1, shapes)],
                              [0, *state])
        return found[1]

    def like(self, rng, pool, shape):
        """Something of a shape: often an element of the pool itself."""
        same = [v for v in pool if tuple(v.shape.as_list()) == shape]
        t = same[rng.randint(len(same))]
        return t if rng.rand() < 0.4 else 0.9 * tf.tanh(t + same[rng.randint(len(same))])


def placeholders(rng, shapes, count):
    feeds = {}
    for _ in range(count):
        shape = shapes[rng.randint(len(shapes))]
        feeds[tf.placeholder(tf.float64, shape)] = rng.uniform(-1, 1, shape)
    return feeds


@pytest.mark.parametrize("scalar", [False, True])
@pytest.mark.parametrize("seed", range(COUNT))
def test_compiled_as_eager_and_unrolled(seed, scalar):
    rng = np.random.RandomState(seed)
    with tf.Graph().as_default():
        b = Builder(seed, scalar)
        feeds = placeholders(rng, b.shapes, 4)
        outer = list(feeds)
        start = [outer[rng.randint(4)] for _ in range(rng.randint(1, 4))]
        shapes = [tuple(t.shape.as_list()) for t in start]
        trips = int(rng.randint(0, 5))

        def body(*state):
            return b.body(7, [*state, *outer], 2, shapes)

        looped = tf.while_loop(lambda i, *_: i < trips, lambda i, *s: [i + 1, *body(*s)], [0, *start])[1:]
        plain = start
        for _ in range(trips):
            plain = body(*plain)
        values = []
        for results in (looped, plain):
            total = tf.add_n([tf.reduce_sum(tf.sin(t)) for t in results])
            first = tf.gradients(total, outer)
            squares = [tf.reduce_sum(tf.square(g)) for g in first if g is not None]
            second = tf.gradients(tf.add_n(squares), outer)
            fetches = [t for t in (*results, *first, *second) if t is not None]
            found = tf.Session().run(fetches, feeds)
            for value, expected, t in zip(found, oracle.run(fetches, feeds), fetches, strict=True):
                np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-9, err_msg=t.name)
            rows = [np.zeros(x.shape.as_list()) if g is None else found[fetches.index(g)]
                    for g, x in zip((*first, *second), (*outer, *outer), strict=True)]
            values.append([*found[:len(results)], *rows])
        for a, e in zip(*values, strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-6, atol=1e-9)
