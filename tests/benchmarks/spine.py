"""Figures of calls, batch sizes, long chains and cold compilation; JAX is the peer where it is installed.

    python tests/benchmarks/spine.py [--peer-python /path/to/python/with/jax]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import graphflow as tf

HERE = Path(__file__).resolve().parent
PROCESSES = 5


def best_us(run: Callable[[], Any]) -> float:
    """Microseconds a call: the median of rounds, each the mean of many calls."""
    return 1e6 * float(np.median(timeit.repeat(run, number=20_000, repeat=7))) / 20_000


def call_overhead(table: Table) -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [8])
        y = x * 2 + 1
        sess, v = tf.Session(), np.arange(8, dtype=np.float32)
        fast = sess.make_callable(y, [x])
        run = best_us(lambda: sess.run(y, {x: v}))
        table.add_row("x*2+1 on 8 floats, Session.run", f"{run:.2f} us", "6 us")
        table.add_row("the same, make_callable", f"{best_us(lambda: fast(v)):.2f} us", "2 us")


def new_batch_sizes(table: Table) -> None:
    """The first run with a new batch size against the second."""
    sys.path.insert(0, str(HERE.parent.parent / "examples"))
    from digits_mlp import build

    with tf.Graph().as_default():
        net = build(1e-3)
        sess = tf.Session()
        sess.run(tf.global_variables_initializer())
        extra = []
        for n in (50, *range(10, 200, 10)):
            feeds = {net["images"]: np.ones((n, 64), np.float32), net["labels"]: np.zeros(n, np.int64)}
            seconds = [timeit.timeit(lambda f=feeds: sess.run([net["loss"], net["train"]], f), number=1)
                       for _ in range(2)]
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


def cold_step(python: str, who: str) -> dict[str, float]:
    done = subprocess.run([python, str(HERE / "mlp_step.py"), who], capture_output=True, text=True,
                          env={**os.environ, "JAX_PLATFORMS": "cpu"})
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    result: dict[str, float] = json.loads(done.stdout)
    return result


def cold_compile(table: Table, peer_python: str) -> None:
    """The MLP step in fresh processes, alternating."""
    rows: dict[str, list[dict[str, float]]] = {"graphflow": [], "jax": []}
    for _ in range(PROCESSES):
        rows["graphflow"].append(cold_step(sys.executable, "graphflow"))
        try:
            rows["jax"].append(cold_step(peer_python, "jax"))
        except RuntimeError as e:
            table.add_row("JAX", f"not measured: {e}", "")
            break
    names = (("import_and_build_ms", "ms to import and build"),
             ("first_step_ms", "ms to the first step"), ("step_us", "us a step"))
    for key, unit in names:
        medians = {w: f"{np.median([r[key] for r in results]):.0f}" for w, results in rows.items() if results}
        table.add_row(f"MLP step, cold, {unit}", medians["graphflow"], f"JAX {medians.get('jax', '?')}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Figures of calls, batches, chains and compilation.")
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter that has jax")
    args = parser.parse_args()
    console = Console(width=110)
    table = Table("figure", "measured", "to reach / peer")
    call_overhead(table)
    new_batch_sizes(table)
    cold_compile(table, args.peer_python)
    long_chains(table, console)
    console.print(table)


if __name__ == "__main__":
    main()
