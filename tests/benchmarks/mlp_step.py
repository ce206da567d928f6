"""One cold compile of the digits MLP's training step, by graphflow or JAX: run as a process, prints JSON.

    python tests/benchmarks/mlp_step.py graphflow
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

SIZES = (64, 128, 64, 10)
BATCH = 50
IMAGES = np.random.RandomState(0).rand(BATCH, 64).astype(np.float32)
LABELS = np.random.RandomState(1).randint(0, 10, BATCH)


def graphflow_step() -> Callable[[], Any]:
    """The graph is built and the variables have values; the step is not compiled yet."""
    import graphflow as tf

    x = tf.placeholder(tf.float32, [None, SIZES[0]])
    y = tf.placeholder(tf.int64, [None])
    h = x
    for k, (a, b) in enumerate(pairwise(SIZES)):
        weights = tf.get_variable(f"w{k}", [a, b])
        h = tf.matmul(h, weights) + tf.get_variable(f"b{k}", [b], initializer=tf.zeros_initializer())
        h = tf.nn.relu(h) if b != 10 else h
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=h))
    train = tf.train.AdamOptimizer(1e-3).minimize(loss)
    session = tf.Session()
    for v in tf.global_variables():
        v.load(np.full(v.shape.as_list(), 0.01, np.float32), session)
    return lambda: session.run([loss, train], {x: IMAGES, y: LABELS})[0]


def jax_step() -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    def loss_of(params: Any, x: Any, y: Any) -> Any:
        h = x
        for k, (w, b) in enumerate(params):
            h = h @ w + b
            h = jax.nn.relu(h) if k < len(params) - 1 else h
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(h), y[:, None], 1))

    def step(state: Any, x: Any, y: Any) -> Any:
        params, m, v, t = state
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        t = t + 1
        rate = 1e-3 * jnp.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t)
        m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, grads)
        v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, grads)
        params = jax.tree.map(lambda p, a, b: p - rate * a / (jnp.sqrt(b) + 1e-8), params, m, v)
        return loss, (params, m, v, t)

    params = [(np.full((a, b), 0.01, np.float32), np.full(b, 0.01, np.float32))
              for a, b in pairwise(SIZES)]
    zeros = [(0 * w, 0 * b) for w, b in params]
    compiled = jax.jit(step)
    state = [(params, zeros, zeros, np.float32(0))]

    def run() -> Any:
        loss, state[0] = compiled(state[0], IMAGES, LABELS)
        return loss.block_until_ready()
    return run


def main() -> None:
    start = time.perf_counter()
    step = {"graphflow": graphflow_step, "jax": jax_step}[sys.argv[1]]()
    built = time.perf_counter()
    loss = float(step())
    first = time.perf_counter()
    times = []
    for _ in range(200):
        before = time.perf_counter()
        step()
        times.append(time.perf_counter() - before)
    print(json.dumps({"import_and_build_ms": 1e3 * (built - start), "first_step_ms": 1e3 * (first - built),
                      "step_us": 1e6 * float(np.median(times)), "loss": loss}))


if __name__ == "__main__":
    main()
