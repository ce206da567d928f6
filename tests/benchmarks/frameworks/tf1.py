"""graphflow and TensorFlow's graph mode: one adapter, since they have one API."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tests.benchmarks.workload import Arrays, Values, Workload


def graphflow(workload: Workload, params: Arrays, data: Arrays, rate: float, cores: int) -> Callable[[], Any]:
    import graphflow as tf

    return _build(tf, workload, params, data, rate, cores)


def tensorflow(workload: Workload, params: Arrays, data: Arrays, rate: float,
               cores: int) -> Callable[[], Any]:
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    return _build(tf, workload, params, data, rate, cores)


def _build(tf: Any, workload: Workload, params: Arrays, data: Arrays, rate: float,
           cores: int) -> Callable[[], Any]:
    config = tf.ConfigProto(intra_op_parallelism_threads=cores, inter_op_parallelism_threads=1)
    with tf.Graph().as_default():
        session = tf.Session(config=config)
        zeros = tf.zeros_initializer()
        variables = {k: tf.get_variable(k, v.shape, v.dtype, zeros) for k, v in params.items()}
        inputs = {k: tf.placeholder(v.dtype, v.shape, k) for k, v in data.items()}
        value = workload.tf1(tf, Values(variables), Values(inputs))
        feeds = dict(zip(inputs.values(), data.values(), strict=True))
        fetches = value
        if workload.mode == "gradient":
            fetches = [value, *tf.gradients(value, list(variables.values()))]
        elif workload.mode != "forward":
            speed = tf.placeholder(tf.float32, [], "rate")
            feeds[speed] = rate
            fetches = [value, _optimizer(tf, workload.mode, speed).minimize(value)]
        session.run(tf.global_variables_initializer())
        for k, v in variables.items():
            v.load(params[k], session)
        if getattr(workload, "by_run", False):
            return functools.partial(session.run, fetches, feeds)
        return functools.partial(session.make_callable(fetches, list(feeds)), *feeds.values())


def _optimizer(tf: Any, mode: str, rate: Any) -> Any:
    return (tf.train.AdamOptimizer if mode == "adam" else tf.train.GradientDescentOptimizer)(rate)
