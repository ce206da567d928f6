"""Latency to the first result: cold (nothing cached) and warm (in a new process), with JAX as the peer.

    python tests/benchmarks/cold_and_warm.py [--peer-python /path/to/python/with/jax]

Each figure is the median over fresh processes, with JAX and graphflow in turn. "compile" is the first run of
the step, imports included; "total - numpy" is a whole warm process beyond one that only imports numpy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

SIZES, BATCH = (64, 128, 64, 10), 32
STEPS, INPUTS, UNITS = 28, 28, 64
CHAIN, WIDTH = 300, 16
START = time.perf_counter()


def graphflow_mlp() -> Callable[[], Any]:
    """The training step of a classifier of digits."""
    import graphflow as tf

    x, y = tf.placeholder(tf.float32, [None, SIZES[0]]), tf.placeholder(tf.int64, [None])
    h = x
    for k, (m, n) in enumerate(pairwise(SIZES)):
        h = tf.matmul(h, tf.get_variable(f"w{k}", [m, n])) + tf.get_variable(f"b{k}", [n])
        h = tf.nn.relu(h) if n != SIZES[-1] else h
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=h))
    train = tf.train.AdamOptimizer(1e-3).minimize(loss)
    session = tf.Session()
    for v in tf.global_variables():
        v.load(np.full(v.shape.as_list(), 0.01, np.float32), session)
    images, labels = mlp_data()
    return lambda: session.run([loss, train], {x: images, y: labels})[0]


def jax_mlp() -> Callable[[], Any]:
    import jax

    def logits_of(params: Any, x: Any) -> Any:
        for k, (w, b) in enumerate(params):
            x = x @ w + b
            x = jax.nn.relu(x) if k < len(params) - 1 else x
        return x

    params = [(np.full((m, n), 0.01, np.float32), np.full(n, 0.01, np.float32)) for m, n in pairwise(SIZES)]
    return jax_training(logits_of, params, *mlp_data())


def mlp_data() -> tuple[Any, Any]:
    return (np.random.RandomState(0).rand(BATCH, SIZES[0]).astype(np.float32),
            np.random.RandomState(1).randint(0, SIZES[-1], BATCH))


def jax_training(logits_of: Callable[[Any, Any], Any], params: Any, x: Any, y: Any) -> Callable[[], Any]:
    """A step of Adam on the cross entropy."""
    import jax
    import jax.numpy as jnp

    def loss_of(params: Any, x: Any, y: Any) -> Any:
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits_of(params, x)), y[:, None], 1))

    def step(state: Any, x: Any, y: Any) -> Any:
        params, m, v, t = state
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        t = t + 1
        rate = 1e-3 * jnp.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t)
        m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, grads)
        v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, grads)
        params = jax.tree.map(lambda p, a, b: p - rate * a / (jnp.sqrt(b) + 1e-8), params, m, v)
        return loss, (params, m, v, t)

    zeros = jax.tree.map(lambda p: 0 * p, params)
    compiled, state = jax.jit(step), (params, zeros, zeros, np.float32(0))
    return lambda: compiled(state, x, y)[0].block_until_ready()


def lstm_arrays() -> tuple[Any, ...]:
    random = np.random.RandomState(0)
    return ((random.rand(INPUTS + UNITS, 4 * UNITS) / 10).astype(np.float32), np.zeros(4 * UNITS, np.float32),
            random.rand(UNITS, 10).astype(np.float32), random.rand(BATCH, STEPS, INPUTS).astype(np.float32),
            random.randint(0, 10, BATCH))


def graphflow_lstm() -> Callable[[], Any]:
    """Rows of digits through an unrolled LSTM, trained by Adam."""
    import graphflow as tf

    arrays = lstm_arrays()
    w, b, v = (tf.get_variable(name, a.shape) for name, a in zip("wbv", arrays[:3], strict=True))
    x, y = tf.placeholder(tf.float32, arrays[3].shape), tf.placeholder(tf.int64, [BATCH])
    c = h = tf.zeros([BATCH, UNITS])
    for t in range(STEPS):
        gates = tf.matmul(tf.concat([x[:, t], h], 1), w) + b
        i, j, f, o = tf.split(gates, 4, 1)
        c = c * tf.sigmoid(f + 1) + tf.sigmoid(i) * tf.tanh(j)
        h = tf.tanh(c) * tf.sigmoid(o)
    logits = tf.matmul(h, v)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
    train = tf.train.AdamOptimizer(1e-3).minimize(loss)
    session = tf.Session()
    given = dict(zip((w, b, v), arrays, strict=False))
    for variable in tf.global_variables():
        variable.load(given.get(variable, np.full(variable.shape.as_list(), 0.01, np.float32)), session)
    return lambda: session.run([loss, train], {x: arrays[3], y: arrays[4]})[0]


def jax_lstm() -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    def logits_of(params: Any, x: Any) -> Any:
        w, b, v = params
        c = h = jnp.zeros((BATCH, UNITS))
        for t in range(STEPS):
            i, j, f, o = jnp.split(jnp.concatenate([x[:, t], h], 1) @ w + b, 4, 1)
            c = c * jax.nn.sigmoid(f + 1) + jax.nn.sigmoid(i) * jnp.tanh(j)
            h = jnp.tanh(c) * jax.nn.sigmoid(o)
        return h @ v

    *params, x, y = lstm_arrays()
    return jax_training(logits_of, params, x, y)


def graphflow_chain() -> Callable[[], Any]:
    """A long chain of tanh and its gradient."""
    import graphflow as tf

    x = tf.placeholder(tf.float32, [WIDTH])
    y = x
    for _ in range(CHAIN):
        y = tf.tanh(y * 1.01)
    gradient, = tf.gradients(y, x)
    session, value = tf.Session(), np.linspace(-1, 1, WIDTH).astype(np.float32)
    return lambda: session.run([y, gradient], {x: value})[0].sum()


def jax_chain() -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    def chain(x: Any) -> Any:
        for _ in range(CHAIN):
            x = jnp.tanh(x * 1.01)
        return x

    def both(x: Any) -> Any:
        y, pull = jax.vjp(chain, x)
        return y, pull(jnp.ones_like(y))[0]

    compiled, value = jax.jit(both), np.linspace(-1, 1, WIDTH).astype(np.float32)
    return lambda: np.asarray(compiled(value)[0]).sum()


def graphflow_deep() -> Callable[[], Any]:
    """As many dense layers, each with its own weights, and the gradient of the first layer's."""
    import graphflow as tf

    values = deep_weights()
    x, weights = tf.placeholder(tf.float32, [WIDTH, WIDTH]), []
    h = x
    for k in range(CHAIN):
        weights.append(tf.get_variable(f"w{k}", [WIDTH, WIDTH]))
        h = tf.tanh(tf.matmul(h, weights[-1]))
    gradient, = tf.gradients(h, weights[0])
    session = tf.Session()
    for w, value in zip(weights, values, strict=True):
        w.load(value, session)
    return lambda: session.run([h, gradient], {x: values[0]})[1].sum()


