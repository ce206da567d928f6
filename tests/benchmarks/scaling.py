"""How graphflow alone scales: new batch sizes, and chains of up to 50,000 ops.

    python -m tests.benchmarks.scaling
"""

from __future__ import annotations

import os
import time
import timeit

import numpy as np
from rich.console import Console
from rich.table import Table

import graphflow as tf
from tests.benchmarks.workload import Values
from tests.benchmarks.workloads.dense import Mlp

NET = Mlp((64, 128, 64, 10), 50, "digits")


def new_batch_sizes(table: Table) -> None:
    """The first run with a new batch size against the second."""
    with tf.Graph().as_default():
        params, _ = NET.arrays(np.random.default_rng(0))
        variables = {k: tf.get_variable(k, initializer=v) for k, v in params.items()}
        x, y = tf.placeholder(tf.float32, [None, 64]), tf.placeholder(tf.int32, [None])
        loss = NET.tf1(tf, Values(variables), Values(x=x, y=y))
        train = tf.train.AdamOptimizer(1e-3).minimize(loss)
        sess = tf.Session()
        sess.run(tf.global_variables_initializer())
        extra = []
        for n in (200, *range(10, 200, 10)):  # the first also starts the threads
            feeds = {x: np.ones((n, 64), np.float32), y: np.zeros(n, np.int32)}
            seconds = [timeit.timeit(lambda f=feeds: sess.run([loss, train], f), number=1) for _ in range(2)]
            extra.append(1e3 * (seconds[0] - seconds[1]))
        table.add_row("MLP step, first run with a new batch size beyond the second (worst of 19)",
                      f"{max(extra[1:]):.3f} ms", "1 ms")


def chain(length: int) -> tuple[float, ...]:
    """Seconds to build, differentiate, compile and run a chain of tanh(y * 1.01)."""
    with tf.Graph().as_default():
        times = [time.perf_counter()]
        x = tf.placeholder(tf.float32, [16])
        y = x
        for _ in range(length // 2):
            y = tf.tanh(y * 1.01)
        times.append(time.perf_counter())
        gradient, = tf.gradients(y, x)
        times.append(time.perf_counter())
        sess, v = tf.Session(), np.linspace(-1, 1, 16)
        for _ in range(2):
            sess.run([y, gradient], {x: v})
            times.append(time.perf_counter())
    return tuple(np.diff(times))


def long_chains(table: Table, console: Console) -> None:
    chain(1000)
    per_op = {}
    for length in (1000, 50_000):
        rounds = [chain(length) for _ in range(5 if length == 1000 else 1)]
        seconds = np.median(rounds, axis=0)
        per_op[length] = 1e6 * sum(seconds) / length
        build, gradients, compile, run = seconds
        console.print(f"chain of {length}: build {build:.2f} s, gradients {gradients:.2f} s, "
                      f"compile and first run {compile:.2f} s, second run {1e6 * run:.0f} us")
    table.add_row("chain of 50,000 ops with gradient, time per op", f"{per_op[50_000]:.0f} us", "")
    table.add_row("the same against 1,000 ops", f"{per_op[50_000] / per_op[1000]:.2f} x", "1.5 x")


def main() -> None:
    os.environ["GRAPHFLOW_CACHE"] = "0"  # what is measured is compiling
    console = Console(width=110)
    table = Table("figure", "measured", "to reach")
    new_batch_sizes(table)
    long_chains(table, console)
    console.print(table)


if __name__ == "__main__":
    main()