def jax_deep() -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    values = deep_weights()

    def network(first: Any, rest: Any, x: Any) -> Any:
        for w in (first, *rest):
            x = jnp.tanh(x @ w)
        return x

    def both(first: Any, rest: Any, x: Any) -> Any:
        y, pull = jax.vjp(lambda w: network(w, rest, x), first)
        return y, pull(jnp.ones_like(y))[0]

    compiled = jax.jit(both)
    return lambda: np.asarray(compiled(values[0], values[1:], values[0])[1]).sum()


def deep_weights() -> list[Any]:
    random = np.random.RandomState(0)
    return [np.linalg.qr(random.randn(WIDTH, WIDTH))[0].astype(np.float32) for _ in range(CHAIN)]


WORKLOADS = {"mlp": (graphflow_mlp, jax_mlp), "lstm": (graphflow_lstm, jax_lstm),
             "chain": (graphflow_chain, jax_chain), "deep": (graphflow_deep, jax_deep)}


def measure(workload: str, who: str) -> None:
    step = WORKLOADS[workload][who == "jax"]()
    built = time.perf_counter()
    first = float(step())
    compiled = time.perf_counter()
    again = float(step())
    print(json.dumps({"build": 1e3 * (built - START), "compile": 1e3 * (compiled - built),
                      "first": first, "again": again,
                      "run": 1e3 * (time.perf_counter() - compiled),
                      "compilers": sorted({"numba", "llvmlite"} & sys.modules.keys())}))


def run(python: str, workload: str, who: str, cache: str) -> dict[str, Any]:
    start = time.perf_counter()
    done = subprocess.run([python, __file__, "--measure", workload, who], capture_output=True, text=True,
                          env={**os.environ, "JAX_PLATFORMS": "cpu", "GRAPHFLOW_CACHE": cache})
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    result: dict[str, Any] = json.loads(done.stdout)
    return result | {"total": 1e3 * (time.perf_counter() - start)}


def numpy_alone() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import numpy"], check=True)
    return 1e3 * (time.perf_counter() - start)


def median(results: list[dict[str, Any]], key: str) -> str:
    return f"{np.median([r[key] for r in results]):.0f}" if results else "-"


def report(workloads: list[str], processes: int, peer: str) -> None:
    print(f"{'':8}{'cold build':>11}{'compile':>9}{'jax build':>11}{'compile':>9}"
          f"{'warm build':>12}{'load':>6}{'total - numpy':>15}   (ms)")
    for workload in workloads:
        cold, warm, jax, base = [], [], [], []
        for _ in range(processes):
            with tempfile.TemporaryDirectory() as cache:
                cold.append(run(sys.executable, workload, "graphflow", cache))
                warm.append(run(sys.executable, workload, "graphflow", cache))
            base.append(numpy_alone())
            if peer:
                jax.append(run(peer, workload, "jax", "0"))
        totals = [{"total": w["total"] - b} for w, b in zip(warm, base, strict=True)]
        print(f"{workload:8}{median(cold, 'build'):>11}{median(cold, 'compile'):>9}{median(jax, 'build'):>11}"
              f"{median(jax, 'compile'):>9}{median(warm, 'build'):>12}{median(warm, 'compile'):>6}"
              f"{median(totals, 'total'):>15}   warm imports {warm[0]['compilers'] or 'no compiler'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", default="", help="an interpreter that has jax")
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--workloads", nargs="*", default=list(WORKLOADS))
    parser.add_argument("--measure", nargs=2, metavar=("WORKLOAD", "WHO"), help="one process, as JSON")
    args = parser.parse_args()
    if args.measure:
        measure(*args.measure)
    else:
        report(args.workloads, args.processes, args.peer_python)


if __name__ == "__main__":
    main()
